//! The suite on PostgreSQL, each case on a database of its own.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod suite;

use crossdock_testkit::{TestDatabase, TestPostgres};
use suite::Database;

impl Database for TestDatabase {
    async fn fresh() -> Self {
        TestPostgres::database().await
    }

    fn url(&self) -> &str {
        &self.url
    }
}

conformance!(crossdock_testkit::TestDatabase);
