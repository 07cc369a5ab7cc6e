//! What the hub's tasks and its door share.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, OnceLock, atomic::AtomicBool},
    time::Duration,
};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use crossdock_bus::{
    BusError,
    broker::Broker,
    management::{Management, QueueInfo},
    publisher::Publisher,
};
use crossdock_config::Retention;
use crossdock_model::clock::Clock;
use crossdock_store::Store;
use tokio::{
    sync::{MutexGuard, Notify, mpsc, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    BrokerAddress, EngineError, LiveState,
    alarms::Alarms,
    alerts::{self, Alerts},
    browser_tokens::BrowserTokens,
    gate::ChainsUnderWay,
    keys::Keys,
    overview::LastSeen,
    routing::Routing,
    users::Users,
    views::MqttView,
    webhooks::Webhooks,
};

/// How long a reader waits for RabbitMQ's management API before it goes without.
pub(crate) const READING_PATIENCE: Duration = Duration::from_secs(5);
/// How long a change waits for another one to end.
const CHANGE_PATIENCE: Duration = Duration::from_secs(10);
/// Longest pause between attempts to reach a broker or database that is away.
const PAUSE_MAX: Duration = Duration::from_secs(5);

pub(crate) struct Shared {
    pub(crate) hub_id: String,
    pub(crate) host: String,
    pub(crate) started: DateTime<Utc>,
    pub(crate) address: BrokerAddress,
    pub(crate) public_url: String,
    pub(crate) data_dir: PathBuf,
    pub(crate) files_digest: ArcSwap<String>,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) broker: Broker,
    pub(crate) hub_user: String,
    pub(crate) management: Management,
    pub(crate) publisher: ArcSwap<Publisher>,
    pub(crate) keys: Keys,
    pub(crate) users: Users,
    pub(crate) browser_tokens: BrowserTokens,
    pub(crate) routing: ArcSwap<Routing>,
    /// The number of the revision in force, for those who wait for the next; see [`Shared::put_in_force`].
    pub(crate) in_force: watch::Sender<u32>,
    /// One change of revision or credentials at a time; see [`Shared::change`].
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// `None` while the topology stands; else why it does not.
    pub(crate) topology: watch::Sender<Option<String>>,
    /// Asks upkeep for a round now.
    pub(crate) round_wanted: Notify,
    /// Counts upkeep's rounds that succeeded.
    pub(crate) rounds: watch::Sender<u64>,
    /// The ingress queues were declared a moment ago: nothing is accepted yet; see [`upkeep`](crate::upkeep).
    pub(crate) ingress_is_new: AtomicBool,
    /// Newest offset this hub has recorded.
    pub(crate) recorded: watch::Sender<i64>,
    pub(crate) chains: ChainsUnderWay,
    pub(crate) alarms: Alarms,
    pub(crate) alerts: Alerts,
    pub(crate) webhooks: Webhooks,
    pub(crate) retention: Retention,
    /// Who wants to know of changed states.
    pub(crate) state_listener: watch::Sender<Option<mpsc::Sender<LiveState>>>,
    /// What the MQTT gateway says of itself, once there is one.
    pub(crate) mqtt: OnceLock<Box<dyn Fn() -> MqttView + Send + Sync>>,
    /// Whether this machine's settings are others than the hub was started with, once somebody can say.
    pub(crate) settings_changed: OnceLock<Arc<dyn Fn() -> bool + Send + Sync>>,
    /// What the last looks at the hub showed; see [`overview`](crate::overview).
    pub(crate) last_seen: LastSeen,
}

impl Shared {
    /// Waits until the topology stands; `Err` if the hub stops first.
    pub(crate) async fn wait_for_topology(&self, stop: &CancellationToken) -> Result<(), ()> {
        let mut topology = self.topology.subscribe();
        tokio::select! {
            () = stop.cancelled() => Err(()),
            stands = topology.wait_for(Option::is_none) => stands.map(|_| ()).map_err(|_| ()),
        }
    }

    /// Routes by another revision from now on. What was said about mappings that it does not have is over.
    pub(crate) fn put_in_force(&self, mut next: Routing) {
        let before = self.routing.load_full();
        next.inherit(&before);
        let next = Arc::new(next);
        self.routing.store(next.clone());
        alerts::clear_replaced(self, &before, &next);
        self.in_force.send_replace(next.revision);
    }

    /// Waits `pause`, or less if the hub stops, and lengthens the next one.
    pub(crate) async fn pause(&self, pause: &mut Duration, stop: &CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(*pause) => {}
        }
        *pause = longer(*pause);
    }

    pub(crate) fn consumer_tag(&self, task: &str) -> String {
        format!("crossdock-{task}-{}", self.hub_id)
    }

    /// The right to change revision or credentials.
    pub(crate) async fn change(&self) -> Result<MutexGuard<'_, ()>, EngineError> {
        timeout(CHANGE_PATIENCE, self.changing.lock())
            .await
            .map_err(|_| EngineError::unavailable("another change is under way"))
    }

    /// The queues of the vhost by name, or nothing if RabbitMQ does not answer soon.
    pub(crate) async fn queues(&self) -> Option<BTreeMap<String, QueueInfo>> {
        by_name(self.management.queues()).await
    }

    /// The same with their rates and histories, for people who look at them.
    pub(crate) async fn queues_with_statistics(&self) -> Option<BTreeMap<String, QueueInfo>> {
        by_name(self.management.queues_with_statistics()).await
    }

    /// Has upkeep assert the topology, and waits for it no longer than `patience`.
    pub(crate) async fn have_topology_asserted(&self, patience: Duration) {
        let mut rounds = self.rounds.subscribe();
        rounds.mark_unchanged();
        self.round_wanted.notify_one();
        let _ = timeout(patience, rounds.changed()).await;
    }
}

async fn by_name(
    queues: impl Future<Output = Result<Vec<QueueInfo>, BusError>>,
) -> Option<BTreeMap<String, QueueInfo>> {
    let queues = timeout(READING_PATIENCE, queues).await.ok()?.ok()?;
    let named = queues.into_iter().map(|queue| (queue.name.clone(), queue));
    Some(named.collect())
}

/// The next pause of a growing series.
fn longer(pause: Duration) -> Duration {
    (pause * 2).min(PAUSE_MAX)
}
