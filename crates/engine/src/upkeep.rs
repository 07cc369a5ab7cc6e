//! Upkeep: brings what stands in RabbitMQ into line with the revision in force, at the start, after every
//! outage, and every few seconds, and raises an alarm for what an operator should know.
//!
//! RabbitMQ has a queue's name on disk only some time after it was declared (half a second in 3.10): killed before
//! that, it comes back with another queue of that name, empty and dead. So nothing is put into queues that are new.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use crossdock_bus::{management::QueueInfo, names, publisher::LinkState, topology::Topology};
use crossdock_store::HubBeat;
use tokio_util::sync::CancellationToken;

use crate::{
    EngineError, adapters, credentials, measures,
    restore::{self, Restorations},
    revisions,
    routing::Routing,
    shared::Shared,
    webhooks::Webhooks,
    words::counted,
};

/// Pause between rounds while all is well.
const ROUND: Duration = Duration::from_secs(5);
/// Pause after a round that failed.
const ROUND_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// How long queues count as new.
const NEW_FOR: Duration = Duration::from_millis(1_500);

/// How long a queue must have had no consumer before that is said: RabbitMQ's statistics know a new one only some
/// seconds later.
const SILENT_FOR: TimeDelta = TimeDelta::seconds(5);

/// How long after its start a hub has not found RabbitMQ wanting, but is only on its way to it.
const STARTING: TimeDelta = TimeDelta::seconds(1);

pub(crate) const PART: &str = "upkeep";
/// The alarms about queues, which come and go together.
pub(crate) const QUEUES: &str = "queues";
const BROKER: &str = "broker";

/// Rounds until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut restorations = Restorations::default();
    let mut silence = Silence::default();
    while !stop.is_cancelled() {
        let mut link = shared.publisher.load().watch();
        link.mark_unchanged();
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            ended = round(&shared, &mut restorations, &mut silence) => ended,
        };
        let wait = match ended {
            Ok(()) => {
                shared.alarms.clear(PART, BROKER);
                shared.rounds.send_modify(|rounds| *rounds += 1);
                ROUND
            }
            Err(error) => {
                note_failure(&shared, &error);
                ROUND_AFTER_FAILURE
            }
        };
        beat(&shared).await;
        let link_changes = async {
            if link.changed().await.is_err() {
                // Another publisher takes its place.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = link_changes => {}
            () = shared.round_wanted.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn round(
    shared: &Shared,
    restorations: &mut Restorations,
    silence: &mut Silence,
) -> Result<(), EngineError> {
    {
        let _one_at_a_time = shared.change().await?;
        if let Err(error) = revisions::follow(shared).await {
            tracing::debug!(%error, "the revision in force cannot be read; the known one holds");
        }
    }
    let routing = shared.routing.load_full();
    if let Some(fault) = &routing.fault {
        return Err(EngineError::Conflict(fault.clone()));
    }
    if let LinkState::Down { reason, .. } = shared.publisher.load().state() {
        return Err(EngineError::unavailable(reason));
    }
    let began = shared.clock.now();
    let queues = shared.management.queues().await?;
    let bindings = shared.management.bindings().await?;
    let missing = restorations.missing(&routing, &queues, &bindings);
    assert_topology(shared, &routing, &queues).await?;
    restorations.asserted(missing, &routing, began, shared.clock.now());

    let stood = shared.topology.borrow().is_none();
    match credentials::align(shared, !stood).await {
        Ok(troubles) => shared.alarms.replace("credentials", troubles),
        Err(error) => tracing::warn!(%error, "credentials could not be looked after"),
    }
    shared.topology.send_replace(None);
    if !stood {
        tracing::info!(
            address = shared.broker.host_port(),
            "RabbitMQ is ready: topology and credentials stand"
        );
    }
    restore::restore(shared, restorations).await;
    look_around(shared, &queues, silence);
    Ok(())
}

/// Declares what the revision needs and verifies it; gives queues that were not among `there` the time to be safe.
pub(crate) async fn assert_topology(
    shared: &Shared,
    routing: &Routing,
    there: &[QueueInfo],
) -> Result<(), EngineError> {
    let topology = Topology::hub(names::PARTITIONS, &routing.queues());
    let there: BTreeSet<&str> = there.iter().map(|queue| queue.name.as_str()).collect();
    let new: Vec<&str> = topology
        .queues
        .iter()
        .map(|queue| queue.name.as_str())
        .filter(|name| !there.contains(name))
        .collect();
    let is_ingress = |name: &&str| name.starts_with(names::INGRESS);
    let _closed = new
        .iter()
        .any(is_ingress)
        .then(|| Closed::new(&shared.ingress_is_new));
    topology.assert(&shared.broker, &shared.management).await?;
    if !new.is_empty() {
        tokio::time::sleep(NEW_FOR).await;
    }
    Ok(())
}

/// Keeps a flag raised until it is dropped.
struct Closed<'a>(&'a AtomicBool);

impl<'a> Closed<'a> {
    fn new(flag: &'a AtomicBool) -> Self {
        flag.store(true, Ordering::Release);
        Self(flag)
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// The topology stands no longer if the broker is away or is not as it must be. A management API that does not
/// answer for a while changes nothing about it, but is said.
fn note_failure(shared: &Shared, error: &EngineError) {
    let reason = error.to_string();
    let stands = shared.topology.borrow().is_none();
    let is_connected = !matches!(shared.publisher.load().state(), LinkState::Down { .. });
    if stands && is_connected && matches!(error, EngineError::Unavailable { .. }) {
        let sentence = format!("RabbitMQ could not be looked after: {reason}");
        shared.alarms.raise(PART, BROKER, sentence);
        return;
    }
    let changed = shared.topology.send_if_modified(|state| {
        let changed = state.as_deref() != Some(reason.as_str());
        *state = Some(reason.clone());
        changed
    });
    if !changed {
        return;
    }
    if shared.rounds.borrow().eq(&0) && shared.started + STARTING > shared.clock.now() {
        tracing::debug!(reason, "RabbitMQ is not ready yet");
    } else {
        tracing::warn!(reason, "RabbitMQ is not as it must be; the hub goes on trying");
    }
}

/// Since when queues have no consumer for what waits in them, as far as rounds have seen it.
#[derive(Default)]
struct Silence(BTreeMap<String, DateTime<Utc>>);

impl Silence {
    /// Keeps those that are silent now; gives those that have been for so long that it is no mere delay.
    fn lasting(&mut self, silent: BTreeSet<String>, now: DateTime<Utc>) -> BTreeSet<String> {
        self.0.retain(|queue, _| silent.contains(queue));
        for queue in silent {
            self.0.entry(queue).or_insert(now);
        }
        let lasting = self.0.iter().filter(|(_, since)| now - **since >= SILENT_FOR);
        lasting.map(|(queue, _)| queue.clone()).collect()
    }
}

/// Whether events wait in an adapter's queue and nobody is there to take them.
fn is_silent(shared: &Shared, routing: &Routing, queue: &QueueInfo) -> bool {
    let waiting = queue.ready.unwrap_or(0) + queue.unacked.unwrap_or(0);
    let adapter = names::adapter_of_queue(&queue.name);
    queue.consumers == 0
        && waiting > 0
        && adapter.is_some_and(|adapter| {
            routing.adapters.contains_key(adapter) && !Webhooks::explain_silence(shared, adapter)
        })
}

/// What an operator should know about queues and consumers.
fn look_around(shared: &Shared, queues: &[QueueInfo], silence: &mut Silence) {
    let routing = shared.routing.load();
    let silent = queues
        .iter()
        .filter(|queue| is_silent(shared, &routing, queue))
        .map(|queue| queue.name.clone());
    let silent = silence.lasting(silent.collect(), shared.clock.now());
    let mut alarms = BTreeMap::new();
    for queue in queues
        .iter()
        .filter(|queue| queue.name.starts_with(adapters::PREFIX))
    {
        let (ready, unacked) = (queue.ready.unwrap_or(0), queue.unacked.unwrap_or(0));
        // Hubs come and go, and with each of them the queue of its own.
        if !names::is_realtime_queue(&queue.name) {
            measures::queue(&queue.name, ready, unacked);
        }
        let waiting = ready + unacked;
        if queue.name == names::UNDELIVERABLE && waiting > 0 {
            let sentence = format!(
                "{} in {}, given up by the hub's own queues: look at them in RabbitMQ",
                counted(waiting, "message is", "messages are"),
                names::UNDELIVERABLE
            );
            alarms.insert(queue.name.clone(), sentence);
        }
        let Some(adapter) = names::adapter_of_queue(&queue.name) else {
            continue;
        };
        if !routing.adapters.contains_key(adapter) {
            if waiting > 0 {
                let sentence = format!(
                    "{} holds {}, but there is no adapter {adapter}",
                    queue.name,
                    counted(waiting, "message", "messages")
                );
                alarms.insert(queue.name.clone(), sentence);
            }
            continue;
        }
        if silent.contains(&queue.name) {
            let events = counted(waiting, "event waits", "events wait");
            let sentence = format!("{adapter} has no consumer; {events}");
            alarms.insert(queue.name.clone(), sentence);
        }
        if !queue.auto_ack_consumers.is_empty() {
            let sentence = format!(
                "{adapter} consumes with automatic acknowledgement: what it holds is lost when it crashes"
            );
            alarms.insert(format!("{} auto-ack", queue.name), sentence);
        }
    }
    shared.alarms.replace(QUEUES, alarms);
}

/// Reports that this hub is alive, and which keys and sessions were used.
async fn beat(shared: &Shared) {
    let now = shared.clock.now();
    let beat = HubBeat {
        hub_id: shared.hub_id.clone(),
        host: shared.host.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        config_digest: shared.files_digest.load().to_string(),
        revision: Some(shared.routing.load().revision),
        at: now,
    };
    let written = async {
        shared.store.heartbeat(beat).await?;
        shared.keys.note_use(now).await?;
        shared.users.look_after(now).await
    };
    if let Err(error) = written.await {
        tracing::debug!(%error, "no sign of life could be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::now;

    #[test]
    fn a_queue_is_silent_once_two_rounds_have_found_it_so() {
        let mut silence = Silence::default();
        let queue = || BTreeSet::from(["crossdock.adapter.erp".to_owned()]);
        let at = |second| now() + TimeDelta::seconds(second);
        assert!(silence.lasting(queue(), at(0)).is_empty());
        // A round that an apply asked for.
        assert!(silence.lasting(queue(), at(1)).is_empty());
        assert_eq!(silence.lasting(queue(), at(6)), queue());
        assert!(silence.lasting(BTreeSet::new(), at(11)).is_empty());
        assert!(silence.lasting(queue(), at(16)).is_empty());
    }
}
