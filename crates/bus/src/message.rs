//! What travels over RabbitMQ, free of any client library: properties, headers, outgoing messages
//! and deliveries, and the CloudEvents binding to them. Nothing passes through by itself: an
//! outgoing message carries the properties and headers that someone put there by name.

mod cloudevents;
mod header;
#[cfg(test)]
mod tests;
mod wire;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::error::PublishError;

pub use cloudevents::{decode_event, encode_event};
pub use header::{HeaderValue, Headers, headers_to_json};
pub(crate) use wire::{Prepared, delivery, field_table, prepare, returned_tag};

/// The largest header table of an outgoing message, in bytes as AMQP encodes it. Twice this does
/// not fit into a frame any more, and the broker would close the connection.
pub const HEADERS_MAX_BYTES: usize = 64 * 1024;
/// The largest body of an outgoing message, in bytes: what the private node accepts.
pub const BODY_MAX_BYTES: usize = 2 * 1024 * 1024;
/// The largest AMQP short string: routing keys, exchange names, header names and the text of
/// every property but the headers, in bytes.
pub const SHORT_STRING_MAX_BYTES: usize = 255;

/// The properties of a message (AMQP 0-9-1, class basic). Delivery mode, expiration, priority and
/// reply-to are not among them: every message is persistent, and nothing uses the others.
#[derive(Clone, Default, PartialEq)]
pub struct Properties {
    /// Media type of the body.
    pub content_type: Option<String>,
    /// Encoding of the body, such as `gzip`.
    pub content_encoding: Option<String>,
    /// The publisher's name for the message.
    pub message_id: Option<String>,
    /// What the message belongs to.
    pub correlation_id: Option<String>,
    /// The publisher's RabbitMQ user, verified by RabbitMQ where it is present.
    pub user_id: Option<String>,
    /// The publisher's time, in whole seconds.
    pub timestamp: Option<DateTime<Utc>>,
    /// `type` on the wire.
    pub message_type: Option<String>,
    /// The publishing program.
    pub app_id: Option<String>,
    /// Everything else.
    pub headers: Headers,
}

/// A message to publish. It is persistent (delivery mode 2).
#[derive(Clone, Default, PartialEq)]
pub struct Outgoing {
    /// The exchange, `""` for the default one.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
    /// Further routing keys, which RabbitMQ removes before it delivers.
    pub bcc: Vec<String>,
    /// Whether to have it returned when no queue takes it.
    pub mandatory: bool,
    /// Properties and headers. Headers named `CC`, `BCC` or `x-…` steer RabbitMQ and are left out.
    pub properties: Properties,
    /// The body.
    pub body: Bytes,
}

impl Outgoing {
    /// Whether it can be published at all. Lets a sender of several refuse all of them before the first is gone.
    ///
    /// # Errors
    /// [`PublishError::TooLarge`] with the limit that it breaks.
    pub fn check_size(&self) -> Result<(), PublishError> {
        prepare(self.clone()).map(drop)
    }
}

/// A message from a queue, to be acked or rejected.
#[derive(Clone, PartialEq)]
pub struct Delivery {
    /// By which it is acked: unique on the lane or consumer that it came from, growing from 1.
    pub tag: u64,
    /// The exchange it was published to.
    pub exchange: String,
    /// The routing key it was published with.
    pub routing_key: String,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    /// Properties and headers as they came.
    pub properties: Properties,
    /// The body as it came.
    pub body: Bytes,
}

/// Names the message without what may be personal: subjects, keys, headers and bodies.
impl std::fmt::Debug for Properties {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Properties")
            .field("content_type", &self.content_type)
            .field("message_id", &self.message_id)
            .field("user_id", &self.user_id)
            .field("headers", &self.headers.keys())
            .finish_non_exhaustive()
    }
}

/// Names the message without what may be personal.
impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outgoing")
            .field("exchange", &self.exchange)
            .field("bcc", &self.bcc)
            .field("mandatory", &self.mandatory)
            .field("properties", &self.properties)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Names the message without what may be personal.
impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("tag", &self.tag)
            .field("exchange", &self.exchange)
            .field("redelivered", &self.redelivered)
            .field("properties", &self.properties)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
