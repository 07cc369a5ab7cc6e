//! The ledger: does everything that came in stand somewhere?
//!
//! The record says what was published to each adapter and what it has said since; RabbitMQ says how much is still
//! in its queue. What is neither has left the queue without a word: `taken`, if the adapter sends no receipts, and
//! lost if it does. A queue gives out its oldest first, so the lost ones are the oldest without a word.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use crossdock_bus::{management::QueueInfo, names};
use crossdock_store::AdapterTotals;

use crate::{
    AdapterLedger, EngineError, Hub, LedgerView, MissingDelivery, routing::Routing, shared::Shared,
    words::counted,
};

/// How old a delivery must be before its absence from the queue says anything: RabbitMQ counts its queues every 5
/// seconds, and a receipt takes a moment to be read.
const CERTAIN_AFTER: TimeDelta = TimeDelta::seconds(12);
/// How old a delivery must be to be surely part of RabbitMQ's count of its queue, if it is there.
const COUNTED_AFTER: TimeDelta = TimeDelta::seconds(6);
/// How many missing deliveries are named.
const NAMED_MAX: usize = 1000;
/// How many deliveries from before an adapter's first receipt are read over to find the missing ones.
const SKIPPED_MAX: usize = 10_000;

/// An adapter's figures with what else its view shows.
#[derive(Clone, Default)]
pub(crate) struct Line {
    pub(crate) figures: AdapterLedger,
    /// Failed, waiting for another attempt; part of what is in flight.
    pub(crate) retrying: u64,
    pub(crate) oldest_pending: Option<DateTime<Utc>>,
    pub(crate) last_settled: Option<DateTime<Utc>>,
    /// Those of the taken deliveries that are not forgotten: the oldest without a word.
    pub(crate) taken: u64,
    /// Deliveries published later are too young to be called taken.
    pub(crate) certain_before: DateTime<Utc>,
    /// Deliveries too young to be judged that are not in the queue.
    uncertain: bool,
}

/// A line for each adapter that has deliveries. Without `queues` everything without a word counts as in flight.
pub(crate) async fn lines(
    shared: &Shared,
    routing: &Routing,
    queues: Option<&BTreeMap<String, QueueInfo>>,
) -> Result<BTreeMap<String, Line>, EngineError> {
    let certain_before = shared.clock.now() - CERTAIN_AFTER;
    let counted_before = shared.clock.now() - COUNTED_AFTER;
    let mut lines = BTreeMap::new();
    for totals in shared.store.per_adapter().await? {
        let name = totals.adapter.clone();
        let queue = queues.and_then(|known| known.get(&names::adapter_queue(&name)));
        let in_queue = match (queues, queue) {
            (None, _) => totals.pending,
            (Some(_), None) => 0,
            // RabbitMQ has not counted it yet: since its start, or since the queue was declared.
            (Some(_), Some(queue)) => waiting(queue).unwrap_or(totals.pending),
        };
        // The queue holds the youngest. Those younger than its count may be missing from it.
        let counted = shared.store.pending_count(&name, counted_before).await?;
        let certain = shared.store.pending_count(&name, certain_before).await?;
        let gone = counted.saturating_sub(in_queue).min(certain);
        let owed_no_receipt = match totals.receipts_since {
            None => gone,
            Some(since) => {
                shared
                    .store
                    .pending_count(&name, since.min(certain_before))
                    .await?
            }
        };
        let taken = gone.min(owed_no_receipt);
        let unaccounted = gone - taken;
        let missing = if unaccounted == 0 {
            Vec::new()
        } else {
            let (skipped, named) = (at_most(taken, SKIPPED_MAX), at_most(unaccounted, NAMED_MAX));
            let oldest = shared
                .store
                .pending(&name, certain_before, skipped + named)
                .await?;
            oldest.into_iter().skip(skipped).collect()
        };
        let figures = AdapterLedger {
            adapter: name.clone(),
            matched: totals.matched,
            confirmed: totals.confirmed,
            taken: taken + totals.taken,
            parked: totals.parked,
            discarded: totals.discarded,
            expired: totals.expired,
            in_flight: totals.pending - gone + totals.retrying,
            unaccounted,
            missing: missing
                .into_iter()
                .map(|delivery| MissingDelivery {
                    id: delivery.event_id,
                    source: delivery.source,
                    r#type: delivery.event_type,
                    published: delivery.published,
                })
                .collect(),
            receipts_since: totals.receipts_since,
        };
        let line = Line {
            figures,
            retrying: totals.retrying,
            oldest_pending: oldest(shared, &totals, queues.is_some().then_some(in_queue), gone).await?,
            last_settled: totals.last_settled,
            taken,
            certain_before,
            uncertain: totals.pending.saturating_sub(in_queue) > gone,
        };
        lines.insert(name, line);
    }
    for name in routing.adapters.keys() {
        lines
            .entry(name.clone())
            .or_default()
            .figures
            .adapter
            .clone_from(name);
    }
    Ok(lines)
}

/// When the oldest of what is still on its way was put into the queue. Those without a word that have left the queue
/// are the oldest, so the oldest that is there comes after them. Of an adapter that sends no receipts nothing but the
/// queue says what has left: there it is the last of as many of the youngest as the queue holds.
async fn oldest(
    shared: &Shared,
    totals: &AdapterTotals,
    in_queue: Option<u64>,
    gone: u64,
) -> Result<Option<DateTime<Utc>>, EngineError> {
    let there = match (totals.receipts_since, in_queue) {
        (Some(_), _) => totals.pending - gone,
        (None, Some(in_queue)) => in_queue.min(totals.pending),
        (None, None) => 0,
    };
    if there == 0 || there == totals.pending {
        return Ok(totals.oldest_pending.filter(|_| there > 0));
    }
    let left = totals.pending - there;
    // Counted from the nearer end.
    Ok(if left < there {
        shared.store.pending_after(&totals.adapter, left).await?
    } else {
        shared.store.pending_before(&totals.adapter, there - 1).await?
    })
}

/// What is in a queue, handed out or not, where RabbitMQ has counted it.
fn waiting(queue: &QueueInfo) -> Option<u64> {
    Some(queue.ready? + queue.unacked?)
}

fn at_most(count: u64, limit: usize) -> usize {
    usize::try_from(count).unwrap_or(limit).min(limit)
}

impl Hub {
    /// The ledger at this moment.
    ///
    /// # Errors
    /// `Unavailable` without a database. Without a broker the reading says so in its notes.
    pub async fn ledger(&self) -> Result<LedgerView, EngineError> {
        let shared = &self.shared;
        // The queues first: what is published in between is then too young to be missed.
        let queues = shared.queues().await;
        let lines = lines(shared, &shared.routing.load(), queues.as_ref()).await?;
        let totals = shared.store.totals().await?;

        let mut notes = Vec::new();
        let depth = |name: &str| waiting(queues.as_ref()?.get(name)?);
        let waiting_in_ingress = queues.as_ref().map(|_| {
            (0..names::PARTITIONS)
                .filter_map(|partition| depth(&names::ingress_queue(partition)))
                .sum::<u64>()
        });
        let unread = depth(names::FAILED).unwrap_or(0);
        if queues.is_none() {
            notes.push("RabbitMQ does not answer: what is without a receipt counts as in flight".to_owned());
        }
        if unread > 0 {
            let words = counted(unread, "receipt or reject is", "receipts and rejects are");
            notes.push(format!("{words} not read yet"));
        }
        if let Some(undeliverable @ 1..) = depth(names::UNDELIVERABLE) {
            let messages = counted(undeliverable, "message is", "messages are");
            notes.push(format!("{messages} in {}", names::UNDELIVERABLE));
        }
        let left_side = totals.balanced();
        if !left_side {
            notes.push(
                "received is not accepted + duplicates + quarantined: the record has lost or gained rows"
                    .into(),
            );
        }
        let uncertain = lines.values().any(|line| line.uncertain);
        let adapters: Vec<_> = lines.into_values().map(|line| line.figures).collect();
        Ok(LedgerView {
            balanced: left_side && adapters.iter().all(|adapter| adapter.unaccounted == 0),
            settling: queues.is_none() || uncertain || unread > 0 || waiting_in_ingress.unwrap_or(0) > 0,
            received: totals.received,
            accepted: totals.accepted,
            duplicates: totals.duplicates,
            redelivered: totals.redelivered,
            quarantined: totals.quarantined,
            forgotten_events: totals.forgotten_events,
            forgotten_quarantined: totals.forgotten_quarantined,
            waiting_in_ingress,
            adapters,
            notes,
        })
    }
}
