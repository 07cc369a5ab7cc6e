//! Adapters and their queues as operators see them, and the rotation of adapters' credentials.

use std::collections::BTreeMap;

use crossdock_bus::{management::QueueInfo, names};
use crossdock_config::Manifest;

use crate::{
    AdapterLedger, AdapterView, EndpointView, EngineError, Hub, IssuedCredentials, QueueView, credentials,
    ledger::{self, Line},
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
        let queues = shared.queues().await;
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
        let view_of = |name: &String| {
            let manifest = &routing.adapters[name];
            let active = credentials
                .iter()
                .filter(|c| &c.adapter == name && c.retired.is_none() && !is_webhook(manifest));
            let users = active.map(|c| names::user_name(name, c.generation)).collect();
            let queue = queues.map(|known| known.get(&names::adapter_queue(name)));
            let line = lines.get(name).cloned().unwrap_or_default();
            let endpoint = self.shared.webhooks.view(manifest, &disabled);
            view(manifest, endpoint, queue, line, users)
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

    /// The queues of Crossdock, by name.
    ///
    /// # Errors
    /// `Unavailable` without a broker.
    pub async fn queues(&self) -> Result<Vec<QueueView>, EngineError> {
        let queues = self
            .shared
            .queues()
            .await
            .ok_or_else(|| EngineError::unavailable("RabbitMQ's management API does not answer"))?;
        Ok(queue_views(queues.values()))
    }

    pub(crate) fn no_adapter(&self, name: &str) -> EngineError {
        let revision = self.shared.routing.load().revision;
        EngineError::NotFound(format!("there is no adapter {name:?} in revision {revision}"))
    }
}

/// Those of Crossdock, in the order given.
pub(crate) fn queue_views<'a>(queues: impl Iterator<Item = &'a QueueInfo>) -> Vec<QueueView> {
    queues
        .filter(|queue| queue.name.starts_with(PREFIX))
        .map(queue_view)
        .collect()
}

/// `queue`: `None` while the broker does not answer, `Some(None)` if it has no such queue.
fn view(
    manifest: &Manifest,
    endpoint: Option<EndpointView>,
    queue: Option<Option<&QueueInfo>>,
    line: Line,
    users: Vec<String>,
) -> AdapterView {
    let name = &manifest.name;
    let known = queue.flatten();
    let waiting = known.map_or(0, |queue| queue.ready.unwrap_or(0) + queue.unacked.unwrap_or(0));
    let state = match (&endpoint, queue, known) {
        (Some(endpoint), ..) if endpoint.disabled.is_some() => "disabled",
        (_, None, _) => "unknown",
        (Some(endpoint), _, Some(queue)) if queue.consumers > 0 && endpoint.trouble.is_some() => "slowed",
        (_, _, Some(queue)) if queue.consumers > 0 => "live",
        _ if waiting > 0 => "waiting",
        _ => "idle",
    };
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
        queue: known.map(queue_view),
        auto_ack_consumers: known
            .map(|queue| queue.auto_ack_consumers.clone())
            .unwrap_or_default(),
        oldest_pending: line.oldest_pending,
        last_settled: line.last_settled,
        ledger: AdapterLedger {
            adapter: name.to_owned(),
            ..line.figures
        },
        users,
    }
}

fn queue_view(queue: &QueueInfo) -> QueueView {
    QueueView {
        name: queue.name.clone(),
        ready: queue.ready.unwrap_or(0),
        unacked: queue.unacked.unwrap_or(0),
        consumers: queue.consumers,
    }
}
