//! What the hub tells the outside: plain data, the same for the HTTP API, the commands and their
//! `--json` output. Times are RFC 3339 UTC, durations seconds, counts whole numbers since the first start.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use crossdock_model::fault::Fault;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Role;

mod status;
mod watching;

pub use status::*;
pub use watching::*;

/// An accepted event with what became of it at each adapter.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EventView {
    /// Place in the record: grows with every accepted event, never reused.
    pub offset: i64,
    /// When the gate took it.
    pub received: DateTime<Utc>,
    /// The adapter or API key that sent it.
    pub producer: String,
    /// The event as a structured CloudEvent 1.0 (JSON).
    #[schema(value_type = serde_json::Value)]
    pub event: Box<serde_json::value::RawValue>,
    /// How many bytes of data the event has that are not shown here, as they are too many for a journey; absent where
    /// all is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_left_out: Option<u64>,
    /// One entry per adapter whose subscriptions matched.
    pub deliveries: Vec<DeliveryView>,
}

/// The latest state of a topic.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StateView {
    /// The topic.
    #[schema(example = "stock/LDN1/MUG-330")]
    pub topic: String,
    /// Greater than that of every earlier state of the topic.
    pub version: u64,
    /// When what the newest event tells of happened.
    pub time: DateTime<Utc>,
    /// What the rules of `state.toml` made of events.
    #[schema(value_type = serde_json::Value)]
    pub data: Box<serde_json::value::RawValue>,
}

/// One event on its way to one adapter.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeliveryView {
    /// The adapter's name.
    pub adapter: String,
    /// `pending`, `confirmed`, `retrying`, `parked`, `discarded` or `expired`; in a journey also `taken`: it left
    /// the queue by an ack, and the adapter sends no receipts, and `unaccounted`: it left the queue without the
    /// receipt that the adapter owes.
    pub state: String,
    /// How often it was handed over, counted by what came back.
    pub attempts: u32,
    /// When it entered the adapter's queue, the last time.
    pub published: DateTime<Utc>,
    /// When it came into its present state; absent while it is pending.
    pub settled: Option<DateTime<Utc>>,
    /// When it is handed over again, while it is retrying.
    pub due: Option<DateTime<Utc>>,
    /// What the adapter or the broker said last.
    pub detail: Option<String>,
    /// Everything that was said about its attempts, oldest first.
    pub tries: Vec<AttemptView>,
}

/// What was said about an attempt.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AttemptView {
    /// Counts from 1.
    pub number: u32,
    /// `done`, `retry`, `dead`, `rejected`, `delivery_limit` or `undelivered`; `handed_over` begins every attempt
    /// but the first.
    pub outcome: String,
    /// The adapter's words, where it gave any.
    pub detail: Option<String>,
    /// When the hub learnt of it.
    pub at: DateTime<Utc>,
    /// How long the adapter says it took, in milliseconds.
    pub duration_ms: Option<u64>,
}

/// A delivery that failed for good and waits for a person.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterView {
    /// `<offset of the event>.<adapter>`; the same when it fails again.
    pub id: String,
    /// The adapter at which it failed.
    pub adapter: String,
    /// CloudEvents id.
    pub event_id: String,
    /// CloudEvents source.
    pub source: String,
    /// CloudEvents type.
    pub r#type: String,
    /// CloudEvents subject.
    pub subject: Option<String>,
    /// When the gate took the event.
    pub received: DateTime<Utc>,
    /// When it failed for good.
    pub failed: DateTime<Utc>,
    /// How many attempts there were.
    pub attempts: u32,
    /// The reason.
    pub detail: Option<String>,
}

/// A page of dead letters.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterPage {
    /// The latest to fail first.
    pub dead_letters: Vec<DeadLetterView>,
    /// Pass it as `cursor` for the next page; absent on the last.
    pub next: Option<String>,
}

/// A dead letter, whole.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterDetail {
    /// What the list shows.
    #[serde(flatten)]
    pub letter: DeadLetterView,
    /// The event as a structured CloudEvent 1.0 (JSON).
    pub event: serde_json::Value,
    /// Everything that was said about its attempts, oldest first.
    pub tries: Vec<AttemptView>,
}

/// A dead letter that was sent on its way again.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Redriven {
    /// The dead letter's id.
    pub id: String,
    /// The number of the attempt that follows.
    pub attempt: u32,
}

/// A page of events.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EventPage {
    /// Newest first.
    pub events: Vec<EventView>,
    /// Pass it as `cursor` for the next page; absent on the last.
    pub next: Option<String>,
}

/// Everything known under one correlation id, alias or event id, in the order it was accepted.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct JourneyView {
    /// What was asked for.
    pub key: String,
    /// One plain sentence: where it stands.
    pub verdict: String,
    /// Correlation ids found on the way.
    pub correlation_ids: Vec<String>,
    /// Other systems' names of the same thing, `system:id`.
    pub aliases: Vec<String>,
    /// Oldest first.
    pub events: Vec<EventView>,
}

/// An adapter: what it may do, whether it runs, and its side of the ledger.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AdapterView {
    /// Name, also of its queue and user.
    pub name: String,
    /// What the manifest says it is.
    pub description: Option<String>,
    /// The CloudEvents source that only this adapter may use.
    pub source: String,
    /// Types it may publish.
    pub publishes: Vec<String>,
    /// Type patterns it gets.
    pub subscribes: Vec<String>,
    /// `amqp` or `webhook`.
    pub delivery: String,
    /// `live` (a consumer runs), `waiting` (events wait and no consumer runs), `idle` (nothing to do and
    /// no consumer), `unknown` (the broker does not answer); of a webhook also `slowed` (its endpoint takes nothing
    /// for now) and `disabled` (its endpoint said that it is gone).
    pub state: String,
    /// Where a webhook adapter's events are posted.
    pub endpoint: Option<EndpointView>,
    /// What the broker and the record say of its queue; absent while the broker does not answer.
    pub queue: Option<QueueView>,
    /// Its line of the ledger.
    pub ledger: AdapterLedger,
    /// Consumers that ack by themselves and so lose what they were handed when they crash.
    pub auto_ack_consumers: Vec<String>,
    /// Oldest event that is in its queue or in its hands without a word from it.
    pub oldest_pending: Option<DateTime<Utc>>,
    /// When the adapter last said something about an event.
    pub last_settled: Option<DateTime<Utc>>,
    /// Its RabbitMQ users that are in force, oldest first; a webhook adapter has none.
    pub users: Vec<String>,
    /// How its attempts ended lately.
    pub recent: RecentView,
    /// When it last succeeded, by receipt or an endpoint's answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_done: Option<DateTime<Utc>>,
    /// When its newest credentials were made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated: Option<DateTime<Utc>>,
}

/// The endpoint of a webhook adapter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EndpointView {
    /// Scheme, host and port; what follows may hold a key.
    #[schema(example = "https://erp.example.com")]
    pub address: String,
    /// Why nothing is sent, or little: what the endpoint said last, or why it cannot be reached from this hub.
    pub trouble: Option<String>,
    /// Since when it is disabled: it said that it is gone.
    pub disabled: Option<DateTime<Utc>>,
}

/// A queue of the hub or of an adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QueueView {
    /// Name.
    pub name: String,
    /// Messages waiting for a consumer.
    pub ready: u64,
    /// Messages handed to a consumer and not yet acked.
    pub unacked: u64,
    /// Consumers attached.
    pub consumers: u64,
    /// The adapter whose queue it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<String>,
    /// Messages put into it per second, by RabbitMQ's own statistics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_per_s: Option<f64>,
    /// Messages handed out per second, again ones among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_per_s: Option<f64>,
    /// Messages acknowledged per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ack_per_s: Option<f64>,
    /// When the oldest event in it was put there; only an adapter's queue says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<DateTime<Utc>>,
    /// How long, at these rates, until it is empty, in seconds; absent while it does not shrink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_s: Option<u64>,
    /// What it held over the last ten minutes, oldest first; empty where RabbitMQ keeps no statistics.
    #[serde(default)]
    pub depths: Vec<DepthView>,
}

/// Credentials fresh from a rotation. The secrets are shown this once.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct IssuedCredentials {
    /// `<adapter>.<generation>`: the RabbitMQ user, and the name of the API key.
    pub user: String,
    /// Value for `CROSSDOCK_AMQP_URL`; none for a webhook adapter, which has no RabbitMQ user.
    pub amqp_url: Option<String>,
    /// Value for `CROSSDOCK_API_KEY`.
    pub api_key: String,
    /// File on the hub's machine that holds the same (mode 0600).
    pub env_file: String,
}

/// A key without its secret.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ApiKeyView {
    /// The public half of the key.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// The topic filters within which it may mint browser tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub topics: Vec<String>,
    /// The adapter it belongs to, if any.
    pub adapter: Option<String>,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// When it ends by itself.
    pub expires: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked: Option<DateTime<Utc>>,
    /// When it was last used, to within a minute.
    pub last_used: Option<DateTime<Utc>>,
}

/// A person who may sign in.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UserView {
    /// What they sign in with.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// When they were added.
    pub created: DateTime<Utc>,
    /// When they last signed in.
    pub last_sign_in: Option<DateTime<Utc>>,
}

/// Who is signed in, and what that opens.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SessionView {
    /// The person's name.
    pub name: String,
    /// Their role.
    pub role: Role,
    /// What the role opens.
    pub scopes: Vec<String>,
    /// When the session ends in any case; 12 hours after its last use it ends before.
    pub expires: DateTime<Utc>,
}

/// A numbered revision of the configuration.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RevisionView {
    /// Counts from 1.
    pub number: u32,
    /// When it was applied.
    pub created: DateTime<Utc>,
    /// Who applied it.
    pub author: String,
    /// Why.
    pub note: Option<String>,
    /// SHA-256 over paths and texts, hex.
    pub digest: String,
    /// Path → text.
    pub files: BTreeMap<String, String>,
}

/// What an apply did, or would do.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    /// The revision in force afterwards (with `dry_run`: the one it would become).
    pub number: u32,
    /// Nothing was changed.
    pub dry_run: bool,
    /// One sentence per change; empty if the files equal the revision in force.
    pub changes: Vec<String>,
    /// The hub that was asked has another `crossdock.toml` than it was started with. It is read at the start only, so
    /// that the hub has to be restarted for it. One that cannot be read now, or has faults, is not compared: `false`.
    #[serde(default)]
    pub settings_changed: bool,
}

/// A message the gate refused, kept with every reason.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct QuarantinedView {
    /// Counts from 1.
    pub id: i64,
    /// When the gate refused it.
    pub received: DateTime<Utc>,
    /// Adapter or key that sent it, where that could be proved.
    pub producer: Option<String>,
    /// Every fault found, with its JSON pointer into the event.
    pub reasons: Vec<FaultView>,
    /// The key it was published with.
    pub routing_key: String,
    /// Content type as sent.
    pub content_type: Option<String>,
    /// Headers as sent.
    pub headers: serde_json::Value,
    /// Length of the body in bytes.
    pub body_bytes: u64,
    /// The body in base64; only when one message is asked for.
    pub body_base64: Option<String>,
    /// When it was sent again.
    pub resent: Option<DateTime<Utc>>,
}

/// One thing wrong with an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FaultView {
    /// RFC 6901 JSON pointer into the structured event.
    pub pointer: String,
    /// What is wrong and what was expected.
    pub message: String,
}

impl From<Fault> for FaultView {
    fn from(fault: Fault) -> Self {
        Self {
            pointer: fault.pointer,
            message: fault.message,
        }
    }
}

/// The whole ledger at one moment.
///
/// `received = accepted + duplicates + quarantined`, and per adapter
/// `matched = confirmed + taken + parked + discarded + expired + in_flight + unaccounted`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LedgerView {
    /// Nothing is unaccounted, on either side.
    pub balanced: bool,
    /// Work is still under way in the hub's own queues, so a later reading may differ.
    pub settling: bool,
    /// Messages the gate took and judged.
    pub received: u64,
    /// Events in the record.
    pub accepted: u64,
    /// Repeats of a recorded (source, id) by their producer.
    pub duplicates: u64,
    /// Handed to the gate again by RabbitMQ after a crash; not part of `received`.
    pub redelivered: u64,
    /// Messages refused and kept.
    pub quarantined: u64,
    /// Of the accepted events, those that were kept as long as they had to be, and forgotten.
    pub forgotten_events: u64,
    /// Of the quarantined messages, those that were forgotten.
    pub forgotten_quarantined: u64,
    /// Waiting in the partition queues, not yet judged; absent while the broker does not answer.
    pub waiting_in_ingress: Option<u64>,
    /// One line per adapter.
    pub adapters: Vec<AdapterLedger>,
    /// What a reader should know about these figures, in sentences.
    pub notes: Vec<String>,
}

/// One adapter's side of the ledger.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AdapterLedger {
    /// Name.
    pub adapter: String,
    /// Events its subscriptions matched.
    pub matched: u64,
    /// A receipt says done.
    pub confirmed: u64,
    /// Left the queue by an ack without receipt: the adapter's word.
    pub taken: u64,
    /// Failed for good, kept for people to decide.
    pub parked: u64,
    /// Given up by people.
    pub discarded: u64,
    /// Out of date before it was taken.
    pub expired: u64,
    /// In its queue, in its hands, or waiting for another attempt.
    pub in_flight: u64,
    /// Gone from the queue without a receipt, though the adapter sends receipts: lost.
    pub unaccounted: u64,
    /// The unaccounted ones by name, oldest first, at most 1,000.
    pub missing: Vec<MissingDelivery>,
    /// Since when the adapter sends receipts.
    pub receipts_since: Option<DateTime<Utc>>,
}

/// An event that left an adapter's queue without a trace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct MissingDelivery {
    /// CloudEvents id.
    pub id: String,
    /// CloudEvents source.
    pub source: String,
    /// CloudEvents type.
    pub r#type: String,
    /// When it entered the queue.
    pub published: DateTime<Utc>,
}
