//! The record: accepted events with the adapters they were published to. It is the archive, the memory of
//! what was seen before and the left side of the ledger at once. It does not decide what is a duplicate of
//! what beyond (source, id), nor whom an event goes to.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use crossdock_model::event::Event;
use crossdock_model::types::TypePattern;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::outcomes::{Outcome, OutcomeKind};
use crate::quarantine::NewQuarantined;

/// The most events that a journey shows.
pub const JOURNEY_MAX: usize = 1_000;
/// Names that one number is looked up as; a number that more systems use is better named with its system.
pub const NUMBERED_MAX: usize = 20;

/// The most events that one `find` returns, whatever limit was asked for.
pub const FIND_MAX: usize = 1_000;

/// The most bytes of an event's data that a journey carries.
pub const JOURNEY_DATA_MAX_BYTES: u64 = 16 * 1024;

/// What makes an event unique (CloudEvents 1.0, section 3.1.1, `id` and `source`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventKey {
    /// The CloudEvents `source`.
    pub source: String,
    /// The CloudEvents `id`.
    pub id: String,
}

impl EventKey {
    /// The key of `event`.
    pub fn of(event: &Event) -> Self {
        Self {
            source: event.source.clone(),
            id: event.id.clone(),
        }
    }
}

/// An event that passed the gate and was published to all of `targets`.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The event as it came in.
    pub event: Event,
    /// The adapter or API key that sent it.
    pub producer: String,
    /// When the gate received it.
    pub received: DateTime<Utc>,
    /// When it was published to its targets.
    pub published: DateTime<Utc>,
    /// Names of the adapters it was published to; may be empty.
    pub targets: Vec<String>,
    /// How many events led to this one by `causationid`; 0 for a first cause.
    pub chain: u32,
}

/// A message whose event is recorded already.
#[derive(Debug, Clone)]
pub struct Duplicate {
    /// The event it repeats.
    pub key: EventKey,
    /// The adapter or API key that sent it.
    pub producer: String,
    /// When the gate received it.
    pub received: DateTime<Utc>,
    /// RabbitMQ gave the hub the same message again, after a crash between record and ack: the producer
    /// repeated nothing, so it is counted apart and not as received.
    pub redelivered: bool,
}

/// Everything the gate decided about one batch of messages: recorded together or not at all.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// New events, published and confirmed.
    pub accepted: Vec<Accepted>,
    /// Messages whose event was recorded before.
    pub duplicates: Vec<Duplicate>,
    /// Messages that hold no acceptable event.
    pub quarantined: Vec<NewQuarantined>,
    /// What the hub itself has to say about the deliveries of `accepted`, such as that one could not be
    /// published. A crash cannot part it from them.
    pub outcomes: Vec<Outcome>,
}

/// Where a delivery stands. Each is in exactly one of these, so that the ledger can balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Published to the adapter's queue; no word from the adapter yet.
    Pending,
    /// The adapter said that it is done.
    Confirmed,
    /// A dead letter: waits for a person.
    Parked,
    /// A person gave it up.
    Discarded,
    /// Its `expirytime` passed before it was done.
    Expired,
    /// Failed, and waits for its next attempt.
    Retrying,
}

/// One word about one attempt, in the order in which they came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The attempt, counted from 1.
    pub number: u32,
    /// What became of it.
    pub outcome: OutcomeKind,
    /// The adapter's reason, cut to `DETAIL_MAX_BYTES`.
    pub detail: Option<String>,
    /// When the hub heard of it.
    pub at: DateTime<Utc>,
    /// How long the adapter worked on it, in milliseconds.
    pub duration_ms: Option<u64>,
}

/// What became of an event at one adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRow {
    /// The adapter's name.
    pub adapter: String,
    /// Where it stands now.
    pub state: DeliveryState,
    /// The number of the latest attempt that there is a word about; 0 while there is none.
    pub attempts: u32,
    /// When it was published to the adapter's queue, the last time.
    pub published: DateTime<Utc>,
    /// When it came into its present state, unless it is pending.
    pub settled: Option<DateTime<Utc>>,
    /// When the hub hands it over again, if it is retrying.
    pub due: Option<DateTime<Utc>>,
    /// The adapter's reason for the present state.
    pub detail: Option<String>,
    /// Every word about it, oldest first.
    pub tries: Vec<Attempt>,
}

/// An event of the record with its deliveries.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// Its place in the record: grows with every event, from 1, and is never used twice.
    pub offset: i64,
    /// The event as it came in.
    pub event: Event,
    /// The adapter or API key that sent it.
    pub producer: String,
    /// When the gate received it.
    pub received: DateTime<Utc>,
    /// How many bytes of data the event has besides, if they were too many for where it was asked for.
    pub data_left_out: Option<u64>,
    /// How many events led to this one by `causationid`.
    pub chain: u32,
    /// One for each adapter it was published to, by name.
    pub deliveries: Vec<DeliveryRow>,
}

/// Which events to find: all given conditions hold together.
#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    /// Type, exact or with `*` for a segment.
    pub event_type: Option<TypePattern>,
    /// Exact `source`.
    pub source: Option<String>,
    /// Exact `subject`.
    pub subject: Option<String>,
    /// A correlation id or an alias of the event itself; a journey follows further.
    pub correlation: Option<String>,
    /// Published to this adapter.
    pub adapter: Option<String>,
    /// Received at or after this time.
    pub since: Option<DateTime<Utc>>,
    /// Received before this time.
    pub until: Option<DateTime<Utc>>,
    /// Only offsets greater than this.
    pub after_offset: Option<i64>,
    /// Only offsets smaller than this.
    pub before_offset: Option<i64>,
    /// By falling offset; otherwise by rising offset.
    pub newest_first: bool,
    /// How many at most, capped at `FIND_MAX`.
    pub limit: usize,
    /// The page ends with the first event by which it has so many bytes of data: no more are loaded.
    pub data_max_bytes: Option<u64>,
}

/// The record.
#[async_trait]
pub trait Events {
    /// Which of `keys` are recorded.
    async fn recorded(&self, keys: &[EventKey]) -> Result<HashSet<EventKey>>;

    /// The chain lengths of the recorded events with these ids; of several sources the longest. Unknown ids
    /// are missing from the answer.
    async fn chain_lengths(&self, ids: &[String]) -> Result<HashMap<String, u32>>;

    /// Keeps a batch in one transaction. When it returns, the batch is on disk.
    ///
    /// Repeating a batch adds nothing but to the counters of duplicates and redeliveries: an event that is
    /// recorded already, by another hub or by an earlier call that was cut off, counts as a duplicate and
    /// keeps its first deliveries. Outcomes that came before their event are applied now.
    async fn record(&self, batch: Batch) -> Result<()>;

    /// The events of this id, of one source or of all, oldest first.
    async fn event(&self, id: &str, source: Option<&str>) -> Result<Vec<StoredEvent>>;

    /// The events that fulfil `query`.
    async fn find(&self, query: EventQuery) -> Result<Vec<StoredEvent>>;

    /// The greatest offset, 0 for an empty record.
    async fn latest_offset(&self) -> Result<i64>;

    /// Everything that hangs together with `key`, oldest first: the events that carry it as correlation id
    /// or alias or have it as their id, and so on with every correlation id and alias that these carry.
    /// Stops at `JOURNEY_MAX` events.
    async fn journey(&self, key: &str) -> Result<Vec<StoredEvent>>;

    /// The correlation ids and aliases, each once and sorted, that are `number` in some system: `system:number`.
    /// At most `NUMBERED_MAX`.
    async fn names_with_number(&self, number: &str) -> Result<Vec<String>>;
}
