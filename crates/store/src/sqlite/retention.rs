//! `Retention` in SQLite. What is to be forgotten is looked for beside the writer, and only then taken out by it.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteConnection;

use super::{Sqlite, failed, rows};
use crate::Result;
use crate::finding::at_most;
use crate::retention::{
    EventsForgotten, ForgetEvents, ForgetQuarantined, QuarantineBound, QuarantineCutOff, QuarantineForgotten,
    Retention,
};
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

    async fn quarantine_cut_offs(&self, bound: &QuarantineBound) -> Result<Vec<QuarantineCutOff>> {
        // After the last name comes NULL, which stands for the messages without one.
        let producers: Vec<Option<String>> = sqlx::query_scalar(
            "WITH RECURSIVE known (producer) AS (
                SELECT min(producer) FROM quarantine
                UNION ALL
                SELECT (SELECT min(quarantine.producer) FROM quarantine WHERE quarantine.producer > known.producer)
                FROM known WHERE known.producer IS NOT NULL)
             SELECT producer FROM known",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        let mut cut_offs = Vec::new();
        for producer in producers {
            if let Some(up_to) = self.cut_off(producer.as_deref(), bound).await? {
                cut_offs.push(QuarantineCutOff { producer, up_to });
            }
        }
        Ok(cut_offs)
    }

    async fn forget_quarantined(&self, step: &ForgetQuarantined<'_>) -> Result<QuarantineForgotten> {
        let ids: Vec<i64> = sqlx::query_scalar(
            "SELECT id FROM (
                SELECT id, sum(bytes) OVER (ORDER BY id) - bytes AS bytes_before FROM (
                    SELECT id, bytes FROM quarantine INDEXED BY quarantine_by_producer
                    WHERE producer IS ? AND id > ? AND id <= ? ORDER BY id LIMIT ?))
             WHERE bytes_before < ? ORDER BY id",
        )
        .bind(&step.cut_off.producer)
        .bind(step.after)
        .bind(step.cut_off.up_to)
        .bind(at_most(step.messages))
        .bind(i64::try_from(step.bytes).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        if ids.is_empty() {
            return Ok(QuarantineForgotten::default());
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
        Ok(QuarantineForgotten {
            forgotten: gone,
            next: ids.last().copied(),
        })
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

impl Sqlite {
    /// The id of the producer's last message beyond the bound. `INDEXED BY` keeps the answer to the index alone.
    async fn cut_off(&self, producer: Option<&str>, bound: &QuarantineBound) -> Result<Option<i64>> {
        let query = match bound {
            QuarantineBound::Age(before) => sqlx::query_scalar(
                "SELECT coalesce(
                    (SELECT id - 1 FROM quarantine INDEXED BY quarantine_by_producer
                     WHERE producer IS ?1 AND received >= ?2 ORDER BY id LIMIT 1),
                    (SELECT id FROM quarantine INDEXED BY quarantine_by_producer
                     WHERE producer IS ?1 ORDER BY id DESC LIMIT 1))",
            )
            .bind(producer)
            .bind(before.timestamp_micros()),
            QuarantineBound::Size { messages, bytes } => sqlx::query_scalar(
                "SELECT max(id) FROM (
                    SELECT id, row_number() OVER latest AS place, sum(bytes) OVER latest AS bytes FROM (
                        SELECT id, bytes FROM quarantine INDEXED BY quarantine_by_producer
                        WHERE producer IS ? ORDER BY id DESC LIMIT ? + 1)
                    WINDOW latest AS (ORDER BY id DESC))
                 WHERE place > ? OR bytes > ?",
            )
            .bind(producer)
            .bind(messages)
            .bind(messages)
            .bind(i64::try_from(*bytes).unwrap_or(i64::MAX)),
        };
        query.fetch_one(&self.readers).await.map_err(failed)
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
