//! The gate: the one place through which every event goes on its way to adapters.
//!
//! One task per partition. Each takes a batch from its queue and goes through the steps in this order:
//! judge (who, what) → which are recorded already → publish the rest and await every confirm → record
//! events, targets and refusals in one transaction → ack. A crash at any point repeats and never loses; the one
//! window in which a duplicate passes is the one between confirm and record.

mod judge;
mod publish;

pub(crate) use publish::ATTEMPT_HEADER;

use std::{collections::HashSet, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use crossdock_bus::{BusError, lane::Lane, message::Delivery, names};
use crossdock_model::{event::Event, fault::Fault};
use crossdock_store::{
    Accepted, Batch, Duplicate, EventKey, NewQuarantined, Outcome, OutcomeKind, StoreError,
};
use tokio_util::sync::CancellationToken;

use self::judge::{Judged, Verdict};
use crate::hub::Shared;

/// Messages RabbitMQ hands over ahead of acks, per partition.
const PREFETCH: u16 = 400;
/// Events judged, published and recorded together.
const BATCH_MAX: usize = 200;
/// How long a batch waits to fill up.
const BATCH_LINGER: Duration = Duration::from_millis(5);
/// Events in a chain of cause and effect; a longer one is adapters answering each other in a circle.
const CHAIN_MAX: u32 = 32;
/// Pauses between attempts to reach a broker or database that is away.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Takes events of one partition until `stop`. Lanes come and go with the broker; this goes on.
pub(crate) async fn run(shared: Arc<Shared>, partition: u16, stop: CancellationToken) {
    let queue = names::ingress_queue(partition);
    let mut pause = PAUSE_MIN;
    while !stop.is_cancelled() {
        if shared.wait_for_topology(&stop).await.is_err() {
            return;
        }
        let lane = match Lane::open(&shared.broker, &queue, PREFETCH, &shared.consumer_tag("gate")).await {
            Ok(lane) => lane,
            Err(error) => {
                tracing::debug!(%queue, %error, "the gate cannot consume yet");
                shared.pause(&mut pause, &stop).await;
                continue;
            }
        };
        pause = PAUSE_MIN;
        match serve(&shared, lane, &stop).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%queue, %error, "the gate lost its lane and opens another"),
        }
    }
}

/// Serves one lane: `Ok` after a step-down, an error when the lane is over.
async fn serve(shared: &Shared, mut lane: Lane, stop: &CancellationToken) -> Result<(), BusError> {
    loop {
        let deliveries = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            deliveries = lane.next_batch(BATCH_MAX, BATCH_LINGER) => deliveries?,
        };
        if !process(shared, &lane, deliveries, stop).await? {
            break;
        }
    }
    lane.step_down().await;
    Ok(())
}

/// One batch through all steps. `false`: the hub stops and the database did not take the record, so nothing was
/// acked and everything comes again.
async fn process(
    shared: &Shared,
    lane: &Lane,
    deliveries: Vec<Delivery>,
    stop: &CancellationToken,
) -> Result<bool, BusError> {
    let received = shared.clock.now();
    let tags: Vec<u64> = deliveries.iter().map(|delivery| delivery.tag).collect();
    let routing = shared.routing.load_full();

    let mut batch = Batch::default();
    let mut candidates = Vec::new();
    for delivery in deliveries {
        match judge::judge(&routing, &shared.hub_user, delivery, received) {
            Verdict::Quarantine(refused) => batch.quarantined.push(refused),
            Verdict::Event(judged) => candidates.push(judged),
        }
    }

    let Some(mut fresh) = until_stored(shared, stop, || drop_known(shared, &candidates)).await else {
        return Ok(false);
    };
    batch.duplicates.append(&mut fresh.duplicates);
    let Some(chains) = until_stored(shared, stop, || chains(shared, &candidates, &fresh.indices)).await
    else {
        return Ok(false);
    };
    let mut accepted = Vec::new();
    for (judged, chain) in take(candidates, &fresh.indices).into_iter().zip(chains) {
        if chain > CHAIN_MAX {
            batch.quarantined.push(judged.refuse(vec![circle()]));
        } else {
            let targets = routing.targets(&judged.event.event_type);
            accepted.push(Accepted {
                event: judged.event,
                producer: judged.producer,
                received,
                published: received,
                targets,
                chain,
            });
        }
    }
    log_refusals(&batch.quarantined);

    fail::fail_point!("gate-before-publish");
    let published = publish::publish(lane, accepted).await;
    fail::fail_point!("gate-after-confirm");

    let now = shared.clock.now();
    for mut event in published.confirmed {
        event.accepted.published = now;
        for (adapter, reason) in event.unreachable {
            batch
                .outcomes
                .push(undelivered(&event.accepted.event, adapter, reason, now));
        }
        batch.accepted.push(event.accepted);
    }
    let recorded = until_stored(shared, stop, || async {
        shared.store.record(batch.clone()).await?;
        shared.store.latest_offset().await
    })
    .await;
    let Some(latest) = recorded else { return Ok(false) };
    shared.recorded.send_replace(latest);
    fail::fail_point!("gate-after-record");

    if let Some(error) = published.lane_over {
        return Err(error);
    }
    lane.ack(&tags).await?;
    Ok(true)
}

/// Which candidates are new: by place in the list, with the others as duplicates.
struct Fresh {
    indices: Vec<usize>,
    duplicates: Vec<Duplicate>,
}

async fn drop_known(shared: &Shared, candidates: &[Judged]) -> Result<Fresh, StoreError> {
    let keys: Vec<EventKey> = candidates.iter().map(Judged::key).collect();
    let known = shared.store.recorded(&keys).await?;
    let mut seen = HashSet::new();
    let mut fresh = Fresh {
        indices: Vec::new(),
        duplicates: Vec::new(),
    };
    for (index, (judged, key)) in candidates.iter().zip(keys).enumerate() {
        let recorded = known.contains(&key);
        if recorded || !seen.insert(key.clone()) {
            fresh.duplicates.push(Duplicate {
                key,
                producer: judged.producer.clone(),
                received: judged.received,
                redelivered: recorded && judged.redelivered,
            });
        } else {
            fresh.indices.push(index);
        }
    }
    Ok(fresh)
}

/// How many events led to each fresh one.
async fn chains(shared: &Shared, candidates: &[Judged], fresh: &[usize]) -> Result<Vec<u32>, StoreError> {
    let causes: Vec<String> = fresh
        .iter()
        .filter_map(|&index| candidates[index].event.causation_id().map(str::to_owned))
        .collect();
    let mut lengths = if causes.is_empty() {
        Default::default()
    } else {
        shared.store.chain_lengths(&causes).await?
    };
    let mut chains = Vec::with_capacity(fresh.len());
    for &index in fresh {
        let event: &Event = &candidates[index].event;
        let chain = event
            .causation_id()
            .map_or(0, |cause| lengths.get(cause).copied().unwrap_or(0) + 1);
        lengths.insert(event.id.clone(), chain);
        chains.push(chain);
    }
    Ok(chains)
}

fn take(candidates: Vec<Judged>, indices: &[usize]) -> Vec<Judged> {
    let wanted: HashSet<usize> = indices.iter().copied().collect();
    candidates
        .into_iter()
        .enumerate()
        .filter(|(index, _)| wanted.contains(index))
        .map(|(_, judged)| judged)
        .collect()
}

fn circle() -> Fault {
    Fault {
        pointer: "/causationid".to_owned(),
        message: format!(
            "the chain of causes is longer than {CHAIN_MAX} events: adapters seem to answer each other in a circle"
        ),
    }
}

/// The hub's own word that a delivery never reached its queue.
fn undelivered(event: &Event, adapter: String, reason: String, at: DateTime<Utc>) -> Outcome {
    Outcome {
        adapter,
        event_id: event.id.clone(),
        source: Some(event.source.clone()),
        kind: OutcomeKind::Undelivered,
        detail: Some(reason),
        retry_after_s: None,
        duration_ms: None,
        attempt: None,
        at,
    }
}

fn log_refusals(refused: &[NewQuarantined]) {
    for message in refused {
        let reasons: Vec<_> = message
            .reasons
            .iter()
            .map(|f| format!("{}: {}", f.pointer, f.message))
            .collect();
        tracing::warn!(
            producer = message.producer.as_deref(),
            ?reasons,
            "a message went to quarantine"
        );
    }
}

/// Repeats a piece of database work until it succeeds; `None` if the hub stops first. Ingress holds meanwhile,
/// and producers still get their 202.
pub(crate) async fn until_stored<T, F, Fut>(
    shared: &Shared,
    stop: &CancellationToken,
    mut work: F,
) -> Option<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, StoreError>>,
{
    let mut pause = PAUSE_MIN;
    loop {
        match work().await {
            Ok(value) => return Some(value),
            Err(error) => tracing::error!(%error, "the gate waits for the database"),
        }
        shared.pause(&mut pause, stop).await;
        if stop.is_cancelled() {
            return None;
        }
    }
}

/// The next pause of a growing series.
pub(crate) fn longer(pause: Duration) -> Duration {
    (pause * 2).min(PAUSE_MAX)
}
