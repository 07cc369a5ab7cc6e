//! An adapter's manifest: who it is, what it may publish, what it gets and how, and when a failed
//! delivery is tried again.

use std::time::Duration;

use crossdock_model::TypePattern;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::secret::SecretReference;
use crate::{delay, schema};

/// One adapter, as `adapters/<name>.toml` describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    title = "adapters/<name>.toml",
    description = "Manifest of a Crossdock adapter."
)]
pub struct Manifest {
    /// The adapter's name, as in the file's: lower-case letters, digits and hyphens.
    #[schemars(schema_with = "schema::adapter_name")]
    pub name: String,
    /// The CloudEvents source of its events; no other adapter may use it.
    #[schemars(schema_with = "schema::event_source")]
    pub source: String,
    /// What the adapter is for, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::free_text")]
    pub description: Option<String>,
    /// The event types that it may publish.
    #[serde(default)]
    #[schemars(schema_with = "schema::event_types")]
    pub publishes: Vec<String>,
    /// How events reach it.
    #[serde(default)]
    pub delivery: Delivery,
    /// Whether the order of events with the same key matters to it.
    #[serde(default)]
    pub order: Order,
    /// The events that it gets. An event that several subscriptions match comes once, as the first of
    /// them says.
    #[serde(default)]
    pub subscribe: Vec<Subscription>,
    /// When a failed delivery is tried again.
    #[serde(default)]
    pub retry: Retry,
}

/// How events reach an adapter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
#[schemars(example = Self::Amqp)]
pub enum Delivery {
    /// The adapter consumes its queue.
    #[default]
    Amqp,
    /// The hub posts each event, signed as Standard Webhooks 1.0.0 says.
    Webhook {
        /// The address to post to: https://, or http:// for addresses that the hub's `[outbound]` allows.
        #[schemars(schema_with = "schema::webhook_url")]
        url: Url,
        /// Where the key of the signature is: `whsec_…`. A relative path counts from the hub's data folder.
        secret: SecretReference,
        /// How long an answer may take, in seconds.
        #[serde(default = "default_timeout_s")]
        #[schemars(range(min = 1, max = 60))]
        timeout_s: u32,
        /// How many requests may be under way at once. For each of them the hub may hold an event in memory.
        #[serde(default = "default_max_in_flight")]
        #[schemars(range(min = 1, max = 200))]
        max_in_flight: u32,
        /// How many requests may begin in a second; unlimited when it is left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "u32", range(min = 1))]
        rate_per_s: Option<u32>,
    },
    /// The adapter pulls events over HTTP.
    Feed,
}

fn default_timeout_s() -> u32 {
    20
}

fn default_max_in_flight() -> u32 {
    10
}

/// Whether the order of events with the same key matters to an adapter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Any number of consumers share the queue.
    #[default]
    None,
    /// One consumer at a time is active, so that events of a key come in order.
    Key,
}

/// A choice of events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    /// Event types, exact or with `*` for one whole segment: `order.*.v1`.
    #[schemars(schema_with = "schema::event_type_patterns")]
    pub types: Vec<TypePattern>,
    /// A jq expression over the event; the event passes when its first output is anything but false and null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::filter")]
    pub filter: Option<String>,
    /// A jq expression over the event whose one output takes the place of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::transform")]
    pub transform: Option<String>,
}

/// When a failed delivery is tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// The delay before each further attempt; after the last the event becomes a dead letter.
    #[serde(deserialize_with = "delay::deserialize", serialize_with = "delay::serialize")]
    #[schemars(schema_with = "schema::delays")]
    pub schedule: Vec<Duration>,
}

/// 5 s, 30 s, 2 min, 10 min, 1 h and 6 h.
impl Default for Retry {
    fn default() -> Self {
        Self {
            schedule: [5, 30, 120, 600, 3_600, 21_600].map(Duration::from_secs).into(),
        }
    }
}
