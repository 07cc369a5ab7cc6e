//! How outcomes change deliveries, without a database: a backend loads the deliveries that a batch of outcomes
//! may mean, applies them here in order, and writes what changed.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use crossdock_model::event::IDENTIFIER_MAX_BYTES;

use crate::events::DeliveryState;
use crate::outcomes::{DETAIL_MAX_BYTES, Outcome, OutcomeKind, SettleSummary};

/// How many early outcomes are kept of each adapter: an adapter that invents ids pushes out only its own.
pub(crate) const EARLY_MAX_PER_ADAPTER: u32 = 10_000;

/// How much later than a word about it a delivery may seem to be published, for the clocks of two hubs and for
/// the time between publishing and noting it.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// A recorded delivery.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) event_offset: i64,
    pub(crate) adapter: String,
    pub(crate) event_id: String,
    pub(crate) source: String,
    pub(crate) state: DeliveryState,
    pub(crate) attempts: u32,
    pub(crate) published: DateTime<Utc>,
    pub(crate) settled: Option<DateTime<Utc>>,
    pub(crate) due: Option<DateTime<Utc>>,
    pub(crate) detail: Option<String>,
    pub(crate) tries: HashSet<(u32, OutcomeKind)>,
}

/// A word to note about a delivery.
#[derive(Debug)]
pub(crate) struct NewTry {
    pub(crate) event_offset: i64,
    pub(crate) number: u32,
    pub(crate) outcome: Outcome,
}

/// What an outcome turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A new word about a recorded delivery.
    Applied,
    /// A known word about a recorded delivery.
    Repeated,
    /// It means no recorded delivery.
    Unmatched,
}

/// The deliveries that a batch of outcomes may mean, and what becomes of them.
#[derive(Debug, Default)]
pub(crate) struct Settlement {
    by_adapter_and_id: HashMap<(String, String), Vec<Known>>,
    changed: BTreeMap<(i64, String), String>,
    tries: Vec<NewTry>,
    /// Attempts that need no longer be kept: event offset, adapter, number.
    passed: Vec<(i64, String, u32)>,
}

impl Settlement {
    pub(crate) fn of(mut deliveries: Vec<Known>) -> Self {
        deliveries.sort_by_key(|delivery| delivery.event_offset);
        let mut settlement = Self::default();
        for delivery in deliveries {
            let key = (delivery.adapter.clone(), delivery.event_id.clone());
            settlement
                .by_adapter_and_id
                .entry(key)
                .or_default()
                .push(delivery);
        }
        settlement
    }

    pub(crate) fn apply(&mut self, outcome: &Outcome) -> Verdict {
        let key = (outcome.adapter.clone(), outcome.event_id.clone());
        let Some(delivery) = self
            .by_adapter_and_id
            .get_mut(&key)
            .and_then(|all| meant_by(outcome, all))
        else {
            return Verdict::Unmatched;
        };
        let number = delivery.attempt_of(outcome);
        if !delivery.tries.insert((number, outcome.kind)) {
            return Verdict::Repeated;
        }
        delivery.note(number, outcome);
        if outcome.kind == OutcomeKind::Undelivered
            && let Some(passed) = delivery.pass_over(number)
        {
            let (offset, adapter) = (delivery.event_offset, &delivery.adapter);
            self.tries.retain(|new| {
                (new.event_offset, &new.outcome.adapter, new.number) != (offset, adapter, passed)
            });
            self.passed.push((offset, adapter.clone(), passed));
        }
        self.changed.insert((delivery.event_offset, key.0), key.1);
        self.tries.push(NewTry {
            event_offset: delivery.event_offset,
            number,
            outcome: outcome.clone(),
        });
        Verdict::Applied
    }

    /// The deliveries that differ from what was loaded.
    pub(crate) fn changed(&self) -> impl Iterator<Item = &Known> {
        self.changed.iter().filter_map(|((offset, adapter), event_id)| {
            self.by_adapter_and_id
                .get(&(adapter.clone(), event_id.clone()))?
                .iter()
                .find(|delivery| delivery.event_offset == *offset)
        })
    }

    /// The attempts to forget.
    pub(crate) fn passed(&self) -> &[(i64, String, u32)] {
        &self.passed
    }

    /// The words to note.
    pub(crate) fn tries(&self) -> &[NewTry] {
        &self.tries
    }
}

impl Known {
    /// A word without a number is about the latest attempt: RabbitMQ's own redeliveries count as none.
    fn attempt_of(&self, outcome: &Outcome) -> u32 {
        outcome.attempt.unwrap_or(self.attempts).max(1)
    }

    /// A word about an attempt that another has followed changes nothing, unless it is that the work is done.
    fn note(&mut self, number: u32, outcome: &Outcome) {
        if number < self.attempts && outcome.kind != OutcomeKind::Done {
            return;
        }
        self.attempts = self.attempts.max(number);
        let before = self.state;
        self.state = before.after(outcome.kind, outcome.due.is_some());
        match (self.state, outcome.kind) {
            (DeliveryState::Pending, OutcomeKind::HandedOver) => {
                self.published = outcome.at;
                (self.settled, self.due, self.detail) = (None, None, None);
            }
            (DeliveryState::Confirmed, OutcomeKind::Done) if before != self.state => {
                (self.settled, self.due) = (Some(outcome.at), None);
                self.detail.clone_from(&outcome.detail);
            }
            (DeliveryState::Pending | DeliveryState::Retrying | DeliveryState::Parked, _) => {
                if before != self.state {
                    self.settled = Some(outcome.at);
                }
                if self.state == DeliveryState::Retrying {
                    self.due = outcome.due.or(self.due);
                } else {
                    self.due = None;
                }
                if outcome.detail.is_some() {
                    self.detail.clone_from(&outcome.detail);
                }
            }
            _ => {}
        }
    }

    /// While a queue takes nothing, one attempt follows the other: of such a run the first and the latest are kept.
    /// Gives the number of the attempt before the one that was just not delivered, if it is neither.
    fn pass_over(&mut self, number: u32) -> Option<u32> {
        let passed = number.checked_sub(1)?;
        let earlier = self
            .tries
            .iter()
            .map(|(known, _)| *known)
            .filter(|known| *known < passed)
            .max()?;
        let is_of_the_run = |attempt: u32| {
            let words = || {
                self.tries
                    .iter()
                    .filter(|(known, _)| *known == attempt)
                    .map(|(_, kind)| *kind)
            };
            words().any(|kind| kind == OutcomeKind::Undelivered)
                && words().all(|kind| matches!(kind, OutcomeKind::Undelivered | OutcomeKind::HandedOver))
        };
        if !is_of_the_run(passed) || !is_of_the_run(earlier) {
            return None;
        }
        self.tries.retain(|(known, _)| *known != passed);
        Some(passed)
    }

    fn waits(&self) -> bool {
        matches!(self.state, DeliveryState::Pending | DeliveryState::Retrying)
    }
}

/// Which of the deliveries with its adapter and event id an outcome means.
///
/// Without a source several may be meant. Adapters speak in the order in which they work, so it is the oldest
/// that waits; if none does, the newest to which the word is new. One published after the word is not meant.
fn meant_by<'a>(outcome: &Outcome, deliveries: &'a mut [Known]) -> Option<&'a mut Known> {
    if let Some(source) = &outcome.source {
        return deliveries.iter_mut().find(|delivery| &delivery.source == source);
    }
    let latest = outcome.at + CLOCK_TOLERANCE;
    let possible = |delivery: &Known| delivery.published <= latest;
    let news = |delivery: &Known| {
        !delivery
            .tries
            .contains(&(delivery.attempt_of(outcome), outcome.kind))
    };
    let index = deliveries
        .iter()
        .position(|delivery| possible(delivery) && delivery.waits() && news(delivery))
        .or_else(|| {
            deliveries
                .iter()
                .rposition(|delivery| possible(delivery) && news(delivery))
        })
        .or_else(|| deliveries.iter().rposition(possible))?;
    deliveries.get_mut(index)
}

/// What a batch of outcomes makes of the deliveries that it may mean.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) settlement: Settlement,
    /// Without those that were refused.
    pub(crate) summary: SettleSummary,
    /// To be kept until their event is recorded.
    pub(crate) waiting: Vec<Outcome>,
}

/// Applies outcomes that are new to the database.
pub(crate) fn judge(outcomes: &[Outcome], deliveries: Vec<Known>) -> Judged {
    let mut judged = Judged {
        settlement: Settlement::of(deliveries),
        summary: SettleSummary::default(),
        waiting: Vec::new(),
    };
    for outcome in outcomes {
        let verdict = judged.settlement.apply(outcome);
        match verdict {
            Verdict::Applied => judged.summary.applied += 1,
            Verdict::Repeated => judged.summary.repeated += 1,
            Verdict::Unmatched => judged.summary.early += 1,
        }
        if must_wait(outcome, verdict) {
            judged.waiting.push(outcome.clone());
        }
    }
    judged
}

/// Applies outcomes that were kept, each with its arrival, to deliveries that are new. Gives what comes of it and
/// the arrivals of those that need not wait any longer.
pub(crate) fn judge_kept(kept: &[(i64, Outcome)], deliveries: Vec<Known>) -> (Settlement, Vec<i64>) {
    let mut settlement = Settlement::of(deliveries);
    let used_up = kept
        .iter()
        .filter(|(_, outcome)| !must_wait(outcome, settlement.apply(outcome)))
        .map(|(arrival, _)| *arrival)
        .collect();
    (settlement, used_up)
}

/// When an adapter spoke, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Activity {
    /// First receipt.
    pub(crate) receipts_since: Option<i64>,
    /// Last word of any kind.
    pub(crate) last_settled: i64,
}

/// When each adapter spoke, by these outcomes.
pub(crate) fn activity(outcomes: &[Outcome]) -> BTreeMap<&str, Activity> {
    let mut all: BTreeMap<&str, Activity> = BTreeMap::new();
    for outcome in outcomes {
        let at = outcome.at.timestamp_micros();
        let activity = all.entry(&outcome.adapter).or_insert(Activity {
            receipts_since: None,
            last_settled: at,
        });
        if outcome.kind.is_receipt() {
            activity.receipts_since = Some(activity.receipts_since.map_or(at, |since| at.min(since)));
        }
        activity.last_settled = at.max(activity.last_settled);
    }
    all
}

/// Whether an outcome must be kept (longer) for an event that is not recorded yet.
///
/// A known word without a source is kept too: it may be the first word about an event of the same id from
/// another source.
fn must_wait(outcome: &Outcome, verdict: Verdict) -> bool {
    match verdict {
        Verdict::Applied => false,
        Verdict::Repeated => outcome.source.is_none(),
        Verdict::Unmatched => true,
    }
}

/// The outcome as it is stored, or nothing if its id can be no event's.
pub(crate) fn storable(outcome: &Outcome) -> Option<Outcome> {
    let id = &outcome.event_id;
    if id.is_empty() || id.len() > IDENTIFIER_MAX_BYTES || id.contains(char::is_control) {
        return None;
    }
    let detail = outcome.detail.as_ref().map(|detail| {
        let mut detail = detail.replace('\0', "\u{fffd}");
        detail.truncate(detail.floor_char_boundary(DETAIL_MAX_BYTES));
        detail
    });
    Some(Outcome {
        detail,
        ..outcome.clone()
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
