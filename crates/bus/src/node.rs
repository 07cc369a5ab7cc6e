//! A private RabbitMQ node: found on this machine, started on loopback ports with secrets of its own, kept
//! running, and ended with the hub. It needs no rights but those of the user who runs the hub, and knows nothing
//! of what the hub does with the broker.

mod boot;
mod error;
mod folder;
mod install;
mod ports;
mod process;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::error::BusError;
use crate::management::Management;
use boot::{Running, Site};
pub use error::NodeError;
use folder::{Folder, Identity};
use install::{Installation, Version};
use ports::Ports;
use process::Tether;

/// How long RabbitMQ may take to serve clients, unless the options say otherwise.
pub const BOOT_DEADLINE: Duration = Duration::from_secs(120);

const BOOT_ATTEMPTS: usize = 3;
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// What went wrong before a node ran for this long does not slow its next restart.
const STEADY: Duration = Duration::from_secs(60);

/// How the private node is to be run.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// The folder for all that the node keeps, such as `var/rabbitmq`; made when missing.
    pub data_dir: PathBuf,
    /// RabbitMQ's own folder, the one with `sbin` and `plugins`. `None`: the `rabbitmq-server` on the PATH, else
    /// the newest that a package installed.
    pub rabbitmq_home: Option<PathBuf>,
    /// How long RabbitMQ may take to serve clients before the start counts as failed.
    pub boot_deadline: Duration,
}

impl NodeOptions {
    /// A node that keeps its data in `data_dir`, from the RabbitMQ that `RABBITMQ_HOME` names or the machine has.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let home = std::env::var_os("RABBITMQ_HOME").filter(|home| !home.is_empty());
        Self {
            data_dir: data_dir.into(),
            rabbitmq_home: home.map(PathBuf::from),
            boot_deadline: BOOT_DEADLINE,
        }
    }
}

/// What the node does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeState {
    /// It serves clients.
    Running,
    /// It died or does not start; it is started again, by and by.
    Down {
        /// What was seen.
        reason: String,
    },
    /// It was asked to stop.
    Stopped,
}

/// A private RabbitMQ node. Dropping it stops it, without waiting; [`stop`](Self::stop) waits.
pub struct Node {
    broker_url: String,
    management_url: String,
    version: Version,
    pid: watch::Receiver<Option<u32>>,
    state: watch::Receiver<NodeState>,
    stop: CancellationToken,
    supervisor: Option<JoinHandle<()>>,
}

impl fmt::Debug for Node {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Node")
            .field("management_url", &self.management_url)
            .field("state", &*self.state.borrow())
            .finish_non_exhaustive()
    }
}

impl Node {
    /// Starts the node and waits until it serves clients. From then on it is restarted whenever it dies, on the
    /// same ports; what a killed hub left running in the same folder is ended first.
    ///
    /// # Errors
    /// See [`NodeError`]. Nothing is left running.
    pub async fn start(options: NodeOptions) -> Result<Self, NodeError> {
        let (site, running) = first_boot(&options).await?;
        let version = site.installation.version;
        tracing::info!(%version, folder = %site.folder.path().display(), "the private RabbitMQ node is running");
        let (pid_sender, pid) = watch::channel(Some(running.rabbitmq.id()));
        let (state_sender, state) = watch::channel(NodeState::Running);
        let stop = CancellationToken::new();
        let (broker_url, management_url) = (site.broker_url(), site.management_url());
        let supervisor = Supervisor {
            site,
            pid: pid_sender,
            state: state_sender,
            stop: stop.clone(),
        };
        let supervisor = Some(tokio::spawn(supervisor.run(running)));
        Ok(Self {
            broker_url,
            management_url,
            version,
            pid,
            state,
            stop,
            supervisor,
        })
    }

    /// `amqp://user:password@127.0.0.1:port/%2f`, the same for the life of the node.
    #[must_use]
    pub fn broker_url(&self) -> &str {
        &self.broker_url
    }

    /// `http://127.0.0.1:port`, the same for the life of the node. Its user is that of the broker's address.
    #[must_use]
    pub fn management_url(&self) -> &str {
        &self.management_url
    }

    /// The management API, as the node's administrator.
    ///
    /// # Errors
    /// [`BusError::Url`] when the system's TLS certificates cannot be read.
    pub fn management(&self) -> Result<Management, BusError> {
        Management::for_broker(&self.management_url, &self.broker_url)
    }

    /// RabbitMQ's version, such as `3.10.8`.
    #[must_use]
    pub fn version(&self) -> String {
        self.version.to_string()
    }

    /// The process id of RabbitMQ, while there is one.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        *self.pid.borrow()
    }

    /// What the node does now.
    #[must_use]
    pub fn state(&self) -> NodeState {
        self.state.borrow().clone()
    }

    /// What the node does now and later.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<NodeState> {
        self.state.clone()
    }

    /// Stops the node in order and waits until none of its processes is left; takes half a minute at most.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(supervisor) = self.supervisor.take() {
            // It ends early only with the runtime, which kills the processes as well.
            let _ = supervisor.await;
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn first_boot(options: &NodeOptions) -> Result<(Site, Running), NodeError> {
    let installation = Installation::find(options.rabbitmq_home.as_deref(), std::env::var_os("PATH"))?;
    let folder = Folder::open(&options.data_dir)?;
    let identity = identify(&folder, installation.version)?;
    let tether = Tether::probe(&installation.path);
    let mut site = Site {
        folder,
        identity,
        installation,
        tether,
        boot_deadline: options.boot_deadline,
    };
    let leftovers = site.end_leftovers().await?;
    if leftovers > 0 {
        tracing::warn!(
            processes = leftovers,
            "ended a RabbitMQ node that a killed hub had left running"
        );
    }
    let mut attempts = 0;
    loop {
        attempts += 1;
        site.identity.ports = Ports::settle(Some(site.identity.ports), &mut rand::rng())?;
        site.folder.remember(&site.identity)?;
        match site.boot().await {
            Ok(running) => {
                site.identity.rabbitmq_version = site.installation.version.to_string();
                site.folder.remember(&site.identity)?;
                return Ok((site, running));
            }
            Err(error) => {
                site.end_leftovers().await?;
                // Another program may take a port between our look and RabbitMQ's; then others are chosen.
                if site.identity.ports.are_free() || attempts == BOOT_ATTEMPTS {
                    return Err(error);
                }
            }
        }
    }
}

fn identify(folder: &Folder, installed: Version) -> Result<Identity, NodeError> {
    let Some(identity) = folder.identity()? else {
        return Identity::new(installed, &mut rand::rng());
    };
    let written_by = identity.rabbitmq_version.parse::<Version>();
    if !written_by.is_ok_and(|written_by| installed.takes_over_from(written_by)) {
        return Err(NodeError::UnsupportedUpgrade {
            from: identity.rabbitmq_version,
            to: installed.to_string(),
            data_dir: folder.path().to_owned(),
        });
    }
    Ok(identity)
}

/// Keeps the node running until it is told to stop.
struct Supervisor {
    site: Site,
    pid: watch::Sender<Option<u32>>,
    state: watch::Sender<NodeState>,
    stop: CancellationToken,
}

impl Supervisor {
    async fn run(self, running: Running) {
        let stop = self.stop.clone();
        let mut running = Some(running);
        // The loop is given up at any point where it waits; what runs then is shut down here.
        stop.run_until_cancelled(self.keep_running(&mut running)).await;
        if let Some(running) = running {
            self.site.shut_down(running).await;
        } else if let Err(error) = self.site.end_leftovers().await {
            tracing::warn!(%error, "the private RabbitMQ node is not quite gone");
        }
        self.pid.send_replace(None);
        self.state.send_replace(NodeState::Stopped);
    }

    async fn keep_running(&self, slot: &mut Option<Running>) {
        let mut backoff = FIRST_BACKOFF;
        loop {
            if let Some(running) = slot.as_mut() {
                let since = Instant::now();
                let reason = self.death_of(running).await;
                *slot = None;
                if since.elapsed() > STEADY {
                    backoff = FIRST_BACKOFF;
                }
                self.down(reason, backoff);
            }
            sleep(backoff).await;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
            match self.reboot().await {
                Ok(running) => {
                    tracing::info!("the private RabbitMQ node is running again");
                    self.pid.send_replace(Some(running.rabbitmq.id()));
                    *slot = Some(running);
                    self.state.send_replace(NodeState::Running);
                }
                Err(error) => self.down(error.to_string(), backoff),
            }
        }
    }

    /// Resolves when RabbitMQ has died. A port mapper that dies is replaced; the node works on meanwhile.
    async fn death_of(&self, running: &mut Running) -> String {
        loop {
            tokio::select! {
                status = running.rabbitmq.exited() => return format!("RabbitMQ ended with {status}"),
                status = running.epmd.exited() => {
                    tracing::warn!(%status, "Erlang's port mapper died; starting another");
                    sleep(FIRST_BACKOFF).await;
                    match self.site.start_epmd().await {
                        Ok(epmd) => running.epmd = epmd,
                        Err(error) => tracing::warn!(%error, "Erlang's port mapper does not start"),
                    }
                }
            }
        }
    }

    async fn reboot(&self) -> Result<Running, NodeError> {
        self.site.end_leftovers().await?;
        self.site.boot().await
    }

    fn down(&self, reason: String, backoff: Duration) {
        tracing::error!(
            reason,
            retry_in_s = backoff.as_secs(),
            "the private RabbitMQ node is down"
        );
        // The tail of the log, where there is one, is for the log only.
        let reason = reason.lines().next().unwrap_or_default().to_owned();
        self.pid.send_replace(None);
        self.state.send_replace(NodeState::Down { reason });
    }
}
