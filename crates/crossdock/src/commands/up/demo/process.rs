//! One demo adapter as a process: started when its credentials are there, started again when it ends or its
//! credentials change, ended with the hub.

use std::{
    env,
    ffi::OsString,
    fs, io,
    os::fd::OwnedFd,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::{Duration, SystemTime},
};

use crossdock_telemetry::ENDPOINT_VARIABLE;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe::Receiver,
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{env_file, log_file::LogFile};

const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// A process that ran for this long starts again at once.
const STEADY: Duration = Duration::from_secs(60);
const CREDENTIALS_CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// How long a process may take to end when it is asked to.
const END_DEADLINE: Duration = Duration::from_secs(8);
/// What a process sees of the hub's own environment, which may hold the hub's secrets, besides the variables that
/// begin with its name.
const PASSED_ON: [&str; 8] = [
    "PATH",
    "HOME",
    "LANG",
    "TZ",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];
/// What is left in the pipe of a process that has ended is read for so long.
const DRAIN_DEADLINE: Duration = Duration::from_secs(1);

/// An adapter that runs as a process beside the hub.
#[derive(Clone, Debug)]
pub(super) struct Adapter {
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) env_file: PathBuf,
    pub(super) log_file: PathBuf,
    /// The system's `setpriv` can tie the process to the thread that starts it.
    pub(super) tethered: bool,
    /// Where the hub sends its traces.
    pub(super) collector: Option<String>,
}

/// Why a process ended.
enum End {
    Stopped,
    CredentialsChanged,
    ByItself(io::Result<ExitStatus>),
}

impl Adapter {
    /// Keeps the process running until `stop`.
    pub(super) async fn keep_running(self, stop: CancellationToken) {
        let mut log = match LogFile::begin(self.log_file.clone()) {
            Ok(log) => log,
            Err(error) => {
                tracing::error!(adapter = self.name, file = %self.log_file.display(), %error, "no log can be written");
                return;
            }
        };
        let mut backoff = FIRST_BACKOFF;
        while let Some(issued) = stop.run_until_cancelled(self.credentials()).await {
            let began = Instant::now();
            match self.run(issued, &mut log, &stop).await {
                Ok(End::Stopped) => return,
                Ok(End::CredentialsChanged) => {
                    tracing::info!(
                        adapter = self.name,
                        "its credentials changed; the demo's process starts again"
                    );
                    continue;
                }
                Ok(End::ByItself(Ok(status))) => {
                    let log = self.log_file.display();
                    tracing::warn!(adapter = self.name, %status, %log, "a demo process ended; it starts again");
                }
                Ok(End::ByItself(Err(error))) | Err(error) => {
                    tracing::warn!(adapter = self.name, %error, "a demo process does not run; it is tried again");
                }
            }
            if began.elapsed() >= STEADY {
                backoff = FIRST_BACKOFF;
            }
            stop.run_until_cancelled(sleep(backoff)).await;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }

    /// Waits for the credentials' file and says when it was written.
    async fn credentials(&self) -> SystemTime {
        loop {
            if let Some(issued) = self.issued() {
                return issued;
            }
            sleep(CREDENTIALS_CHECK_INTERVAL / 4).await;
        }
    }

    fn issued(&self) -> Option<SystemTime> {
        fs::metadata(&self.env_file).and_then(|file| file.modified()).ok()
    }

    async fn run(&self, issued: SystemTime, log: &mut LogFile, stop: &CancellationToken) -> io::Result<End> {
        let (mut child, mut output) = self.spawn()?;
        let mut buffer = vec![0; 8 * 1024];
        let mut checks = tokio::time::interval(CREDENTIALS_CHECK_INTERVAL);
        let end = loop {
            tokio::select! {
                () = stop.cancelled() => break End::Stopped,
                status = child.wait() => break End::ByItself(status),
                _ = checks.tick() => {
                    if self.issued().is_some_and(|now| now != issued) {
                        break End::CredentialsChanged;
                    }
                }
                read = output.read(&mut buffer) => match read {
                    Ok(length) if length > 0 => log.write(&buffer[..length])?,
                    // Nothing more will come; the child's end is still to be awaited.
                    _ => break self.await_end(&mut child, stop).await,
                }
            }
        };
        if !matches!(end, End::ByItself(_)) {
            end_process(&mut child).await;
        }
        let rest = async {
            while let Ok(length @ 1..) = output.read(&mut buffer).await {
                log.write(&buffer[..length])?;
            }
            io::Result::Ok(())
        };
        // A grandchild may hold the pipe open for longer.
        let _ = timeout(DRAIN_DEADLINE, rest).await;
        Ok(end)
    }

    async fn await_end(&self, child: &mut Child, stop: &CancellationToken) -> End {
        tokio::select! {
            () = stop.cancelled() => End::Stopped,
            status = child.wait() => End::ByItself(status),
        }
    }

    /// Of the hub's environment, what is none of the hub's business.
    fn inherited(
        &self,
        environment: impl Iterator<Item = (OsString, OsString)>,
    ) -> impl Iterator<Item = (OsString, OsString)> {
        let own = format!("{}_", self.name.to_uppercase().replace('-', "_"));
        environment.filter(move |(name, _)| {
            name.to_str()
                .is_some_and(|name| PASSED_ON.contains(&name) || name.starts_with(&own))
        })
    }

    /// Starts the process in a group of its own, so that the terminal's Ctrl+C reaches only the hub.
    fn spawn(&self) -> io::Result<(Child, Receiver)> {
        let (reader, writer) = io::pipe()?;
        let mut command = if self.tethered {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "TERM", "--"]).arg(&self.program);
            command
        } else {
            Command::new(&self.program)
        };
        command
            .env_clear()
            .envs(self.inherited(env::vars_os()))
            .envs(env_file::read(&self.env_file)?)
            .envs(self.collector.as_ref().map(|url| (ENDPOINT_VARIABLE, url)))
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0)
            .kill_on_drop(true);
        let child = command.spawn()?;
        Ok((child, Receiver::from_owned_fd(OwnedFd::from(reader))?))
    }
}

/// Asks the process to end and then makes it.
async fn end_process(child: &mut Child) {
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
        // It fails only for a process that has just ended.
        let _ = kill_process(pid, Signal::TERM);
    }
    if timeout(END_DEADLINE, child.wait()).await.is_err() {
        // As above.
        let _ = child.kill().await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Stage {
        folder: tempfile::TempDir,
        stop: CancellationToken,
    }

    impl Stage {
        fn new(script: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let program = folder.path().join("adapter");
            fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
            Self {
                folder,
                stop: CancellationToken::new(),
            }
        }

        fn adapter(&self) -> Adapter {
            Adapter {
                name: "erp".into(),
                program: self.folder.path().join("adapter"),
                env_file: self.folder.path().join("erp.env"),
                log_file: self.folder.path().join("erp.log"),
                tethered: false,
                collector: None,
            }
        }

        fn issue(&self, adapter: &str) {
            fs::write(
                self.folder.path().join("erp.env"),
                format!("CROSSDOCK_ADAPTER={adapter}\n"),
            )
            .unwrap();
        }

        async fn log_holds(&self, wanted: &str) {
            let path = self.folder.path().join("erp.log");
            let found = async {
                while !fs::read_to_string(&path).unwrap_or_default().contains(wanted) {
                    sleep(Duration::from_millis(20)).await;
                }
            };
            timeout(Duration::from_secs(20), found)
                .await
                .expect("the log holds it in time");
        }
    }

    #[tokio::test]
    async fn waits_for_credentials_starts_again_and_ends_when_asked() {
        let stage = Stage::new(
            "trap 'echo bye; exit 0' TERM; echo \"I am $CROSSDOCK_ADAPTER\"; while :; do sleep 0.05; done",
        );
        let running = tokio::spawn(stage.adapter().keep_running(stage.stop.clone()));
        stage.issue("erp-1");
        stage.log_holds("I am erp-1").await;
        stage.issue("erp-2");
        stage.log_holds("bye\nI am erp-2").await;
        stage.stop.cancel();
        timeout(Duration::from_secs(20), running).await.unwrap().unwrap();
        let log = fs::read_to_string(stage.folder.path().join("erp.log")).unwrap();
        assert!(log.ends_with("bye\n"), "{log}");
    }

    #[test]
    fn a_process_sees_nothing_of_the_hubs_secrets() {
        let set = [
            ("PATH", "/bin"),
            ("ERP_PACE", "3"),
            ("SHOP_PACE", "4"),
            ("CROSSDOCK_RABBITMQ__URL", "amqp://hub:hunter2@rabbit"),
            ("RABBIT_URL", "amqp://hub:hunter2@rabbit"),
        ];
        let set = set.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let seen: Vec<_> = Stage::new("").adapter().inherited(set.into_iter()).collect();
        let names: Vec<_> = seen.iter().filter_map(|(name, _)| name.to_str()).collect();
        assert_eq!(names, ["PATH", "ERP_PACE"]);
    }

    #[tokio::test]
    async fn a_process_that_ends_is_started_again() {
        let stage = Stage::new("echo started; exit 3");
        stage.issue("erp");
        let running = tokio::spawn(stage.adapter().keep_running(stage.stop.clone()));
        stage.log_holds("started\nstarted\n").await;
        stage.stop.cancel();
        timeout(Duration::from_secs(20), running).await.unwrap().unwrap();
    }
}
