//! `Figures` in SQLite. What is looked at is limited inside, by the walk's own index, and tested outside.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::QueryBuilder;

use super::{Sqlite, failed, rows};
use crate::Result;
use crate::figures::{
    Figures, Histogram, HistogramQuery, PASSED_OVER_MAX, RECENT_MAX, RecentAttempts, SOURCE_EVENTS_MAX,
    SOURCES_WALKED_MAX, SourceFigures,
};
use crate::finding::{at_most, types_of};
use crate::rows::figures::{BucketRow, LatelyRow, RecentRow, SourceRow, check, histogram, source_figures};
use crate::stored::number;

#[async_trait]
impl Figures for Sqlite {
    async fn histogram(&self, query: &HistogramQuery) -> Result<Histogram> {
        check(query)?;
        let mut snapshot = self.snapshot().await?;
        let types = match &query.event_type {
            Some(pattern) => Some(types_of(&mut *snapshot, pattern).await?),
            None => None,
        };
        let mut select = QueryBuilder::<sqlx::Sqlite>::new("SELECT CASE WHEN ");
        push_tests(&mut select, query, types.as_deref());
        select
            .push(" THEN (events.received - ")
            .push_bind(query.since.timestamp_micros());
        select.push(") / ").push_bind(query.bucket_us);
        select.push(" END AS bucket, count(*) AS events FROM (");
        push_walk(&mut select, query);
        select.push(" LIMIT ").push_bind(at_most(query.rows()));
        select.push(") AS events GROUP BY bucket");
        let counted: Vec<BucketRow> = select
            .build_query_as()
            .fetch_all(&mut *snapshot)
            .await
            .map_err(failed)?;
        histogram(query, counted)
    }

    async fn source_figures(&self, since: DateTime<Utc>) -> Result<SourceFigures> {
        let mut snapshot = self.snapshot().await?;
        let lately: Vec<LatelyRow> = sqlx::query_as(
            "SELECT source, count(*) AS events, min(received) AS oldest, max(received) AS newest FROM (
                SELECT source, received FROM events INDEXED BY events_by_received
                WHERE received >= ? ORDER BY received DESC LIMIT ?)
             GROUP BY source",
        )
        .bind(since.timestamp_micros())
        .bind(at_most(SOURCE_EVENTS_MAX))
        .fetch_all(&mut *snapshot)
        .await
        .map_err(failed)?;
        let sources: Vec<SourceRow> = sqlx::query_as(
            "WITH RECURSIVE sources (source) AS (
                SELECT min(source) FROM events
                UNION ALL
                SELECT (SELECT min(events.source) FROM events WHERE events.source > sources.source)
                FROM sources WHERE sources.source IS NOT NULL
                LIMIT ?)
             SELECT source, (
                SELECT received FROM events INDEXED BY events_by_source
                WHERE events.source = sources.source ORDER BY event_offset DESC LIMIT 1) AS last
             FROM sources WHERE source IS NOT NULL",
        )
        .bind(at_most(SOURCES_WALKED_MAX))
        .fetch_all(&mut *snapshot)
        .await
        .map_err(failed)?;
        source_figures(since, lately, sources)
    }

    async fn recent_attempts(
        &self,
        adapters: &[String],
        since: DateTime<Utc>,
    ) -> Result<Vec<RecentAttempts>> {
        let found: Vec<RecentRow> = sqlx::query_as(
            "SELECT wanted.value AS adapter,
                (SELECT count(*) FROM (
                    SELECT 1 FROM attempts INDEXED BY attempts_by_outcome
                    WHERE adapter = wanted.value AND outcome = 'done' AND at >= ?2 LIMIT ?3)) AS done,
                (SELECT count(*) FROM (
                    SELECT DISTINCT event_offset, number FROM attempts INDEXED BY attempts_by_outcome
                    WHERE adapter = wanted.value
                        AND outcome IN ('retry', 'dead', 'rejected', 'delivery_limit', 'undelivered')
                        AND at >= ?2 LIMIT ?3)) AS failed,
                (SELECT max(at) FROM attempts INDEXED BY attempts_by_outcome
                 WHERE adapter = wanted.value AND outcome = 'done') AS last_done
             FROM json_each(?1) AS wanted ORDER BY wanted.key",
        )
        .bind(rows(adapters))
        .bind(since.timestamp_micros())
        .bind(at_most(RECENT_MAX))
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        found.into_iter().map(RecentRow::recent).collect()
    }

    async fn count_between(&self, after_offset: i64, before_offset: i64) -> Result<u64> {
        let count: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM (
                SELECT 1 FROM events NOT INDEXED WHERE event_offset > ? AND event_offset < ? LIMIT ?)",
        )
        .bind(after_offset)
        .bind(before_offset)
        .bind(at_most(PASSED_OVER_MAX))
        .fetch_one(&self.readers)
        .await
        .map_err(failed)?;
        number("events", count)
    }
}

/// The rows to look at, the newest first: those of the name or subject that is asked for, else those of the time.
fn push_walk(select: &mut QueryBuilder<sqlx::Sqlite>, query: &HistogramQuery) {
    const COLUMNS: &str =
        "SELECT events.event_offset, events.received, events.source, events.type, events.subject";
    if let Some(name) = &query.correlation {
        select
            .push(COLUMNS)
            .push(" FROM event_names CROSS JOIN events USING (event_offset) WHERE event_names.name = ")
            .push_bind(name)
            .push(" ORDER BY event_names.event_offset DESC");
    } else if let Some(subject) = &query.subject {
        select
            .push(COLUMNS)
            .push(" FROM events INDEXED BY events_by_subject WHERE events.subject = ")
            .push_bind(subject)
            .push(" ORDER BY events.event_offset DESC");
    } else {
        // Without the columns that are not asked about, the index alone answers.
        let columns = match (&query.event_type, &query.adapter) {
            (Some(_), _) => COLUMNS,
            _ => "SELECT events.event_offset, events.received, events.source",
        };
        select
            .push(columns)
            .push(" FROM events INDEXED BY events_by_received WHERE events.received >= ")
            .push_bind(query.since.timestamp_micros())
            .push(" AND events.received < ")
            .push_bind(query.until.timestamp_micros())
            .push(" ORDER BY events.received DESC");
    }
}

fn push_tests(select: &mut QueryBuilder<sqlx::Sqlite>, query: &HistogramQuery, types: Option<&[String]>) {
    select
        .push("events.received >= ")
        .push_bind(query.since.timestamp_micros());
    select
        .push(" AND events.received < ")
        .push_bind(query.until.timestamp_micros());
    if let Some(types) = types {
        select
            .push(" AND events.type IN (SELECT value FROM json_each(")
            .push_bind(rows(types))
            .push("))");
    }
    if let Some(source) = &query.source {
        select.push(" AND events.source = ").push_bind(source);
    }
    if let (Some(subject), Some(_)) = (&query.subject, &query.correlation) {
        select.push(" AND events.subject = ").push_bind(subject);
    }
    if let Some(adapter) = &query.adapter {
        select
            .push(" AND EXISTS (SELECT 1 FROM deliveries WHERE deliveries.event_offset = events.event_offset")
            .push(" AND deliveries.adapter = ")
            .push_bind(adapter)
            .push(")");
    }
}
