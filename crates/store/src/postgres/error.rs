//! Sorts the driver's errors by what the caller can do.

use sqlx::error::DatabaseError;

use crate::StoreError;

pub(super) fn failed(error: sqlx::Error) -> StoreError {
    match &error {
        sqlx::Error::Database(database) => sorted(database.as_ref()),
        sqlx::Error::PoolTimedOut => StoreError::Unavailable(
            "no connection to PostgreSQL in time: it cannot be reached, or all are in use".into(),
        ),
        // An answer that makes no sense is a connection that failed: nothing that is stored is to blame.
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => StoreError::Unavailable(error.to_string()),
        sqlx::Error::Configuration(_) => StoreError::Invalid(error.to_string()),
        sqlx::Error::RowNotFound => StoreError::NotFound,
        _ => StoreError::Corrupt(error.to_string()),
    }
}

/// The same while the first connection is made: a server that does not know this user or this database will not learn
/// to by being asked again.
pub(super) fn refused_at_the_door(error: sqlx::Error) -> StoreError {
    match &error {
        sqlx::Error::Database(database) if matches!(class(database.as_ref()), "28" | "3D") => {
            StoreError::Invalid(database.message().to_owned())
        }
        _ => failed(error),
    }
}

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>: the first two characters are the class.
fn class(error: &dyn DatabaseError) -> &str {
    // The code lives as long as the error; only its type does not say so.
    match error.code() {
        Some(std::borrow::Cow::Borrowed(code)) => code.get(..2).unwrap_or(code),
        _ => "",
    }
}

fn sorted(error: &dyn DatabaseError) -> StoreError {
    let message = error.message().to_owned();
    let code = error.code().unwrap_or_default();
    match code.get(..2).unwrap_or_default() {
        CONSTRAINT => StoreError::Conflict(message),
        DATA | LIMIT => StoreError::Invalid(message),
        CONNECTION | AUTHORIZATION | NO_DATABASE | ROLLED_BACK | RESOURCES | STATE | INTERVENTION
        | SYSTEM => StoreError::Unavailable(message),
        _ if matches!(code.as_ref(), READ_ONLY | IDLE_TOO_LONG | NO_RIGHT) => {
            StoreError::Unavailable(message)
        }
        _ => StoreError::Corrupt(message),
    }
}

const CONNECTION: &str = "08";
const DATA: &str = "22";
const CONSTRAINT: &str = "23";
const AUTHORIZATION: &str = "28";
const NO_DATABASE: &str = "3D";
/// Deadlocks and what cannot be put in order.
const ROLLED_BACK: &str = "40";
const RESOURCES: &str = "53";
const LIMIT: &str = "54";
/// A lock that was not to be had in time among them.
const STATE: &str = "55";
/// Shutting down, starting up, cancelled, out of time.
const INTERVENTION: &str = "57";
const SYSTEM: &str = "58";
/// A standby, until it is promoted.
const READ_ONLY: &str = "25006";
/// The hub was stopped in the middle of a transaction, as by a suspended machine.
const IDLE_TOO_LONG: &str = "25P03";
const NO_RIGHT: &str = "42501";
