//! Rows of deliveries that outcomes may mean, and of outcomes that came before their event.

use std::collections::{HashMap, HashSet};

use crate::Result;
use crate::events::{DeliveryState, EventKey};
use crate::outcomes::{DeliveryKey, Outcome, OutcomeKind, Standing, Word};
use crate::settlement::Known;
use crate::stored::{from_word, number, time, time_if_any};

#[derive(sqlx::FromRow)]
pub(crate) struct KnownRow {
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

impl KnownRow {
    /// Offset and adapter.
    pub(crate) fn key(&self) -> (i64, &str) {
        (self.event_offset, &self.adapter)
    }
}

/// An attempt of a delivery: offset, adapter, number, outcome.
pub(crate) type KnownTry = (i64, String, i64, String);

/// The deliveries with the attempts that belong to each.
pub(crate) fn known(deliveries: Vec<KnownRow>, tries: Vec<KnownTry>) -> Result<Vec<Known>> {
    let mut by_delivery: HashMap<(i64, String), HashSet<(u32, OutcomeKind)>> = HashMap::new();
    for (offset, adapter, attempt, outcome) in tries {
        by_delivery.entry((offset, adapter)).or_default().insert((
            number("attempts.number", attempt)?,
            from_word("attempts.outcome", &outcome)?,
        ));
    }
    deliveries
        .into_iter()
        .map(|row| {
            let key = (row.event_offset, row.adapter);
            let tries = by_delivery.remove(&key).unwrap_or_default();
            Ok(Known {
                event_offset: key.0,
                adapter: key.1,
                event_id: row.event_id,
                source: row.source,
                state: from_word("deliveries.state", &row.state)?,
                attempts: number("deliveries.attempts", row.attempts)?,
                published: time(row.published)?,
                settled: time_if_any(row.settled)?,
                due: time_if_any(row.due)?,
                detail: row.detail,
                tries,
            })
        })
        .collect()
}

#[derive(sqlx::FromRow)]
pub(crate) struct EarlyRow {
    pub(crate) arrival: i64,
    adapter: String,
    event_id: String,
    source: Option<String>,
    outcome: String,
    detail: Option<String>,
    retry_after_s: Option<i64>,
    duration_ms: Option<i64>,
    attempt: Option<i64>,
    due: Option<i64>,
    at: i64,
}

impl EarlyRow {
    pub(crate) fn outcome(self) -> Result<Outcome> {
        Ok(Outcome {
            adapter: self.adapter,
            event_id: self.event_id,
            source: self.source,
            kind: from_word("early_outcomes.outcome", &self.outcome)?,
            detail: self.detail,
            retry_after_s: self
                .retry_after_s
                .map(|s| number("early_outcomes.retry_after_s", s))
                .transpose()?,
            duration_ms: self
                .duration_ms
                .map(|ms| number("early_outcomes.duration_ms", ms))
                .transpose()?,
            attempt: self
                .attempt
                .map(|n| number("early_outcomes.attempt", n))
                .transpose()?,
            due: time_if_any(self.due)?,
            at: time(self.at)?,
        })
    }
}

/// Where a delivery stands.
#[derive(sqlx::FromRow)]
pub(crate) struct StandingRow {
    adapter: String,
    source: String,
    id: String,
    state: String,
}

/// A word about a delivery, recorded or not.
#[derive(sqlx::FromRow)]
pub(crate) struct WordRow {
    adapter: String,
    source: String,
    id: String,
    number: i64,
    outcome: String,
    detail: Option<String>,
    retry_after_s: Option<i64>,
}

/// How deliveries stand, by what is recorded and by what is said.
pub(crate) fn standings(
    recorded: Vec<StandingRow>,
    words: Vec<WordRow>,
) -> Result<HashMap<DeliveryKey, Standing>> {
    let mut standings = HashMap::new();
    for row in recorded {
        let standing = Standing {
            state: from_word("deliveries.state", &row.state)?,
            words: Vec::new(),
        };
        standings.insert(delivery_key(row.adapter, row.source, row.id), standing);
    }
    for row in words {
        let word = Word {
            attempt: number("attempts.number", row.number)?,
            kind: from_word("attempts.outcome", &row.outcome)?,
            detail: row.detail,
            retry_after_s: row
                .retry_after_s
                .map(|seconds| number("attempts.retry_after_s", seconds))
                .transpose()?,
        };
        standings
            .entry(delivery_key(row.adapter, row.source, row.id))
            .or_insert_with(|| Standing {
                state: DeliveryState::Pending,
                words: Vec::new(),
            })
            .words
            .push(word);
    }
    Ok(standings)
}

fn delivery_key(adapter: String, source: String, id: String) -> DeliveryKey {
    DeliveryKey {
        adapter,
        event: EventKey { source, id },
    }
}

/// A duration as a column holds it.
pub(crate) fn duration(milliseconds: u64) -> i64 {
    i64::try_from(milliseconds).unwrap_or(i64::MAX)
}
