//! `crossdock up`: the hub from its start to its stop.
//!
//! What the configuration lacks is said before anything starts. HTTP is up first and says what it waits for.
//! Each part has an owner here that notices its death; a stop takes them down in the order in which events
//! flow, within [`STOP_DEADLINE`].

mod admin_key;
mod banner;
mod broker;
mod data_dir;
mod database;
mod demo;
mod door;
mod first_admin;
mod log;
mod mqtt;
mod readiness;

use std::{
    convert::Infallible, io::ErrorKind, net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use axum::Router;
use clap::Args;
use crossdock_api::ApiState;
use crossdock_bus::node::Node;
use crossdock_config::{Http, Settings};
use crossdock_engine::{EngineError, Hub, HubOptions, outbound::Outbound};
use crossdock_model::SystemClock;
use crossdock_telemetry::Telemetry;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::{
    net::{TcpListener, TcpSocket},
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Context,
    configuration::{Configuration, reachable},
    output::Output,
};
use broker::Broker;
use data_dir::DataDir;
use database::Database;
use demo::Demo;
use door::Door;
use first_admin::FirstAdmin;
pub(crate) use mqtt::raise_descriptors;

/// Connections that wait to be accepted; the system may allow fewer.
const BACKLOG: u32 = 4_096;
/// How often the configuration files are read again.
const FILES_ROUND: Duration = Duration::from_secs(5);
/// How long a stop may take in all.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// How long it waits for the collector to take the last spans.
const LAST_SPANS_MAX: Duration = Duration::from_secs(3);
/// How often the metrics' recorder puts its samples in order.
const METRICS_UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Upper bounds of the histograms' buckets, in seconds.
const BUCKETS_S: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
/// The exit status of a program that a second signal ends.
const EXIT_INTERRUPTED: i32 = 130;

/// Run the hub until it is stopped by SIGTERM or Ctrl+C
#[derive(Args, Debug)]
#[command(
    long_about = "Run the hub until it is stopped by SIGTERM or Ctrl+C. Without [rabbitmq].url it starts a\n\
                  private RabbitMQ node on loopback ports and ends it with itself. A second signal ends it at\n\
                  once.",
    after_help = "Examples:\n  crossdock up --demo\n  crossdock up --config config/crossdock.toml"
)]
pub(crate) struct Up {
    /// Also run the demo: a shop's page at /shop, and its adapters: shop, ERP, warehouse and parcel desk
    #[arg(long)]
    demo: bool,
}

impl Up {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        #[cfg(feature = "fault-injection")]
        let _fail_points = fail::FailScenario::setup();
        let configuration = Configuration::read(context.common.config.as_deref())?;
        let (settings, warnings) = configuration.check()?;
        log::start();
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        if self.demo && is_for_others(&settings.http) {
            tracing::warn!(
                listen = %settings.http.listen,
                "the demo's shop is open to everybody who reaches this hub: they order without a key, and what they \
                 order is in the record for good; on a hub that is more than a demo, leave out --demo"
            );
        }
        let stop = CancellationToken::new();
        listen_for_signals(stop.clone())?;
        let data_dir = DataDir::open(&settings.data_dir)?;
        let listener = listen(
            settings.http.listen,
            "listen in [http], or CROSSDOCK_HTTP__LISTEN",
        )
        .await?;
        let mqtt = mqtt::Listeners::bind(&settings.mqtt).await?;
        let mut hall = Hall::open(listener, self.demo)?;
        let telemetry = start_telemetry(&settings)?;
        let started = stop
            .run_until_cancelled(hall.start(&configuration, &settings, &data_dir, mqtt))
            .await;
        let outcome = match started {
            None => Ok(()),
            Some(Err(error)) => Err(error),
            Some(Ok(running)) => match self
                .open_to_all(running, &mut hall, &data_dir, context.output, &settings)
                .await
            {
                Ok(()) => {
                    watch_settings(hall.hub.as_ref(), context.common.config.clone(), settings);
                    let files = note_files(hall.hub.clone(), context.common.config.clone());
                    tokio::select! {
                        () = stop.cancelled() => Ok(()),
                        reason = hall.death() => Err(anyhow!("the hub stops: {reason}")),
                        never = files => match never {},
                    }
                }
                Err(error) => Err(error),
            },
        };
        tracing::info!("stopping");
        let stopping = async {
            hall.close().await;
            if let Some(telemetry) = telemetry {
                telemetry.stop(LAST_SPANS_MAX).await;
            }
        };
        if tokio::time::timeout(STOP_DEADLINE, stopping).await.is_err() {
            bail!(
                "the stop took longer than {} s; what was not finished is delivered again",
                STOP_DEADLINE.as_secs()
            );
        }
        outcome?;
        tracing::info!("stopped");
        Ok(ExitCode::SUCCESS)
    }

    /// Starts the demo where it is wanted, and tells the operator where everything is.
    async fn open_to_all(
        &self,
        running: Running,
        hall: &mut Hall,
        data_dir: &DataDir,
        output: Output,
        settings: &Settings,
    ) -> anyhow::Result<()> {
        if self.demo {
            let collector = settings.telemetry.otlp_endpoint.as_ref().map(ToString::to_string);
            hall.demo = Some(Demo::start(running.hub, data_dir, output, collector).await?);
        }
        // The hub does its work whether or not somebody reads this.
        match banner::print(output, &running.banner) {
            Ok(()) => {
                if let Some(Err(error)) = running.banner.first_admin.as_ref().map(FirstAdmin::was_seen) {
                    tracing::warn!(%error, "the file with the first password could not be removed");
                }
            }
            Err(error) => tracing::warn!(%error, "the addresses could not be printed"),
        }
        Ok(())
    }
}

/// Whether more than this machine is meant to reach the hub.
fn is_for_others(http: &Http) -> bool {
    !http.listen.ip().is_loopback() || http.public_url.is_some()
}

/// Lets the hub say whether its settings are still those that it was started with.
fn watch_settings(hub: Option<&Hub>, config: Option<PathBuf>, settings: Settings) {
    if let Some(hub) = hub {
        hub.watch_settings(move || Configuration::differs(config.as_deref(), &settings));
    }
}

/// Tells the hub, again and again, what its configuration files are now: `status` compares them with the
/// revision in force.
async fn note_files(hub: Option<Hub>, config: Option<PathBuf>) -> Infallible {
    loop {
        tokio::time::sleep(FILES_ROUND).await;
        let config = config.clone();
        let read = tokio::task::spawn_blocking(move || Configuration::read(config.as_deref())).await;
        if let (Some(hub), Ok(Ok(configuration))) = (&hub, read) {
            hub.note_files(&configuration.shared_files);
        }
    }
}

/// Everything that runs, with its owner.
struct Hall {
    tasks: JoinSet<&'static str>,
    door: Door,
    metrics: PrometheusHandle,
    stop_http: CancellationToken,
    stop_tasks: CancellationToken,
    listen: SocketAddr,
    node: Option<Node>,
    api: Option<ApiState>,
    hub: Option<Hub>,
    /// There is a demo, or there will be.
    shows_demo: bool,
    demo: Option<Demo>,
}

/// What runs once the start is done.
struct Running {
    hub: Hub,
    banner: banner::Banner,
}

impl Hall {
    /// HTTP is up from here on.
    fn open(listener: TcpListener, shows_demo: bool) -> anyhow::Result<Self> {
        let metrics = PrometheusBuilder::new()
            .set_buckets(&BUCKETS_S)
            .and_then(PrometheusBuilder::install_recorder)
            .context("cannot set up the metrics")?;
        let mut pages = crossdock_web::router();
        if shows_demo {
            pages = pages.merge(crossdock_web::storefront());
        }
        let door = Door::new(pages, "the database");
        let listen = listener.local_addr().context("the listener has no address")?;
        let mut tasks = JoinSet::new();
        let stop_http = CancellationToken::new();
        let serving = crossdock_api::serve(listener, door.router(), stop_http.clone());
        tasks.spawn(async {
            serving.await;
            "the HTTP listener"
        });
        let stop_tasks = CancellationToken::new();
        tasks.spawn(upkeep_of_metrics(metrics.clone(), stop_tasks.clone()));
        Ok(Self {
            tasks,
            door,
            metrics,
            stop_http,
            stop_tasks,
            listen,
            node: None,
            api: None,
            hub: None,
            shows_demo,
            demo: None,
        })
    }

    async fn start(
        &mut self,
        configuration: &Configuration,
        settings: &Settings,
        data_dir: &DataDir,
        mqtt: mqtt::Listeners,
    ) -> anyhow::Result<Running> {
        let mqtt_address = mqtt.address()?;
        let database = Database::named(settings, data_dir)?;
        let store = database.open().await?;
        self.door.wait_for("RabbitMQ");
        let Broker { address, node } = Broker::find(&settings.rabbitmq, data_dir).await?;
        self.node = node;
        let public_url = match &settings.http.public_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => format!("http://{}", reachable(self.listen)),
        };
        let options = HubOptions {
            broker: address.clone(),
            public_url: public_url.clone(),
            store,
            clock: Arc::new(SystemClock),
            data_dir: data_dir.path().to_owned(),
            config_files: configuration.shared_files.clone(),
            host: host_name(),
            token_issuers: settings.mqtt.issuer.clone(),
            retention: settings.retention,
            outbound: Outbound::new(settings.outbound.allow.clone()).context("cannot call other servers")?,
            variable: |name| std::env::var(name).ok(),
        };
        let hub = database
            .patiently(|| start_hub(configuration, options.clone()))
            .await?;
        self.hub = Some(hub.clone());
        let admin_key = database.patiently(|| admin_key::ensure(&hub, data_dir)).await?;
        let first_admin = database.patiently(|| first_admin::ensure(&hub, data_dir)).await?;
        let api = ApiState::new(
            hub.clone(),
            self.metrics.clone(),
            settings.http.trusted_proxies.clone(),
            self.stop_http.clone(),
        );
        self.api = Some(api.clone());
        let websocket = mqtt::start(&hub, mqtt, settings, &mut self.tasks, &self.stop_tasks);
        let shop = if self.shows_demo {
            database
                .patiently(|| demo::storefront::router(&hub, data_dir))
                .await?
        } else {
            database
                .patiently(|| demo::storefront::withdraw_key(&hub, data_dir))
                .await?;
            Router::new()
        };
        let routes = crossdock_api::router(api, &settings.http.allowed_origins, shop).merge(websocket);
        self.door.open(routes);
        self.tasks
            .spawn(readiness::announce(hub.clone(), self.stop_tasks.clone()));
        let banner = banner::Banner {
            shop: self
                .shows_demo
                .then(|| format!("{public_url}{}", crossdock_web::SHOP)),
            url: public_url,
            mqtt_url: format!("mqtt://{}", reachable(mqtt_address)),
            management_url: broker::without_credentials(&address.management_url),
            private_node: self.node.as_ref().map(|_| data_dir.node_identity_file()),
            data_dir: data_dir.path().to_owned(),
            admin_key,
            first_admin,
        };
        Ok(Running { hub, banner })
    }

    /// Resolves when something that should run for ever has ended, with what it was.
    async fn death(&mut self) -> String {
        let demo_ended = async {
            match &mut self.demo {
                Some(demo) => demo.ended().await,
                None => std::future::pending().await,
            }
        };
        let node_ended = async {
            match &self.node {
                Some(node) => {
                    // While its supervisor lives the state changes, and is not final before it is told to stop.
                    while node.watch().changed().await.is_ok() {}
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = self.tasks.join_next() => match ended {
                Some(Ok(name)) => format!("{name} ended by itself"),
                Some(Err(error)) => format!("a task failed: {error}"),
                None => "no task is left".to_owned(),
            },
            () = demo_ended => "the demo's supervisor ended by itself".to_owned(),
            () = node_ended => "the supervisor of the private RabbitMQ node ended by itself".to_owned(),
        }
    }

    /// Takes everything down: first what brings events in, then the hub, the broker last.
    async fn close(mut self) {
        self.stop_tasks.cancel();
        self.stop_http.cancel();
        if let Some(demo) = self.demo.take() {
            demo.stop().await;
        }
        while self.tasks.join_next().await.is_some() {}
        if let Some(api) = &self.api {
            api.drained().await;
        }
        if let Some(hub) = &self.hub {
            hub.stop().await;
        }
        if let Some(node) = self.node {
            node.stop().await;
        }
    }
}

/// Traces, where the settings name a collector.
fn start_telemetry(settings: &Settings) -> anyhow::Result<Option<Telemetry>> {
    let Some(endpoint) = &settings.telemetry.otlp_endpoint else {
        return Ok(None);
    };
    let telemetry = Telemetry::start(endpoint, "crossdock", env!("CARGO_PKG_VERSION"))
        .context("telemetry.otlp_endpoint")?;
    tracing::info!(
        collector = endpoint.origin().ascii_serialization(),
        "traces are sent"
    );
    Ok(Some(telemetry))
}

async fn start_hub(configuration: &Configuration, options: HubOptions) -> anyhow::Result<Hub> {
    Hub::start(options).await.map_err(|error| match error {
        EngineError::Config(faults) => configuration.place(faults).into(),
        other => other.into(),
    })
}

/// All clients of a hub that restarts come back at once.
fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// `setting` says where the address is from.
async fn listen(address: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    bind(address).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => anyhow!(
            "{address} is in use: another hub or another program listens there. Stop it, or set another address: \
             {setting}"
        ),
        ErrorKind::PermissionDenied => anyhow!("this user may not listen on {address}"),
        ErrorKind::AddrNotAvailable => anyhow!("this machine has no address {}", address.ip()),
        _ => anyhow!("cannot listen on {address}: {error}"),
    })
}

/// The first SIGTERM or Ctrl+C asks for a stop, the second does not wait for it.
fn listen_for_signals(stop: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if stop.is_cancelled() {
                tracing::warn!("asked a second time: ending at once");
                std::process::exit(EXIT_INTERRUPTED);
            }
            stop.cancel();
        }
    });
    Ok(())
}

async fn upkeep_of_metrics(metrics: PrometheusHandle, stop: CancellationToken) -> &'static str {
    let mut ticks = tokio::time::interval(METRICS_UPKEEP_INTERVAL);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        metrics.run_upkeep();
    }
    "the upkeep of metrics"
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::fs::read_to_string("/etc/hostname"));
    name.map(|name| name.trim().to_owned())
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}
