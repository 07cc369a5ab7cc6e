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

/// What one client may do, by the token or key that it came with. What an implementation does not
/// name is denied.
pub trait Rights: Send + Sync {
    /// Who the client is: its sessions are its own, whatever client id another one names.
    fn principal(&self) -> &str;

    /// Whether it may, at this time.
    fn may(&self, action: Action<'_>, now_ms: u64) -> bool {
        let _ = (action, now_ms);
        false
    }

    /// What may be subscribed to, for a client that asks for something else; empty where it is not told.
    fn readable(&self) -> &[TopicFilter] {
        &[]
    }

    /// When they end by themselves, and the connection with them; none where they do not.
    fn ends_ms(&self) -> Option<u64> {
        None
    }

    /// Whether they were taken back. Asked when the gateway is told that some were.
    fn are_revoked(&self) -> bool {
        false
    }
}
