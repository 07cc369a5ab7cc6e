//! A PostgreSQL server in a folder of its own, on a free loopback port.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use tokio::time::{Instant, sleep};
use url::Url;

use super::installation::Installation;
use crate::broker::on_lasting_runtime;

/// The administrator of the server.
const ADMINISTRATOR: &str = "administrator";
/// Whom databases belong to: a plain user, as an operator would make one.
pub(super) const OWNER: &str = "crossdock";

const START_DEADLINE: Duration = Duration::from_secs(60);
const STOP_DEADLINE: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Every commit is on disk before it returns, as in earnest; what only guards against a failing disk or keeps a
/// standby is left out.
const SETTINGS: &str = "\
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 300
shared_buffers = 64MB
fsync = on
synchronous_commit = on
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
max_wal_size = 4GB
checkpoint_timeout = 30min
log_line_prefix = '%m [%p] %d '
log_checkpoints = off
";

/// A server whose files are there, running or not.
pub(super) struct Server {
    installation: Installation,
    folder: PathBuf,
    password: String,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// Takes over the files in `folder`, or makes them.
    pub(super) fn prepare(folder: &Path) -> Result<Self> {
        let installation = Installation::find()?;
        fs::create_dir_all(folder)?;
        // PostgreSQL's own user has to pass through.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        let password_file = folder.join("password");
        let data = folder.join("data");
        let made = folder.join("made");
        if !made.exists() {
            let _ = fs::remove_dir_all(&data);
            let password = format!("{:032x}", rand::random::<u128>());
            write_private(&password_file, &password)?;
            installation.hand_over(&password_file)?;
            fs::create_dir(&data)?;
            installation.hand_over(&data)?;
            installation.init(&data, ADMINISTRATOR, &password_file)?;
            fs::write(&made, "")?;
        }
        let server = Self {
            installation,
            folder: folder.to_owned(),
            password: fs::read_to_string(&password_file)?,
            port: free_port()?,
            child: None,
        };
        server.add_data_file("postgresql.auto.conf", SETTINGS)?;
        Ok(server)
    }

    /// From its next start on it takes nobody without TLS. Certificate and key are PEM.
    pub(super) fn require_tls(&self, certificate: &str, key: &str) -> Result<()> {
        self.add_data_file("server.crt", certificate)?;
        self.add_data_file("server.key", key)?;
        self.add_data_file("pg_hba.conf", "hostssl all all 127.0.0.1/32 md5\n")?;
        self.add_data_file("postgresql.auto.conf", &format!("{SETTINGS}ssl = on\n"))
    }

    /// Puts a file among the data that only the server can read.
    fn add_data_file(&self, name: &str, text: &str) -> Result<()> {
        let path = self.data().join(name);
        write_private(&path, text)?;
        self.installation.hand_over(&path)
    }

    /// The administrator's access to a database.
    pub(super) fn url(&self, database: &str) -> Url {
        let url = format!(
            "postgres://{ADMINISTRATOR}:{}@127.0.0.1:{}/{database}",
            self.password, self.port
        );
        Url::parse(&url).expect("the parts need no escapes")
    }

    /// Starts it and waits until it serves clients.
    pub(super) async fn start(&mut self) -> Result<()> {
        self.end_leftovers().await?;
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.folder.join("postgres.log"))?;
        let mut command = self.installation.command("postgres");
        command
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.port.to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        // It ends with the thread that starts it, so that must not be a test's.
        let child = on_lasting_runtime(async move { command.spawn() }).await?;
        self.child = Some(child);
        let deadline = Instant::now() + START_DEADLINE;
        while let Err(error) = connect(&self.url("postgres")).await {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().transpose());
            if let Some(status) = ended {
                bail!("PostgreSQL ended with {}: {}", status?, self.log_tail());
            }
            if Instant::now() > deadline {
                bail!("PostgreSQL does not answer: {error}; {}", self.log_tail());
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// An operator's stop: clients are cut off, everything is written.
    pub(super) async fn stop(&mut self) -> Result<()> {
        self.end(Signal::INT).await
    }

    /// As a power cut.
    pub(super) async fn kill(&mut self) -> Result<()> {
        for pid in self.processes() {
            let _ = kill_process(pid, Signal::KILL);
        }
        self.end(Signal::KILL).await
    }

    /// Nothing answers, and connections stay open.
    pub(super) fn freeze(&self) {
        for pid in self.processes() {
            let _ = kill_process(pid, Signal::STOP);
        }
    }

    pub(super) fn thaw(&self) {
        for pid in self.processes() {
            let _ = kill_process(pid, Signal::CONT);
        }
    }

    async fn end(&mut self, how: Signal) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        let _ = kill_process(Pid::from_child(&child), how);
        let deadline = Instant::now() + STOP_DEADLINE;
        while child.try_wait()?.is_none() || !self.processes().is_empty() {
            if Instant::now() > deadline {
                bail!("PostgreSQL does not stop: {}", self.log_tail());
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Waits for what a killed process may have left of this server, which is about to end.
    async fn end_leftovers(&self) -> Result<()> {
        let deadline = Instant::now() + STOP_DEADLINE;
        while !self.processes().is_empty() {
            if Instant::now() > deadline {
                bail!("another PostgreSQL runs in {}", self.data().display());
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Every process of this server: they all work in its data folder.
    fn processes(&self) -> Vec<Pid> {
        let data = self.data();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries
            .filter(|entry| fs::read_link(entry.path().join("cwd")).is_ok_and(|folder| folder == data))
            .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
            .collect()
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.folder.join("postgres.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            for pid in self.processes() {
                let _ = kill_process(pid, Signal::KILL);
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A connection of its own.
pub(super) async fn connect(url: &Url) -> sqlx::Result<PgConnection> {
    PgConnectOptions::from_url(url)?.connect().await
}

/// Runs statements that take no parameters, on a connection of their own.
pub(super) async fn run(url: &Url, statements: &[String]) -> sqlx::Result<()> {
    let mut connection = connect(url).await?;
    for statement in statements {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement.as_str()))
            .execute(&mut connection)
            .await?;
    }
    connection.close().await
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| path.display().to_string())?;
    Ok(file.write_all(text.as_bytes())?)
}

/// Free at this moment. Below the ports that the system gives to clients, so that none of them takes it while the
/// server is away.
fn free_port() -> Result<u16> {
    loop {
        let port = rand::random_range(20_000..32_000);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
}
