//! What can go wrong at the hub's door, sorted by what the caller can do about it.

use crossdock_bus::BusError;
use crossdock_config::ConfigFault;
use crossdock_model::fault::{Fault, Faults};
use crossdock_store::StoreError;

/// How long a caller should wait before it repeats a request that found RabbitMQ or the database away, in seconds.
pub(crate) const RETRY_AFTER_S: u32 = 5;

/// Why a call on the hub failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// There is no such thing; the text names it.
    #[error("{0}")]
    NotFound(String),
    /// Somebody else was faster, or the present state forbids it.
    #[error("{0}")]
    Conflict(String),
    /// Several events share the id; name one of these sources.
    #[error("several sources use this id: {}", .0.join(", "))]
    Ambiguous(Vec<String>),
    /// The configuration is faulty; every fault found.
    #[error("{}", list(.0))]
    Config(Vec<ConfigFault>),
    /// The request makes no sense; the text says what was expected.
    #[error("{0}")]
    Invalid(String),
    /// RabbitMQ or the database is away: nothing was changed, try again.
    #[error("{reason}")]
    Unavailable {
        /// What is away.
        reason: String,
        /// Seconds to wait.
        retry_after_s: u32,
    },
    /// A fault of the hub itself.
    #[error("internal error: {0}")]
    Internal(String),
}

impl EngineError {
    pub(crate) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable {
            reason: reason.into(),
            retry_after_s: RETRY_AFTER_S,
        }
    }
}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(reason) => {
                Self::unavailable(format!("the database is not available: {reason}"))
            }
            StoreError::Conflict(reason) => Self::Conflict(reason),
            StoreError::NotFound => Self::NotFound("not found".into()),
            StoreError::Invalid(reason) => Self::Invalid(reason),
            StoreError::Corrupt(reason) => Self::Internal(reason),
        }
    }
}

impl From<BusError> for EngineError {
    fn from(error: BusError) -> Self {
        match error {
            BusError::Topology(reason) => Self::Conflict(reason),
            other => Self::unavailable(other.to_string()),
        }
    }
}

/// Why events were not accepted. Nothing of the request is kept but what RabbitMQ already holds, and a repeat
/// with the same ids is safe.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// At least one event is faulty.
    #[error("{}", Faults(.0.clone()))]
    Invalid(Vec<Fault>),
    /// The producer may not send at least one of these.
    #[error("{}", Faults(.0.clone()))]
    Forbidden(Vec<Fault>),
    /// An event does not fit into a message.
    #[error("{}", Faults(.0.clone()))]
    TooLarge(Vec<Fault>),
    /// RabbitMQ did not confirm.
    #[error("not confirmed by RabbitMQ: {reason}")]
    Unavailable {
        /// What RabbitMQ or the connection said.
        reason: String,
        /// Seconds to wait.
        retry_after_s: u32,
    },
}

/// Why a key or session opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No such key, or the secret is wrong.
    #[error("unknown API key")]
    Unknown,
    /// It has run out.
    #[error("this API key has expired")]
    Expired,
    /// It was revoked.
    #[error("this API key was revoked")]
    Revoked,
    /// There is no such session, or it is over.
    #[error("there is no such session, or it is over")]
    SessionEnded,
    /// The database is away and the key or session was not seen lately.
    #[error("API keys and sessions cannot be checked while the database is away")]
    Unavailable,
}

/// Why somebody is not signed in, or their password not changed.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// Nobody has this name, or the password is another.
    #[error("the name or the password is wrong")]
    Refused,
    /// Too many others failed.
    #[error("too many sign-ins have failed; try again in {retry_after_s} s")]
    TooSoon {
        /// Seconds to wait.
        retry_after_s: u32,
    },
    /// The session in which it was asked for.
    #[error(transparent)]
    Session(#[from] AuthError),
    /// Whatever else can go wrong.
    #[error(transparent)]
    Failed(#[from] EngineError),
}

fn list(faults: &[ConfigFault]) -> String {
    faults
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}
