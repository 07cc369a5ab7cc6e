//! The configuration as people write it: the hub's settings in `crossdock.toml`, one manifest per
//! adapter, the JSON Schemas of the shop's own event types, and the rules of live state. It takes the contents of files and says every fault in them with its place and
//! what was expected; it reads no disk and no environment, and knows nothing of brokers or
//! databases.

mod adapters;
mod delay;
mod digest;
mod document;
mod environment;
mod fault;
mod formats;
mod grammar;
mod json_text;
mod manifest;
mod network;
mod phrase;
pub mod schema;
mod secret;
mod settings;
mod shared;
mod state;
mod syntax;
mod topic;
mod topics;

pub use adapters::{AdapterSet, load_adapters};
pub use delay::{DELAY_MAX, DELAY_MIN, LIFETIME_MAX, SCHEDULE_MAX_DELAYS};
pub use digest::digest;
pub use fault::{ConfigFault, SourceFile};
pub use manifest::{Delivery, Manifest, Order, Retry, Subscription};
pub use network::{InvalidRange, IpRange};
pub use secret::{Secret, SecretError, SecretReference};
pub use settings::{Database, Http, Mqtt, MqttTls, Outbound, RabbitMq, Retention, Settings, TokenIssuer};
pub use shared::{SharedConfig, fault_in_schema, load_shared, schema_path};
pub use state::{STATE_RULES_MAX, StateRule, StateRules};
pub use topic::{Misfit, STATE_TOPIC_MAX_BYTES, TopicTemplate};
pub use topics::{ClaimTemplate, FillError, InvalidTemplate, readable_filter};
