//! The gate: the one place through which every event goes on its way to adapters.
//!
//! One task per partition. Each takes a batch from its queue and goes through the steps in this order:
//! judge (who, what) → which are recorded already → route (who gets what of it) → publish and await every confirm →
//! record events, targets and refusals in one transaction → ack. A crash at any point repeats and never loses; the one
//! window in which a duplicate passes is the one between confirm and record.

mod chains;
mod judge;
mod publish;
mod put_off;
mod record;
mod route;
mod targets;

pub(crate) use chains::ChainsUnderWay;
pub(crate) use publish::{message, tell_failures, traced};
pub(crate) use route::for_adapter;

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use crossdock_bus::{
    BusError, PublishError,
    lane::Lane,
    message::{Delivery, Outgoing},
    names,
};
use crossdock_model::event::Event;
use crossdock_store::{
    Accepted, Batch, DeliveryKey, Duplicate, EventKey, NewQuarantined, Outcome, OutcomeKind, StoreError,
};
use tokio_util::sync::CancellationToken;

use self::{
    chains::CHAIN_MAX,
    judge::{Judged, Verdict},
    publish::{Confirmed, PatientOutlet, Published},
    route::Routed,
    targets::Targets,
};
use crate::{
    alerts,
    lanes::{self, Post},
    measures, quarantine, retry,
    routing::Routing,
    shared::Shared,
    storing::Storing,
};

/// Messages RabbitMQ hands over ahead of acks, per partition.
const PREFETCH: u16 = 200;
/// Events judged, published and recorded together.
const BATCH_MAX: usize = 200;
/// How long a batch waits to fill up, while events come fast: fewer and larger batches cost less. A lone event, for
/// which somebody waits at a page, does not wait.
const BATCH_LINGER: Duration = Duration::from_millis(5);
/// Events come fast when the batch before had as many as these.
const FAST: usize = 8;
/// How long a publish waits for a missing queue to be made again, each time.
const ASSERT_PATIENCE: Duration = Duration::from_secs(3);
/// How long it waits for a queue that refused it, each time.
const REFUSAL_PAUSE: Duration = Duration::from_millis(200);
/// Refusals of a batch that are logged one by one.
const REFUSALS_LOGGED: usize = 5;

/// Takes events of one partition until `stop`. Lanes come and go with the broker; this goes on.
pub(crate) async fn run(shared: Arc<Shared>, partition: u16, stop: CancellationToken) {
    let gate = Gate {
        shared: &shared,
        name: format!("gate {partition}"),
        targets: Targets::default(),
        stop: &stop,
    };
    let post = Post {
        queue: &names::ingress_queue(partition),
        prefetch: PREFETCH,
        task: "gate",
    };
    lanes::keep_serving(&shared, post, &stop, |lane| gate.serve(lane)).await;
}

/// One partition's gate.
struct Gate<'a> {
    shared: &'a Shared,
    name: String,
    targets: Targets,
    stop: &'a CancellationToken,
}

impl Gate<'_> {
    /// Serves one lane: `Ok` after a step-down, an error when the lane is over.
    async fn serve(&self, mut lane: Lane) -> Result<(), BusError> {
        let mut linger = Duration::ZERO;
        'lane: loop {
            let deliveries = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                deliveries = lane.next_batch(BATCH_MAX, linger) => deliveries?,
            };
            linger = if deliveries.len() < FAST {
                Duration::ZERO
            } else {
                BATCH_LINGER
            };
            for batch in lanes::by_size(deliveries) {
                if self.stop.is_cancelled() || !self.process(&lane, batch).await? {
                    break 'lane;
                }
            }
        }
        lane.step_down().await;
        Ok(())
    }

    /// One batch through all steps. `false`: the hub stops and the database did not take the record, so nothing
    /// was acked and everything comes again.
    async fn process(&self, lane: &Lane, deliveries: Vec<Delivery>) -> Result<bool, BusError> {
        let started = Instant::now();
        let shared = self.shared;
        let storing = self.storing();
        let received = shared.clock.now();
        let tags: Vec<u64> = deliveries.iter().map(|delivery| delivery.tag).collect();
        let (routing, verdicts) = judge::all(shared, deliveries, received).await?;

        let mut batch = Batch::default();
        let mut candidates = Vec::new();
        for verdict in verdicts {
            match verdict {
                Verdict::Quarantine(refused) => batch.quarantined.push(refused),
                Verdict::Event(judged) => candidates.push(*judged),
            }
        }
        let Some(known) = storing.insist(|| recorded(shared, &candidates)).await else {
            return Ok(false);
        };
        let fresh = drop_known(candidates, &known, &mut batch.duplicates);
        let Some(lengths) = storing.insist(|| self.chain_lengths(&fresh)).await else {
            return Ok(false);
        };
        let mut accepted = accept(fresh, lengths, &mut batch.quarantined);
        let under_way = accepted.iter().map(|accepted| (&accepted.event, accepted.chain));
        let _known_to_other_gates = shared.chains.enter(under_way);
        log_refusals(&batch.quarantined);

        // Once as a rule; again for what transforms made too large to be confirmed together.
        loop {
            let part;
            (part, accepted) = route::route(&routing, accepted).await?;
            route::log_failures(&part);
            alerts::tell_parked(shared, &routing);
            if !self.publish_and_record(lane, &routing, part, batch).await? {
                return Ok(false);
            }
            if accepted.is_empty() {
                break;
            }
            batch = Batch::default();
        }
        measures::batch_took(started.elapsed().as_secs_f64());
        self.tell_recorded().await;
        lane.ack(&tags).await?;
        Ok(true)
    }

    /// Publishes, then records, with what else is in `batch`. `false`: the hub stops before the database took it.
    async fn publish_and_record(
        &self,
        lane: &Lane,
        routing: &Routing,
        routed: Vec<Routed>,
        mut batch: Batch,
    ) -> Result<bool, BusError> {
        fail::fail_point!("gate-before-publish");
        let outlet = LaneOutlet { lane, gate: self };
        let mut published = publish::publish(&outlet, &self.targets, routed).await;
        self.tell_refusals(&published);
        let now = self.shared.clock.now();
        put_off::put_off(&outlet, &mut published, now).await;
        fail::fail_point!("gate-after-confirm");

        let _until_recorded = published.spans();
        let lane_over = note_published(published, now, &mut batch);
        if record::record(&self.storing(), routing, batch).await.is_none() {
            return Ok(false);
        }
        fail::fail_point!("gate-after-record");
        match lane_over {
            None => Ok(true),
            Some(error) => {
                self.tell_recorded().await;
                Err(error)
            }
        }
    }

    fn storing(&self) -> Storing<'_> {
        Storing {
            shared: self.shared,
            part: &self.name,
            stop: self.stop,
        }
    }

    async fn chain_lengths(&self, fresh: &[Judged]) -> Result<Vec<u32>, StoreError> {
        let causes: Vec<String> = fresh
            .iter()
            .filter_map(|judged| judged.event.causation_id().map(str::to_owned))
            .collect();
        let mut known = self.shared.chains.of(&causes);
        if !causes.is_empty() {
            for (id, length) in self.shared.store.chain_lengths(&causes).await? {
                let longest = known.entry(id).or_default();
                *longest = length.max(*longest);
            }
        }
        Ok(chains::lengths(fresh.iter().map(|judged| &judged.event), known))
    }

    /// Says which adapters' queues take no events, until they do.
    fn tell_refusals(&self, published: &Published) {
        let alarms = &self.shared.alarms;
        let (reached, unreachable) = published.targets();
        for target in reached {
            alarms.clear(&self.name, target);
        }
        for (target, reason) in unreachable {
            let sentence = format!("{target} gets no events, they wait and are tried again: {reason}");
            alarms.raise(&self.name, target, sentence);
        }
    }

    /// Wakes those who follow the record. Whether it can be read just now matters to nobody else.
    async fn tell_recorded(&self) {
        if let Ok(latest) = self.shared.store.latest_offset().await {
            self.shared.recorded.send_if_modified(|newest| {
                let newer = latest > *newest;
                *newest = latest.max(*newest);
                newer
            });
        }
    }
}

/// The gate's lane, and upkeep to make missing queues again.
struct LaneOutlet<'a> {
    lane: &'a Lane,
    gate: &'a Gate<'a>,
}

impl retry::Outlet for LaneOutlet<'_> {
    async fn publish_all(&self, messages: Vec<Outgoing>) -> Vec<Result<(), PublishError>> {
        self.lane.publish_all(messages).await
    }
}

impl PatientOutlet for LaneOutlet<'_> {
    async fn before_another_attempt(&self, queue_is_missing: bool) {
        if queue_is_missing {
            self.gate.shared.have_topology_asserted(ASSERT_PATIENCE).await;
        } else {
            let mut pause = REFUSAL_PAUSE;
            self.gate.shared.pause(&mut pause, self.gate.stop).await;
        }
    }
}

async fn recorded(shared: &Shared, candidates: &[Judged]) -> Result<HashSet<EventKey>, StoreError> {
    if candidates.is_empty() {
        return Ok(HashSet::new());
    }
    let keys: Vec<EventKey> = candidates.iter().map(Judged::key).collect();
    shared.store.recorded(&keys).await
}

/// Those that are not recorded and come for the first time in this batch.
fn drop_known(
    candidates: Vec<Judged>,
    known: &HashSet<EventKey>,
    duplicates: &mut Vec<Duplicate>,
) -> Vec<Judged> {
    let mut seen = HashSet::new();
    let mut fresh = Vec::new();
    for judged in candidates {
        let key = judged.key();
        let recorded = known.contains(&key);
        if recorded || !seen.insert(key.clone()) {
            duplicates.push(Duplicate {
                key,
                redelivered: recorded && judged.redelivered,
                producer: judged.producer,
                received: judged.received,
            });
        } else {
            fresh.push(judged);
        }
    }
    fresh
}

/// All but those at the end of a chain that is too long. They have no targets yet.
fn accept(fresh: Vec<Judged>, lengths: Vec<u32>, quarantined: &mut Vec<NewQuarantined>) -> Vec<Accepted> {
    let mut accepted = Vec::with_capacity(fresh.len());
    for (judged, chain) in fresh.into_iter().zip(lengths) {
        if chain > CHAIN_MAX {
            quarantined.push(judged.refuse(vec![chains::circle()]));
        } else {
            accepted.push(Accepted {
                targets: Vec::new(),
                event: judged.event,
                producer: judged.producer,
                received: judged.received,
                published: judged.received,
                chain,
            });
        }
    }
    accepted
}

/// Adds to the batch what was published. When the lane is over, that alone is recorded: the rest comes again, and
/// is to be counted once.
fn note_published(published: Published, now: DateTime<Utc>, batch: &mut Batch) -> Option<BusError> {
    if published.lane_over.is_some() {
        *batch = Batch::default();
    }
    for Confirmed {
        mut routed,
        unreachable,
    } in published.confirmed
    {
        routed.accepted.published = now;
        let event = &routed.accepted.event;
        let undelivered = |adapter: &str, reason| undelivered(event, adapter, reason, now);
        // What the hub's own queues do not get is not part of the account; it waits or is given up all the same.
        let is_adapter = |(target, _): &(String, String)| !names::is_own_target(target);
        for (adapter, reason) in unreachable.into_iter().filter(is_adapter) {
            batch.outcomes.push(Outcome {
                due: Some(put_off::due(now)),
                ..undelivered(&adapter, reason)
            });
        }
        for (adapter, failure) in &routed.failed {
            if names::is_own_target(adapter) {
                tracing::warn!(
                    event = event.id,
                    reason = failure.logged,
                    "no state is made of an event"
                );
                continue;
            }
            batch.outcomes.push(undelivered(adapter, failure.detail.clone()));
        }
        batch.accepted.push(routed.accepted);
    }
    published.lane_over
}

/// The hub's own word that a delivery never reached its queue, or that a mapping could not say what to deliver.
fn undelivered(event: &Event, adapter: &str, reason: String, at: DateTime<Utc>) -> Outcome {
    Outcome {
        detail: Some(reason),
        attempt: Some(1),
        ..Outcome::about(DeliveryKey::of(adapter, event), OutcomeKind::Undelivered, at)
    }
}

fn log_refusals(refused: &[NewQuarantined]) {
    for message in refused.iter().take(REFUSALS_LOGGED) {
        let reasons = quarantine::for_the_log(&message.reasons);
        tracing::warn!(
            producer = message.producer.as_deref(),
            ?reasons,
            "a message went to quarantine"
        );
    }
    if refused.len() > REFUSALS_LOGGED {
        tracing::warn!(
            count = refused.len() - REFUSALS_LOGGED,
            "more messages went to quarantine"
        );
    }
}

#[cfg(test)]
mod tests;
