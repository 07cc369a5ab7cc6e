//! Runs the two processes of a node, Erlang's port mapper and RabbitMQ itself, up to the point where clients are
//! served, and down again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::NodeError;
use super::folder::{Folder, Identity};
use super::install::Installation;
use super::process::{Mark, Process, Tether};
use crate::error::BusError;
use crate::management::Management;

/// How long RabbitMQ may take to stop in order; after that it is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
const EPMD_DEADLINE: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(200);

const MARK: &str = "CROSSDOCK_NODE";
const LOOPBACK: &str = "127.0.0.1";
const DISTRIBUTION_ON_LOOPBACK: &str = "-kernel inet_dist_use_interface {127,0,0,1}";
/// RabbitMQ wants many file handles, a login session allows few; and a container's near-endless limit makes
/// Erlang slow to start.
const WITH_ENOUGH_FILES: &str =
    r#"ulimit -S -n 65536 2>/dev/null || ulimit -S -n "$(ulimit -H -n)"; exec "$0" "$@""#;

/// All that is needed to boot the node, again and again.
pub(super) struct Site {
    pub(super) folder: Folder,
    pub(super) identity: Identity,
    pub(super) installation: Installation,
    pub(super) tether: Tether,
    pub(super) boot_deadline: Duration,
}

/// The processes of a node that serves clients.
pub(super) struct Running {
    pub(super) rabbitmq: Process,
    pub(super) epmd: Process,
}

impl Site {
    pub(super) fn broker_url(&self) -> String {
        let Identity {
            user,
            password,
            ports,
            ..
        } = &self.identity;
        format!("amqp://{user}:{password}@{LOOPBACK}:{}/%2f", ports.amqp)
    }

    pub(super) fn management_url(&self) -> String {
        format!("http://{LOOPBACK}:{}", self.identity.ports.management)
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            variable: MARK,
            value: self.identity.node_name.clone(),
            folder: self.folder.path().to_owned(),
        }
    }

    /// Ends what a killed hub may have left of this node. Gives how many processes that were.
    pub(super) async fn end_leftovers(&self) -> Result<usize, NodeError> {
        let leftovers = |pids| NodeError::Leftovers {
            data_dir: self.folder.path().to_owned(),
            pids,
        };
        self.mark().end_bearers().await.map_err(leftovers)
    }

    /// Starts both processes and waits until clients are served.
    pub(super) async fn boot(&self) -> Result<Running, NodeError> {
        self.folder.configure(&self.identity)?;
        let epmd = self.start_epmd().await?;
        let rabbitmq = self.start_rabbitmq()?;
        tokio::select! {
            ready = self.serves_clients() => ready?,
            status = rabbitmq.exited() => return Err(self.failed(format!("it ended with {status}"))),
        }
        Ok(Running { rabbitmq, epmd })
    }

    /// Starts the port mapper that RabbitMQ registers with. One of its own, because a shared one would listen on
    /// every interface and outlive its starter.
    pub(super) async fn start_epmd(&self) -> Result<Process, NodeError> {
        let port = self.identity.ports.epmd;
        let mut command = self.command(&self.installation.epmd);
        command.args(["-address", LOOPBACK, "-port", &port.to_string()]);
        let epmd = self.spawn("epmd", command)?;
        let listening = async {
            while TcpStream::connect((LOOPBACK, port)).await.is_err() {
                sleep(POLL_INTERVAL).await;
            }
        };
        tokio::select! {
            listening = timeout(EPMD_DEADLINE, listening) =>
                listening.map_err(|_| self.failed("Erlang's port mapper, epmd, does not listen".into()))?,
            status = epmd.exited() =>
                return Err(self.failed(format!("Erlang's port mapper, epmd, ended with {status}"))),
        }
        Ok(epmd)
    }

    fn start_rabbitmq(&self) -> Result<Process, NodeError> {
        let folder = &self.folder;
        let mut command = self.command("sh".as_ref());
        command
            .args(["-c", WITH_ENOUGH_FILES])
            .arg(&self.installation.server)
            // Makes the script become RabbitMQ instead of its parent, so that signals and death reach it.
            .env("RUNNING_UNDER_SYSTEMD", "true")
            .env("RABBITMQ_NODENAME", &self.identity.node_name)
            .env("RABBITMQ_DIST_PORT", self.identity.ports.distribution.to_string())
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", DISTRIBUTION_ON_LOOPBACK)
            .env("RABBITMQ_CONF_ENV_FILE", folder.file("rabbitmq-env.conf"))
            .env("RABBITMQ_CONFIG_FILE", folder.file("rabbitmq.conf"))
            .env("RABBITMQ_CONFIG_FILES", folder.file("conf.d"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", folder.file("advanced.config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.file("enabled_plugins"))
            .env("RABBITMQ_MNESIA_BASE", folder.file("data"))
            .env("RABBITMQ_PID_FILE", folder.file("data/pid"))
            .env("RABBITMQ_LOG_BASE", folder.file("log"))
            .env("RABBITMQ_LOGS", folder.log());
        self.spawn("rabbitmq", command)
    }

    /// A command that dies with the hub, bears the node's mark and sees nothing of the hub's environment.
    fn command(&self, program: &Path) -> Command {
        let mark = self.mark();
        let mut command = self.tether.command(program.as_os_str());
        command
            .env_clear()
            .current_dir(&mark.folder)
            .env(mark.variable, mark.value)
            .env("PATH", &self.installation.path)
            .env("HOME", &mark.folder)
            .env("LANG", "C.UTF-8")
            // A crash dump would hold the messages in memory, personal data among them.
            .env("ERL_CRASH_DUMP_SECONDS", "0")
            .env("ERL_EPMD_ADDRESS", LOOPBACK)
            .env("ERL_EPMD_PORT", self.identity.ports.epmd.to_string());
        command
    }

    fn spawn(&self, name: &str, mut command: Command) -> Result<Process, NodeError> {
        let console = self.folder.open_console(name)?;
        let errors = console
            .try_clone()
            .map_err(NodeError::files(&self.folder.console(name)))?;
        command.stdout(console).stderr(errors);
        let program = PathBuf::from(command.get_program());
        Process::spawn(name, command).map_err(NodeError::files(&program))
    }

    async fn serves_clients(&self) -> Result<(), NodeError> {
        let deadline = Instant::now() + self.boot_deadline;
        loop {
            let Err(answer) = self.try_as_client().await else {
                return Ok(());
            };
            if Instant::now() > deadline {
                let seconds = self.boot_deadline.as_secs();
                return Err(self.failed(format!(
                    "it was not ready after {seconds} s, last answer: {answer}"
                )));
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    async fn try_as_client(&self) -> Result<(), String> {
        let management = Management::for_broker(&self.management_url(), &self.broker_url())
            .map_err(|error| error.to_string())?;
        management.overview().await.map_err(|error| error.to_string())?;
        enable_feature_flags(&management)
            .await
            .map_err(|error| error.to_string())?;
        TcpStream::connect((LOOPBACK, self.identity.ports.amqp))
            .await
            .map_err(|error| error.to_string())?;
        Ok(())
    }

    pub(super) fn failed(&self, reason: String) -> NodeError {
        NodeError::Boot {
            reason,
            log: self.folder.log(),
            tail: self.folder.log_tail(),
        }
    }

    /// Stops in order what can be stopped so, kills the rest, and leaves no process behind.
    pub(super) async fn shut_down(&self, running: Running) {
        running.rabbitmq.signal(Signal::TERM);
        if timeout(STOP_DEADLINE, running.rabbitmq.exited()).await.is_err() {
            tracing::warn!("the private RabbitMQ node does not stop; killing it");
        }
        drop(running);
        if let Err(error) = self.end_leftovers().await {
            tracing::warn!(%error, "the private RabbitMQ node is not quite gone");
        }
    }
}

/// Data taken over from an older RabbitMQ has its new features disabled; quorum queues and their at-least-once
/// dead-lettering need two of them, and the next upgrade needs them all.
async fn enable_feature_flags(management: &Management) -> Result<(), BusError> {
    for flag in management.feature_flags().await? {
        if flag.state == "disabled" && flag.stability == "stable" {
            management.enable_feature_flag(&flag.name).await?;
        }
    }
    Ok(())
}
