//! `DeadLetters` in PostgreSQL.

use async_trait::async_trait;

use super::text::{bound, bound_if_any};
use super::{Postgres, SNAPSHOT, query};
use crate::Result;
use crate::dead_letters::{DEAD_LETTERS_MAX, DeadLetter, DeadLetterCursor, DeadLetters, page_end};
use crate::events::StoredEvent;
use crate::finding::at_most;
use crate::rows::dead_letters::DeadLetterRow;

#[async_trait]
impl DeadLetters for Postgres {
    async fn dead_letters(
        &self,
        adapter: Option<&str>,
        after: Option<DeadLetterCursor>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>> {
        let (failed_at, offset, last) = page_end(after.as_ref());
        // The page first, from the index of dead letters, and then the events of what is on it.
        let query = sqlx::query_as(
            "SELECT page.event_offset, page.adapter, page.settled, page.attempts, page.detail,
                    events.id, events.source, events.type AS event_type, events.subject, events.received
             FROM (
                SELECT event_offset, adapter, settled, attempts, detail FROM deliveries
                WHERE state = 'parked' AND ($1 IS NULL OR adapter = $1)
                    AND (settled, event_offset, adapter) < ($2, $3, $4)
                ORDER BY settled DESC, event_offset DESC, adapter DESC LIMIT $5
             ) AS page JOIN events USING (event_offset)
             ORDER BY page.settled DESC, page.event_offset DESC, page.adapter DESC",
        )
        .bind(bound_if_any(adapter))
        .bind(failed_at)
        .bind(offset)
        .bind(bound(last))
        .bind(at_most(limit.min(DEAD_LETTERS_MAX)));
        let found: Vec<DeadLetterRow> = self.readers.all(query).await?;
        found.into_iter().map(DeadLetterRow::dead_letter).collect()
    }

    async fn event_at(&self, event_offset: i64) -> Result<Option<StoredEvent>> {
        self.readers
            .in_time(async {
                let mut snapshot = self.readers.begin(SNAPSHOT).await?;
                let mut events = query::load(&mut snapshot, &[event_offset]).await?;
                snapshot.commit().await?;
                Ok(events.pop())
            })
            .await
    }
}
