//! Connections: how many, how long an answer may take, and that none is used again on which work was not finished.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sqlx::pool::{PoolConnection, PoolOptions};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgPool, PgRow};
use sqlx::query::{Query, QueryAs};
use sqlx::{Connection, Executor, FromRow, Row};
use tokio::time::timeout;

use super::error::failed;
use crate::{Result, StoreError};

/// How long a caller waits for a connection, or for a new one to be made.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(5);
/// The same where a request or the gate waits for a short answer.
const LOOKUP_CONNECT_MAX: Duration = Duration::from_secs(2);
/// How long a statement waits for a lock, the writers' turn above all.
pub(super) const LOCK_MAX: Duration = Duration::from_secs(5);
/// How long a statement may run, by the server's clock.
pub(super) const STATEMENT_MAX: Duration = Duration::from_secs(20);
/// How long the server's answer may take; longer than a statement may run, so that a server that answers at all
/// says why it does not.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(25);
/// The same where a request or the gate waits for a short answer.
const LOOKUP_ANSWER_MAX: Duration = Duration::from_secs(5);
/// A connection that lay idle so long is tried before it is used. A busy one costs no round trip for it.
const TRIED_AFTER: Duration = Duration::from_secs(1);
/// How long the server may take to take a connection back.
const RETURN_MAX: Duration = Duration::from_secs(5);

/// Connections of one kind of work.
pub(super) struct Pool {
    connections: PgPool,
    answer_max: Duration,
}

impl Pool {
    /// For work that may take its time.
    pub(super) fn new(options: &PgConnectOptions, connections: u32) -> Self {
        Self::with_limits(options, connections, CONNECT_MAX, ANSWER_MAX)
    }

    /// For short questions, for whose answers others wait.
    pub(super) fn of_lookups(options: &PgConnectOptions, connections: u32) -> Self {
        Self::with_limits(options, connections, LOOKUP_CONNECT_MAX, LOOKUP_ANSWER_MAX)
    }

    fn with_limits(
        options: &PgConnectOptions,
        connections: u32,
        connect_max: Duration,
        answer_max: Duration,
    ) -> Self {
        let pool = PoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(connect_max)
            .test_before_acquire(false)
            .before_acquire(|connection: &mut PgConnection, meta| {
                Box::pin(async move {
                    if meta.idle_for > TRIED_AFTER {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            });
        Self {
            connections: pool.connect_lazy_with(options.clone()),
            answer_max,
        }
    }

    /// Gives work of several statements up if it gets no answer in time.
    pub(super) async fn in_time<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        in_time(self.answer_max, work).await
    }

    /// Begins a transaction. `begin` may hold several statements and takes one round trip.
    pub(super) async fn begin(&self, begin: &'static str) -> Result<Transaction> {
        let mut lease = self.lease().await?;
        lease.execute(begin).await.map_err(failed)?;
        Ok(Transaction(lease))
    }

    /// The same, with the number that the last of the statements answers.
    pub(super) async fn begin_with_number(&self, begin: &'static str) -> Result<(Transaction, i64)> {
        let mut lease = self.lease().await?;
        let answered = lease.fetch_all(begin).await.map_err(failed)?;
        let last = answered.last().ok_or(sqlx::Error::RowNotFound).map_err(failed)?;
        let number = last.try_get(0).map_err(failed)?;
        Ok((Transaction(lease), number))
    }

    /// All rows of one statement.
    pub(super) async fn all<T>(&self, query: QueryAs<'_, sqlx::Postgres, T, PgArguments>) -> Result<Vec<T>>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        self.in_time(async {
            let mut lease = self.lease().await?;
            let found = query.fetch_all(&mut **lease).await.map_err(failed)?;
            lease.give_back();
            Ok(found)
        })
        .await
    }

    /// The first row of one statement, if there is any.
    pub(super) async fn optional<T>(
        &self,
        query: QueryAs<'_, sqlx::Postgres, T, PgArguments>,
    ) -> Result<Option<T>>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        self.in_time(async {
            let mut lease = self.lease().await?;
            let found = query.fetch_optional(&mut **lease).await.map_err(failed)?;
            lease.give_back();
            Ok(found)
        })
        .await
    }

    /// The row of one statement that yields one.
    pub(super) async fn one<T>(&self, query: QueryAs<'_, sqlx::Postgres, T, PgArguments>) -> Result<T>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        self.optional(query).await?.ok_or(StoreError::NotFound)
    }

    /// Runs one statement, commits it and says how many rows it touched.
    pub(super) async fn execute(&self, query: Query<'_, sqlx::Postgres, PgArguments>) -> Result<u64> {
        self.in_time(async {
            let mut lease = self.lease().await?;
            let done = query.execute(&mut **lease).await.map_err(failed)?;
            lease.give_back();
            Ok(done.rows_affected())
        })
        .await
    }

    async fn lease(&self) -> Result<Lease> {
        let connection = self.connections.acquire().await.map_err(failed)?;
        Ok(Lease(Some(connection)))
    }
}

/// Gives work up that gets no answer in time.
pub(super) async fn in_time<T>(limit: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(limit, work).await.unwrap_or_else(|_| {
        Err(StoreError::Unavailable(format!(
            "PostgreSQL gave no answer within {} s",
            limit.as_secs()
        )))
    })
}

/// A connection on loan. Dropped before it is given back, as by an error or by a caller that waits no longer, it is
/// closed: nobody knows what the server still has to say on it.
struct Lease(Option<PoolConnection<sqlx::Postgres>>);

impl Lease {
    fn give_back(mut self) {
        if let Some(mut connection) = self.0.take() {
            // The pool asks the server whether all is well, and would wait for ever for one that is gone.
            tokio::spawn(timeout(RETURN_MAX, connection.return_to_pool()));
        }
    }
}

const ON_LOAN: &str = "a connection is there until it is given back";

impl Deref for Lease {
    type Target = PoolConnection<sqlx::Postgres>;

    fn deref(&self) -> &Self::Target {
        self.0.as_ref().expect(ON_LOAN)
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.0.as_mut().expect(ON_LOAN)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}

/// A transaction; dropped before its end it is rolled back, with the end of its connection.
pub(super) struct Transaction(Lease);

impl Transaction {
    /// When it returns, what was written is on disk.
    pub(super) async fn commit(mut self) -> Result<()> {
        self.0.execute("COMMIT").await.map_err(failed)?;
        self.0.give_back();
        Ok(())
    }
}

impl Deref for Transaction {
    type Target = PgConnection;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}
