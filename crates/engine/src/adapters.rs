//! Adapters and their queues as operators see them, and the rotation of adapters' credentials.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use crossdock_bus::{
    management::{Depth, QueueInfo, Rates},
    names,
};
use crossdock_config::Manifest;

use crate::{
    AdapterLedger, AdapterView, DepthView, EndpointView, EngineError, Hub, IssuedCredentials, QueueView,
    RecentView, credentials,
    ledger::{self, Line},
    recent::{self, Attempts},
    routing::is_webhook,
};

/// The names of what Crossdock declares begin so.
pub(crate) const PREFIX: &str = "crossdock.";

impl Hub {
    /// Every adapter of the revision in force, by name.
    ///
    /// # Errors
    /// `Unavailable` without a database. A broker that is away shows as state `unknown`.
    pub async fn adapters(&self) -> Result<Vec<AdapterView>, EngineError> {
        let shared = &self.shared;
        let queues = shared.queues_with_statistics().await;
        let lines = ledger::lines(shared, &shared.routing.load_full(), queues.as_ref()).await?;
        self.adapter_views(queues.as_ref(), &lines).await
    }

    pub(crate) async fn adapter_views(
        &self,
        queues: Option<&BTreeMap<String, QueueInfo>>,
        lines: &BTreeMap<String, Line>,
    ) -> Result<Vec<AdapterView>, EngineError> {
        let routing = self.shared.routing.load_full();
        let credentials = self.shared.store.adapter_credentials(None).await?;
        let disabled = self.shared.store.disabled_endpoints().await?;
        let all: Vec<String> = routing.adapters.keys().cloned().collect();
        let mut attempts = recent::attempts(&self.shared, all).await?;
        let view_of = |name: &String| {
            let manifest = &routing.adapters[name];
            let in_force = || {
                credentials
                    .iter()
                    .filter(|c| &c.adapter == name && c.retired.is_none())
            };
            let users = in_force().filter(|_| !is_webhook(manifest));
            let known = Known {
                endpoint: self.shared.webhooks.view(manifest, &disabled),
                queue: queues.map(|known| known.get(&names::adapter_queue(name))),
                line: lines.get(name).cloned().unwrap_or_default(),
                users: users.map(|c| names::user_name(name, c.generation)).collect(),
                attempts: attempts.remove(name).unwrap_or_default(),
                rotated: in_force().max_by_key(|c| c.generation).map(|c| c.created),
            };
            view(manifest, known)
        };
        Ok(routing.adapters.keys().map(view_of).collect())
    }

    /// One adapter.
    ///
    /// # Errors
    /// `NotFound`, or `Unavailable` without a database.
    pub async fn adapter(&self, name: &str) -> Result<AdapterView, EngineError> {
        let found = self
            .adapters()
            .await?
            .into_iter()
            .find(|adapter| adapter.name == name);
        found.ok_or_else(|| self.no_adapter(name))
    }

    /// Issues the next generation of an adapter's credentials; the present ones hold until
    /// [`Hub::finish_rotation`].
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if another hub does it at this moment; `Unavailable` without database or broker.
    /// Then the next generation may exist already, in the env file: upkeep completes it.
    pub async fn rotate(&self, name: &str) -> Result<IssuedCredentials, EngineError> {
        let shared = &self.shared;
        let _one_at_a_time = shared.change().await?;
        if !shared.routing.load().adapters.contains_key(name) {
            return Err(self.no_adapter(name));
        }
        let known = shared.store.adapter_credentials(Some(name)).await?;
        credentials::issue(shared, name, &known).await
    }

    /// Ends every generation but the newest and returns the RabbitMQ users that ended.
    ///
    /// # Errors
    /// `NotFound`; `Unavailable` without database or broker: doing it again is safe.
    pub async fn finish_rotation(&self, name: &str) -> Result<Vec<String>, EngineError> {
        let shared = &self.shared;
        let _one_at_a_time = shared.change().await?;
        if !shared.routing.load().adapters.contains_key(name) {
            return Err(self.no_adapter(name));
        }
        let known = shared.store.adapter_credentials(Some(name)).await?;
        let active = || known.iter().filter(|c| c.retired.is_none());
        let newest = active().map(|c| c.generation).max();
        let mut ended = Vec::new();
        for credential in active().filter(|c| Some(c.generation) != newest) {
            credentials::end_generation(shared, credential).await?;
            ended.push(names::user_name(name, credential.generation));
        }
        Ok(ended)
    }

    /// The queues of Crossdock, by name. How long events wait in them is unknown while the database is away.
    ///
    /// # Errors
    /// `Unavailable` without a broker.
    pub async fn queues(&self) -> Result<Vec<QueueView>, EngineError> {
        let shared = &self.shared;
        let queues = shared
            .queues_with_statistics()
            .await
            .ok_or_else(|| EngineError::unavailable("RabbitMQ's management API does not answer"))?;
        let lines = ledger::lines(shared, &shared.routing.load_full(), Some(&queues)).await;
        Ok(queue_views(queues.values(), lines.ok().as_ref()))
    }

    pub(crate) fn no_adapter(&self, name: &str) -> EngineError {
        let revision = self.shared.routing.load().revision;
        EngineError::NotFound(format!("there is no adapter {name:?} in revision {revision}"))
    }
}

/// Those of Crossdock, in the order given.
pub(crate) fn queue_views<'a>(
    queues: impl Iterator<Item = &'a QueueInfo>,
    lines: Option<&BTreeMap<String, Line>>,
) -> Vec<QueueView> {
    queues
        .filter(|queue| queue.name.starts_with(PREFIX))
        .map(|queue| {
            let adapter = names::adapter_of_queue(&queue.name);
            let line = adapter.and_then(|adapter| lines?.get(adapter));
            queue_view(queue, line.and_then(|line| line.oldest_pending))
        })
        .collect()
}

/// What there is to show about an adapter beside its manifest.
struct Known<'a> {
    endpoint: Option<EndpointView>,
    /// `None` while the broker does not answer, `Some(None)` if it has no such queue.
    queue: Option<Option<&'a QueueInfo>>,
    line: Line,
    users: Vec<String>,
    attempts: Attempts,
    rotated: Option<DateTime<Utc>>,
}

fn view(manifest: &Manifest, known: Known<'_>) -> AdapterView {
    let name = &manifest.name;
    let (endpoint, line) = (known.endpoint, known.line);
    let queue = known.queue.flatten();
    let held = queue.map_or(0, waiting);
    let state = match (&endpoint, known.queue, queue) {
        (Some(endpoint), ..) if endpoint.disabled.is_some() => "disabled",
        (_, None, _) => "unknown",
        (Some(endpoint), _, Some(queue)) if queue.consumers > 0 && endpoint.trouble.is_some() => "slowed",
        (_, _, Some(queue)) if queue.consumers > 0 => "live",
        _ if held > 0 => "waiting",
        _ => "idle",
    };
    let says_done = line.figures.receipts_since.is_some();
    AdapterView {
        name: name.to_owned(),
        description: manifest.description.clone(),
        source: manifest.source.clone(),
        publishes: manifest.publishes.clone(),
        subscribes: manifest
            .subscribe
            .iter()
            .flat_map(|s| s.types.iter().map(ToString::to_string))
            .collect(),
        delivery: if endpoint.is_some() { "webhook" } else { "amqp" }.to_owned(),
        state: state.to_owned(),
        endpoint,
        queue: queue.map(|queue| queue_view(queue, line.oldest_pending)),
        auto_ack_consumers: queue
            .map(|queue| queue.auto_ack_consumers.clone())
            .unwrap_or_default(),
        oldest_pending: line.oldest_pending,
        last_settled: line.last_settled,
        ledger: AdapterLedger {
            adapter: name.to_owned(),
            ..line.figures
        },
        users: known.users,
        recent: RecentView {
            window_s: known.attempts.window_s,
            done: says_done.then_some(known.attempts.done),
            failed: known.attempts.failed,
        },
        last_done: known.attempts.last_done,
        rotated: known.rotated,
    }
}

fn waiting(queue: &QueueInfo) -> u64 {
    queue.ready.unwrap_or(0) + queue.unacked.unwrap_or(0)
}

fn queue_view(queue: &QueueInfo, oldest: Option<DateTime<Utc>>) -> QueueView {
    let depth = |depth: &Depth| DepthView {
        at: depth.at,
        messages: depth.messages,
    };
    QueueView {
        name: queue.name.clone(),
        ready: queue.ready.unwrap_or(0),
        unacked: queue.unacked.unwrap_or(0),
        consumers: queue.consumers,
        adapter: names::adapter_of_queue(&queue.name).map(str::to_owned),
        in_per_s: queue.rates.publish,
        out_per_s: queue.rates.deliver_get,
        ack_per_s: queue.rates.ack,
        oldest: oldest.filter(|_| waiting(queue) > 0),
        drain_s: drain_s(waiting(queue), queue.rates),
        depths: queue.depths.iter().map(depth).collect(),
    }
}

/// How long until a queue is empty, if it goes on like this and that has an end.
fn drain_s(waiting: u64, rates: Rates) -> Option<u64> {
    let shrinks_by = rates.ack? - rates.publish?;
    if waiting == 0 {
        return Some(0);
    }
    // Saturates, which nobody will live to see.
    (shrinks_by > 0.0).then(|| (waiting as f64 / shrinks_by).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_drains_if_it_shrinks() {
        let rates = |publish, ack| Rates {
            publish,
            deliver_get: Some(1000.0),
            ack,
        };
        for (waiting, publish, ack, expected) in [
            (100, Some(5.0), Some(15.0), Some(10)),
            (101, Some(5.0), Some(15.0), Some(11)),
            (0, Some(5.0), Some(5.0), Some(0)),
            (100, Some(5.0), Some(5.0), None),
            (100, Some(6.0), Some(5.0), None),
            (100, None, Some(5.0), None),
            (100, Some(0.0), None, None),
        ] {
            assert_eq!(drain_s(waiting, rates(publish, ack)), expected);
        }
    }
}
