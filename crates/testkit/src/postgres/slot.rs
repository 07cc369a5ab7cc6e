//! Folders for shared servers, used again by later processes, as the brokers' are.

use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use url::Url;

use super::server::{OWNER, Server, run};

const SLOTS: u32 = 32;

/// A running server in a folder that no other living process uses.
pub struct Lease {
    server: Server,
    /// Locked for as long as this process lives.
    _lock: File,
}

impl Lease {
    /// The administrator's access, `postgres://user:password@host:port/postgres`.
    pub fn url(&self) -> Url {
        self.server.url("postgres")
    }

    /// Stops the server.
    ///
    /// # Errors
    /// When it does not stop.
    pub async fn end(mut self) -> Result<()> {
        self.server.stop().await
    }
}

/// Starts a server in the first folder that is free, without databases of earlier tests.
///
/// # Errors
/// When PostgreSQL is not installed or does not start, even with an empty folder.
pub async fn lease_free_slot() -> Result<Lease> {
    let user = rustix::process::getuid().as_raw();
    let above = std::env::temp_dir().join(format!("crossdock-test-postgres-{user}"));
    for slot in 0..SLOTS {
        let folder = above.join(slot.to_string());
        fs::create_dir_all(&folder)?;
        let lock = File::create(folder.join("lock"))?;
        if lock.try_lock().is_err() {
            continue;
        }
        let server = start_in(folder.clone())
            .await
            .with_context(|| folder.display().to_string())?;
        return Ok(Lease { server, _lock: lock });
    }
    bail!("{SLOTS} test servers run already")
}

async fn start_in(folder: PathBuf) -> Result<Server> {
    let mut server = Server::prepare(&folder)?;
    if server.start().await.is_err() {
        // Whatever an earlier run left there is worth nothing.
        fs::remove_file(folder.join("made"))?;
        server = Server::prepare(&folder)?;
        server.start().await?;
    }
    tidy(&server.url("postgres")).await?;
    Ok(server)
}

/// Removes what earlier tests left, and makes the user that databases belong to.
pub(super) async fn tidy(url: &Url) -> Result<()> {
    let mut connection = super::server::connect(url).await?;
    let databases: Vec<String> =
        sqlx::query_scalar("SELECT datname FROM pg_database WHERE datname LIKE 'crossdock%'")
            .fetch_all(&mut connection)
            .await?;
    let owner: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
        .bind(OWNER)
        .fetch_one(&mut connection)
        .await?;
    let mut statements: Vec<_> = databases
        .into_iter()
        .map(|name| format!("DROP DATABASE {name} WITH (FORCE)"))
        .collect();
    if !owner {
        statements.push("SET password_encryption = 'scram-sha-256'".to_owned());
        statements.push(format!("CREATE ROLE {OWNER} LOGIN PASSWORD '{OWNER}'"));
    }
    Ok(run(url, &statements).await?)
}
