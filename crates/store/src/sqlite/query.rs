//! Finding events and loading them with their deliveries.
//!
//! A search walks one index in the order of the record, the one of the condition that is likely to leave least,
//! and tests the other conditions on the way, so that its cost does not depend on the planner's guesses.

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::Bytes;
use crossdock_model::event::Event;
use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Sqlite};

use super::{failed, rows};
use crate::Result;
use crate::events::{Attempt, DeliveryRow, EventQuery, FIND_MAX, StoredEvent};
use crate::stored::{Attributes, from_json, from_word, number, time, time_if_any};

/// The offsets of the events that fulfil `query`, in its order.
pub(super) async fn offsets(connection: &mut SqliteConnection, query: &EventQuery) -> Result<Vec<i64>> {
    let limit = query.limit.min(FIND_MAX);
    let Some(pattern) = &query.event_type else {
        return offsets_of_type(connection, query, None, limit).await;
    };
    let types = if pattern.is_exact() {
        vec![pattern.as_str().to_owned()]
    } else {
        let mut types = recorded_types(connection).await?;
        types.retain(|recorded| pattern.matches(recorded));
        types
    };
    let mut found = Vec::new();
    for event_type in types {
        found.extend(offsets_of_type(connection, query, Some(&event_type), limit).await?);
    }
    found.sort_unstable();
    if query.newest_first {
        found.reverse();
    }
    found.truncate(limit);
    Ok(found)
}

/// All types in the record, by stepping through the index from one to the next.
async fn recorded_types(connection: &mut SqliteConnection) -> Result<Vec<String>> {
    sqlx::query_scalar(
        "WITH RECURSIVE types (type) AS (
            SELECT min(type) FROM events
            UNION ALL
            SELECT (SELECT min(events.type) FROM events WHERE events.type > types.type)
            FROM types WHERE types.type IS NOT NULL)
         SELECT type FROM types WHERE type IS NOT NULL",
    )
    .fetch_all(connection)
    .await
    .map_err(failed)
}

async fn offsets_of_type(
    connection: &mut SqliteConnection,
    query: &EventQuery,
    event_type: Option<&str>,
    limit: usize,
) -> Result<Vec<i64>> {
    let walk = Walk::of(query);
    let mut select = QueryBuilder::<Sqlite>::new("SELECT ");
    select
        .push(walk.offset())
        .push(" FROM ")
        .push(walk.tables())
        .push(" WHERE true");
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
    if let (Walk::Adapter, Some(adapter)) = (walk, &query.adapter) {
        select.push(" AND deliveries.adapter = ").push_bind(adapter);
    } else if let Some(adapter) = &query.adapter {
        select
            .push(" AND EXISTS (SELECT 1 FROM deliveries WHERE deliveries.event_offset = events.event_offset")
            .push(" AND deliveries.adapter = ")
            .push_bind(adapter)
            .push(")");
    }
    for (comparison, time) in [(" >= ", query.since), (" < ", query.until)] {
        if let Some(time) = time {
            select
                .push(" AND events.received")
                .push(comparison)
                .push_bind(time.timestamp_micros());
        }
    }
    for (comparison, offset) in [(" > ", query.after_offset), (" < ", query.before_offset)] {
        if let Some(offset) = offset {
            select
                .push(" AND ")
                .push(walk.offset())
                .push(comparison)
                .push_bind(offset);
        }
    }
    select
        .push(" ORDER BY ")
        .push(walk.offset())
        .push(if query.newest_first { " DESC" } else { " ASC" })
        .push(" LIMIT ")
        .push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
    select
        .build_query_scalar()
        .fetch_all(connection)
        .await
        .map_err(failed)
}

/// The index that a search walks.
#[derive(Clone, Copy, PartialEq)]
enum Walk {
    Name,
    Subject,
    Type,
    Adapter,
    Source,
    Received,
    Record,
}

impl Walk {
    /// The most telling of the query's conditions.
    fn of(query: &EventQuery) -> Self {
        if query.correlation.is_some() {
            Self::Name
        } else if query.subject.is_some() {
            Self::Subject
        } else if query.event_type.is_some() {
            Self::Type
        } else if query.adapter.is_some() {
            Self::Adapter
        } else if query.source.is_some() {
            Self::Source
        } else if query.since.is_some() || query.until.is_some() {
            Self::Received
        } else {
            Self::Record
        }
    }

    fn tables(self) -> &'static str {
        match self {
            Self::Name => "event_names CROSS JOIN events USING (event_offset)",
            Self::Subject => "events INDEXED BY events_by_subject",
            Self::Type => "events INDEXED BY events_by_type",
            Self::Adapter => {
                "deliveries INDEXED BY deliveries_by_adapter CROSS JOIN events USING (event_offset)"
            }
            Self::Source => "events INDEXED BY events_by_source",
            Self::Received => "events INDEXED BY events_by_received",
            Self::Record => "events NOT INDEXED",
        }
    }

    /// The column by which the index is in the order of the record.
    fn offset(self) -> &'static str {
        match self {
            Self::Name => "event_names.event_offset",
            Self::Adapter => "deliveries.event_offset",
            _ => "events.event_offset",
        }
    }
}

/// The events at `offsets`, in that order. An offset without an event is left out.
pub(super) async fn load(connection: &mut SqliteConnection, offsets: &[i64]) -> Result<Vec<StoredEvent>> {
    if offsets.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = rows(offsets);
    let mut deliveries = load_deliveries(connection, &wanted).await?;
    let events: Vec<EventRow> = sqlx::query_as(
        "SELECT events.event_offset, events.id, events.source, events.type AS event_type, events.subject,
                events.attributes, events.data, events.producer, events.received, events.chain
         FROM json_each(?) AS wanted CROSS JOIN events ON events.event_offset = wanted.value
         ORDER BY wanted.key",
    )
    .bind(wanted)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    events
        .into_iter()
        .map(|row| {
            let deliveries = deliveries.remove(&row.event_offset).unwrap_or_default();
            row.stored(deliveries)
        })
        .collect()
}

#[derive(sqlx::FromRow)]
struct EventRow {
    event_offset: i64,
    id: String,
    source: String,
    event_type: String,
    subject: Option<String>,
    attributes: String,
    data: Option<Vec<u8>>,
    producer: String,
    received: i64,
    chain: i64,
}

impl EventRow {
    fn stored(self, deliveries: Vec<DeliveryRow>) -> Result<StoredEvent> {
        let attributes: Attributes = from_json("events.attributes", &self.attributes)?;
        Ok(StoredEvent {
            offset: self.event_offset,
            event: Event {
                id: self.id,
                source: self.source,
                event_type: self.event_type,
                subject: self.subject,
                time: attributes.time,
                data_content_type: attributes.datacontenttype.map(Cow::into_owned),
                data_schema: attributes.dataschema.map(Cow::into_owned),
                extensions: attributes.extensions.into_owned(),
                data: self.data.map(Bytes::from),
            },
            producer: self.producer,
            received: time(self.received)?,
            chain: number("events.chain", self.chain)?,
            deliveries,
        })
    }
}

#[derive(sqlx::FromRow)]
struct StoredDelivery {
    event_offset: i64,
    adapter: String,
    state: String,
    attempts: i64,
    published: i64,
    settled: Option<i64>,
    due: Option<i64>,
    detail: Option<String>,
}

async fn load_deliveries(
    connection: &mut SqliteConnection,
    wanted: &str,
) -> Result<HashMap<i64, Vec<DeliveryRow>>> {
    let mut tries = load_tries(connection, wanted).await?;
    let found: Vec<StoredDelivery> = sqlx::query_as(
        "SELECT event_offset, adapter, state, attempts, published, settled, due, detail
         FROM json_each(?) AS wanted CROSS JOIN deliveries ON deliveries.event_offset = wanted.value
         ORDER BY event_offset, adapter",
    )
    .bind(wanted)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    let mut deliveries: HashMap<i64, Vec<DeliveryRow>> = HashMap::new();
    for row in found {
        let key = (row.event_offset, row.adapter);
        let tries = tries.remove(&key).unwrap_or_default();
        deliveries.entry(key.0).or_default().push(DeliveryRow {
            adapter: key.1,
            state: from_word("deliveries.state", &row.state)?,
            attempts: number("deliveries.attempts", row.attempts)?,
            published: time(row.published)?,
            settled: time_if_any(row.settled)?,
            due: time_if_any(row.due)?,
            detail: row.detail,
            tries,
        });
    }
    Ok(deliveries)
}

#[derive(sqlx::FromRow)]
struct StoredTry {
    event_offset: i64,
    adapter: String,
    number: i64,
    outcome: String,
    detail: Option<String>,
    at: i64,
    duration_ms: Option<i64>,
}

async fn load_tries(
    connection: &mut SqliteConnection,
    wanted: &str,
) -> Result<HashMap<(i64, String), Vec<Attempt>>> {
    let found: Vec<StoredTry> = sqlx::query_as(
        "SELECT event_offset, adapter, number, outcome, detail, at, duration_ms
         FROM json_each(?) AS wanted CROSS JOIN attempts ON attempts.event_offset = wanted.value
         ORDER BY number, at, outcome",
    )
    .bind(wanted)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    let mut tries: HashMap<(i64, String), Vec<Attempt>> = HashMap::new();
    for row in found {
        tries
            .entry((row.event_offset, row.adapter))
            .or_default()
            .push(Attempt {
                number: number("attempts.number", row.number)?,
                outcome: from_word("attempts.outcome", &row.outcome)?,
                detail: row.detail,
                at: time(row.at)?,
                duration_ms: row
                    .duration_ms
                    .map(|ms| number("attempts.duration_ms", ms))
                    .transpose()?,
            });
    }
    Ok(tries)
}
