//! The numbered revisions of the configuration, each whole. What the files mean is not known here.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{Result, StoreError};

/// One file of a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionFile {
    /// Path relative to the configuration's folder, with `/`.
    pub path: String,
    /// The file's text.
    pub text: String,
}

/// A revision to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRevision {
    /// When it was made.
    pub created: DateTime<Utc>,
    /// Who made it.
    pub author: String,
    /// Why.
    pub note: Option<String>,
    /// The digest of its files.
    pub digest: String,
    /// Its files.
    pub files: Vec<RevisionFile>,
}

/// A revision without its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionSummary {
    /// Counted from 1, without gaps.
    pub number: u32,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// Who made it.
    pub author: String,
    /// Why.
    pub note: Option<String>,
    /// The digest of its files.
    pub digest: String,
}

/// A revision, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// All but the files.
    pub summary: RevisionSummary,
    /// Its files, by path.
    pub files: Vec<RevisionFile>,
}

/// Revisions.
#[async_trait]
pub trait Revisions {
    /// The revision with the greatest number.
    async fn current_revision(&self) -> Result<Option<Revision>>;

    /// Up to `limit` revisions, newest first.
    async fn revisions(&self, limit: usize) -> Result<Vec<RevisionSummary>>;

    /// One revision.
    async fn revision(&self, number: u32) -> Result<Option<Revision>>;

    /// Appends a revision and returns its number. `Conflict` if the current number is not `expected_current`
    /// (`None`: there is none yet), because another came between.
    async fn append_revision(&self, expected_current: Option<u32>, revision: NewRevision) -> Result<u32>;
}

/// The number of a revision to be appended after `current`. `Conflict` if that is not what its author expected.
pub(crate) fn next_number(current: Option<u32>, expected_current: Option<u32>) -> Result<u32> {
    if current == expected_current {
        return Ok(current.unwrap_or(0) + 1);
    }
    let name = |number: Option<u32>| number.map_or("none".to_owned(), |number| number.to_string());
    Err(StoreError::Conflict(format!(
        "the current revision is {}, expected {}",
        name(current),
        name(expected_current)
    )))
}
