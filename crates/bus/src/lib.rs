//! RabbitMQ as the rest of Crossdock sees it: names and topology as data, confirmed publishing,
//! fenced lanes, the management API and a private node. It knows events only as CloudEvents to put
//! on the wire and take off it; what they mean, who may send them and where they go is decided
//! elsewhere. No type of the AMQP client leaves this crate.

pub mod broker;
pub mod consumer;
pub mod credentials;
pub mod error;
pub mod lane;
pub mod listener;
pub mod management;
pub mod message;
pub mod names;
pub mod node;
pub mod publisher;
pub mod topology;

mod confirms;
mod deliveries;
mod frames;
mod link;
mod pipeline;
mod transport;

pub use broker::Broker;
pub use consumer::AdapterConsumer;
pub use error::{BusError, PublishError};
pub use lane::Lane;
pub use listener::Listener;
pub use management::Management;
pub use message::{Delivery, HeaderValue, Headers, Outgoing, Properties};
pub use publisher::{LinkState, Publisher};
pub use topology::{AdapterQueue, Topology};

/// What a program adds to its log filter. The AMQP client below this crate reports every broken
/// connection as an error, though it is mended here, and prints returned messages with their bodies.
pub const LOG_FILTER: &str = "lapin=off";
