//! Webhook adapters: the hub takes their events from their queues and posts them to their endpoints, signed as Standard
//! Webhooks 1.0.0 says.
//!
//! One sender for each such adapter ([`sender`]), as the revision in force has it. This task starts them, notices their
//! death, and lets them drain before others take their place. What a failed attempt leads to is decided where all
//! failures are: [`outcomes`](crate::outcomes).

mod hands;
mod message;
mod retry_after;
mod secret;
mod sender;
mod signature;
mod throttle;
mod verdict;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crossdock_config::{Delivery, Manifest, Order, SecretReference};
use crossdock_store::DisabledEndpoint;
use tokio::{sync::Notify, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use self::sender::Ended;
use crate::{
    EndpointView, EngineError, Hub, alerts, measures,
    outbound::{Outbound, Url},
    routing::Routing,
    shared::Shared,
};

/// How often it is looked which endpoints other hubs or operators have disabled and enabled.
const ROUND: Duration = Duration::from_secs(5);
/// Pause before a sender that failed starts again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// This task's name in alarms.
pub(crate) const PART: &str = "webhooks";
/// The alarms about disabled endpoints, which come and go together.
pub(crate) const DISABLED: &str = "disabled webhooks";

/// What the tasks and the door of the hub share about webhooks.
pub(crate) struct Webhooks {
    outbound: Outbound,
    variable: fn(&str) -> Option<String>,
    /// Endpoints that take nothing for now, by adapter, with what they said.
    troubled: Mutex<BTreeMap<String, String>>,
    /// An endpoint was enabled.
    changed: Notify,
}

impl Webhooks {
    pub(crate) fn new(outbound: Outbound, variable: fn(&str) -> Option<String>) -> Self {
        Self {
            outbound,
            variable,
            troubled: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// What this hub knows of an adapter's endpoint, if it has one.
    pub(crate) fn view(&self, manifest: &Manifest, disabled: &[DisabledEndpoint]) -> Option<EndpointView> {
        let webhook = Webhook::of(manifest)?;
        let disabled = webhook.found_in(disabled);
        Some(EndpointView {
            address: webhook.url.origin().ascii_serialization(),
            disabled: disabled.map(|endpoint| endpoint.at),
            trouble: match disabled {
                Some(endpoint) => Some(endpoint.reason.clone()),
                None => self.lock().get(&webhook.adapter).cloned(),
            },
        })
    }

    /// Whether an alarm of this task's says already why nobody takes the adapter's events.
    pub(crate) fn explain_silence(shared: &Shared, adapter: &str) -> bool {
        let alarms = &shared.alarms;
        alarms.has(DISABLED, adapter) || alarms.has(PART, &format!("{adapter} secret"))
    }

    fn is_troubled(&self, adapter: &str, reason: &str) {
        self.lock().insert(adapter.to_owned(), reason.to_owned());
    }

    fn is_well(&self, shared: &Shared, adapter: &str) {
        self.lock().remove(adapter);
        shared.alarms.clear(PART, adapter);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.troubled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An adapter's endpoint as its manifest describes it.
#[derive(Clone, Debug, PartialEq)]
struct Webhook {
    adapter: String,
    url: Url,
    secret: SecretReference,
    timeout: Duration,
    max_in_flight: u32,
    rate_per_s: Option<u32>,
    ordered: bool,
}

impl Webhook {
    fn of(manifest: &Manifest) -> Option<Self> {
        let Delivery::Webhook {
            url,
            secret,
            timeout_s,
            max_in_flight,
            rate_per_s,
        } = &manifest.delivery
        else {
            return None;
        };
        Some(Self {
            adapter: manifest.name.clone(),
            url: url.clone(),
            secret: secret.clone(),
            timeout: Duration::from_secs((*timeout_s).into()),
            max_in_flight: *max_in_flight,
            rate_per_s: *rate_per_s,
            ordered: manifest.order == Order::Key,
        })
    }

    fn found_in<'a>(&self, disabled: &'a [DisabledEndpoint]) -> Option<&'a DisabledEndpoint> {
        disabled
            .iter()
            .find(|endpoint| endpoint.adapter == self.adapter && endpoint.url == self.url.as_str())
    }
}

/// Keeps the senders right until `stop`, and then waits for them.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut senders = Senders::default();
    let mut in_force = shared.in_force.subscribe();
    while !stop.is_cancelled() {
        in_force.mark_unchanged();
        senders.round(&shared, &stop).await;
        let pause = if senders.resting.is_empty() {
            ROUND
        } else {
            RESTART_PAUSE
        };
        tokio::select! {
            () = stop.cancelled() => {}
            _ = in_force.changed() => {}
            () = shared.webhooks.changed.notified() => {}
            () = senders.one_has_ended(&shared) => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    while !senders.tasks.is_empty() {
        senders.one_has_ended(&shared).await;
    }
}

/// The senders that run, by adapter.
#[derive(Default)]
struct Senders {
    running: HashMap<String, Running>,
    tasks: JoinSet<Ended>,
    /// Senders that failed start again no earlier.
    resting: HashMap<String, Instant>,
    /// What the record said when it could be asked last.
    disabled: Option<Vec<DisabledEndpoint>>,
}

struct Running {
    webhook: Webhook,
    task: tokio::task::Id,
    stop: CancellationToken,
}

impl Senders {
    /// Stops and starts senders as the revision in force and the disabled endpoints have it. A sender whose adapter
    /// has changed drains first.
    async fn round(&mut self, shared: &Arc<Shared>, stop: &CancellationToken) {
        let routing = shared.routing.load_full();
        self.look_for_disabled(shared, &routing).await;
        let Some(disabled) = &self.disabled else {
            return;
        };
        let wanted: BTreeMap<String, Webhook> = routing
            .adapters
            .values()
            .filter_map(Webhook::of)
            .filter(|webhook| webhook.found_in(disabled).is_none())
            .map(|webhook| (webhook.adapter.clone(), webhook))
            .collect();
        for (adapter, running) in &self.running {
            if wanted.get(adapter) != Some(&running.webhook) {
                running.stop.cancel();
            }
        }
        let now = Instant::now();
        self.resting.retain(|_, until| now < *until);
        for (adapter, webhook) in wanted {
            if self.resting.contains_key(&adapter) || self.running.contains_key(&adapter) {
                continue;
            }
            let stop = stop.child_token();
            let sending = sender::run(shared.clone(), webhook.clone(), stop.clone());
            let task = self.tasks.spawn(sending).id();
            self.running.insert(adapter, Running { webhook, task, stop });
        }
    }

    /// Asks the record which endpoints are disabled; those that a manifest does not name any more are forgotten.
    async fn look_for_disabled(&mut self, shared: &Shared, routing: &Routing) {
        match shared.store.disabled_endpoints().await {
            Ok(disabled) => self.disabled = Some(disabled),
            Err(error) => tracing::debug!(%error, "it cannot be read which endpoints are disabled"),
        }
        let mut sentences = BTreeMap::new();
        for endpoint in self.disabled.iter().flatten() {
            let named = routing.adapters.get(&endpoint.adapter).and_then(Webhook::of);
            if named.is_some_and(|webhook| webhook.url.as_str() == endpoint.url) {
                sentences.insert(endpoint.adapter.clone(), sentence(endpoint));
            } else if let Err(error) = shared
                .store
                .enable_endpoint(&endpoint.adapter, Some(routing.revision))
                .await
            {
                tracing::debug!(%error, "an endpoint that is none any more is still noted as disabled");
            }
        }
        shared.alarms.replace(DISABLED, sentences);
    }

    /// Waits until a sender has ended.
    async fn one_has_ended(&mut self, shared: &Shared) {
        let Some(ended) = self.tasks.join_next_with_id().await else {
            return std::future::pending().await;
        };
        let task = match &ended {
            Ok((task, _)) => *task,
            Err(error) => error.id(),
        };
        let adapter = self.running.iter().find(|(_, running)| running.task == task);
        let Some(adapter) = adapter.map(|(adapter, _)| adapter.clone()) else {
            return;
        };
        self.running.remove(&adapter);
        shared.webhooks.is_well(shared, &adapter);
        shared.alarms.clear(PART, &format!("{adapter} secret"));
        match ended {
            Ok((_, Ended::Stopped)) => {}
            // Not before the record could be asked again is anything sent there.
            Ok((_, Ended::Gone)) => self.disabled = None,
            Err(error) => {
                tracing::error!(adapter, %error, "a webhook sender failed; it starts again");
                measures::task_restarted("webhook sender");
                self.resting.insert(adapter, Instant::now() + RESTART_PAUSE);
            }
        }
    }
}

fn sentence(endpoint: &DisabledEndpoint) -> String {
    let DisabledEndpoint { adapter, reason, .. } = endpoint;
    format!(
        "{adapter}: its endpoint is disabled, because it said that it is gone ({reason}); `crossdock adapter resume \
         {adapter}` or another address in its manifest sends again"
    )
}

impl Hub {
    /// Sends again to an adapter's endpoint that was disabled: here at once, from other hubs within 5 seconds. Runs its
    /// mappings again that this hub has parked. Whether there was one of either.
    ///
    /// # Errors
    /// `NotFound` without such an adapter, `Unavailable` without a database.
    pub async fn resume_adapter(&self, name: &str) -> Result<bool, EngineError> {
        let shared = &self.shared;
        let routing = shared.routing.load_full();
        if !routing.adapters.contains_key(name) {
            return Err(self.no_adapter(name));
        }
        let theirs = routing.mappings().filter(|placed| placed.adapter == name);
        let were_parked = theirs.filter(|placed| placed.pace.resume()).count() > 0;
        alerts::clear_replaced(shared, &routing, &routing);
        let was_disabled = shared.store.enable_endpoint(name, None).await?;
        shared.webhooks.changed.notify_one();
        Ok(was_disabled || were_parked)
    }
}
