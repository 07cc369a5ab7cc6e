//! Finding events and loading them with their deliveries. `INDEXED BY` and `CROSS JOIN` hold the planner to the walk
//! that was chosen.

use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Sqlite};

use super::{failed, rows};
use crate::Result;
use crate::events::{EventQuery, JOURNEY_MAX, StoredEvent};
use crate::finding::{Index, Walk, at_most};
use crate::rows::events::{DeliveryOfOffset, EventRow, TryOfOffset, assemble};

impl Index for SqliteConnection {
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
        let (tables, offset) = place(Walk::of(query));
        let mut select = QueryBuilder::<Sqlite>::new("SELECT ");
        select
            .push(offset)
            .push(" FROM ")
            .push(tables)
            .push(" WHERE true");
        push_conditions(&mut select, query, event_type);
        for (comparison, bound) in [(" > ", query.after_offset), (" < ", query.before_offset)] {
            if let Some(bound) = bound {
                select
                    .push(" AND ")
                    .push(offset)
                    .push(comparison)
                    .push_bind(bound);
            }
        }
        select
            .push(" ORDER BY ")
            .push(offset)
            .push(if query.newest_first { " DESC" } else { " ASC" })
            .push(" LIMIT ")
            .push_bind(at_most(limit));
        select.build_query_scalar().fetch_all(self).await.map_err(failed)
    }

    async fn data_bytes(&mut self, offsets: &[i64]) -> Result<Vec<(i64, i64)>> {
        sqlx::query_as(
            "SELECT events.event_offset, coalesce(length(events.data), 0)
             FROM json_each(?) AS wanted CROSS JOIN events ON events.event_offset = wanted.value
             ORDER BY wanted.key",
        )
        .bind(rows(offsets))
        .fetch_all(self)
        .await
        .map_err(failed)
    }

    async fn bearing(&mut self, names: &[String]) -> Result<Vec<i64>> {
        sqlx::query_scalar(
            "WITH wanted AS MATERIALIZED (SELECT value AS name FROM json_each(?1))
             SELECT event_offset FROM event_names WHERE name IN (SELECT name FROM wanted)
             UNION
             SELECT event_offset FROM events WHERE id IN (SELECT name FROM wanted)
             ORDER BY event_offset LIMIT ?2",
        )
        .bind(rows(names))
        .bind(at_most(JOURNEY_MAX))
        .fetch_all(self)
        .await
        .map_err(failed)
    }

    async fn names_of(&mut self, offsets: &[i64]) -> Result<Vec<String>> {
        sqlx::query_scalar(
            "SELECT DISTINCT name FROM event_names WHERE event_offset IN (SELECT value FROM json_each(?))",
        )
        .bind(rows(offsets))
        .fetch_all(self)
        .await
        .map_err(failed)
    }
}

/// The tables that a walk goes through, and the column by which its index is in the order of the record.
fn place(walk: Walk) -> (&'static str, &'static str) {
    let tables = match walk {
        Walk::Name => {
            let tables = "event_names CROSS JOIN events USING (event_offset)";
            return (tables, "event_names.event_offset");
        }
        Walk::Adapter => {
            let tables = "deliveries INDEXED BY deliveries_by_adapter CROSS JOIN events USING (event_offset)";
            return (tables, "deliveries.event_offset");
        }
        Walk::Subject => "events INDEXED BY events_by_subject",
        Walk::Type => "events INDEXED BY events_by_type",
        Walk::Source => "events INDEXED BY events_by_source",
        Walk::Received => "events INDEXED BY events_by_received",
        Walk::Record => "events NOT INDEXED",
    };
    (tables, "events.event_offset")
}

fn push_conditions(select: &mut QueryBuilder<Sqlite>, query: &EventQuery, event_type: Option<&str>) {
    if let Some(name) = &query.correlation {
        select.push(" AND event_names.name = ").push_bind(name);
    }
    if let Some(subject) = &query.subject {
        select.push(" AND events.subject = ").push_bind(subject);
    }
    if let Some(event_type) = event_type {
        select.push(" AND events.type = ").push_bind(event_type);
    }
    if let Some(source) = &query.source {
        select.push(" AND events.source = ").push_bind(source);
    }
    if let Some(adapter) = &query.adapter {
        if Walk::of(query) == Walk::Adapter {
            select.push(" AND deliveries.adapter = ").push_bind(adapter);
        } else {
            select
                .push(" AND EXISTS (SELECT 1 FROM deliveries WHERE deliveries.event_offset = events.event_offset")
                .push(" AND deliveries.adapter = ")
                .push_bind(adapter)
                .push(")");
        }
    }
    for (comparison, time) in [(" >= ", query.since), (" < ", query.until)] {
        if let Some(time) = time {
            select
                .push(" AND events.received")
                .push(comparison)
                .push_bind(time.timestamp_micros());
        }
    }
}

/// The events at `offsets`, in that order, whole. An offset without an event is left out.
pub(super) async fn load(connection: &mut SqliteConnection, offsets: &[i64]) -> Result<Vec<StoredEvent>> {
    load_up_to(connection, offsets, u64::MAX).await
}

/// The same without data of more than so many bytes, which is not even read.
pub(super) async fn load_up_to(
    connection: &mut SqliteConnection,
    offsets: &[i64],
    data_max_bytes: u64,
) -> Result<Vec<StoredEvent>> {
    if offsets.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = rows(offsets);
    let events: Vec<EventRow> = sqlx::query_as(
        "SELECT events.event_offset, events.id, events.source, events.type AS event_type, events.subject,
                events.attributes, events.producer, events.received, events.chain,
                CASE WHEN length(events.data) > ?2 THEN NULL ELSE events.data END AS data,
                CASE WHEN length(events.data) > ?2 THEN length(events.data) END AS data_left_out
         FROM json_each(?1) AS wanted CROSS JOIN events ON events.event_offset = wanted.value
         ORDER BY wanted.key",
    )
    .bind(&wanted)
    .bind(i64::try_from(data_max_bytes).unwrap_or(i64::MAX))
    .fetch_all(&mut *connection)
    .await
    .map_err(failed)?;
    let deliveries: Vec<DeliveryOfOffset> = sqlx::query_as(
        "SELECT event_offset, adapter, state, attempts, published, settled, due, detail
         FROM json_each(?) AS wanted CROSS JOIN deliveries ON deliveries.event_offset = wanted.value
         ORDER BY event_offset, adapter",
    )
    .bind(&wanted)
    .fetch_all(&mut *connection)
    .await
    .map_err(failed)?;
    let tries: Vec<TryOfOffset> = sqlx::query_as(
        "SELECT event_offset, adapter, number, outcome, detail, at, duration_ms
         FROM json_each(?) AS wanted CROSS JOIN attempts ON attempts.event_offset = wanted.value
         ORDER BY number, at, outcome",
    )
    .bind(&wanted)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    assemble(events, deliveries, tries)
}
