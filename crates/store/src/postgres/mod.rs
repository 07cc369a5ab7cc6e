//! The record in a PostgreSQL database, which several hubs may share. Sets of rows travel as arrays, one for each
//! column, so that each statement is prepared once whatever the size of a batch.
//!
//! Who writes to the record waits for the turn (`writers_turn` in the migrations) and keeps it to the end of its
//! transaction. The round trips of a batch: `record` takes one, commit included. Where words wait for its events, or
//! the hub has something to say about them itself, it takes up to nine, because what becomes of a delivery is decided
//! here. `settle` takes four: the turn, what is known, what changed, the commit; two more where words must wait.

mod adapters;
mod api_keys;
mod connection;
mod dead_letters;
mod early;
mod endpoints;
mod error;
mod events;
mod figures;
mod hubs;
mod ledger;
mod outcomes;
mod people;
mod quarantine;
mod query;
mod record;
mod retention;
mod revisions;
mod states;
mod text;
mod tokens;

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};

use self::connection::{ANSWER_MAX, CONNECT_MAX, Pool, STATEMENT_MAX, in_time};
use self::error::{failed, refused_at_the_door};
use crate::migrations::not_migrated;
use crate::{Backend, Place, Result, StoreError};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// The oldest PostgreSQL that this works with: major version.
const OLDEST: u32 = 13;

/// How many tasks write, or wait for their turn to.
const WRITERS: u32 = 4;
/// How many searches and accounts run at one time.
const READERS: u32 = 4;
/// How many of the short questions do for which events and requests wait.
const LOOKUPS: u32 = 2;

/// What the parameters of a URL may be called. Others are refused: the driver would ignore them, and log their values.
const URL_PARAMETERS: [&str; 11] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

/// A transaction that writes to the record, from its turn on.
const AS_WRITER: &str = "BEGIN; SELECT writers_turn()";
/// A transaction that changes rows beside the record.
const BESIDE: &str = "BEGIN";
/// A transaction that sees one moment of the database.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";

pub(crate) struct Postgres {
    writers: Pool,
    /// For searches and accounts, which may take long.
    readers: Pool,
    /// For what the gate asks before it routes, and a request before it is let in: no search holds these up.
    lookups: Pool,
    /// Host, port and database.
    at: String,
}

impl Backend for Postgres {
    fn place(&self) -> Place {
        Place {
            kind: "postgres",
            at: self.at.clone(),
        }
    }
}

/// Without the options, which hold the password.
impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").finish_non_exhaustive()
    }
}

/// Where a database is, without user and password.
fn at(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or(options.get_username());
    match options.get_socket() {
        Some(socket) => format!("{}/{database}", socket.display()),
        None => format!("{}:{}/{database}", options.get_host(), options.get_port()),
    }
}

impl Postgres {
    pub(crate) async fn open(url: &str) -> Result<Self> {
        let options = options(url)?;
        in_time(CONNECT_MAX, async {
            let mut first = options.connect().await.map_err(refused_at_the_door)?;
            check_server(&mut first).await?;
            first.close().await.map_err(failed)
        })
        .await?;
        migrate(&options).await?;
        let options = options.options([
            ("lock_timeout", connection::LOCK_MAX.as_millis()),
            ("statement_timeout", STATEMENT_MAX.as_millis()),
            ("idle_in_transaction_session_timeout", ANSWER_MAX.as_millis()),
        ]);
        Ok(Self {
            at: at(&options),
            writers: Pool::new(&options, WRITERS),
            readers: Pool::new(&options, READERS),
            lookups: Pool::of_lookups(&options, LOOKUPS),
        })
    }
}

fn options(url: &str) -> Result<PgConnectOptions> {
    let invalid = |reason: String| StoreError::Invalid(format!("the database URL: {reason}"));
    if let Some((_, query)) = url.split_once('?') {
        for name in query.split('&').filter_map(|pair| pair.split('=').next()) {
            if !URL_PARAMETERS.contains(&name) {
                return Err(invalid(format!(
                    "unknown parameter, expected one of {}",
                    URL_PARAMETERS.join(", ")
                )));
            }
        }
    }
    let options = PgConnectOptions::from_str(url).map_err(|error| invalid(root_cause(&error)))?;
    Ok(options
        .options([
            // An ack to RabbitMQ follows a commit, so the commit must be on disk.
            ("synchronous_commit", "on"),
            // What is written under a turn sees what was written in the turn before.
            ("default_transaction_isolation", "read committed"),
            ("default_transaction_read_only", "off"),
            // Compiling a statement takes longer than any of these runs.
            ("jit", "off"),
            // A plan kept from when the record was small reads the whole of it once it is large.
            ("plan_cache_mode", "force_custom_plan"),
        ])
        .application_name("crossdock"))
}

/// The driver wraps an error of an address several times, each time saying the same.
fn root_cause(error: &dyn Error) -> String {
    error.source().map_or_else(|| error.to_string(), root_cause)
}

/// Whether this server can keep a record at all.
async fn check_server(connection: &mut PgConnection) -> Result<()> {
    let (version, name, encoding): (i32, String, String) = sqlx::query_as(
        "SELECT current_setting('server_version_num')::int, current_setting('server_version'),
                current_setting('server_encoding')",
    )
    .fetch_one(connection)
    .await
    .map_err(failed)?;
    if u32::try_from(version).unwrap_or(0) / 10_000 < OLDEST {
        return Err(StoreError::Invalid(format!(
            "this is PostgreSQL {name}, expected {OLDEST} or newer"
        )));
    }
    if encoding != "UTF8" {
        return Err(StoreError::Invalid(format!(
            "the database's encoding is {encoding}, expected UTF8: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )));
    }
    Ok(())
}

/// Brings the schema up to date. Several hubs may do it at once: the driver takes a lock.
async fn migrate(options: &PgConnectOptions) -> Result<()> {
    let mut connection = options.connect().await.map_err(failed)?;
    MIGRATIONS
        .run(&mut connection)
        .await
        .map_err(|error| not_migrated(error, failed))?;
    connection.close().await.map_err(failed)
}
