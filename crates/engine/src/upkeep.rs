//! Upkeep: brings what stands in RabbitMQ into line with the revision in force, at the start, after every
//! outage, and every few seconds, and writes down what an operator should know.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crossdock_bus::{names, publisher::LinkState, topology::Topology};
use crossdock_store::HubBeat;
use tokio_util::sync::CancellationToken;

use crate::{EngineError, adapters, hub::Shared, revisions};

/// Pause between rounds while all is well.
const ROUND: Duration = Duration::from_secs(5);
/// Pause after a round that failed.
const ROUND_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Rounds until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut link = shared.publisher.watch();
    while !stop.is_cancelled() {
        let wait = match round(&shared).await {
            Ok(()) => ROUND,
            Err(error) => {
                let reason = error.to_string();
                let changed = shared.topology.send_if_modified(|state| {
                    let changed = state.as_deref() != Some(reason.as_str());
                    *state = Some(reason.clone());
                    changed
                });
                if changed {
                    tracing::warn!(reason, "RabbitMQ is not as it must be; the hub goes on trying");
                }
                ROUND_AFTER_FAILURE
            }
        };
        beat(&shared).await;
        tokio::select! {
            () = stop.cancelled() => {}
            _ = link.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn round(shared: &Shared) -> Result<(), EngineError> {
    let _one_at_a_time = shared.changing.lock().await;
    let known = shared.routing.load().revision;
    match revisions::newer(&shared.store, known).await {
        Ok(Some(routing)) => {
            tracing::info!(
                revision = routing.revision,
                "another hub applied a revision; it is in force here too"
            );
            shared.routing.store(Arc::new(routing));
        }
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "the revision in force cannot be read; the known one holds"),
    }
    if let LinkState::Down { reason, .. } = shared.publisher.state() {
        return Err(EngineError::unavailable(reason));
    }
    Topology::hub(names::PARTITIONS, &shared.routing.load().queues())
        .assert(&shared.broker, &shared.management)
        .await?;
    align_credentials(shared).await?;
    if shared.topology.send_replace(None).is_some() {
        tracing::info!(
            address = shared.broker.host_port(),
            "RabbitMQ is ready: topology and credentials stand"
        );
    }
    look_around(shared).await
}

/// Every adapter of the revision has a user and key; those of adapters that are gone end.
pub(crate) async fn align_credentials(shared: &Shared) -> Result<(), EngineError> {
    let routing = shared.routing.load_full();
    let users: BTreeSet<String> = shared
        .management
        .users()
        .await?
        .into_iter()
        .map(|user| user.name)
        .collect();
    let credentials = shared.store.adapter_credentials(None).await?;
    for name in routing.adapters.keys() {
        adapters::ensure_credentials(shared, name, &credentials, &users).await?;
    }
    for credential in credentials
        .iter()
        .filter(|c| c.retired.is_none() && !routing.adapters.contains_key(&c.adapter))
    {
        adapters::end_generation(shared, credential).await?;
        tracing::info!(
            adapter = credential.adapter,
            "the adapter is gone from the revision: its access ended"
        );
    }
    Ok(())
}

/// What an operator should know about queues and consumers.
async fn look_around(shared: &Shared) -> Result<(), EngineError> {
    let routing = shared.routing.load_full();
    let mut findings = BTreeMap::new();
    for queue in shared.management.queues().await? {
        let waiting = queue.ready.unwrap_or(0) + queue.unacked.unwrap_or(0);
        metrics::gauge!("crossdock_queue_ready", "queue" => queue.name.clone())
            .set(queue.ready.unwrap_or(0) as f64);
        metrics::gauge!("crossdock_queue_unacked", "queue" => queue.name.clone())
            .set(queue.unacked.unwrap_or(0) as f64);
        if queue.name == names::UNDELIVERABLE && waiting > 0 {
            let finding = format!(
                "{waiting} messages are in {}: the hub could not read them a million times; look at them in RabbitMQ",
                names::UNDELIVERABLE
            );
            findings.insert(queue.name.clone(), finding);
        }
        let Some(adapter) = names::adapter_of_queue(&queue.name) else {
            continue;
        };
        if !routing.adapters.contains_key(adapter) && waiting > 0 {
            let finding = format!(
                "{} holds {waiting} messages, but there is no adapter {adapter}",
                queue.name
            );
            findings.insert(queue.name.clone(), finding);
        }
        if routing.adapters.contains_key(adapter) && queue.consumers == 0 && waiting > 0 {
            findings.insert(
                queue.name.clone(),
                format!("{adapter} has no consumer; {waiting} events wait"),
            );
        }
        if !queue.auto_ack_consumers.is_empty() {
            let finding = format!(
                "{adapter} consumes with automatic acknowledgement: what it holds is lost when it crashes"
            );
            findings.insert(format!("{} auto-ack", queue.name), finding);
        }
    }
    shared.findings.send_if_modified(|known| {
        for finding in findings
            .iter()
            .filter(|(key, _)| !known.contains_key(*key))
            .map(|(_, finding)| finding)
        {
            tracing::warn!(finding, "this wants attention");
        }
        let changed = *known != findings;
        *known = findings;
        changed
    });
    Ok(())
}

/// Reports that this hub is alive, and which keys were used.
async fn beat(shared: &Shared) {
    let now = shared.clock.now();
    let beat = HubBeat {
        hub_id: shared.hub_id.clone(),
        host: shared.host.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        config_digest: shared.files_digest.clone(),
        revision: Some(shared.routing.load().revision),
        at: now,
    };
    let written = match shared.store.heartbeat(beat).await {
        Ok(()) => shared.keys.note_use(now).await,
        Err(error) => Err(error),
    };
    if let Err(error) = written {
        tracing::debug!(%error, "no sign of life could be written");
    }
}
