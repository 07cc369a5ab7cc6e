//! What the management API answers, reduced to what the hub reads of it.
//! Fields that RabbitMQ leaves out until its statistics are in have defaults.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::statistics::{Depth, History, MessageStats, Rates};

/// The implementation behind a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueKind {
    /// `classic`.
    Classic,
    /// `quorum`.
    Quorum,
    /// `stream`.
    Stream,
    /// A kind that came with a later RabbitMQ.
    Other,
}

/// A queue as the broker sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueInfo {
    /// Its name.
    pub name: String,
    /// Its implementation.
    pub kind: QueueKind,
    /// Whether it survives a restart of the broker.
    pub durable: bool,
    /// Messages waiting to be delivered; `None` until the broker has counted.
    pub ready: Option<u64>,
    /// Messages delivered and not yet acknowledged; `None` until the broker has counted.
    pub unacked: Option<u64>,
    /// Consumers attached.
    pub consumers: u64,
    /// Tags of the consumers that acknowledge nothing: what they are sent counts as done at once.
    pub auto_ack_consumers: Vec<String>,
    /// The arguments it was declared with.
    pub arguments: Map<String, Value>,
    /// The policy that applies to it, by name.
    pub policy: Option<String>,
    /// What policy and operator policy together impose on it.
    pub effective_policy: Map<String, Value>,
    /// How fast messages come and go; all unknown unless statistics were asked for.
    pub rates: Rates,
    /// What it held, handed out or not, oldest first; empty unless statistics were asked for.
    pub depths: Vec<Depth>,
}

#[derive(Deserialize)]
pub(super) struct QueueAnswer {
    name: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    durable: bool,
    messages_ready: Option<u64>,
    messages_unacknowledged: Option<u64>,
    #[serde(default)]
    consumers: u64,
    #[serde(default, deserialize_with = "table")]
    arguments: Map<String, Value>,
    #[serde(default, deserialize_with = "name_or_nothing")]
    policy: Option<String>,
    #[serde(default, deserialize_with = "table")]
    effective_policy_definition: Map<String, Value>,
    #[serde(default)]
    consumer_details: Vec<ConsumerInfo>,
    #[serde(default)]
    message_stats: MessageStats,
    #[serde(default)]
    messages_details: History,
}

impl From<QueueAnswer> for QueueInfo {
    fn from(answer: QueueAnswer) -> Self {
        Self {
            name: answer.name,
            kind: match answer.kind.as_str() {
                "classic" => QueueKind::Classic,
                "quorum" => QueueKind::Quorum,
                "stream" => QueueKind::Stream,
                _ => QueueKind::Other,
            },
            durable: answer.durable,
            ready: answer.messages_ready,
            unacked: answer.messages_unacknowledged,
            consumers: answer.consumers,
            auto_ack_consumers: answer
                .consumer_details
                .into_iter()
                .filter(|consumer| !consumer.ack_required)
                .map(|consumer| consumer.tag)
                .collect(),
            arguments: answer.arguments,
            policy: answer.policy,
            effective_policy: answer.effective_policy_definition,
            rates: answer.message_stats.into(),
            depths: answer.messages_details.into(),
        }
    }
}

/// A consumer attached to a queue.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ConsumerInfo {
    /// Its tag, chosen by the client or the broker.
    #[serde(rename = "consumer_tag")]
    pub tag: String,
    /// The queue it consumes.
    #[serde(deserialize_with = "inner_name")]
    pub queue: String,
    /// False: the broker forgets a message as soon as it is sent.
    #[serde(default)]
    pub ack_required: bool,
}

/// An exchange as the broker sees it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ExchangeInfo {
    /// Its name.
    pub name: String,
    /// Its type: `direct`, `fanout`, `x-consistent-hash`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it survives a restart of the broker.
    pub durable: bool,
    /// The arguments it was declared with.
    #[serde(default, deserialize_with = "table")]
    pub arguments: Map<String, Value>,
}

/// A binding from an exchange to a queue or another exchange.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct BindingInfo {
    /// The exchange; empty for the default one.
    pub source: String,
    /// The queue or exchange it leads to.
    pub destination: String,
    /// `queue` or `exchange`.
    pub destination_type: String,
    /// The binding key.
    pub routing_key: String,
    /// The arguments it was made with.
    #[serde(default, deserialize_with = "table")]
    pub arguments: Map<String, Value>,
}

/// A user of the broker.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct UserInfo {
    /// Its name.
    pub name: String,
    /// Its tags: `administrator`, `monitoring`, …
    #[serde(default, deserialize_with = "tags")]
    pub tags: Vec<String>,
}

/// What a user may do in a vhost: three regular expressions over the names of
/// exchanges and queues (<https://www.rabbitmq.com/docs/access-control>).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// Declare and delete.
    pub configure: String,
    /// Publish and bind to.
    pub write: String,
    /// Consume, purge and bind from.
    pub read: String,
}

/// The broker at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// RabbitMQ's version, such as `3.10.8`.
    pub version: String,
    /// The cluster's name.
    pub cluster: String,
    /// Alarms that block publishers now.
    pub alarms: Vec<Alarm>,
    /// Nodes of the cluster that are not running.
    pub nodes_down: Vec<String>,
}

/// Why a node of the broker takes no publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alarm {
    /// The node uses more memory than its limit.
    Memory {
        /// The node's name.
        node: String,
    },
    /// The node's disk has less free space than its limit.
    Disk {
        /// The node's name.
        node: String,
    },
}

impl fmt::Display for Alarm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { node } => write!(formatter, "{node} is above its memory limit"),
            Self::Disk { node } => write!(formatter, "{node} is short of free disk space"),
        }
    }
}

impl Overview {
    pub(super) fn of(overview: OverviewAnswer, nodes: Vec<NodeAnswer>) -> Self {
        let mut alarms = Vec::new();
        let mut nodes_down = Vec::new();
        for node in nodes {
            if node.mem_alarm {
                alarms.push(Alarm::Memory {
                    node: node.name.clone(),
                });
            }
            if node.disk_free_alarm {
                alarms.push(Alarm::Disk {
                    node: node.name.clone(),
                });
            }
            if !node.running {
                nodes_down.push(node.name);
            }
        }
        Self {
            version: overview.rabbitmq_version,
            cluster: overview.cluster_name,
            alarms,
            nodes_down,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct OverviewAnswer {
    rabbitmq_version: String,
    #[serde(default)]
    cluster_name: String,
}

#[derive(Deserialize)]
pub(super) struct NodeAnswer {
    name: String,
    #[serde(default)]
    running: bool,
    #[serde(default)]
    mem_alarm: bool,
    #[serde(default)]
    disk_free_alarm: bool,
}

/// A feature flag of the broker.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FeatureFlag {
    /// Its name.
    pub name: String,
    /// `enabled`, `disabled` or `unavailable`.
    pub state: String,
    /// `stable`, `experimental` or, since 3.11, `required`.
    #[serde(default)]
    pub stability: String,
}

#[derive(Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
}

#[derive(Deserialize)]
pub(super) struct ErrorAnswer {
    #[serde(default)]
    error: String,
    reason: Value,
}

impl fmt::Display for ErrorAnswer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Value::String(reason) if !reason.is_empty() => formatter.write_str(reason),
            _ => formatter.write_str(&self.error),
        }
    }
}

/// RabbitMQ writes an empty table as an empty list.
fn table<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Object(map) => map,
        _ => Map::new(),
    })
}

fn name_or_nothing<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|name| !name.is_empty()))
}

fn inner_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Named::deserialize(deserializer).map(|named| named.name)
}

/// A comma-separated string before 3.9, a list since.
fn tags<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Tags {
        List(Vec<String>),
        Text(String),
    }
    Ok(match Tags::deserialize(deserializer)? {
        Tags::List(tags) => tags,
        Tags::Text(text) => text
            .split(',')
            .filter(|tag| !tag.is_empty())
            .map(str::to_owned)
            .collect(),
    })
}
