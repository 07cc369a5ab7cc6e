//! Dead letters: deliveries that failed for good and wait for a person. They are rows of the record and no copies:
//! here they are only found.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::Result;
use crate::events::{EventKey, StoredEvent};

/// The most dead letters that one page shows, whatever limit was asked for.
pub const DEAD_LETTERS_MAX: usize = 1_000;

/// A dead letter without its event's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The event's place in the record.
    pub event_offset: i64,
    /// The adapter at which it failed.
    pub adapter: String,
    /// The event.
    pub event: EventKey,
    /// The event's type.
    pub event_type: String,
    /// The event's subject.
    pub subject: Option<String>,
    /// When the gate received the event.
    pub received: DateTime<Utc>,
    /// When it failed for good.
    pub failed: DateTime<Utc>,
    /// How many attempts there were.
    pub attempts: u32,
    /// The reason.
    pub detail: Option<String>,
}

/// Where a page ends and the next begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterCursor {
    /// When the last one shown failed.
    pub failed: DateTime<Utc>,
    /// Its event's offset.
    pub event_offset: i64,
    /// Its adapter.
    pub adapter: String,
}

/// The time, offset and adapter that all of a page come before, going backwards.
pub(crate) fn page_end(after: Option<&DeadLetterCursor>) -> (i64, i64, &str) {
    after.map_or((i64::MAX, i64::MAX, ""), |cursor| {
        (
            cursor.failed.timestamp_micros(),
            cursor.event_offset,
            &cursor.adapter,
        )
    })
}

/// Dead letters.
#[async_trait]
pub trait DeadLetters {
    /// Up to `limit` dead letters, of one adapter or of all, that come behind `after`; the latest to fail first.
    async fn dead_letters(
        &self,
        adapter: Option<&str>,
        after: Option<DeadLetterCursor>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>>;

    /// The event at an offset, with all its deliveries.
    async fn event_at(&self, event_offset: i64) -> Result<Option<StoredEvent>>;
}
