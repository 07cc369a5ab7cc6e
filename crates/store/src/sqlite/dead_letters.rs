//! `DeadLetters` in SQLite.

use async_trait::async_trait;

use super::{Sqlite, failed, query};
use crate::Result;
use crate::dead_letters::{DEAD_LETTERS_MAX, DeadLetter, DeadLetterCursor, DeadLetters};
use crate::events::{EventKey, StoredEvent};
use crate::stored::{number, time};

#[async_trait]
impl DeadLetters for Sqlite {
    async fn dead_letters(
        &self,
        adapter: Option<&str>,
        after: Option<DeadLetterCursor>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>> {
        let (failed_at, offset, last) = match &after {
            Some(cursor) => (
                cursor.failed.timestamp_micros(),
                cursor.event_offset,
                cursor.adapter.as_str(),
            ),
            None => (i64::MAX, i64::MAX, ""),
        };
        let found: Vec<Row> = sqlx::query_as(
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
        .bind(i64::try_from(limit.min(DEAD_LETTERS_MAX)).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        found.into_iter().map(Row::dead_letter).collect()
    }

    async fn event_at(&self, event_offset: i64) -> Result<Option<StoredEvent>> {
        let mut snapshot = self.snapshot().await?;
        Ok(query::load(&mut snapshot, &[event_offset]).await?.pop())
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    event_offset: i64,
    adapter: String,
    settled: i64,
    attempts: i64,
    detail: Option<String>,
    id: String,
    source: String,
    event_type: String,
    subject: Option<String>,
    received: i64,
}

impl Row {
    fn dead_letter(self) -> Result<DeadLetter> {
        Ok(DeadLetter {
            event_offset: self.event_offset,
            adapter: self.adapter,
            event: EventKey {
                source: self.source,
                id: self.id,
            },
            event_type: self.event_type,
            subject: self.subject,
            received: time(self.received)?,
            failed: time(self.settled)?,
            attempts: number("deliveries.attempts", self.attempts)?,
            detail: self.detail,
        })
    }
}
