//! The server that tests share.

use std::env;

use anyhow::Result;
use tokio::sync::OnceCell;
use url::Url;

use super::database::TestDatabase;
use super::slot::{Lease, lease_free_slot};
use crate::POSTGRES_URL_VARIABLE;

static SHARED: OnceCell<TestPostgres> = OnceCell::const_new();

/// A PostgreSQL server shared by tests; what they keep apart are databases.
pub struct TestPostgres {
    url: Url,
    /// Ends with the process.
    _lease: Option<Lease>,
}

impl TestPostgres {
    /// A new, empty record on the shared server, which is started by the first test that asks.
    ///
    /// # Panics
    /// When there is no PostgreSQL to share, with the reason.
    pub async fn database() -> TestDatabase {
        made(TestDatabase::cloned(&Self::shared().await.url).await)
    }

    /// A database on the shared server in which there is nothing yet.
    ///
    /// # Panics
    /// When there is no PostgreSQL to share, with the reason.
    pub async fn empty_database() -> TestDatabase {
        made(TestDatabase::empty(&Self::shared().await.url).await)
    }

    /// The same, in an encoding of PostgreSQL's.
    ///
    /// # Panics
    /// When there is no PostgreSQL to share, with the reason.
    pub async fn empty_database_in(encoding: &str) -> TestDatabase {
        made(TestDatabase::empty_in(&Self::shared().await.url, encoding).await)
    }

    async fn shared() -> &'static Self {
        SHARED
            .get_or_init(async || Self::find().await.unwrap_or_else(|error| panic!("{error:#}")))
            .await
    }

    async fn find() -> Result<Self> {
        if let Ok(url) = env::var(POSTGRES_URL_VARIABLE) {
            return Ok(Self {
                url: Url::parse(&url)?,
                _lease: None,
            });
        }
        let lease = lease_free_slot().await?;
        Ok(Self {
            url: lease.url(),
            _lease: Some(lease),
        })
    }
}

fn made(database: Result<TestDatabase>) -> TestDatabase {
    database.unwrap_or_else(|error| panic!("no database for the test: {error:#}"))
}
