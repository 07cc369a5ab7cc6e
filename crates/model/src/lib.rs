//! What every part of Crossdock agrees on: the CloudEvents envelope and its encodings, the event
//! families with their JSON Schemas, type patterns, names, the clock, and jq mappings that always
//! end, MQTT topics, networks. It does no I/O and knows nothing of brokers, databases or HTTP.

pub mod clock;
pub mod event;
pub mod fault;
pub mod jq;
pub mod name;
pub mod network;
pub mod schema;
mod thread;
pub mod topic;
pub mod traceparent;
pub mod types;

pub use clock::{Clock, FixedClock, SystemClock};
pub use event::{AttributeValue, Event};
pub use fault::{Fault, Faults};
pub use traceparent::Traceparent;
pub use types::TypePattern;
