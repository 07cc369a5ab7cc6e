//! The hub's work: what happens to an event between the way in and an adapter's queue, and the account of it.
//!
//! [`Hub`] is the one door: `api` and the program call it and know nothing below it. Inside, the gate
//! ([`gate`]) takes events from RabbitMQ, the edge ([`edge`]) puts events of HTTP producers there, outcomes
//! ([`outcomes`]) reads what adapters say, webhooks ([`webhooks`]) posts events to those who want them so, state ([`state`]) keeps the
//! latest state of topics, upkeep
//! ([`upkeep`]) keeps topology, credentials and alarms right, and retention ([`retention`]) forgets what is old. Nothing here serves HTTP or knows a database product;
//! servers that others name are called through [`outbound`] alone.

mod adapters;
mod alarms;
mod alerts;
mod attempts;
mod attention;
mod browser_tokens;
mod credentials;
mod dead_letters;
mod edge;
mod env_file;
mod error;
mod events;
mod facts;
mod gate;
mod histogram;
mod hub;
mod journey;
mod keys;
mod lanes;
mod ledger;
mod measures;
pub mod outbound;
mod outcomes;
mod overview;
mod passwords;
mod principal;
mod quarantine;
mod recent;
mod restore;
mod retention;
mod retry;
mod revisions;
mod routing;
mod sessions;
mod shared;
mod state;
mod status;
mod storing;
#[cfg(test)]
mod testing;
mod upkeep;
mod users;
mod views;
mod webhooks;
mod words;

pub use browser_tokens::{
    BROWSER_TOKEN_MAX_BYTES, BrowserToken, Grants, LoginError, MintError, NewBrowserToken, Revoked,
    TokenFault,
};
pub use error::{AcceptError, AuthError, EngineError, SignInError};
pub use events::EventSearch;
pub use hub::{BrokerAddress, Hub, HubOptions};
pub use keys::NewKey;
pub use outcomes::read_receipts;
pub use passwords::new_password;
pub use principal::{Holder, Principal, Role, Scope};
pub use state::{LiveState, State, StatePage};
pub use users::NewUser;
pub use views::*;
