//! What is shown to those who watch: the overview and what comes with it. What is not known is absent, never 0.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AdapterView, DeadLetterPage, EventView, QueueView};

/// The whole hub at a glance. While RabbitMQ or the database is away, the figures that come from there are the last
/// good ones, `at` is their time, and `attention` says what failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OverviewView {
    /// When the oldest of these figures were read.
    pub at: DateTime<Utc>,
    /// What needs attention, worst first; empty when all is well.
    pub attention: Vec<AttentionView>,
    /// Where events come from and go to.
    pub flow: FlowView,
    /// Four figures.
    pub numbers: NumbersView,
    /// Live state on its way to browsers and devices, of this hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mqtt: Option<MqttFlow>,
}

/// How much live state goes out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MqttFlow {
    /// Clients connected now.
    pub clients: u64,
    /// Messages written to clients within the last second.
    pub out_per_s: u64,
    /// Messages that slow clients did not get, since the hub's start.
    pub dropped_slow: u64,
}

/// Something that needs attention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttentionView {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about: `adapter:<name>`, `queue:<name>`, `hub:<host>`, `broker`, `database`, `quarantine`,
    /// `revision`, `state` or `mqtt`.
    #[schema(example = "adapter:erp")]
    pub subject: String,
    /// What is the matter, in one plain sentence.
    pub sentence: String,
    /// Since when, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<ActionView>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something does not work, or a person must decide.
    Failed,
    /// It works, but not as it should.
    Degraded,
}

/// A way on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActionView {
    /// What it does, in a word or two.
    pub label: String,
    /// A page of the dashboard, or below `/v1/` what the API answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/dead-letters?adapter=erp")]
    pub href: Option<String>,
    /// A command for a terminal, where no page helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "crossdock apply")]
    pub command: Option<String>,
}

/// Where events come from and go to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FlowView {
    /// By name.
    pub sources: Vec<SourceFlow>,
    /// The way in.
    pub hub: HubFlow,
    /// By name.
    pub adapters: Vec<AdapterFlow>,
}

/// What a source sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SourceFlow {
    /// CloudEvents source.
    pub name: String,
    /// Accepted events per second, over the last minute.
    pub per_s: f64,
    /// Its newest event; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<DateTime<Utc>>,
}

/// What comes in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HubFlow {
    /// Messages that enter the ingress queues per second, by RabbitMQ's statistics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_per_s: Option<f64>,
    /// Messages in the ingress queues, not yet judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u64>,
}

/// What goes to an adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AdapterFlow {
    /// Name.
    pub name: String,
    /// As in its view.
    pub state: String,
    /// Events handed to it per second, by RabbitMQ's statistics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_s: Option<f64>,
    /// Events in its queue, handed out or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u64>,
    /// Its dead letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parked: Option<u64>,
}

/// Four figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NumbersView {
    /// Accepted events per second, over the last minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_per_s: Option<f64>,
    /// Events in adapters' queues, in their hands, or waiting for another attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u64>,
    /// Deliveries that failed for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<u64>,
    /// When the oldest event that waits at an adapter was put into its queue; absent if none waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_waiting: Option<DateTime<Utc>>,
}

/// How an adapter's attempts ended lately.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecentView {
    /// Over how many seconds: 300, or fewer where very many ended.
    pub window_s: u32,
    /// Attempts that succeeded; absent of an adapter that sends no receipts, since nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<u64>,
    /// Attempts that failed.
    pub failed: u64,
}

/// What a queue held at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DepthView {
    /// When RabbitMQ counted.
    pub at: DateTime<Utc>,
    /// Messages, handed out or not.
    pub messages: u64,
}

/// How many events came when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HistogramView {
    /// Where the first interval begins.
    pub since: DateTime<Utc>,
    /// Where the last one ends.
    pub until: DateTime<Utc>,
    /// How long an interval is, in whole seconds; the last may be cut short by `until`.
    pub bucket_s: u32,
    /// Events of each interval, oldest first.
    pub counts: Vec<u64>,
    /// There were more events than are looked at: only the newest are counted.
    pub truncated: bool,
}

/// The dead letters as a watcher gets them.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterNews {
    /// All of them.
    pub total: u64,
    /// The latest ones.
    #[serde(flatten)]
    pub newest: DeadLetterPage,
}

/// Events that followed an offset.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EventNews {
    /// The newest of them, newest last.
    pub events: Vec<EventView>,
    /// Older ones among them that are left out; counted up to 10,000.
    pub skipped: u64,
}

/// What one look at the hub showed.
#[derive(Clone, Debug)]
pub struct Picture {
    /// At a glance.
    pub overview: OverviewView,
    /// As [`Hub::queues`](crate::Hub::queues); absent while RabbitMQ does not answer.
    pub queues: Option<Vec<QueueView>>,
    /// As [`Hub::adapters`](crate::Hub::adapters); absent while the database does not answer.
    pub adapters: Option<Vec<AdapterView>>,
    /// Dead letters of all adapters; absent while the database does not answer.
    pub dead_letters: Option<u64>,
}
