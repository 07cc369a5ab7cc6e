//! `Outcomes` in SQLite: the deliveries that a batch may mean are loaded at once, and what changed is written at
//! once.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;

use super::{Sqlite, early, failed, rows};
use crate::Result;
use crate::outcomes::{DeliveryKey, Outcome, Outcomes, SettleSummary, Standing};
use crate::rows::outcomes::{KnownRow, KnownTry, WordRow, duration, known, standings};
use crate::settlement::{Known, Settlement, activity, judge, storable};

#[async_trait]
impl Outcomes for Sqlite {
    async fn settle(&self, outcomes: &[Outcome]) -> Result<SettleSummary> {
        if outcomes.is_empty() {
            return Ok(SettleSummary::default());
        }
        let mut transaction = self.begin().await?;
        let summary = settle(&mut transaction, outcomes).await?;
        transaction.commit().await.map_err(failed)?;
        Ok(summary)
    }

    async fn standings(&self, keys: &[DeliveryKey]) -> Result<HashMap<DeliveryKey, Standing>> {
        let wanted: Vec<_> = keys
            .iter()
            .map(|key| (&key.adapter, &key.event.source, &key.event.id))
            .collect();
        let wanted = rows(&wanted);
        let mut snapshot = self.lookups.begin().await.map_err(failed)?;
        let recorded = sqlx::query_as(
            "SELECT delivery.adapter, events.source, events.id, delivery.state
             FROM json_each(?) AS wanted
             CROSS JOIN events ON events.id = wanted.value ->> 2 AND events.source = wanted.value ->> 1
             CROSS JOIN deliveries AS delivery
                ON delivery.event_offset = events.event_offset AND delivery.adapter = wanted.value ->> 0",
        )
        .bind(&wanted)
        .fetch_all(&mut *snapshot)
        .await
        .map_err(failed)?;
        standings(recorded, words(&mut snapshot, &wanted).await?)
    }
}

/// The words that were applied, and those that wait for their event.
async fn words(connection: &mut SqliteConnection, wanted: &str) -> Result<Vec<WordRow>> {
    sqlx::query_as(
        "SELECT attempts.adapter, events.source, events.id, attempts.number, attempts.outcome, attempts.detail,
                attempts.retry_after_s
         FROM json_each(?1) AS wanted
         CROSS JOIN events ON events.id = wanted.value ->> 2 AND events.source = wanted.value ->> 1
         CROSS JOIN attempts
            ON attempts.event_offset = events.event_offset AND attempts.adapter = wanted.value ->> 0
         UNION ALL
         SELECT early.adapter, wanted.value ->> 1, early.event_id, coalesce(early.attempt, 1), early.outcome,
                early.detail, early.retry_after_s
         FROM json_each(?1) AS wanted
         CROSS JOIN early_outcomes AS early
            ON early.event_id = wanted.value ->> 2 AND early.adapter = wanted.value ->> 0
                AND coalesce(early.source, wanted.value ->> 1) = wanted.value ->> 1",
    )
    .bind(wanted)
    .fetch_all(connection)
    .await
    .map_err(failed)
}

pub(super) async fn settle(connection: &mut SqliteConnection, outcomes: &[Outcome]) -> Result<SettleSummary> {
    let storable: Vec<Outcome> = outcomes.iter().filter_map(storable).collect();
    let judged = judge(&storable, known_deliveries(connection, &storable, 0).await?);
    write(connection, &judged.settlement).await?;
    early::keep(connection, &judged.waiting).await?;
    note_activity(connection, &storable).await?;
    Ok(SettleSummary {
        refused: (outcomes.len() - storable.len()) as u64,
        ..judged.summary
    })
}

/// The deliveries, of events from `first_offset` on, that have the adapter and event id of any of `outcomes`.
pub(super) async fn known_deliveries(
    connection: &mut SqliteConnection,
    outcomes: impl IntoIterator<Item = &Outcome>,
    first_offset: i64,
) -> Result<Vec<Known>> {
    let wanted: HashSet<_> = outcomes
        .into_iter()
        .map(|outcome| (&outcome.adapter, &outcome.event_id))
        .collect();
    let wanted = rows(&wanted.into_iter().collect::<Vec<_>>());
    let tries = known_tries(connection, &wanted, first_offset).await?;
    let found: Vec<KnownRow> = sqlx::query_as(
        "SELECT delivery.event_offset, delivery.adapter, events.id AS event_id, events.source, delivery.state,
                delivery.attempts, delivery.published, delivery.settled, delivery.due, delivery.detail
         FROM json_each(?) AS wanted
         CROSS JOIN events ON events.id = wanted.value ->> 1
         CROSS JOIN deliveries AS delivery
            ON delivery.event_offset = events.event_offset AND delivery.adapter = wanted.value ->> 0
         WHERE events.event_offset >= ?",
    )
    .bind(wanted)
    .bind(first_offset)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    known(found, tries)
}

async fn known_tries(
    connection: &mut SqliteConnection,
    wanted: &str,
    first_offset: i64,
) -> Result<Vec<KnownTry>> {
    sqlx::query_as(
        "SELECT attempts.event_offset, attempts.adapter, attempts.number, attempts.outcome
         FROM json_each(?) AS wanted
         CROSS JOIN events ON events.id = wanted.value ->> 1
         CROSS JOIN attempts
            ON attempts.event_offset = events.event_offset AND attempts.adapter = wanted.value ->> 0
         WHERE events.event_offset >= ?",
    )
    .bind(wanted)
    .bind(first_offset)
    .fetch_all(connection)
    .await
    .map_err(failed)
}

/// Writes what a settlement changed.
pub(super) async fn write(connection: &mut SqliteConnection, settlement: &Settlement) -> Result<()> {
    let changed: Vec<_> = settlement
        .changed()
        .map(|known| {
            (
                (known.event_offset, &known.adapter),
                (known.state, known.attempts, &known.detail),
                (
                    known.published.timestamp_micros(),
                    known.settled.map(|at| at.timestamp_micros()),
                    known.due.map(|at| at.timestamp_micros()),
                ),
            )
        })
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE deliveries
         SET state = changed.value ->> '$[1][0]', attempts = changed.value ->> '$[1][1]',
             detail = changed.value ->> '$[1][2]', published = changed.value ->> '$[2][0]',
             settled = changed.value ->> '$[2][1]', due = changed.value ->> '$[2][2]'
         FROM json_each(?) AS changed
         WHERE deliveries.event_offset = changed.value ->> '$[0][0]'
            AND deliveries.adapter = changed.value ->> '$[0][1]'",
    )
    .bind(rows(&changed))
    .execute(&mut *connection)
    .await
    .map_err(failed)?;

    if !settlement.passed().is_empty() {
        sqlx::query(
            "DELETE FROM attempts WHERE (event_offset, adapter, number) IN (
                SELECT value ->> '$[0]', value ->> '$[1]', value ->> '$[2]' FROM json_each(?))",
        )
        .bind(rows(settlement.passed()))
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    }
    let tries: Vec<_> = settlement
        .tries()
        .iter()
        .map(|new| {
            let word = &new.outcome;
            (
                (new.event_offset, &word.adapter, new.number, word.kind),
                (
                    &word.detail,
                    word.retry_after_s,
                    word.duration_ms.map(duration),
                    word.at.timestamp_micros(),
                ),
            )
        })
        .collect();
    sqlx::query(
        "INSERT INTO attempts
            (event_offset, adapter, number, outcome, detail, retry_after_s, duration_ms, at)
         SELECT value ->> '$[0][0]', value ->> '$[0][1]', value ->> '$[0][2]', value ->> '$[0][3]',
                value ->> '$[1][0]', value ->> '$[1][1]', value ->> '$[1][2]', value ->> '$[1][3]'
         FROM json_each(?)",
    )
    .bind(rows(&tries))
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(())
}

/// Notes when each adapter last spoke, and since when it sends receipts.
async fn note_activity(connection: &mut SqliteConnection, outcomes: &[Outcome]) -> Result<()> {
    for (adapter, activity) in activity(outcomes) {
        sqlx::query(
            "INSERT INTO adapter_activity (adapter, receipts_since, last_settled) VALUES (?, ?, ?)
             ON CONFLICT (adapter) DO UPDATE SET
                receipts_since = coalesce(receipts_since, excluded.receipts_since),
                last_settled = max(last_settled, excluded.last_settled)",
        )
        .bind(adapter)
        .bind(activity.receipts_since)
        .bind(activity.last_settled)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    }
    Ok(())
}
