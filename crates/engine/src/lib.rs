//! The hub's work: what happens to an event between the way in and an adapter's queue, and the account of it.
//!
//! [`Hub`] is the one door: `api` and the program call it and know nothing below it. Inside, the gate
//! ([`gate`]) takes events from RabbitMQ, the edge ([`edge`]) puts events of HTTP producers there, outcomes
//! ([`outcomes`]) reads what adapters say, and upkeep ([`upkeep`]) keeps topology, credentials and alarms right.
//! Nothing here knows HTTP or a database product.

mod adapters;
mod alarms;
mod credentials;
mod edge;
mod env_file;
mod error;
mod events;
mod gate;
mod hub;
mod journey;
mod keys;
mod ledger;
mod measures;
mod outcomes;
mod quarantine;
mod restore;
mod revisions;
mod routing;
mod shared;
mod status;
mod storing;
#[cfg(test)]
mod testing;
mod upkeep;
mod views;

pub use error::{AcceptError, AuthError, EngineError};
pub use events::EventSearch;
pub use hub::{BrokerAddress, Hub, HubOptions};
pub use keys::{NewKey, Principal, Scope};
pub use outcomes::read_receipts;
pub use views::*;
