//! What an adapter written in Rust needs: take events from its queue, answer with events of its own, say how it
//! went. It speaks to RabbitMQ only; the hub's insides are not known here.
//!
//! An adapter is a process. The hub gives it its name and address in the environment
//! (`CROSSDOCK_ADAPTER`, `CROSSDOCK_AMQP_URL`):
//!
//! ```no_run
//! use crossdock_sdk::{Adapter, Answer, Failure, Incoming};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), crossdock_sdk::SdkError> {
//!     crossdock_sdk::log_to_stderr();
//!     Adapter::from_env("/erp")?.run(number).await
//! }
//!
//! async fn number(order: Incoming) -> Result<Vec<Answer>, Failure> {
//!     let reference = order.subject().unwrap_or_default();
//!     Ok(vec![Answer::new("order.numbered.v1", &serde_json::json!({ "order": reference, "number": "4711" }))?])
//! }
//! ```
//!
//! Every answer is published and confirmed before the receipt, and the receipt before the ack, so a crash repeats
//! work and loses none. Answers get their ids from the event they answer: a repeat repeats the same ids, and the
//! hub drops them as duplicates.

mod adapter;
mod answer;
mod incoming;
mod schemas;

pub use adapter::{Adapter, Sender};
pub use answer::Answer;
pub use incoming::{Failure, Incoming};
pub use schemas::Schemas;

/// Why an adapter cannot run.
#[derive(Debug, thiserror::Error)]
pub enum SdkError {
    /// The environment lacks something; the text says what.
    #[error("{0}")]
    Environment(String),
    /// An address that is none, or a connection that ended.
    #[error("RabbitMQ: {0}")]
    Broker(#[from] crossdock_bus::BusError),
    /// An event of the adapter's own is not acceptable; the text says where.
    #[error("event: {0}")]
    Event(String),
}

/// Logs to standard error, one line each, at the level of `RUST_LOG` (default `info`).
pub fn log_to_stderr() {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
    let filter = tracing_subscriber::EnvFilter::new(format!("{filter},{}", crossdock_bus::LOG_FILTER));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
}
