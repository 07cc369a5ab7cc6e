//! The record in one SQLite file: write-ahead log, every commit on disk before it returns, one connection that
//! writes and a few that read, some of these for what must not wait for a search. Sets of rows travel as one JSON
//! parameter, so that each statement is prepared once whatever the size of a batch.

mod adapters;
mod api_keys;
mod dead_letters;
mod early;
mod endpoints;
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
mod tokens;

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqliteSynchronous,
};
use sqlx::{Connection, Transaction};

use crate::migrations::not_migrated;
use crate::stored::to_json;
use crate::{Backend, Place, Result, StoreError};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// How long a connection waits for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a caller waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// How many queries run beside the writer.
const READERS: u32 = 4;
/// How many of the short ones do for which events and requests wait.
const LOOKUPS: u32 = 2;
/// How often the schema is brought up to date before its error is believed.
const MIGRATION_ATTEMPTS: u32 = 20;
/// What the write-ahead log may keep of the disk once it was written back.
const WAL_KEPT_BYTES: u32 = 64 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Sqlite {
    writer: SqlitePool,
    /// For searches and accounts, which may take long.
    readers: SqlitePool,
    /// For what the gate asks before it routes, and a request before it is let in: no search holds these up.
    lookups: SqlitePool,
    file: PathBuf,
}

impl Backend for Sqlite {
    fn place(&self) -> Place {
        Place {
            kind: "sqlite",
            at: self.file.display().to_string(),
        }
    }
}

impl Sqlite {
    pub(crate) async fn open(url: &str) -> Result<Self> {
        let options = SqliteConnectOptions::from_str(url)
            .map_err(|error| StoreError::Invalid(format!("the database URL: {error}")))?;
        if url.contains(":memory:") || url.contains("mode=memory") {
            return Err(StoreError::Invalid(
                "the record must be a file: expected sqlite://<path>".into(),
            ));
        }
        make_private(options.get_filename()).map_err(|error| {
            StoreError::Unavailable(format!("{}: {error}", options.get_filename().display()))
        })?;
        let file = options.get_filename().to_owned();
        let options = options
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("journal_size_limit", WAL_KEPT_BYTES.to_string());
        let writer = pool(1).connect_with(options.clone()).await.map_err(failed)?;
        migrate(&writer).await?;
        let options = options.pragma("query_only", "on");
        let readers = pool(READERS)
            .connect_with(options.clone())
            .await
            .map_err(failed)?;
        let lookups = pool(LOOKUPS).connect_with(options).await.map_err(failed)?;
        Ok(Self {
            writer,
            readers,
            lookups,
            file,
        })
    }

    /// A transaction that holds the write lock from its beginning, so that it cannot fail half-way for another.
    async fn begin(&self) -> Result<Transaction<'static, sqlx::Sqlite>> {
        self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)
    }

    /// A transaction that sees one moment of the database.
    async fn snapshot(&self) -> Result<Transaction<'static, sqlx::Sqlite>> {
        self.readers.begin().await.map_err(failed)
    }
}

/// Brings the schema up to date. The driver takes no lock, so that of several hubs that do it at once all but one find
/// it done under their hands, and look again.
async fn migrate(writer: &SqlitePool) -> Result<()> {
    let mut attempts = 1..;
    loop {
        match MIGRATIONS.run(writer).await {
            Err(MigrateError::ExecuteMigration(..)) if attempts.next() < Some(MIGRATION_ATTEMPTS) => {}
            done => return done.map_err(|error| not_migrated(error, failed)),
        }
    }
}

/// SQLite itself rolls a transaction back when the disk is full or fails. The driver does not learn of it and would
/// refuse every later transaction of the connection, so a connection that comes back in one is replaced.
fn pool(connections: u32) -> PoolOptions<sqlx::Sqlite> {
    PoolOptions::new()
        .min_connections(1)
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        .before_acquire(|connection: &mut SqliteConnection, _| {
            Box::pin(async move { Ok(!connection.is_in_transaction()) })
        })
}

/// Makes the file and its folder if there are none, for the hub's own user only: it holds what customers ordered.
fn make_private(file: &Path) -> std::io::Result<()> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file).map(drop)
}

/// A set of rows as the JSON parameter of a statement.
fn rows(rows: &[impl Serialize]) -> String {
    to_json(&rows)
}

/// Sorts the driver's errors by what the caller can do.
fn failed(error: sqlx::Error) -> StoreError {
    match &error {
        sqlx::Error::Database(database) => {
            let code: i32 = database
                .code()
                .and_then(|code| code.parse().ok())
                .unwrap_or_default();
            // https://www.sqlite.org/rescode.html: the low byte is the primary code.
            match code & 0xff {
                CONSTRAINT => StoreError::Conflict(database.message().to_owned()),
                PERM | BUSY | LOCKED | NOMEM | READONLY | INTERRUPT | IOERR | FULL | CANTOPEN | PROTOCOL
                | NOLFS | AUTH => StoreError::Unavailable(database.message().to_owned()),
                _ => StoreError::Corrupt(database.message().to_owned()),
            }
        }
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => StoreError::Unavailable(error.to_string()),
        sqlx::Error::RowNotFound => StoreError::NotFound,
        _ => StoreError::Corrupt(error.to_string()),
    }
}

const PERM: i32 = 3;
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const NOMEM: i32 = 7;
const READONLY: i32 = 8;
const INTERRUPT: i32 = 9;
const IOERR: i32 = 10;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const PROTOCOL: i32 = 15;
const CONSTRAINT: i32 = 19;
const NOLFS: i32 = 22;
const AUTH: i32 = 23;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;
    use chrono::DateTime;

    use super::*;
    use crate::{ApiKeys, Batch, EventKey, Events, Ledger, NewQuarantined};

    fn of_bytes(size: usize, content: u8) -> Batch {
        let message = NewQuarantined {
            received: DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
            producer: None,
            reasons: Vec::new(),
            headers: serde_json::json!({}),
            content_type: None,
            body: Bytes::from(vec![content; size]),
            routing_key: String::new(),
            redelivered: false,
        };
        Batch {
            quarantined: vec![message],
            ..Batch::default()
        }
    }

    #[tokio::test]
    async fn searches_hold_up_neither_the_gate_nor_who_knocks() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("record.db").display());
        let database = Sqlite::open(&url).await.unwrap();
        let mut searches = Vec::new();
        for _ in 0..READERS {
            searches.push(database.snapshot().await.unwrap());
        }
        let key = EventKey {
            source: "/shop".into(),
            id: "1".into(),
        };
        let asked = async {
            database.recorded(&[key]).await.unwrap();
            database.chain_lengths(&["1".to_owned()]).await.unwrap();
            database.latest_offset().await.unwrap();
            database.api_key("k").await.unwrap();
            database.record(of_bytes(10, b'x')).await.unwrap();
        };
        tokio::time::timeout(ACQUIRE_TIMEOUT / 2, asked).await.unwrap();
    }

    #[tokio::test]
    async fn a_full_disk_is_unavailable_and_then_everything_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("record.db").display());
        let database = Sqlite::open(&url).await.unwrap();
        sqlx::query("PRAGMA max_page_count = 100")
            .execute(&database.writer)
            .await
            .unwrap();

        let error = database.record(of_bytes(1_000_000, 1)).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        assert_eq!(database.totals().await.unwrap().received, 0);

        database.record(of_bytes(1_000, 2)).await.unwrap();
        let totals = database.totals().await.unwrap();
        assert_eq!((totals.received, totals.quarantined), (1, 1));
    }

    #[tokio::test]
    async fn another_processs_lock_is_unavailable() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("record.db").display());
        let (database, other) = (
            Sqlite::open(&url).await.unwrap(),
            Sqlite::open(&url).await.unwrap(),
        );
        let lock = other.begin().await.unwrap();
        let error = database.record(of_bytes(1, 1)).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        drop(lock);
        database.record(of_bytes(1, 1)).await.unwrap();
    }
}
