//! `Outcomes` in PostgreSQL: the deliveries that a batch may mean are loaded at once, and what changed is written at
//! once.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use sqlx::postgres::PgConnection;

use super::error::failed;
use super::text::bound;
use super::{AS_WRITER, Postgres, SNAPSHOT, early};
use crate::Result;
use crate::outcomes::{DeliveryKey, Outcome, Outcomes, SettleSummary, Standing};
use crate::rows::outcomes::{KnownRow, KnownTry, WordRow, duration, known, standings};
use crate::settlement::{Known, Settlement, activity, judge, storable};
use crate::stored::to_word;

#[async_trait]
impl Outcomes for Postgres {
    async fn settle(&self, outcomes: &[Outcome]) -> Result<SettleSummary> {
        if outcomes.is_empty() {
            return Ok(SettleSummary::default());
        }
        self.writers
            .in_time(async {
                let mut transaction = self.writers.begin(AS_WRITER).await?;
                let summary = settle(&mut transaction, outcomes).await?;
                transaction.commit().await?;
                Ok(summary)
            })
            .await
    }

    async fn standings(&self, keys: &[DeliveryKey]) -> Result<HashMap<DeliveryKey, Standing>> {
        let wanted = Wanted::of(keys);
        self.lookups
            .in_time(async {
                let mut snapshot = self.lookups.begin(SNAPSHOT).await?;
                let recorded = sqlx::query_as(
                    "SELECT delivery.adapter, events.source, events.id, delivery.state
                 FROM unnest($1::text[], $2::text[], $3::text[]) AS wanted (adapter, source, id)
                 JOIN events ON events.id = wanted.id AND events.source = wanted.source
                 JOIN deliveries AS delivery
                    ON delivery.event_offset = events.event_offset AND delivery.adapter = wanted.adapter",
                )
                .bind(&wanted.adapters)
                .bind(&wanted.sources)
                .bind(&wanted.ids)
                .fetch_all(&mut *snapshot)
                .await
                .map_err(failed)?;
                let words = words(&mut snapshot, &wanted).await?;
                snapshot.commit().await?;
                standings(recorded, words)
            })
            .await
    }
}

/// The columns of keys of deliveries.
struct Wanted<'a> {
    adapters: Vec<Cow<'a, str>>,
    sources: Vec<Cow<'a, str>>,
    ids: Vec<Cow<'a, str>>,
}

impl<'a> Wanted<'a> {
    fn of(keys: &'a [DeliveryKey]) -> Self {
        Self {
            adapters: keys.iter().map(|key| bound(&key.adapter)).collect(),
            sources: keys.iter().map(|key| bound(&key.event.source)).collect(),
            ids: keys.iter().map(|key| bound(&key.event.id)).collect(),
        }
    }
}

/// The words that were applied, and those that wait for their event.
async fn words(connection: &mut PgConnection, wanted: &Wanted<'_>) -> Result<Vec<WordRow>> {
    sqlx::query_as(
        "WITH wanted AS (SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) AS wanted (adapter, source, id))
         SELECT attempts.adapter, events.source, events.id, attempts.number, attempts.outcome, attempts.detail,
                attempts.retry_after_s
         FROM wanted
         JOIN events ON events.id = wanted.id AND events.source = wanted.source
         JOIN attempts ON attempts.event_offset = events.event_offset AND attempts.adapter = wanted.adapter
         UNION ALL
         SELECT early.adapter, wanted.source, early.event_id, coalesce(early.attempt, 1), early.outcome,
                early.detail, early.retry_after_s
         FROM wanted
         JOIN early_outcomes AS early
            ON early.event_id = wanted.id AND early.adapter = wanted.adapter
                AND coalesce(early.source, wanted.source) = wanted.source",
    )
    .bind(&wanted.adapters)
    .bind(&wanted.sources)
    .bind(&wanted.ids)
    .fetch_all(connection)
    .await
    .map_err(failed)
}

pub(super) async fn settle(connection: &mut PgConnection, outcomes: &[Outcome]) -> Result<SettleSummary> {
    let storable: Vec<Outcome> = outcomes.iter().filter_map(storable).collect();
    let judged = judge(&storable, known_deliveries(connection, &storable, 0).await?);
    write(connection, &judged.settlement, &storable).await?;
    early::keep(connection, &judged.waiting).await?;
    Ok(SettleSummary {
        refused: (outcomes.len() - storable.len()) as u64,
        ..judged.summary
    })
}

/// A delivery with its attempts beside it.
#[derive(sqlx::FromRow)]
struct KnownWithTries {
    #[sqlx(flatten)]
    delivery: KnownRow,
    numbers: Vec<i64>,
    outcomes: Vec<String>,
}

/// The deliveries, of events from `first_offset` on, that have the adapter and event id of any of `outcomes`.
pub(super) async fn known_deliveries(
    connection: &mut PgConnection,
    outcomes: impl IntoIterator<Item = &Outcome>,
    first_offset: i64,
) -> Result<Vec<Known>> {
    let wanted: HashSet<(&str, &str)> = outcomes
        .into_iter()
        .map(|outcome| (outcome.adapter.as_str(), outcome.event_id.as_str()))
        .collect();
    let (adapters, ids): (Vec<&str>, Vec<&str>) = wanted.into_iter().unzip();
    // OFFSET 0 keeps the server to this order, a look into an index for each row: without statistics, as on a young or
    // restarted server, it would rather compare every event with every delivery.
    let found: Vec<KnownWithTries> = sqlx::query_as(
        "SELECT delivery.event_offset, delivery.adapter, events.id AS event_id, events.source, delivery.state,
                delivery.attempts, delivery.published, delivery.settled, delivery.due, delivery.detail,
                tried.numbers, tried.outcomes
         FROM unnest($1::text[], $2::text[]) AS wanted (adapter, id)
         CROSS JOIN LATERAL (
            SELECT event_offset, id, source FROM events WHERE id = wanted.id OFFSET 0
         ) AS events
         CROSS JOIN LATERAL (
            SELECT * FROM deliveries
            WHERE deliveries.event_offset = events.event_offset AND deliveries.adapter = wanted.adapter OFFSET 0
         ) AS delivery
         CROSS JOIN LATERAL (
            SELECT coalesce(array_agg(number), '{}') AS numbers, coalesce(array_agg(outcome), '{}') AS outcomes
            FROM attempts
            WHERE attempts.event_offset = delivery.event_offset AND attempts.adapter = delivery.adapter
         ) AS tried
         WHERE events.event_offset >= $3",
    )
    .bind(adapters)
    .bind(ids)
    .bind(first_offset)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    let mut tries: Vec<KnownTry> = Vec::new();
    let mut deliveries = Vec::with_capacity(found.len());
    for row in found {
        let key = row.delivery.key();
        let numbered = row.numbers.into_iter().zip(row.outcomes);
        tries.extend(numbered.map(|(number, outcome)| (key.0, key.1.to_owned(), number, outcome)));
        deliveries.push(row.delivery);
    }
    known(deliveries, tries)
}

/// Writes what a settlement changed, and when the adapters of `words` spoke.
pub(super) async fn write(
    connection: &mut PgConnection,
    settlement: &Settlement,
    words: &[Outcome],
) -> Result<()> {
    let changed = Changed::of(settlement);
    let tries = Tries::of(settlement);
    let (mut passed_offsets, mut passed_adapters, mut passed_numbers) = (vec![], vec![], vec![]);
    for (offset, adapter, number) in settlement.passed() {
        passed_offsets.push(*offset);
        passed_adapters.push(adapter.as_str());
        passed_numbers.push(i64::from(*number));
    }
    let (mut speakers, mut receipts_since, mut last_settled) = (vec![], vec![], vec![]);
    for (adapter, activity) in activity(words) {
        speakers.push(adapter);
        receipts_since.push(activity.receipts_since);
        last_settled.push(activity.last_settled);
    }
    sqlx::query(
        "WITH changed AS (
            UPDATE deliveries
            SET state = given.state, attempts = given.attempts, published = given.published,
                settled = given.settled, due = given.due, detail = given.detail
            FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
                        $8::text[])
                AS given (event_offset, adapter, state, attempts, published, settled, due, detail)
            WHERE deliveries.event_offset = given.event_offset AND deliveries.adapter = given.adapter
         ), passed AS (
            DELETE FROM attempts USING unnest($20::bigint[], $21::text[], $22::bigint[])
                AS passed (event_offset, adapter, number)
            WHERE attempts.event_offset = passed.event_offset AND attempts.adapter = passed.adapter
                AND attempts.number = passed.number
         ), tried AS (
            INSERT INTO attempts (event_offset, adapter, number, outcome, detail, retry_after_s, duration_ms, at)
            SELECT * FROM unnest($9::bigint[], $10::text[], $11::bigint[], $12::text[], $13::text[], $14::bigint[],
                                 $15::bigint[], $16::bigint[])
         )
         INSERT INTO adapter_activity AS known (adapter, receipts_since, last_settled)
         SELECT * FROM unnest($17::text[], $18::bigint[], $19::bigint[])
         ON CONFLICT (adapter) DO UPDATE SET
            receipts_since = coalesce(known.receipts_since, excluded.receipts_since),
            last_settled = greatest(known.last_settled, excluded.last_settled)",
    )
    .bind(&changed.offsets)
    .bind(&changed.adapters)
    .bind(&changed.states)
    .bind(&changed.attempts)
    .bind(&changed.published)
    .bind(&changed.settled)
    .bind(&changed.due)
    .bind(&changed.details)
    .bind(&tries.offsets)
    .bind(&tries.adapters)
    .bind(&tries.numbers)
    .bind(&tries.outcomes)
    .bind(&tries.details)
    .bind(&tries.retry_after_s)
    .bind(&tries.durations_ms)
    .bind(&tries.at)
    .bind(speakers)
    .bind(receipts_since)
    .bind(last_settled)
    .bind(passed_offsets)
    .bind(passed_adapters)
    .bind(passed_numbers)
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(())
}

/// The columns of deliveries that changed.
#[derive(Default)]
struct Changed<'a> {
    offsets: Vec<i64>,
    adapters: Vec<&'a str>,
    states: Vec<String>,
    attempts: Vec<i64>,
    published: Vec<i64>,
    settled: Vec<Option<i64>>,
    due: Vec<Option<i64>>,
    details: Vec<Option<&'a str>>,
}

impl<'a> Changed<'a> {
    fn of(settlement: &'a Settlement) -> Self {
        let mut changed = Self::default();
        for known in settlement.changed() {
            changed.offsets.push(known.event_offset);
            changed.adapters.push(&known.adapter);
            changed.states.push(to_word(&known.state));
            changed.attempts.push(known.attempts.into());
            changed.published.push(known.published.timestamp_micros());
            changed
                .settled
                .push(known.settled.map(|at| at.timestamp_micros()));
            changed.due.push(known.due.map(|at| at.timestamp_micros()));
            changed.details.push(known.detail.as_deref());
        }
        changed
    }
}

/// The columns of new attempts.
#[derive(Default)]
struct Tries<'a> {
    offsets: Vec<i64>,
    adapters: Vec<&'a str>,
    numbers: Vec<i64>,
    outcomes: Vec<String>,
    details: Vec<Option<&'a str>>,
    retry_after_s: Vec<Option<i64>>,
    durations_ms: Vec<Option<i64>>,
    at: Vec<i64>,
}

impl<'a> Tries<'a> {
    fn of(settlement: &'a Settlement) -> Self {
        let mut tries = Self::default();
        for new in settlement.tries() {
            let word = &new.outcome;
            tries.offsets.push(new.event_offset);
            tries.adapters.push(&word.adapter);
            tries.numbers.push(new.number.into());
            tries.outcomes.push(to_word(&word.kind));
            tries.details.push(word.detail.as_deref());
            tries.retry_after_s.push(word.retry_after_s.map(i64::from));
            tries.durations_ms.push(word.duration_ms.map(duration));
            tries.at.push(word.at.timestamp_micros());
        }
        tries
    }
}
