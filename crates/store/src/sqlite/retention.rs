//! `Retention` in SQLite. What is to be forgotten is looked for beside the writer, and only then taken out by it.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteConnection;

use super::{Sqlite, failed, rows};
use crate::Result;
use crate::finding::at_most;
use crate::retention::{EventsForgotten, ForgetEvents, ForgetQuarantined, Retention};
use crate::rows::retention::StepRow;
use crate::stored::{time_if_any, to_json};

#[async_trait]
impl Retention for Sqlite {
    async fn forget_events(&self, step: &ForgetEvents) -> Result<EventsForgotten> {
        let row: StepRow = sqlx::query_as(
            "SELECT max(event_offset) AS last, min(received) AS oldest
             FROM (SELECT event_offset, received FROM events WHERE event_offset > ? ORDER BY event_offset LIMIT ?)",
        )
        .bind(step.after_offset)
        .bind(at_most(step.limit))
        .fetch_one(&self.readers)
        .await
        .map_err(failed)?;
        let Some(last) = row.last_of(step) else {
            return Ok(EventsForgotten::default());
        };
        let mut transaction = self.begin().await?;
        let gone = settled(&mut transaction, step, last).await?;
        if !gone.is_empty() {
            forget(&mut transaction, &gone).await?;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(EventsForgotten {
            forgotten: gone.len() as u64,
            next: Some(last),
        })
    }

    async fn forget_quarantined(&self, which: &ForgetQuarantined) -> Result<u64> {
        let ids: Vec<i64> = sqlx::query_scalar(
            "SELECT id FROM (
                SELECT id, received, row_number() OVER latest AS place, sum(bytes) OVER latest AS bytes
                FROM quarantine INDEXED BY quarantine_by_producer
                WINDOW latest AS (PARTITION BY producer ORDER BY id DESC))
             WHERE received < ? OR place > ? OR bytes > ? ORDER BY id LIMIT ?",
        )
        .bind(which.received_before.map(|at| at.timestamp_micros()))
        .bind(which.messages_per_producer)
        .bind(i64::try_from(which.bytes_per_producer).unwrap_or(i64::MAX))
        .bind(at_most(which.limit))
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        if ids.is_empty() {
            return Ok(0);
        }
        let mut transaction = self.begin().await?;
        let gone = sqlx::query("DELETE FROM quarantine WHERE id IN (SELECT value FROM json_each(?))")
            .bind(rows(&ids))
            .execute(&mut *transaction)
            .await
            .map_err(failed)?
            .rows_affected();
        sqlx::query("UPDATE totals SET forgotten_quarantined = forgotten_quarantined + ?")
            .bind(i64::try_from(gone).unwrap_or(i64::MAX))
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(gone)
    }

    async fn pending_after(&self, adapter: &str, older: u64) -> Result<Option<DateTime<Utc>>> {
        let published: Option<i64> = sqlx::query_scalar(
            "SELECT published FROM deliveries INDEXED BY deliveries_by_state
             WHERE adapter = ? AND state = 'pending' ORDER BY published LIMIT 1 OFFSET ?",
        )
        .bind(adapter)
        .bind(i64::try_from(older).unwrap_or(i64::MAX))
        .fetch_optional(&self.readers)
        .await
        .map_err(failed)?;
        time_if_any(published)
    }
}

/// The offsets of the step's events, up to `last`, that may be forgotten.
async fn settled(connection: &mut SqliteConnection, step: &ForgetEvents, last: i64) -> Result<Vec<i64>> {
    let taken: std::collections::BTreeMap<_, _> = step
        .taken_before
        .iter()
        .map(|(adapter, before)| (adapter, before.timestamp_micros()))
        .collect();
    sqlx::query_scalar(
        "SELECT event_offset FROM events
         WHERE event_offset > ? AND event_offset <= ? AND received < ?
            AND NOT EXISTS (
                SELECT 1 FROM deliveries AS delivery LEFT JOIN json_each(?) AS taken ON taken.key = delivery.adapter
                WHERE delivery.event_offset = events.event_offset
                    AND delivery.state NOT IN ('confirmed', 'discarded', 'expired')
                    AND (delivery.state <> 'pending' OR taken.value IS NULL OR delivery.published >= taken.value))",
    )
    .bind(step.after_offset)
    .bind(last)
    .bind(step.received_before.timestamp_micros())
    .bind(to_json(&taken))
    .fetch_all(connection)
    .await
    .map_err(failed)
}

async fn forget(connection: &mut SqliteConnection, offsets: &[i64]) -> Result<()> {
    let gone = rows(offsets);
    for statement in [
        "INSERT INTO forgotten_deliveries (adapter, state, deliveries)
         SELECT adapter, state, count(*) FROM deliveries
         WHERE event_offset IN (SELECT value FROM json_each(?)) GROUP BY adapter, state
         ON CONFLICT (adapter, state) DO UPDATE SET deliveries = deliveries + excluded.deliveries",
        "DELETE FROM attempts WHERE event_offset IN (SELECT value FROM json_each(?))",
        "DELETE FROM deliveries WHERE event_offset IN (SELECT value FROM json_each(?))",
        "DELETE FROM event_names WHERE event_offset IN (SELECT value FROM json_each(?))",
        "DELETE FROM events WHERE event_offset IN (SELECT value FROM json_each(?))",
        "UPDATE totals SET forgotten_events = forgotten_events + (SELECT count(*) FROM json_each(?))",
    ] {
        sqlx::query(statement)
            .bind(&gone)
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
    }
    Ok(())
}
