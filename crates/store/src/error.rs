//! What can go wrong with the database, sorted by what the caller can do about it.

/// Messages name tables, columns and system errors, never stored values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be used now: locked, unreachable, disk full or failing. Waiting and repeating is safe.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// Another writer came first, or the name is taken. Read again and decide anew.
    #[error("conflict: {0}")]
    Conflict(String),
    /// There is no such row.
    #[error("not found")]
    NotFound,
    /// The database holds what this version cannot understand. Repeating does not help.
    #[error("the database is corrupt or of another version: {0}")]
    Corrupt(String),
    /// The request itself cannot be carried out by any database.
    #[error("invalid: {0}")]
    Invalid(String),
}
