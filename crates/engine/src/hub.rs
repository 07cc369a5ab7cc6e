//! The hub as a whole: what its tasks share, how they start, how they are watched, how they step down.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use crossdock_bus::{broker::Broker, management::Management, names, publisher::Publisher};
use crossdock_config::SourceFile;
use crossdock_model::{clock::Clock, event::Event};
use crossdock_store::Store;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    AcceptError, ApiKeyView, AuthError, EngineError, NewKey, Principal, edge, gate,
    keys::{self, Keys},
    outcomes, revisions,
    routing::Routing,
    upkeep,
};

/// How long a stop waits for work under way.
const STOP_MAX: Duration = Duration::from_secs(20);
/// Pause before a task that ended unexpectedly starts again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Where RabbitMQ is.
#[derive(Clone)]
pub struct BrokerAddress {
    /// `amqp://` or `amqps://`, with the hub's own user and password.
    pub url: String,
    /// Base of the management API, `http://host:port`.
    pub management_url: String,
    /// The hub's program started it.
    pub private: bool,
}

/// What a hub needs to run.
pub struct HubOptions {
    /// The broker, which may be away for now.
    pub broker: BrokerAddress,
    /// Where adapters and people reach this hub over HTTP.
    pub public_url: String,
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where adapters' first credentials are written.
    pub data_dir: PathBuf,
    /// The configuration files of this machine.
    pub config_files: Vec<SourceFile>,
    /// This machine's name.
    pub host: String,
}

/// What the hub's tasks share.
pub(crate) struct Shared {
    pub(crate) hub_id: String,
    pub(crate) host: String,
    pub(crate) started: DateTime<Utc>,
    pub(crate) address: BrokerAddress,
    pub(crate) public_url: String,
    pub(crate) data_dir: PathBuf,
    pub(crate) files_digest: String,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) broker: Broker,
    pub(crate) hub_user: String,
    pub(crate) management: Management,
    pub(crate) publisher: Publisher,
    pub(crate) keys: Keys,
    pub(crate) routing: ArcSwap<Routing>,
    /// One change of revision, credentials or topology at a time.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// `None` while the topology stands; else why it does not.
    pub(crate) topology: watch::Sender<Option<String>>,
    /// Newest offset this hub has recorded.
    pub(crate) recorded: watch::Sender<i64>,
    /// What upkeep has found: a sentence for each thing that wants attention.
    pub(crate) findings: watch::Sender<BTreeMap<String, String>>,
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

    /// Waits `pause`, or less if the hub stops, and lengthens the next one.
    pub(crate) async fn pause(&self, pause: &mut Duration, stop: &CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(*pause) => {}
        }
        *pause = gate::longer(*pause);
    }

    pub(crate) fn consumer_tag(&self, task: &str) -> String {
        format!("crossdock-{task}-{}", self.hub_id)
    }
}

/// A running hub. Clones are the same hub.
#[derive(Clone)]
pub struct Hub {
    pub(crate) shared: Arc<Shared>,
    /// Ends what brings work in: gate and outcomes.
    intake: CancellationToken,
    /// Ends the rest.
    rest: CancellationToken,
    intake_tasks: TaskTracker,
    rest_tasks: TaskTracker,
}

impl Hub {
    /// Starts a hub. Returns at once even when RabbitMQ is away; it carries on when it comes. Applies
    /// `config_files` as the first revision if the database holds none.
    ///
    /// # Errors
    /// `Config` with every fault of the files, `Unavailable` without a database, `Invalid` for a broker URL
    /// that is none.
    pub async fn start(options: HubOptions) -> Result<Self, EngineError> {
        let now = options.clock.now();
        let broker =
            Broker::new(&options.broker.url).map_err(|error| EngineError::Invalid(error.to_string()))?;
        let management = Management::for_broker(&options.broker.management_url, &options.broker.url)
            .map_err(|error| EngineError::Invalid(error.to_string()))?;
        let files_digest = crossdock_config::digest(&options.config_files);
        let routing = revisions::first(&options.store, options.config_files, now).await?;
        let latest = options.store.latest_offset().await?;

        let rest = CancellationToken::new();
        let rest_tasks = TaskTracker::new();
        let shared = Arc::new(Shared {
            hub_id: keys::random(8),
            host: options.host,
            started: now,
            address: options.broker,
            public_url: options.public_url,
            data_dir: options.data_dir,
            files_digest,
            keys: Keys::new(options.store.clone()),
            store: options.store,
            clock: options.clock,
            hub_user: broker.user().to_owned(),
            publisher: Publisher::spawn(broker.clone(), "crossdock edge", &rest_tasks, rest.clone()),
            broker,
            management,
            routing: ArcSwap::from_pointee(routing),
            changing: tokio::sync::Mutex::new(()),
            topology: watch::Sender::new(Some("not asserted yet".to_owned())),
            recorded: watch::Sender::new(latest),
            findings: watch::Sender::new(BTreeMap::new()),
        });
        let hub = Self {
            shared,
            intake: rest.child_token(),
            rest,
            intake_tasks: TaskTracker::new(),
            rest_tasks,
        };
        for partition in 0..names::PARTITIONS {
            let name = format!("gate {partition}");
            hub.watch_over(&hub.intake_tasks, &hub.intake, name, move |shared, stop| {
                gate::run(shared, partition, stop)
            });
        }
        hub.watch_over(&hub.intake_tasks, &hub.intake, "outcomes".into(), outcomes::run);
        hub.watch_over(&hub.rest_tasks, &hub.rest, "upkeep".into(), upkeep::run);
        Ok(hub)
    }

    /// Steps down: takes nothing new, finishes and acks what it holds, then lets go of the broker. Work that
    /// does not end within 20 s is left to be redelivered.
    pub async fn stop(&self) {
        self.intake.cancel();
        self.intake_tasks.close();
        if tokio::time::timeout(STOP_MAX, self.intake_tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("work under way did not end in time; RabbitMQ will hand it out again");
        }
        self.rest.cancel();
        self.rest_tasks.close();
        if tokio::time::timeout(STOP_MAX, self.rest_tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("background tasks did not end in time");
        }
        if let Err(error) = self.shared.store.remove_hub(&self.shared.hub_id).await {
            tracing::debug!(%error, "this hub's last report stays until it is out of date");
        }
    }

    /// Accepts events from `who`: judged as far as that needs no database, published, and counted once
    /// RabbitMQ has confirmed every one. Fault pointers begin with the event's place, `/0/data/…`.
    ///
    /// # Errors
    /// See [`AcceptError`]; a repeat with the same ids is always safe.
    pub async fn accept(&self, who: &Principal, events: Vec<Event>) -> Result<usize, AcceptError> {
        let shared = &self.shared;
        edge::accept(
            &shared.routing.load(),
            &shared.publisher,
            &shared.hub_user,
            who,
            events,
        )
        .await
    }

    /// Who holds this API key.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub async fn authenticate(&self, token: &str) -> Result<Principal, AuthError> {
        self.shared
            .keys
            .authenticate(token, self.shared.clock.now())
            .await
    }

    /// Makes an API key; its text is returned this once.
    ///
    /// # Errors
    /// `Invalid` for a bad name, no scope or a past expiry; `NotFound` for an adapter that does not exist.
    pub async fn add_key(&self, new: NewKey) -> Result<(ApiKeyView, String), EngineError> {
        if let Some(adapter) = &new.adapter
            && !self.shared.routing.load().adapters.contains_key(adapter)
        {
            return Err(EngineError::NotFound(format!("there is no adapter {adapter:?}")));
        }
        self.shared.keys.add(new, self.shared.clock.now()).await
    }

    /// Every key, revoked ones too.
    ///
    /// # Errors
    /// `Unavailable` without a database.
    pub async fn keys(&self) -> Result<Vec<ApiKeyView>, EngineError> {
        self.shared.keys.list().await
    }

    /// Ends a key: here at once, on other hubs within 5 seconds.
    ///
    /// # Errors
    /// `NotFound`, or `Unavailable` without a database.
    pub async fn revoke_key(&self, id: &str) -> Result<(), EngineError> {
        self.shared.keys.revoke(id, self.shared.clock.now()).await
    }

    /// Newest offset this hub has recorded; changes with every batch.
    pub fn recorded(&self) -> watch::Receiver<i64> {
        self.shared.recorded.subscribe()
    }

    /// Runs a task until `stop`; starts it again when it ends unexpectedly, by a panic above all.
    fn watch_over<F, Fut>(&self, tasks: &TaskTracker, stop: &CancellationToken, name: String, task: F)
    where
        F: Fn(Arc<Shared>, CancellationToken) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (shared, stop) = (self.shared.clone(), stop.clone());
        tasks.spawn(async move {
            while !stop.is_cancelled() {
                let running: JoinHandle<()> = tokio::spawn(task(shared.clone(), stop.clone()));
                match running.await {
                    Ok(()) if stop.is_cancelled() => return,
                    Ok(()) => tracing::error!(task = %name, "a task ended by itself; it starts again"),
                    Err(error) => tracing::error!(task = %name, %error, "a task failed; it starts again"),
                }
                metrics::counter!("crossdock_task_restarts_total", "task" => name.clone()).increment(1);
                let mut pause = RESTART_PAUSE;
                shared.pause(&mut pause, &stop).await;
            }
        });
    }
}
