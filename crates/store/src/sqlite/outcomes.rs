//! `Outcomes` in SQLite: the deliveries that a batch may mean are loaded at once, and what changed is written at
//! once.

use std::collections::{BTreeMap, HashMap, HashSet};

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;

use super::{Sqlite, early, failed, rows};
use crate::Result;
use crate::events::{DeliveryState, EventKey};
use crate::outcomes::{DeliveryKey, Outcome, Outcomes, SettleSummary, Standing, Word};
use crate::settlement::{Known, Settlement, Verdict, must_wait, storable};
use crate::stored::{from_word, number, time, time_if_any};

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
        let mut standings = recorded_standings(&mut snapshot, &wanted).await?;
        for (key, word) in words(&mut snapshot, &wanted).await? {
            let standing = standings.entry(key).or_insert_with(|| Standing {
                state: DeliveryState::Pending,
                words: Vec::new(),
            });
            standing.words.push(word);
        }
        Ok(standings)
    }
}

async fn recorded_standings(
    connection: &mut SqliteConnection,
    wanted: &str,
) -> Result<HashMap<DeliveryKey, Standing>> {
    let found: Vec<(String, String, String, String)> = sqlx::query_as(
        "SELECT delivery.adapter, events.source, events.id, delivery.state
         FROM json_each(?) AS wanted
         CROSS JOIN events ON events.id = wanted.value ->> 2 AND events.source = wanted.value ->> 1
         CROSS JOIN deliveries AS delivery
            ON delivery.event_offset = events.event_offset AND delivery.adapter = wanted.value ->> 0",
    )
    .bind(wanted)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    found
        .into_iter()
        .map(|(adapter, source, id, state)| {
            let event = EventKey { source, id };
            let state = from_word("deliveries.state", &state)?;
            let words = Vec::new();
            Ok((DeliveryKey { adapter, event }, Standing { state, words }))
        })
        .collect()
}

/// The words that were applied, and those that wait for their event.
async fn words(connection: &mut SqliteConnection, wanted: &str) -> Result<Vec<(DeliveryKey, Word)>> {
    let found: Vec<WordRow> = sqlx::query_as(
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
    .map_err(failed)?;
    found.into_iter().map(WordRow::word).collect()
}

#[derive(sqlx::FromRow)]
struct WordRow {
    adapter: String,
    source: String,
    id: String,
    number: i64,
    outcome: String,
    detail: Option<String>,
    retry_after_s: Option<i64>,
}

impl WordRow {
    fn word(self) -> Result<(DeliveryKey, Word)> {
        let retry_after_s = self
            .retry_after_s
            .map(|seconds| number("attempts.retry_after_s", seconds))
            .transpose()?;
        let word = Word {
            attempt: number("attempts.number", self.number)?,
            kind: from_word("attempts.outcome", &self.outcome)?,
            detail: self.detail,
            retry_after_s,
        };
        let event = EventKey {
            source: self.source,
            id: self.id,
        };
        let adapter = self.adapter;
        Ok((DeliveryKey { adapter, event }, word))
    }
}

pub(super) async fn settle(connection: &mut SqliteConnection, outcomes: &[Outcome]) -> Result<SettleSummary> {
    let mut summary = SettleSummary::default();
    let storable: Vec<Outcome> = outcomes.iter().filter_map(storable).collect();
    summary.refused = (outcomes.len() - storable.len()) as u64;

    let mut settlement = Settlement::of(known_deliveries(connection, &storable, 0).await?);
    let mut waiting = Vec::new();
    for outcome in &storable {
        let verdict = settlement.apply(outcome);
        match verdict {
            Verdict::Applied => summary.applied += 1,
            Verdict::Repeated => summary.repeated += 1,
            Verdict::Unmatched => summary.early += 1,
        }
        if must_wait(outcome, verdict) {
            waiting.push(outcome.clone());
        }
    }
    write(connection, &settlement).await?;
    early::keep(connection, &waiting).await?;
    note_activity(connection, &storable).await?;
    Ok(summary)
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
    let found: Vec<DeliveryOfEvent> = sqlx::query_as(
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
    found.into_iter().map(|row| row.known(&tries)).collect()
}

/// Attempts and outcomes by offset and adapter.
type Tries = HashMap<(i64, String), Vec<(i64, String)>>;

async fn known_tries(connection: &mut SqliteConnection, wanted: &str, first_offset: i64) -> Result<Tries> {
    let found: Vec<(i64, String, i64, String)> = sqlx::query_as(
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
    .map_err(failed)?;
    let mut tries = Tries::new();
    for (offset, adapter, number, outcome) in found {
        tries
            .entry((offset, adapter))
            .or_default()
            .push((number, outcome));
    }
    Ok(tries)
}

#[derive(sqlx::FromRow)]
struct DeliveryOfEvent {
    event_offset: i64,
    adapter: String,
    event_id: String,
    source: String,
    state: String,
    attempts: i64,
    published: i64,
    settled: Option<i64>,
    due: Option<i64>,
    detail: Option<String>,
}

impl DeliveryOfEvent {
    fn known(self, tries: &Tries) -> Result<Known> {
        let key = (self.event_offset, self.adapter);
        let tries = tries
            .get(&key)
            .into_iter()
            .flatten()
            .map(|(attempt, outcome)| {
                Ok((
                    number("attempts.number", *attempt)?,
                    from_word("attempts.outcome", outcome)?,
                ))
            })
            .collect::<Result<_>>()?;
        Ok(Known {
            event_offset: key.0,
            adapter: key.1,
            event_id: self.event_id,
            source: self.source,
            state: from_word("deliveries.state", &self.state)?,
            attempts: number("deliveries.attempts", self.attempts)?,
            published: time(self.published)?,
            settled: time_if_any(self.settled)?,
            due: time_if_any(self.due)?,
            detail: self.detail,
            tries,
        })
    }
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

/// A duration as a column holds it.
pub(super) fn duration(milliseconds: u64) -> i64 {
    i64::try_from(milliseconds).unwrap_or(i64::MAX)
}

/// Notes when each adapter last spoke, and since when it sends receipts.
async fn note_activity(connection: &mut SqliteConnection, outcomes: &[Outcome]) -> Result<()> {
    let mut activity: BTreeMap<&str, (Option<i64>, i64)> = BTreeMap::new();
    for outcome in outcomes {
        let at = outcome.at.timestamp_micros();
        let (receipts_since, last) = activity.entry(&outcome.adapter).or_insert((None, at));
        if outcome.kind.is_receipt() {
            *receipts_since = Some(receipts_since.map_or(at, |since| at.min(since)));
        }
        *last = at.max(*last);
    }
    for (adapter, (receipts_since, last_settled)) in activity {
        sqlx::query(
            "INSERT INTO adapter_activity (adapter, receipts_since, last_settled) VALUES (?, ?, ?)
             ON CONFLICT (adapter) DO UPDATE SET
                receipts_since = coalesce(receipts_since, excluded.receipts_since),
                last_settled = max(last_settled, excluded.last_settled)",
        )
        .bind(adapter)
        .bind(receipts_since)
        .bind(last_settled)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    }
    Ok(())
}
