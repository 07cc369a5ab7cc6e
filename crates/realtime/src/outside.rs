//! What the gateway asks of the world outside: who comes, and what a topic's state is.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use crossdock_model::topic::{TopicFilter, TopicName};

use crate::session::Rights;
use crate::why::Refusal;
use crate::wire::Login;

/// A client at the door.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// Its address; behind a trusted proxy the one that the proxy names.
    pub peer: IpAddr,
    /// What it calls itself, or the id that it was given.
    pub client_id: &'a str,
    /// What it shows.
    pub login: Option<&'a Login>,
}

/// Decides who is let in. Slows down who guesses.
#[async_trait]
pub trait Doorkeeper: Send + Sync {
    /// What the client may do.
    ///
    /// # Errors
    /// What the client is told: `BadUserNameOrPassword` or `NotAuthorized` where it is not
    /// let in, `ConnectionRateExceeded` where it tried too often, `ServerUnavailable` where nobody can say.
    async fn admit(&self, arrival: Arrival<'_>) -> Result<Arc<dyn Rights>, Refusal>;

    /// A page of this origin, as its browser says, was turned away before it could show anything.
    fn turned_away(&self, _origin: &str, _peer: IpAddr) {}
}

/// The latest state of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Its topic.
    pub topic: TopicName,
    /// Grows with every change of the topic.
    pub version: u64,
    /// What subscribers get: JSON, `{topic, version, time, data}`.
    pub payload: Bytes,
    /// When it is worthless, in milliseconds since 1970.
    pub expires_ms: Option<u64>,
}

/// Some of the states that a filter matches.
#[derive(Debug, Default)]
pub struct StatesPage {
    /// By topic, each one once.
    pub states: Vec<State>,
    /// After which topic the next page begins; none: this was the last.
    pub next: Option<TopicName>,
}

/// Why states cannot be read now. They are asked for again.
#[derive(Debug, thiserror::Error)]
#[error("the states cannot be read: {0}")]
pub struct StatesError(pub String);

/// Where states are kept.
#[async_trait]
pub trait States: Send + Sync {
    /// Some of the states of topics that match and come after `after`. A short piece of work, however many topics there
    /// are to be looked at: it may find none and not be the last.
    ///
    /// # Errors
    /// If they cannot be read now.
    async fn page(&self, filter: &TopicFilter, after: Option<&TopicName>) -> Result<StatesPage, StatesError>;
}
