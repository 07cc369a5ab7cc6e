//! `Figures` in PostgreSQL. What is looked at is limited inside, by the walk's own index, and tested outside.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::QueryBuilder;

use super::error::failed;
use super::text::bound;
use super::{Postgres, SNAPSHOT, text};
use crate::Result;
use crate::figures::{
    Figures, Histogram, HistogramQuery, PASSED_OVER_MAX, RECENT_MAX, RecentAttempts, SOURCE_EVENTS_MAX,
    SOURCES_WALKED_MAX, SourceFigures,
};
use crate::finding::{at_most, types_of};
use crate::rows::figures::{BucketRow, LatelyRow, RecentRow, SourceRow, check, histogram, source_figures};
use crate::stored::number;

#[async_trait]
impl Figures for Postgres {
    async fn histogram(&self, query: &HistogramQuery) -> Result<Histogram> {
        check(query)?;
        self.readers
            .in_time(async {
                let mut snapshot = self.readers.begin(SNAPSHOT).await?;
                let types = match &query.event_type {
                    Some(pattern) => Some(types_of(&mut *snapshot, pattern).await?),
                    None => None,
                };
                let mut select = QueryBuilder::<sqlx::Postgres>::new("SELECT CASE WHEN ");
                push_tests(&mut select, query, types.as_deref());
                select
                    .push(" THEN (received - ")
                    .push_bind(query.since.timestamp_micros());
                select.push(") / ").push_bind(query.bucket_us);
                select.push(" END AS bucket, count(*) AS events FROM (");
                push_walk(&mut select, query);
                select.push(" LIMIT ").push_bind(at_most(query.rows()));
                select.push(") AS events GROUP BY 1");
                let counted: Vec<BucketRow> = select
                    .build_query_as()
                    .fetch_all(&mut *snapshot)
                    .await
                    .map_err(failed)?;
                snapshot.commit().await?;
                histogram(query, counted)
            })
            .await
    }

    async fn source_figures(&self, since: DateTime<Utc>) -> Result<SourceFigures> {
        self.readers
            .in_time(async {
                let mut snapshot = self.readers.begin(SNAPSHOT).await?;
                let lately: Vec<LatelyRow> = sqlx::query_as(
                    "SELECT source, count(*) AS events, min(received) AS oldest, max(received) AS newest FROM (
                        SELECT source, received FROM events
                        WHERE received >= $1 ORDER BY received DESC LIMIT $2) AS lately
                     GROUP BY source",
                )
                .bind(since.timestamp_micros())
                .bind(at_most(SOURCE_EVENTS_MAX))
                .fetch_all(&mut *snapshot)
                .await
                .map_err(failed)?;
                // Written as a range, the one source keeps its place in the order, which only its index yields: with `=` the
                // planner walks the record backwards, in vain for a source that has been silent for long.
                let sources: Vec<SourceRow> = sqlx::query_as(
                    "WITH RECURSIVE sources (source) AS (
                        SELECT min(source) FROM events
                        UNION ALL
                        SELECT (SELECT min(events.source) FROM events WHERE events.source > sources.source)
                        FROM sources WHERE sources.source IS NOT NULL)
                     SELECT source, (
                        SELECT received FROM events
                        WHERE events.source >= known.source AND events.source <= known.source
                        ORDER BY events.source DESC, event_offset DESC LIMIT 1) AS last
                     FROM (SELECT source FROM sources WHERE source IS NOT NULL LIMIT $1) AS known",
                )
                .bind(at_most(SOURCES_WALKED_MAX))
                .fetch_all(&mut *snapshot)
                .await
                .map_err(failed)?;
                snapshot.commit().await?;
                source_figures(since, lately, sources)
            })
            .await
    }

    async fn recent_attempts(
        &self,
        adapters: &[String],
        since: DateTime<Utc>,
    ) -> Result<Vec<RecentAttempts>> {
        let wanted: Vec<_> = adapters.iter().map(|adapter| bound(adapter)).collect();
        let query = sqlx::query_as(
            "SELECT wanted.adapter,
                (SELECT count(*) FROM (
                    SELECT 1 FROM attempts
                    WHERE adapter = wanted.adapter AND outcome = 'done' AND at >= $2 LIMIT $3) AS done) AS done,
                (SELECT count(*) FROM (
                    SELECT DISTINCT event_offset, number FROM attempts
                    WHERE adapter = wanted.adapter
                        AND outcome IN ('retry', 'dead', 'rejected', 'delivery_limit', 'undelivered')
                        AND at >= $2 LIMIT $3) AS failed) AS failed,
                (SELECT max(at) FROM attempts WHERE adapter = wanted.adapter AND outcome = 'done') AS last_done
             FROM unnest($1::text[]) WITH ORDINALITY AS wanted (adapter, place) ORDER BY wanted.place",
        )
        .bind(wanted)
        .bind(since.timestamp_micros())
        .bind(at_most(RECENT_MAX));
        let found: Vec<RecentRow> = self.readers.all(query).await?;
        found.into_iter().map(RecentRow::recent).collect()
    }

    async fn count_between(&self, after_offset: i64, before_offset: i64) -> Result<u64> {
        let query = sqlx::query_as(
            "SELECT count(*) FROM (
                SELECT 1 FROM events WHERE event_offset > $1 AND event_offset < $2 LIMIT $3) AS passed_over",
        )
        .bind(after_offset)
        .bind(before_offset)
        .bind(at_most(PASSED_OVER_MAX));
        let (count,): (i64,) = self.readers.one(query).await?;
        number("events", count)
    }
}

/// The rows to look at, the newest first: those of the name or subject that is asked for, else those of the time.
fn push_walk(select: &mut QueryBuilder<sqlx::Postgres>, query: &HistogramQuery) {
    const COLUMNS: &str = "SELECT event_offset, received, source, type, subject FROM events WHERE ";
    if let Some(name) = &query.correlation {
        // OFFSET 0 holds the planner to the names' index.
        select
            .push(
                "SELECT walk.event_offset, events.received, events.source, events.type, events.subject
                 FROM (SELECT event_offset FROM event_names WHERE name = ",
            )
            .push_bind(bound(name))
            .push(
                " ORDER BY name DESC, event_offset DESC OFFSET 0) AS walk
                 JOIN events ON events.event_offset = walk.event_offset ORDER BY walk.event_offset DESC",
            );
    } else if let Some(subject) = &query.subject {
        select
            .push(COLUMNS)
            .push("subject = ")
            .push_bind(bound(subject))
            .push(" ORDER BY subject DESC, event_offset DESC");
    } else {
        select
            .push(COLUMNS)
            .push("received >= ")
            .push_bind(query.since.timestamp_micros())
            .push(" AND received < ")
            .push_bind(query.until.timestamp_micros())
            .push(" ORDER BY received DESC");
    }
}

fn push_tests(select: &mut QueryBuilder<sqlx::Postgres>, query: &HistogramQuery, types: Option<&[String]>) {
    select
        .push("received >= ")
        .push_bind(query.since.timestamp_micros());
    select
        .push(" AND received < ")
        .push_bind(query.until.timestamp_micros());
    if let Some(types) = types {
        let types: Vec<_> = types
            .iter()
            .map(|event_type| text::bound(event_type).into_owned())
            .collect();
        select.push(" AND type = ANY (").push_bind(types).push(")");
    }
    if let Some(source) = &query.source {
        select
            .push(" AND source = ")
            .push_bind(bound(source).into_owned());
    }
    if let (Some(subject), Some(_)) = (&query.subject, &query.correlation) {
        select
            .push(" AND subject = ")
            .push_bind(bound(subject).into_owned());
    }
    if let Some(adapter) = &query.adapter {
        select
            .push(" AND EXISTS (SELECT FROM deliveries WHERE deliveries.event_offset = events.event_offset")
            .push(" AND deliveries.adapter = ")
            .push_bind(bound(adapter).into_owned())
            .push(")");
    }
}
