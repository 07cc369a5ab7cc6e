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
use crate::retention::{
    EventsForgotten, ForgetEvents, ForgetQuarantined, QuarantineBound, QuarantineCutOff, QuarantineForgotten,
    Retention,
};
use crate::rows::retention::StepRow;
use crate::stored::{number, time_if_any};

/// A statement about one producer's messages, whose name is `$1`; an index finds `NULL` only by `IS NULL`.
macro_rules! of_producer {
    ($producer:expr, $before:literal, $after:literal) => {
        match $producer {
            Some(_) => concat!($before, "producer = $1", $after),
            None => concat!($before, "producer IS NULL AND $1::text IS NULL", $after),
        }
    };
}

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

    async fn quarantine_cut_offs(&self, bound: &QuarantineBound) -> Result<Vec<QuarantineCutOff>> {
        // After the last name comes NULL, which stands for the messages without one.
        let query = sqlx::query_as(
            "WITH RECURSIVE known (producer) AS (
                SELECT min(producer) FROM quarantine
                UNION ALL
                SELECT (SELECT min(quarantine.producer) FROM quarantine WHERE quarantine.producer > known.producer)
                FROM known WHERE known.producer IS NOT NULL)
             SELECT producer FROM known",
        );
        let producers: Vec<(Option<String>,)> = self.readers.all(query).await?;
        let mut cut_offs = Vec::new();
        for (producer,) in producers {
            if let Some(up_to) = self.cut_off(producer.as_deref(), bound).await? {
                cut_offs.push(QuarantineCutOff { producer, up_to });
            }
        }
        Ok(cut_offs)
    }

    async fn forget_quarantined(&self, step: &ForgetQuarantined<'_>) -> Result<QuarantineForgotten> {
        let producer = step.cut_off.producer.as_deref();
        let query = sqlx::query_as(of_producer!(
            producer,
            "SELECT id FROM (
                SELECT id, sum(bytes) OVER (ORDER BY id) - bytes AS bytes_before FROM (
                    SELECT id, bytes FROM quarantine
                    WHERE ",
            " AND id > $2 AND id <= $3 ORDER BY producer, id LIMIT $4
                ) AS next
             ) AS summed
             WHERE bytes_before < $5 ORDER BY id"
        ))
        .bind(producer)
        .bind(step.after)
        .bind(step.cut_off.up_to)
        .bind(at_most(step.messages))
        .bind(i64::try_from(step.bytes).unwrap_or(i64::MAX));
        let ids: Vec<(i64,)> = self.readers.all(query).await?;
        if ids.is_empty() {
            return Ok(QuarantineForgotten::default());
        }
        let ids: Vec<i64> = ids.into_iter().map(|(id,)| id).collect();
        let next = ids.last().copied();
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
                Ok(QuarantineForgotten {
                    forgotten: number("quarantine", gone)?,
                    next,
                })
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

impl Postgres {
    /// The id of the producer's last message beyond the bound. Sorted as the index is, it is answered by that alone.
    async fn cut_off(&self, producer: Option<&str>, bound: &QuarantineBound) -> Result<Option<i64>> {
        let query = match bound {
            QuarantineBound::Age(before) => sqlx::query_as(of_producer!(
                producer,
                "WITH theirs AS NOT MATERIALIZED (
                    SELECT producer, id, received FROM quarantine WHERE ",
                ")
                 SELECT coalesce(
                    (SELECT id - 1 FROM theirs WHERE received >= $2 ORDER BY producer, id LIMIT 1),
                    (SELECT id FROM theirs ORDER BY producer DESC, id DESC LIMIT 1))"
            ))
            .bind(producer)
            .bind(before.timestamp_micros()),
            QuarantineBound::Size { messages, bytes } => sqlx::query_as(of_producer!(
                producer,
                "SELECT max(id) FROM (
                    SELECT id, row_number() OVER latest AS place, sum(bytes) OVER latest AS bytes FROM (
                        SELECT id, bytes FROM quarantine WHERE ",
                " ORDER BY producer DESC, id DESC LIMIT $2 + 1
                    ) AS theirs
                    WINDOW latest AS (ORDER BY id DESC)
                 ) AS ranked
                 WHERE place > $2 OR bytes > $3"
            ))
            .bind(producer)
            .bind(i64::from(*messages))
            .bind(i64::try_from(*bytes).unwrap_or(i64::MAX)),
        };
        let (up_to,): (Option<i64>,) = self.readers.one(query).await?;
        Ok(up_to)
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
