//! The parts of a session that keep the protocol's promises, without IO: what waits for a client and
//! is on its way, what it sent and must not count twice, when it has been silent for too long, and
//! the question whether it may. Time comes as a parameter, in milliseconds of one clock of the
//! caller's; sockets, routing and who is connected are the gateway's.

mod alive;
mod client;
mod inbox;
mod outbox;
mod rights;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use alive::Alive;
pub(crate) use client::{ALIASED_BYTES_MAX, MAX_SUBSCRIPTION_BYTES, MAX_SUBSCRIPTION_LEVELS};
pub use client::{Client, Effect, MAX_SUBSCRIPTIONS, Options, SESSION_EXPIRY_MAX_S, TOPIC_ALIAS_MAX, Terms};
pub use inbox::{Inbox, Received};
pub(crate) use outbox::held_bytes;
pub use outbox::{Limits, Outbox, Pushed, Waiting};
pub use rights::{Action, Rights};
