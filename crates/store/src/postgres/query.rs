//! Finding events and loading them with their deliveries. The planner is held to the walk that was chosen: conditions
//! that are only to be tested on the way are written so that no index can serve them (`IS TRUE`), and what is to be
//! looked up for each row of the walk stands behind `OFFSET 0`.

use sqlx::postgres::PgConnection;
use sqlx::{Postgres, QueryBuilder};

use super::error::failed;
use super::text::bound;
use crate::Result;
use crate::events::{EventQuery, JOURNEY_MAX, StoredEvent};
use crate::finding::{Index, Walk, at_most};
use crate::rows::events::{DeliveryOfOffset, EventRow, TryOfOffset, assemble};

impl Index for PgConnection {
    async fn recorded_types(&mut self) -> Result<Vec<String>> {
        sqlx::query_scalar(
            "WITH RECURSIVE types (type) AS (
                SELECT min(type) FROM events
                UNION ALL
                SELECT (SELECT min(events.type) FROM events WHERE events.type > types.type)
                FROM types WHERE types.type IS NOT NULL)
             SELECT type FROM types WHERE type IS NOT NULL",
        )
        .fetch_all(self)
        .await
        .map_err(failed)
    }

    async fn walk(&mut self, query: &EventQuery, event_type: Option<&str>, limit: usize) -> Result<Vec<i64>> {
        let walk = Walk::of(query);
        let mut select = QueryBuilder::<Postgres>::new("SELECT event_offset FROM ");
        push_tables(&mut select, walk, query);
        select.push(" WHERE true");
        push_conditions(&mut select, walk, query, event_type);
        for (comparison, bound) in [(" > ", query.after_offset), (" < ", query.before_offset)] {
            if let Some(bound) = bound {
                select.push(" AND event_offset").push(comparison).push_bind(bound);
            }
        }
        select
            .push(" ORDER BY event_offset")
            .push(if query.newest_first { " DESC" } else { " ASC" })
            .push(" LIMIT ")
            .push_bind(at_most(limit));
        select.build_query_scalar().fetch_all(self).await.map_err(failed)
    }

    async fn data_bytes(&mut self, offsets: &[i64]) -> Result<Vec<(i64, i64)>> {
        sqlx::query_as(
            "SELECT event_offset, coalesce(octet_length(events.data), 0)::bigint
             FROM unnest($1::bigint[]) WITH ORDINALITY AS wanted (event_offset, place) JOIN events USING (event_offset)
             ORDER BY wanted.place",
        )
        .bind(offsets)
        .fetch_all(self)
        .await
        .map_err(failed)
    }

    async fn bearing(&mut self, names: &[String]) -> Result<Vec<i64>> {
        let names: Vec<_> = names.iter().map(|name| bound(name)).collect();
        sqlx::query_scalar(
            "SELECT event_offset FROM event_names WHERE name = ANY ($1)
             UNION
             SELECT event_offset FROM events WHERE id = ANY ($1)
             ORDER BY event_offset LIMIT $2",
        )
        .bind(names)
        .bind(at_most(JOURNEY_MAX))
        .fetch_all(self)
        .await
        .map_err(failed)
    }

    async fn names_of(&mut self, offsets: &[i64]) -> Result<Vec<String>> {
        sqlx::query_scalar("SELECT DISTINCT name FROM event_names WHERE event_offset = ANY ($1)")
            .bind(offsets)
            .fetch_all(self)
            .await
            .map_err(failed)
    }
}

/// The rows that a walk goes through, as `events`, or joined to it by `event_offset`.
fn push_tables(select: &mut QueryBuilder<Postgres>, walk: Walk, query: &EventQuery) {
    const OF_THE_WALK: &str = " CROSS JOIN LATERAL (SELECT subject, type, source, received FROM events
        WHERE events.event_offset = walk.event_offset OFFSET 0) AS events";
    match walk {
        Walk::Name => {
            let name = query.correlation.as_deref().unwrap_or_default();
            select
                .push("(SELECT event_offset FROM event_names WHERE name = ")
                .push_bind(bound(name))
                .push(") AS walk")
                .push(OF_THE_WALK);
        }
        Walk::Adapter => {
            let adapter = query.adapter.as_deref().unwrap_or_default();
            select
                .push("(SELECT event_offset FROM deliveries WHERE adapter = ")
                .push_bind(bound(adapter))
                .push(") AS walk")
                .push(OF_THE_WALK);
        }
        Walk::Received => {
            select.push("(SELECT event_offset, subject, type, source, received FROM events WHERE true");
            push_times(select, query);
            select.push(" OFFSET 0) AS events");
        }
        Walk::Subject | Walk::Type | Walk::Source | Walk::Record => {
            select.push("events");
        }
    }
}

fn push_times(select: &mut QueryBuilder<Postgres>, query: &EventQuery) {
    for (comparison, time) in [(" >= ", query.since), (" < ", query.until)] {
        if let Some(time) = time {
            select
                .push(" AND (received")
                .push(comparison)
                .push_bind(time.timestamp_micros())
                .push(")");
        }
    }
}

fn push_conditions(
    select: &mut QueryBuilder<Postgres>,
    walk: Walk,
    query: &EventQuery,
    event_type: Option<&str>,
) {
    let columns = [
        ("subject", query.subject.as_deref(), Walk::Subject),
        ("type", event_type, Walk::Type),
        ("source", query.source.as_deref(), Walk::Source),
    ];
    for (column, value, by_it) in columns {
        if let Some(value) = value {
            select
                .push(" AND (")
                .push(column)
                .push(" = ")
                .push_bind(bound(value))
                .push(if walk == by_it { ")" } else { ") IS TRUE" });
        }
    }
    if let (Some(adapter), true) = (&query.adapter, walk != Walk::Adapter) {
        select
            .push(" AND (SELECT true FROM deliveries WHERE deliveries.event_offset = ")
            .push(if walk == Walk::Name {
                "walk.event_offset"
            } else {
                "events.event_offset"
            })
            .push(" AND deliveries.adapter = ")
            .push_bind(bound(adapter))
            .push(") IS TRUE");
    }
    if walk != Walk::Received {
        push_tested_times(select, query);
    }
}

fn push_tested_times(select: &mut QueryBuilder<Postgres>, query: &EventQuery) {
    if query.since.is_some() || query.until.is_some() {
        select.push(" AND (true");
        push_times(select, query);
        select.push(") IS TRUE");
    }
}

/// The events at `offsets`, in that order, whole. An offset without an event is left out.
pub(super) async fn load(connection: &mut PgConnection, offsets: &[i64]) -> Result<Vec<StoredEvent>> {
    load_up_to(connection, offsets, u64::MAX).await
}

/// The same without data of more than so many bytes, which is not even read.
pub(super) async fn load_up_to(
    connection: &mut PgConnection,
    offsets: &[i64],
    data_max_bytes: u64,
) -> Result<Vec<StoredEvent>> {
    if offsets.is_empty() {
        return Ok(Vec::new());
    }
    let events: Vec<EventRow> = sqlx::query_as(
        "SELECT events.event_offset, events.id, events.source, events.type AS event_type, events.subject,
                events.attributes, events.producer, events.received, events.chain,
                CASE WHEN octet_length(events.data) > $2 THEN NULL ELSE events.data END AS data,
                CASE WHEN octet_length(events.data) > $2 THEN octet_length(events.data)::bigint END AS data_left_out
         FROM unnest($1::bigint[]) WITH ORDINALITY AS wanted (event_offset, place) JOIN events USING (event_offset)
         ORDER BY wanted.place",
    )
    .bind(offsets)
    .bind(i64::try_from(data_max_bytes).unwrap_or(i64::MAX))
    .fetch_all(&mut *connection)
    .await
    .map_err(failed)?;
    let deliveries: Vec<DeliveryOfOffset> = sqlx::query_as(
        "SELECT event_offset, adapter, state, attempts, published, settled, due, detail
         FROM deliveries WHERE event_offset = ANY ($1) ORDER BY event_offset, adapter",
    )
    .bind(offsets)
    .fetch_all(&mut *connection)
    .await
    .map_err(failed)?;
    let tries: Vec<TryOfOffset> = sqlx::query_as(
        "SELECT event_offset, adapter, number, outcome, detail, at, duration_ms
         FROM attempts WHERE event_offset = ANY ($1) ORDER BY number, at, outcome",
    )
    .bind(offsets)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    assemble(events, deliveries, tries)
}
