//! The one question that every packet is put to. What is not granted is denied; who grants is not
//! known here.

use crossdock_model::topic::{TopicFilter, TopicName};

/// What a client wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action<'a> {
    /// Publish to a topic, as its will too.
    Publish(&'a TopicName),
    /// Subscribe: granted only if every topic that the filter can match is.
    Subscribe(&'a TopicFilter),
    /// Get a message of a topic; asked at delivery, so that a right that ended holds no longer.
    Receive(&'a TopicName),
}

/// What one client may do, by the token or key that it came with.
pub trait Rights: Send + Sync {
    /// Whether it may, at this time. What an implementation does not name is denied.
    fn may(&self, action: Action<'_>, now_ms: u64) -> bool {
        let _ = (action, now_ms);
        false
    }
}

/// May nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct DenyAll;

impl Rights for DenyAll {}
