//! `Retention` in PostgreSQL. What is to be forgotten is looked for without the writers' turn, and only then taken out
//! under it: three round trips, in which the others wait.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

use super::error::failed;
use super::text::bound;
use super::{AS_WRITER, Postgres};
use crate::Result;
use crate::finding::at_most;
use crate::retention::{EventsForgotten, ForgetEvents, ForgetQuarantined, Retention};
use crate::rows::retention::StepRow;
use crate::stored::{number, time_if_any};

#[async_trait]
impl Retention for Postgres {
    async fn forget_events(&self, step: &ForgetEvents) -> Result<EventsForgotten> {
        let query = sqlx::query_as(
            "SELECT max(event_offset) AS last, min(received) AS oldest
             FROM (SELECT event_offset, received FROM events WHERE event_offset > $1 ORDER BY event_offset LIMIT $2)
                AS step",
        )
        .bind(step.after_offset)
        .bind(at_most(step.limit));
        let row: StepRow = self.readers.one(query).await?;
        let Some(last) = row.last_of(step) else {
            return Ok(EventsForgotten::default());
        };
        self.writers
            .in_time(async {
                let mut transaction = self.writers.begin(AS_WRITER).await?;
                let forgotten = forget(&mut transaction, step, last).await?;
                transaction.commit().await?;
                Ok(EventsForgotten {
                    forgotten,
                    next: Some(last),
                })
            })
            .await
    }

    async fn forget_quarantined(&self, which: &ForgetQuarantined) -> Result<u64> {
        let query = sqlx::query_as(
            "SELECT id FROM (
                SELECT id, received, row_number() OVER latest AS place, sum(bytes) OVER latest AS bytes
                FROM quarantine
                WINDOW latest AS (PARTITION BY producer ORDER BY id DESC)
             ) AS ranked
             WHERE received < $1 OR place > $2 OR bytes > $3 ORDER BY id LIMIT $4",
        )
        .bind(which.received_before.map(|at| at.timestamp_micros()))
        .bind(i64::from(which.messages_per_producer))
        .bind(i64::try_from(which.bytes_per_producer).unwrap_or(i64::MAX))
        .bind(at_most(which.limit));
        let ids: Vec<(i64,)> = self.readers.all(query).await?;
        if ids.is_empty() {
            return Ok(0);
        }
        let ids: Vec<i64> = ids.into_iter().map(|(id,)| id).collect();
        self.writers
            .in_time(async {
                let mut transaction = self.writers.begin(AS_WRITER).await?;
                let gone: i64 = sqlx::query_scalar(
                    "WITH gone AS (DELETE FROM quarantine WHERE id = ANY ($1) RETURNING id)
                 UPDATE totals SET forgotten_quarantined = forgotten_quarantined + (SELECT count(*) FROM gone)
                 RETURNING (SELECT count(*) FROM gone)",
                )
                .bind(ids)
                .fetch_one(&mut *transaction)
                .await
                .map_err(failed)?;
                transaction.commit().await?;
                number("quarantine", gone)
            })
            .await
    }

    async fn pending_after(&self, adapter: &str, older: u64) -> Result<Option<DateTime<Utc>>> {
        let query = sqlx::query_as(
            "SELECT published FROM deliveries WHERE adapter = $1 AND state = 'pending'
             ORDER BY published LIMIT 1 OFFSET $2",
        )
        .bind(bound(adapter))
        .bind(i64::try_from(older).unwrap_or(i64::MAX));
        let found: Option<(i64,)> = self.readers.optional(query).await?;
        time_if_any(found.map(|(published,)| published))
    }
}

/// Forgets those of the step's events, up to `last`, that may be forgotten, and says how many.
async fn forget(connection: &mut PgConnection, step: &ForgetEvents, last: i64) -> Result<u64> {
    let (adapters, before): (Vec<_>, Vec<_>) = step
        .taken_before
        .iter()
        .map(|(adapter, before)| (bound(adapter), before.timestamp_micros()))
        .unzip();
    let forgotten: i64 = sqlx::query_scalar(
        "WITH taken AS (
            SELECT adapter, before FROM unnest($4::text[], $5::bigint[]) AS given (adapter, before)
         ), gone AS MATERIALIZED (
            SELECT event_offset FROM events
            WHERE event_offset > $1 AND event_offset <= $2 AND received < $3
                AND NOT EXISTS (
                    SELECT FROM deliveries AS delivery LEFT JOIN taken USING (adapter)
                    WHERE delivery.event_offset = events.event_offset
                        AND delivery.state NOT IN ('confirmed', 'discarded', 'expired')
                        AND (delivery.state <> 'pending' OR taken.before IS NULL
                            OR delivery.published >= taken.before))
         ), counted AS (
            INSERT INTO forgotten_deliveries AS known (adapter, state, deliveries)
            SELECT adapter, state, count(*) FROM deliveries JOIN gone USING (event_offset) GROUP BY adapter, state
            ON CONFLICT (adapter, state) DO UPDATE SET deliveries = known.deliveries + excluded.deliveries
         ), without_attempts AS (
            DELETE FROM attempts USING gone WHERE attempts.event_offset = gone.event_offset
         ), without_deliveries AS (
            DELETE FROM deliveries USING gone WHERE deliveries.event_offset = gone.event_offset
         ), without_names AS (
            DELETE FROM event_names USING gone WHERE event_names.event_offset = gone.event_offset
         ), without_events AS (
            DELETE FROM events USING gone WHERE events.event_offset = gone.event_offset
         )
         UPDATE totals SET forgotten_events = forgotten_events + (SELECT count(*) FROM gone)
         RETURNING (SELECT count(*) FROM gone)",
    )
    .bind(step.after_offset)
    .bind(last)
    .bind(step.received_before.timestamp_micros())
    .bind(adapters)
    .bind(before)
    .fetch_one(connection)
    .await
    .map_err(failed)?;
    number("events", forgotten)
}
