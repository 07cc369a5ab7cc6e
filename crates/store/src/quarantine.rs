//! Messages that hold no acceptable event, kept with their reasons until a person sends them again. The
//! message is kept as it came, and its content is shown nowhere but to the one who asks for it.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use crossdock_model::fault::Fault;
use sha2::{Digest, Sha256};

use crate::Result;

/// Headers that RabbitMQ itself writes and changes from one delivery of a message to the next.
const BROKER_HEADERS: [&str; 9] = [
    "x-acquired-count",
    "x-death",
    "x-delivery-count",
    "x-first-death-exchange",
    "x-first-death-queue",
    "x-first-death-reason",
    "x-last-death-exchange",
    "x-last-death-queue",
    "x-last-death-reason",
];

/// A message that the gate turned away.
#[derive(Clone)]
pub struct NewQuarantined {
    /// When the gate received it.
    pub received: DateTime<Utc>,
    /// The adapter or API key that sent it, where that is known.
    pub producer: Option<String>,
    /// Every fault that was found.
    pub reasons: Vec<Fault>,
    /// The message's headers, a JSON object.
    pub headers: serde_json::Value,
    /// The message's content type.
    pub content_type: Option<String>,
    /// The message's body.
    pub body: Bytes,
    /// The key it was published with.
    pub routing_key: String,
    /// RabbitMQ had delivered the message before. If it is in quarantine already, it counts as redelivered
    /// and not as the producer's repeat.
    pub redelivered: bool,
}

impl NewQuarantined {
    /// What makes two quarantined messages one: SHA-256 over producer, routing key, content type, headers and
    /// body. A message that the hub gets again after a crash is thereby kept once; the price is that a producer
    /// who sends the same bytes twice has them kept once too, and the second counts as a duplicate.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        part(self.producer.as_deref().unwrap_or_default().as_bytes());
        part(self.routing_key.as_bytes());
        part(self.content_type.as_deref().unwrap_or_default().as_bytes());
        part(&self.body);
        match &self.headers {
            serde_json::Value::Object(headers) => {
                let mut headers: Vec<_> = headers
                    .iter()
                    .filter(|(name, _)| !BROKER_HEADERS.contains(&name.as_str()))
                    .collect();
                headers.sort_by_key(|(name, _)| *name);
                for (name, value) in headers {
                    part(name.as_bytes());
                    part(value.to_string().as_bytes());
                }
            }
            other => part(other.to_string().as_bytes()),
        }
        hash.finalize().into()
    }
}

impl fmt::Debug for NewQuarantined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewQuarantined")
            .field("received", &self.received)
            .field("producer", &self.producer)
            .field("reasons", &self.reasons)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// A message in quarantine, without its content.
#[derive(Debug, Clone, PartialEq)]
pub struct QuarantinedSummary {
    /// Its number: grows with every message, from 1.
    pub id: i64,
    /// When the gate received it.
    pub received: DateTime<Utc>,
    /// The adapter or API key that sent it, where that is known.
    pub producer: Option<String>,
    /// Every fault that was found, the last time it came.
    pub reasons: Vec<Fault>,
    /// The message's content type.
    pub content_type: Option<String>,
    /// The key it was published with.
    pub routing_key: String,
    /// The body's length in bytes.
    pub body_bytes: u64,
    /// When it was last sent again, unless it has come back since.
    pub resent: Option<DateTime<Utc>>,
}

/// A message in quarantine, whole.
#[derive(Clone, PartialEq)]
pub struct Quarantined {
    /// All but the content.
    pub summary: QuarantinedSummary,
    /// The message's headers, a JSON object.
    pub headers: serde_json::Value,
    /// The message's body.
    pub body: Bytes,
}

impl fmt::Debug for Quarantined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quarantined")
            .field("summary", &self.summary)
            .finish_non_exhaustive()
    }
}

/// The quarantine. Messages enter it with the gate's batch (`Events::record`).
#[async_trait]
pub trait Quarantine {
    /// Up to `limit` messages with ids below `before`, newest first.
    async fn quarantine_page(&self, before: Option<i64>, limit: usize) -> Result<Vec<QuarantinedSummary>>;

    /// One message, whole.
    async fn quarantined(&self, id: i64) -> Result<Option<Quarantined>>;

    /// Notes that a message was sent again; should it come back, the mark goes away. `NotFound` for an
    /// unknown id.
    async fn mark_resent(&self, id: i64, at: DateTime<Utc>) -> Result<()>;
}
