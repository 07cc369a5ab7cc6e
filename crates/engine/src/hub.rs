//! The hub as a whole: its door, how its tasks start, how they are watched, how they step down.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use crossdock_bus::{broker::Broker, management::Management, names, publisher::Publisher};
use crossdock_config::{Retention, SourceFile, TokenIssuer};
use crossdock_model::{Traceparent, clock::Clock, event::Event};
use crossdock_store::Store;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout_at},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::{AbortOnDropHandle, TaskTracker},
};

use crate::{
    AcceptError, ApiKeyView, AuthError, EngineError, NewKey, Principal,
    alarms::Alarms,
    alerts::{self, Alerts},
    browser_tokens::{self, BrowserTokens},
    edge, gate,
    keys::{self, Keys},
    measures,
    outbound::Outbound,
    outcomes,
    overview::LastSeen,
    retention, retry, revisions,
    shared::Shared,
    state, upkeep,
    users::Users,
    webhooks::{self, Webhooks},
};

/// How long a stop takes at most.
const STOP_MAX: Duration = Duration::from_secs(20);
/// What of it is kept for the tasks that end last.
const STOP_OF_THE_REST: Duration = Duration::from_secs(4);
/// Pause before a task that ended unexpectedly starts again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// How RabbitMQ shows the connection over which accepted events are published.
const EDGE_CONNECTION: &str = "crossdock edge";

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
#[derive(Clone)]
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
    /// By which webhook endpoints are called.
    pub outbound: Outbound,
    /// Whose tokens browsers may show beside those of the hub.
    pub token_issuers: Vec<TokenIssuer>,
    /// How long things are kept.
    pub retention: Retention,
    /// A variable of this process's environment: where manifests say that secrets are.
    pub variable: fn(&str) -> Option<String>,
}

/// A running hub. Clones are the same hub; when the last one is dropped, it steps down by itself.
#[derive(Clone)]
pub struct Hub {
    pub(crate) shared: Arc<Shared>,
    tasks: Arc<Tasks>,
}

/// The tasks of a hub and what ends them.
struct Tasks {
    /// Ends what takes work from queues: gate, outcomes and webhook senders.
    intake: CancellationToken,
    intake_tasks: TaskTracker,
    /// Ends the rest, and intake with it.
    rest: CancellationToken,
    rest_tasks: TaskTracker,
    /// Breaks off whatever has not ended by itself.
    break_off: CancellationToken,
    _last_clone: DropGuard,
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
        let environment = browser_tokens::new_environment();
        let environment = options.store.environment(&environment).await?;
        let browser_tokens = BrowserTokens::new(
            options.store.clone(),
            environment,
            &options.public_url,
            options.token_issuers,
            &options.outbound,
        );
        browser_tokens.read_revocations(now).await?;
        browser_tokens.read_keys(now).await?;

        measures::describe();
        let rest = CancellationToken::new();
        let tasks = Tasks {
            intake: rest.child_token(),
            intake_tasks: TaskTracker::new(),
            rest_tasks: TaskTracker::new(),
            break_off: CancellationToken::new(),
            _last_clone: rest.clone().drop_guard(),
            rest,
        };
        let publisher = tasks.publisher(&broker);
        let shared = Arc::new(Shared {
            hub_id: keys::random(8),
            host: options.host,
            started: now,
            address: options.broker,
            public_url: options.public_url,
            data_dir: options.data_dir,
            files_digest: ArcSwap::from_pointee(files_digest),
            keys: Keys::new(options.store.clone()),
            users: Users::new(options.store.clone()),
            browser_tokens,
            store: options.store,
            clock: options.clock,
            hub_user: broker.user().to_owned(),
            publisher: ArcSwap::from_pointee(publisher),
            broker,
            management,
            in_force: watch::Sender::new(routing.revision),
            routing: ArcSwap::from_pointee(routing),
            changing: tokio::sync::Mutex::new(()),
            topology: watch::Sender::new(Some("not asserted yet".to_owned())),
            round_wanted: Notify::new(),
            rounds: watch::Sender::new(0),
            ingress_is_new: AtomicBool::new(false),
            recorded: watch::Sender::new(latest),
            chains: gate::ChainsUnderWay::default(),
            alarms: Alarms::default(),
            alerts: Alerts::default(),
            webhooks: Webhooks::new(options.outbound, options.variable),
            retention: options.retention,
            state_listener: watch::Sender::new(None),
            mqtt: std::sync::OnceLock::new(),
            settings_changed: std::sync::OnceLock::new(),
            last_seen: LastSeen::default(),
        });
        for partition in 0..names::PARTITIONS {
            let name = format!("gate {partition}");
            tasks.watch_over(
                &tasks.intake_tasks,
                &tasks.intake,
                name,
                &shared,
                move |shared, stop| gate::run(shared, partition, stop),
            );
        }
        let outcomes = "outcomes".to_owned();
        tasks.watch_over(
            &tasks.intake_tasks,
            &tasks.intake,
            outcomes,
            &shared,
            outcomes::run,
        );
        let due = "due".to_owned();
        tasks.watch_over(&tasks.intake_tasks, &tasks.intake, due, &shared, retry::due::run);
        let senders = "webhooks".to_owned();
        tasks.watch_over(
            &tasks.intake_tasks,
            &tasks.intake,
            senders,
            &shared,
            webhooks::run,
        );
        let projector = "state".to_owned();
        tasks.watch_over(&tasks.intake_tasks, &tasks.intake, projector, &shared, state::run);
        let changes = "changed states".to_owned();
        tasks.watch_over(&tasks.rest_tasks, &tasks.rest, changes, &shared, state::listen);
        let upkeep = "upkeep".to_owned();
        tasks.watch_over(&tasks.rest_tasks, &tasks.rest, upkeep, &shared, upkeep::run);
        let retention = "retention".to_owned();
        tasks.watch_over(&tasks.rest_tasks, &tasks.rest, retention, &shared, retention::run);
        let browser_tokens = "browser tokens".to_owned();
        tasks.watch_over(
            &tasks.rest_tasks,
            &tasks.rest,
            browser_tokens,
            &shared,
            browser_tokens::run,
        );
        let alerts = "alerts".to_owned();
        tasks.watch_over(&tasks.rest_tasks, &tasks.rest, alerts, &shared, alerts::run);
        tasks.keep_publisher(shared.clone());
        Ok(Self {
            shared,
            tasks: Arc::new(tasks),
        })
    }

    /// Steps down: takes nothing new, finishes and acks what it holds, then lets go of the broker. Takes at most
    /// 20 s; work that has not ended then is broken off, and RabbitMQ hands it out again.
    pub async fn stop(&self) {
        let tasks = &self.tasks;
        let end = Instant::now() + STOP_MAX;
        tasks.intake.cancel();
        tasks.intake_tasks.close();
        let stepped_down = timeout_at(end - STOP_OF_THE_REST, tasks.intake_tasks.wait()).await;
        tasks.rest.cancel();
        tasks.rest_tasks.close();
        let ended = timeout_at(end, tasks.rest_tasks.wait()).await;
        if stepped_down.is_err() || ended.is_err() {
            tracing::warn!("work under way did not end in time; RabbitMQ will hand it out again");
        }
        tasks.break_off.cancel();
        let report = self.shared.store.remove_hub(&self.shared.hub_id);
        match tokio::time::timeout(STOP_OF_THE_REST, report).await {
            Ok(Ok(())) => {}
            _ => tracing::debug!("this hub's last report stays until it is out of date"),
        }
    }

    /// Accepts events from `who`: judged as far as that needs no database, published, and counted once
    /// RabbitMQ has confirmed every one. Fault pointers begin with the event's place, `/0/data/…`.
    ///
    /// # Errors
    /// See [`AcceptError`]; a repeat with the same ids is always safe.
    pub async fn accept(&self, who: &Principal, events: Vec<Event>) -> Result<usize, AcceptError> {
        self.accept_within(who, events, None).await
    }

    /// The same as part of a trace: `request` is the step that the events came with.
    ///
    /// # Errors
    /// As [`Hub::accept`].
    pub async fn accept_within(
        &self,
        who: &Principal,
        events: Vec<Event>,
        request: Option<Traceparent>,
    ) -> Result<usize, AcceptError> {
        let shared = &self.shared;
        if shared.ingress_is_new.load(Ordering::Acquire) {
            return Err(AcceptError::Unavailable {
                reason: "RabbitMQ's queues are being made".to_owned(),
                retry_after_s: 1,
            });
        }
        let known = shared.routing.load_full();
        let revision = known.revision;
        let (mut events, mut judged) = edge::judge(known, who, events).await;
        // Another hub may have applied a revision a moment ago that lets them in.
        if matches!(judged, Err(AcceptError::Forbidden(_) | AcceptError::Invalid(_)))
            && let Some(newest) = revisions::newest(shared).await
            && newest.revision != revision
        {
            (events, judged) = edge::judge(newest, who, events).await;
        }
        judged?;
        let publisher = shared.publisher.load_full();
        edge::publish(&publisher, &shared.hub_user, who, events, request).await
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

    /// Ends a key and the browser tokens that it minted: here at once, on other hubs within 5 seconds.
    ///
    /// # Errors
    /// `NotFound`, or `Unavailable` without a database.
    pub async fn revoke_key(&self, id: &str) -> Result<(), EngineError> {
        let now = self.shared.clock.now();
        self.shared.keys.revoke(id, now).await?;
        if let Err(error) = self.shared.browser_tokens.read_revocations(now).await {
            tracing::debug!(%error, "the browser tokens of a key that was revoked end in a moment");
        }
        Ok(())
    }

    /// These are the configuration files of this machine now; reported to operators, who compare them with the
    /// revision in force.
    pub fn note_files(&self, files: &[SourceFile]) {
        let digest = crossdock_config::digest(files);
        self.shared.files_digest.store(Arc::new(digest));
    }

    /// From now on `changed` says, by reading them, whether this machine's settings are others than the hub was started
    /// with. The first one stays.
    pub fn watch_settings(&self, changed: impl Fn() -> bool + Send + Sync + 'static) {
        // A hub is started once.
        let _ = self.shared.settings_changed.set(Arc::new(changed));
    }

    /// Newest offset this hub has recorded; changes with every batch.
    pub fn recorded(&self) -> watch::Receiver<i64> {
        self.shared.recorded.subscribe()
    }
}

impl Tasks {
    fn publisher(&self, broker: &Broker) -> Publisher {
        Publisher::spawn(
            broker.clone(),
            EDGE_CONNECTION,
            &self.rest_tasks,
            self.rest.clone(),
        )
    }

    /// Puts another publisher in place of one whose task has ended unexpectedly.
    fn keep_publisher(&self, shared: Arc<Shared>) {
        let (tracker, stop) = (self.rest_tasks.clone(), self.rest.clone());
        self.rest_tasks.spawn(async move {
            loop {
                let mut link = shared.publisher.load().watch();
                let ended = async { while link.changed().await.is_ok() {} };
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = ended => {}
                }
                tracing::error!(task = "publisher", "a task ended by itself; it starts again");
                measures::task_restarted("publisher");
                let mut pause = RESTART_PAUSE;
                shared.pause(&mut pause, &stop).await;
                let another =
                    Publisher::spawn(shared.broker.clone(), EDGE_CONNECTION, &tracker, stop.clone());
                shared.publisher.store(Arc::new(another));
            }
        });
    }

    /// Runs a task until `stop`; starts it again when it ends unexpectedly, by a panic above all.
    fn watch_over<F, Fut>(
        &self,
        tracker: &TaskTracker,
        stop: &CancellationToken,
        name: String,
        shared: &Arc<Shared>,
        task: F,
    ) where
        F: Fn(Arc<Shared>, CancellationToken) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (shared, stop, break_off) = (shared.clone(), stop.clone(), self.break_off.clone());
        tracker.spawn(async move {
            while !stop.is_cancelled() {
                // Its end is this task's end, too, whatever way that comes.
                let running = AbortOnDropHandle::new(tokio::spawn(task(shared.clone(), stop.clone())));
                let ended = tokio::select! {
                    ended = running => ended,
                    () = break_off.cancelled() => return,
                };
                match ended {
                    Ok(()) if stop.is_cancelled() => return,
                    Ok(()) => tracing::error!(task = %name, "a task ended by itself; it starts again"),
                    Err(error) => tracing::error!(task = %name, %error, "a task failed; it starts again"),
                }
                measures::task_restarted(&name);
                let mut pause = RESTART_PAUSE;
                shared.pause(&mut pause, &stop).await;
            }
        });
    }
}
