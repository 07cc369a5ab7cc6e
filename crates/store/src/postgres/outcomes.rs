//! `Outcomes` in PostgreSQL: the deliveries that a batch may mean are loaded at once, and what changed is written at
//! once.

use std::collections::HashSet;

use async_trait::async_trait;
use sqlx::postgres::PgConnection;

use super::connection::{ANSWER_MAX, in_time};
use super::error::failed;
use super::{AS_WRITER, Postgres, early};
use crate::Result;
use crate::outcomes::{Outcome, Outcomes, SettleSummary};
use crate::rows::outcomes::{KnownRow, KnownTry, duration, known};
use crate::settlement::{Known, Settlement, activity, judge, storable};
use crate::stored::to_word;

#[async_trait]
impl Outcomes for Postgres {
    async fn settle(&self, outcomes: &[Outcome]) -> Result<SettleSummary> {
        if outcomes.is_empty() {
            return Ok(SettleSummary::default());
        }
        in_time(ANSWER_MAX, async {
            let mut transaction = self.writers.begin(AS_WRITER).await?;
            let summary = settle(&mut transaction, outcomes).await?;
            transaction.commit().await?;
            Ok(summary)
        })
        .await
    }
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
    let found: Vec<KnownWithTries> = sqlx::query_as(
        "SELECT delivery.event_offset, delivery.adapter, events.id AS event_id, events.source, delivery.state,
                delivery.attempts, delivery.published, delivery.settled, delivery.detail,
                tried.numbers, tried.outcomes
         FROM unnest($1::text[], $2::text[]) AS wanted (adapter, id)
         JOIN events ON events.id = wanted.id AND events.event_offset >= $3
         JOIN deliveries AS delivery
            ON delivery.event_offset = events.event_offset AND delivery.adapter = wanted.adapter
         CROSS JOIN LATERAL (
            SELECT coalesce(array_agg(number), '{}') AS numbers, coalesce(array_agg(outcome), '{}') AS outcomes
            FROM attempts
            WHERE attempts.event_offset = delivery.event_offset AND attempts.adapter = delivery.adapter
         ) AS tried",
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
    let (mut offsets, mut adapters, mut states, mut attempts, mut settled, mut details) =
        (vec![], vec![], vec![], vec![], vec![], vec![]);
    for known in settlement.changed() {
        offsets.push(known.event_offset);
        adapters.push(known.adapter.as_str());
        states.push(to_word(&known.state));
        attempts.push(i64::from(known.attempts));
        settled.push(known.settled.map(|at| at.timestamp_micros()));
        details.push(known.detail.as_deref());
    }
    let tries = Tries::of(settlement);
    let (mut speakers, mut receipts_since, mut last_settled) = (vec![], vec![], vec![]);
    for (adapter, activity) in activity(words) {
        speakers.push(adapter);
        receipts_since.push(activity.receipts_since);
        last_settled.push(activity.last_settled);
    }
    sqlx::query(
        "WITH changed AS (
            UPDATE deliveries
            SET state = given.state, attempts = given.attempts, settled = given.settled, detail = given.detail
            FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[])
                AS given (event_offset, adapter, state, attempts, settled, detail)
            WHERE deliveries.event_offset = given.event_offset AND deliveries.adapter = given.adapter
         ), tried AS (
            INSERT INTO attempts (event_offset, adapter, number, outcome, detail, retry_after_s, duration_ms, at)
            SELECT * FROM unnest($7::bigint[], $8::text[], $9::bigint[], $10::text[], $11::text[], $12::bigint[],
                                 $13::bigint[], $14::bigint[])
         )
         INSERT INTO adapter_activity AS known (adapter, receipts_since, last_settled)
         SELECT * FROM unnest($15::text[], $16::bigint[], $17::bigint[])
         ON CONFLICT (adapter) DO UPDATE SET
            receipts_since = coalesce(known.receipts_since, excluded.receipts_since),
            last_settled = greatest(known.last_settled, excluded.last_settled)",
    )
    .bind(offsets)
    .bind(adapters)
    .bind(states)
    .bind(attempts)
    .bind(settled)
    .bind(details)
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
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(())
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
