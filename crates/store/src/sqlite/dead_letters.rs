//! `DeadLetters` in SQLite.

use async_trait::async_trait;

use super::{Sqlite, failed, query};
use crate::Result;
use crate::dead_letters::{DEAD_LETTERS_MAX, DeadLetter, DeadLetterCursor, DeadLetters, page_end};
use crate::events::StoredEvent;
use crate::finding::at_most;
use crate::rows::dead_letters::DeadLetterRow;

#[async_trait]
impl DeadLetters for Sqlite {
    async fn dead_letters(
        &self,
        adapter: Option<&str>,
        after: Option<DeadLetterCursor>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>> {
        let (failed_at, offset, last) = page_end(after.as_ref());
        let found: Vec<DeadLetterRow> = sqlx::query_as(
            "SELECT delivery.event_offset, delivery.adapter, delivery.settled, delivery.attempts, delivery.detail,
                    events.id, events.source, events.type AS event_type, events.subject, events.received
             FROM deliveries AS delivery INDEXED BY deliveries_parked
             CROSS JOIN events USING (event_offset)
             WHERE delivery.state = 'parked' AND (?1 IS NULL OR delivery.adapter = ?1)
                AND (delivery.settled, delivery.event_offset, delivery.adapter) < (?2, ?3, ?4)
             ORDER BY delivery.settled DESC, delivery.event_offset DESC, delivery.adapter DESC LIMIT ?5",
        )
        .bind(adapter)
        .bind(failed_at)
        .bind(offset)
        .bind(last)
        .bind(at_most(limit.min(DEAD_LETTERS_MAX)))
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        found.into_iter().map(DeadLetterRow::dead_letter).collect()
    }

    async fn event_at(&self, event_offset: i64) -> Result<Option<StoredEvent>> {
        let mut snapshot = self.snapshot().await?;
        Ok(query::load(&mut snapshot, &[event_offset]).await?.pop())
    }
}
