//! A database for one test.

use anyhow::{Context, Result};
use sqlx::migrate::Migrator;
use sqlx::{Connection, PgConnection};
use url::Url;

use super::server::{OWNER, connect, run};
use crate::broker::finish;

/// Only to name a template by the schema it holds; the store itself makes it.
static MIGRATIONS: Migrator = sqlx::migrate!("../store/migrations/postgres");

/// Held while a template is made, so that of several processes one does it. A number of no meaning.
const TEMPLATE_LOCK: i64 = 0x7465_7374;

/// A PostgreSQL database that is one test's own; dropping it deletes it.
pub struct TestDatabase {
    /// `postgres://user:password@host:port/name`, of the user it belongs to.
    pub url: String,
    name: String,
    server: Url,
}

impl TestDatabase {
    /// A copy of an empty record whose schema is up to date.
    pub(super) async fn cloned(server: &Url) -> Result<Self> {
        let template = template(server).await?;
        Self::create(server, &format!("TEMPLATE {template}")).await
    }

    /// A database with nothing in it.
    pub(super) async fn empty(server: &Url) -> Result<Self> {
        Self::create(server, "TEMPLATE template0").await
    }

    /// The same, with texts as an encoding of PostgreSQL's has them.
    pub(super) async fn empty_in(server: &Url, encoding: &str) -> Result<Self> {
        let version: i32 = sqlx::query_scalar("SELECT current_setting('server_version_num')::int")
            .fetch_one(&mut connect(server).await?)
            .await?;
        // ICU, which the server's own databases are ordered by, knows few encodings.
        let provider = if version < 150_000 {
            ""
        } else {
            "LOCALE_PROVIDER libc"
        };
        let how = format!("TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C' {provider}");
        Self::create(server, &how).await
    }

    async fn create(server: &Url, how: &str) -> Result<Self> {
        let name = format!("crossdock_test_{:016x}", rand::random::<u64>());
        run(server, &[format!("CREATE DATABASE {name} OWNER {OWNER} {how}")]).await?;
        let url = owners(server, &name);
        Ok(Self {
            url: url.into(),
            name,
            server: server.clone(),
        })
    }

    /// Cuts off every connection to it, as a restart of the server would.
    ///
    /// # Panics
    /// When the server does not do it.
    pub async fn cut_connections(&self) {
        let cut = async {
            let mut connection = connect(&self.server).await?;
            sqlx::query("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = $1")
                .bind(&self.name)
                .execute(&mut connection)
                .await
        };
        cut.await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// How many connections work on it at this moment, beyond those that wait for a client.
    ///
    /// # Panics
    /// When the server does not say.
    pub async fn busy_connections(&self) -> i64 {
        let count = async {
            let mut connection = connect(&self.server).await?;
            sqlx::query_scalar("SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND state <> 'idle'")
                .bind(&self.name)
                .fetch_one(&mut connection)
                .await
        };
        count.await.unwrap_or_else(|error: sqlx::Error| panic!("{error}"))
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        finish(async move {
            // A server that a test has stopped or killed keeps nothing of value.
            let _ = run(&server, &[format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")]).await;
        });
    }
}

/// The owner's access to a database of this server.
fn owners(server: &Url, database: &str) -> Url {
    let mut url = server.clone();
    url.set_path(database);
    let named = url
        .set_username(OWNER)
        .and_then(|()| url.set_password(Some(OWNER)));
    named.expect("a server's address has a host");
    url
}

/// The name of a database whose schema is up to date, made by the first who asks.
async fn template(server: &Url) -> Result<String> {
    let mut digest: u64 = 0;
    for migration in MIGRATIONS.iter() {
        for byte in migration.checksum.iter() {
            digest = digest.rotate_left(5) ^ u64::from(*byte);
        }
    }
    let name = format!("crossdock_template_{digest:016x}");
    let mut connection = connect(server).await?;
    sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(TEMPLATE_LOCK)
        .execute(&mut connection)
        .await?;
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
        .bind(&name)
        .fetch_one(&mut connection)
        .await?;
    if !exists {
        make_template(server, &mut connection, &name).await?;
    }
    // Gives the lock back, too.
    connection.close().await?;
    Ok(name)
}

async fn make_template(server: &Url, connection: &mut PgConnection, name: &str) -> Result<()> {
    let database = TestDatabase::empty(server).await?;
    let store = crossdock_store::open(&database.url)
        .await
        .context("the template's schema")?;
    drop(store);
    database.cut_connections().await;
    let rename = format!("ALTER DATABASE {} RENAME TO {name}", database.name);
    sqlx::raw_sql(sqlx::AssertSqlSafe(rename))
        .execute(connection)
        .await?;
    Ok(())
}
