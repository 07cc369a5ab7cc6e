//! The figures that must balance: received = accepted + duplicates + quarantined, and per adapter one state
//! for each delivery. What RabbitMQ holds is added by the caller, who also judges.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::Result;

/// The hub's left side.
///
/// `received` and `duplicates` are counters that grow with each batch; `accepted` and `quarantined` are counted
/// from the rows that are there, and those forgotten since, so that a lost row shows as an imbalance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages that producers sent, each counted once.
    pub received: u64,
    /// Events in the record, and those that were forgotten.
    pub accepted: u64,
    /// Messages whose event or quarantined message was there already.
    pub duplicates: u64,
    /// Messages that RabbitMQ gave the hub again after they were recorded: not part of `received`.
    pub redelivered: u64,
    /// Messages in quarantine, sent again or not, and those that were forgotten.
    pub quarantined: u64,
    /// Those of `accepted` that were forgotten.
    pub forgotten_events: u64,
    /// Those of `quarantined` that were forgotten.
    pub forgotten_quarantined: u64,
}

impl Totals {
    /// Whether every received message is accounted for.
    pub fn balanced(&self) -> bool {
        self.received == self.accepted + self.duplicates + self.quarantined
    }
}

/// One adapter's side, counted from its deliveries, those of forgotten events among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdapterTotals {
    /// The adapter's name.
    pub adapter: String,
    /// All deliveries: the sum of the states below.
    pub matched: u64,
    /// Done, by receipt.
    pub confirmed: u64,
    /// Dead letters.
    pub parked: u64,
    /// Given up by a person.
    pub discarded: u64,
    /// Expired before they were done.
    pub expired: u64,
    /// Published, no word yet.
    pub pending: u64,
    /// Forgotten without a word: they had left the queue, and no receipt was owed. Those not forgotten are among
    /// `pending`.
    pub taken: u64,
    /// Failed, waiting for the next attempt.
    pub retrying: u64,
    /// Whether the adapter has ever sent a receipt: only then does a missing one mean something.
    pub sends_receipts: bool,
    /// When its first receipt came: a delivery before that has none to miss.
    pub receipts_since: Option<DateTime<Utc>>,
    /// When the oldest pending delivery was published.
    pub oldest_pending: Option<DateTime<Utc>>,
    /// When the adapter, or the hub about it, last said anything.
    pub last_settled: Option<DateTime<Utc>>,
}

/// A delivery without a word yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingDelivery {
    /// The event's id.
    pub event_id: String,
    /// The event's source.
    pub source: String,
    /// The event's type.
    pub event_type: String,
    /// When it was published to the adapter's queue.
    pub published: DateTime<Utc>,
}

/// The ledger.
#[async_trait]
pub trait Ledger {
    /// The hub's totals, all of one moment.
    async fn totals(&self) -> Result<Totals>;

    /// The totals of every adapter that was ever published to or spoke, by name.
    async fn per_adapter(&self) -> Result<Vec<AdapterTotals>>;

    /// How many of the adapter's deliveries were published before a time and are still without a word.
    async fn pending_count(&self, adapter: &str, published_before: DateTime<Utc>) -> Result<u64>;

    /// When the delivery without a word was published of which so many are younger. Passes over these; the count from
    /// the other end is [`Retention::pending_after`](crate::Retention::pending_after).
    async fn pending_before(&self, adapter: &str, younger: u64) -> Result<Option<DateTime<Utc>>>;

    /// The adapter's deliveries that were published before a time and are still without a word, oldest first.
    async fn pending(
        &self,
        adapter: &str,
        published_before: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<PendingDelivery>>;
}
