//! The hub itself, on one screen.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AdapterView, QueueView};

/// One screen: what runs, what waits, what wants attention.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StatusView {
    /// This hub's version.
    pub version: String,
    /// When this hub started.
    pub started: DateTime<Utc>,
    /// `ready`, or what it waits for.
    pub checks: Vec<ReadyCheck>,
    /// What wants attention, worst first, each a plain sentence; empty when all is well.
    pub attention: Vec<String>,
    /// RabbitMQ's version and where it runs.
    pub broker: Option<BrokerView>,
    /// The database and where it is.
    pub database: DatabaseView,
    /// The MQTT gateway of this hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mqtt: Option<MqttView>,
    /// Revision in force.
    pub revision: u32,
    /// Hubs that reported within the last 30 seconds.
    pub hubs: Vec<HubView>,
    /// Adapters by name; absent, as all that the record tells, while the database does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapters: Option<Vec<AdapterView>>,
    /// Every queue of Crossdock.
    pub queues: Vec<QueueView>,
    /// Events accepted since the first start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<u64>,
    /// Messages in quarantine that were not sent again; counted up to 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<u64>,
    /// Deliveries parked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parked: Option<u64>,
    /// Newest event.
    pub newest_event: Option<DateTime<Utc>>,
}

/// The database that the hub keeps its record in.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DatabaseView {
    /// `sqlite` or `postgres`.
    pub kind: String,
    /// The file, or `host:port/database`; never a user or a password.
    #[schema(example = "db.example:5432/crossdock")]
    pub place: String,
}

/// The broker as the hub sees it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BrokerView {
    /// `host:port`.
    pub address: String,
    /// RabbitMQ version.
    pub version: String,
    /// The hub started it and ends it.
    pub private: bool,
    /// Alarms in force, such as `memory`.
    pub alarms: Vec<String>,
}

/// The MQTT gateway of a hub: numbers now, and totals since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MqttView {
    /// Clients connected now.
    pub clients: u64,
    /// Sessions kept now, with their client or without.
    pub sessions: u64,
    /// Subscriptions of all sessions.
    pub subscriptions: u64,
    /// Retained messages that clients published; states are not among them.
    pub retained: u64,
    /// Bytes that wait for clients.
    pub queue_bytes: u64,
    /// Messages written to clients within the last second.
    pub out_per_s: u64,
    /// Messages taken, from clients and of states.
    pub messages_in: u64,
    /// Messages written to clients.
    pub messages_out: u64,
    /// Messages not delivered, by reason: `slow`, `denied`, `too_large`, `outdated`, `no_room`.
    pub dropped: BTreeMap<String, u64>,
    /// Clients that were not let in.
    pub refused: u64,
    /// Connections that were ended, by reason: `slow`, `no_room`, `bad_packet`.
    pub ended: BTreeMap<String, u64>,
    /// Routers that ended and were replaced.
    pub router_restarts: u64,
}

/// A hub process.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HubView {
    /// Random name of the process.
    pub id: String,
    /// Machine.
    pub host: String,
    /// Version.
    pub version: String,
    /// Its configuration files equal the revision in force.
    pub files_match_revision: bool,
    /// Last report.
    pub seen: DateTime<Utc>,
}

/// One condition of readiness.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReadyCheck {
    /// `revision`, `database`, `rabbitmq` or `topology`.
    pub name: String,
    /// Whether it holds.
    pub ok: bool,
    /// Why not, or what it is.
    pub detail: String,
}
