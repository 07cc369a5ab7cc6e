//! What can go wrong between Crossdock and RabbitMQ, told apart by what the caller can do about it.

use thiserror::Error;

/// A connection, channel, consumer, declaration or management request that failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BusError {
    /// RabbitMQ cannot be reached, or it went away: try again with a new connection.
    #[error("RabbitMQ is not available: {0}")]
    Unavailable(String),
    /// RabbitMQ understood and said no; the same request again meets the same answer.
    #[error("RabbitMQ refused: {code} {reason}")]
    Refused {
        /// AMQP 0-9-1 reply code (403, 404, 405, 406, 530 …) or HTTP status of the management API.
        code: u16,
        /// RabbitMQ's own words.
        reason: String,
    },
    /// The right to read the queue is withdrawn (AMQP 403 on consume): wait and try again.
    #[error("consuming from {queue} is paused: {reason}")]
    Paused {
        /// The queue that may not be read for now.
        queue: String,
        /// RabbitMQ's own words.
        reason: String,
    },
    /// Exchanges, queues or bindings are not what they must be.
    #[error("topology: {0}")]
    Topology(String),
    /// The broker's URL or its certificates are not usable.
    #[error("broker URL: {0}")]
    Url(String),
}

/// A publish that RabbitMQ has not confirmed as routed and safe. Except after `Returned` and
/// `TooLarge` it may have arrived all the same: publish again with the same event id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PublishError {
    /// There is no connection, or it ended before the confirm came.
    #[error("RabbitMQ is not available: {0}")]
    Unavailable(String),
    /// RabbitMQ has blocked publishers, for want of memory or disk.
    #[error("RabbitMQ has blocked publishers: {0}")]
    Blocked(String),
    /// No confirm within [`CONFIRM_DEADLINE`](crate::publisher::CONFIRM_DEADLINE).
    #[error("RabbitMQ did not confirm in time")]
    Timeout,
    /// RabbitMQ could not take it, for example because a target queue is full.
    #[error("RabbitMQ did not take the message")]
    Nacked,
    /// None of the targets exists.
    #[error("the message has nowhere to go: {code} {text}")]
    Returned {
        /// AMQP reply code, 312 for "no route".
        code: u16,
        /// RabbitMQ's own words.
        text: String,
    },
    /// Refused here, before it could close the connection.
    #[error("{actual} bytes where {limit} are allowed")]
    TooLarge {
        /// Largest size allowed, in bytes.
        limit: usize,
        /// Size found, in bytes.
        actual: usize,
    },
}
