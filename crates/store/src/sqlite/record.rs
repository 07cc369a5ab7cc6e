//! `Events::record` in SQLite: one transaction from the events to the counters.

use std::collections::HashMap;

use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Sqlite};

use super::{early, failed, outcomes, quarantine, rows};
use crate::batch::{Counted, names, targets};
use crate::events::{Accepted, Batch, EventKey};
use crate::stored::{Attributes, to_json};
use crate::{Result, StoreError};

/// How many events go into one statement: ten parameters each, far below SQLite's 32,766.
const EVENTS_PER_STATEMENT: usize = 100;

pub(super) async fn record(connection: &mut SqliteConnection, batch: &Batch) -> Result<()> {
    let mut offsets = HashMap::with_capacity(batch.accepted.len());
    for events in batch.accepted.chunks(EVENTS_PER_STATEMENT) {
        insert_events(connection, events, &mut offsets).await?;
    }
    let mut counted = Counted::of(batch, offsets.len());
    if let Some(first_offset) = offsets.values().min().copied() {
        insert_names_and_deliveries(connection, &batch.accepted, offsets).await?;
        early::apply(connection, first_offset).await?;
    }
    if !batch.outcomes.is_empty() {
        outcomes::settle(connection, &batch.outcomes).await?;
    }
    for message in &batch.quarantined {
        let is_new = quarantine::insert(connection, message).await?;
        counted.add(message, is_new);
    }
    add_to_totals(connection, &counted).await
}

/// Inserts those of `events` that are new, and adds their offsets.
async fn insert_events(
    connection: &mut SqliteConnection,
    events: &[Accepted],
    offsets: &mut HashMap<EventKey, i64>,
) -> Result<()> {
    let mut insert = QueryBuilder::<Sqlite>::new(
        "INSERT INTO events (id, source, type, subject, attributes, data, producer, received, chain) ",
    );
    insert.push_values(events, |mut row, accepted| {
        let event = &accepted.event;
        row.push_bind(&event.id)
            .push_bind(&event.source)
            .push_bind(&event.event_type)
            .push_bind(&event.subject)
            .push_bind(to_json(&Attributes::of(event)))
            .push_bind(event.data.as_deref())
            .push_bind(&accepted.producer)
            .push_bind(accepted.received.timestamp_micros())
            .push_bind(accepted.chain);
    });
    insert.push(" ON CONFLICT (id, source) DO NOTHING RETURNING event_offset, id, source");
    let inserted: Vec<(i64, String, String)> = insert
        .build_query_as()
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    offsets.extend(
        inserted
            .into_iter()
            .map(|(offset, id, source)| (EventKey { source, id }, offset)),
    );
    Ok(())
}

/// Of two events of one key in a batch the first counts, so each offset is taken once.
async fn insert_names_and_deliveries(
    connection: &mut SqliteConnection,
    accepted: &[Accepted],
    mut offsets: HashMap<EventKey, i64>,
) -> Result<()> {
    let mut all_names = Vec::new();
    let mut deliveries = Vec::new();
    for accepted in accepted {
        let Some(offset) = offsets.remove(&EventKey::of(&accepted.event)) else {
            continue;
        };
        let published = accepted.published.timestamp_micros();
        all_names.extend(names(accepted).into_iter().map(|name| (name, offset)));
        deliveries.extend(
            targets(accepted)
                .into_iter()
                .map(|target| (offset, target, published)),
        );
    }
    if !all_names.is_empty() {
        sqlx::query(
            "INSERT INTO event_names (name, event_offset)
             SELECT value ->> 0, value ->> 1 FROM json_each(?)",
        )
        .bind(rows(&all_names))
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    }
    if !deliveries.is_empty() {
        sqlx::query(
            "INSERT INTO deliveries (event_offset, adapter, published, state)
             SELECT value ->> 0, value ->> 1, value ->> 2, 'pending' FROM json_each(?)",
        )
        .bind(rows(&deliveries))
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    }
    Ok(())
}

async fn add_to_totals(connection: &mut SqliteConnection, counted: &Counted) -> Result<()> {
    let changed = sqlx::query(
        "UPDATE totals SET received = received + ?, duplicates = duplicates + ?, redelivered = redelivered + ?",
    )
    .bind(counted.received)
    .bind(counted.duplicates)
    .bind(counted.redelivered)
    .execute(connection)
    .await
    .map_err(failed)?;
    match changed.rows_affected() {
        1 => Ok(()),
        rows => Err(StoreError::Corrupt(format!(
            "totals: expected one row, found {rows}"
        ))),
    }
}
