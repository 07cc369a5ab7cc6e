//! Live state over MQTT: a gateway of our own in front of rumqttd, whose codecs and router it uses and
//! whose listeners it never exposes. It knows the protocol, topics and sessions; who may do what and
//! what a topic's state is, is known elsewhere and asked through [`Doorkeeper`] and [`States`]. No type
//! of rumqttd leaves this crate.

mod gateway;
mod index;
mod listen;
mod origin;
mod outside;
mod said;
pub mod session;
mod websocket;
mod why;
pub mod wire;

pub use gateway::{Capacity, Figures, Gateway};
pub use listen::{Tls, serve_tcp, serve_tls};
pub use origin::Origins;
pub use outside::{Arrival, Doorkeeper, State, States, StatesError, StatesPage};
pub use websocket::serve_websocket;
pub use why::{Refusal, Why};

/// What the broker inside says of its own tickets is of no use to operators.
pub const LOG_FILTER: &str = "rumqttd=warn";
