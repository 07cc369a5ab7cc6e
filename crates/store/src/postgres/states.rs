//! `States` in PostgreSQL. Who changes states does so one after the other, and waits for nobody who writes to the
//! record: a projection takes four round trips.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use crossdock_model::topic::TopicName;
use sqlx::postgres::PgConnection;

use super::Postgres;
use super::error::failed;
use crate::Result;
use crate::finding::at_most;
use crate::projection::Projection;
use crate::rows::states::{LatestRow, StateRow, select_page, version};
use crate::states::{LatestState, Projected, STATES_PAGE_MAX, StateChange, States, StatesPage, Topics};
use crate::stored::{number, to_json};

/// A transaction that changes states, from its turn on. Answers the greatest version that was forgotten.
const IN_TURN: &str = "BEGIN; SELECT version FROM states_floor FOR UPDATE";

#[async_trait]
impl States for Postgres {
    async fn project(&self, changes: &[StateChange]) -> Result<Projected> {
        self.writers
            .in_time(async {
                let (mut transaction, floor) = self.writers.begin_with_number(IN_TURN).await?;
                let projection = project(&mut transaction, floor, changes).await?;
                transaction.commit().await?;
                Ok(projection.projected())
            })
            .await
    }

    async fn state(&self, topic: &TopicName, at: DateTime<Utc>) -> Result<Option<LatestState>> {
        let query = sqlx::query_as(
            "SELECT topic, version, time, data, expires FROM states
             WHERE topic = $1 AND (expires IS NULL OR expires > $2)",
        )
        .bind(topic.as_str())
        .bind(at.timestamp_micros());
        let found: Option<LatestRow> = self.lookups.optional(query).await?;
        found.map(LatestRow::state).transpose()
    }

    async fn states(
        &self,
        prefix: &str,
        after: Option<&TopicName>,
        at: DateTime<Utc>,
        limit: usize,
    ) -> Result<StatesPage> {
        let limit = limit.min(STATES_PAGE_MAX);
        let mut select = select_page(&Topics::of(prefix, after), limit);
        let query = select.build_query_as();
        let found = self.readers.all(query).await?;
        LatestRow::page(found, at, limit)
    }

    async fn forget_states(&self, at: DateTime<Utc>, limit: usize) -> Result<u64> {
        self.writers
            .in_time(async {
                let mut transaction = self.writers.begin(IN_TURN).await?;
                let gone: i64 = sqlx::query_scalar(
                    "WITH expired AS (
                        SELECT topic FROM states WHERE expires <= $1 ORDER BY expires LIMIT $2
                     ), gone AS (
                        DELETE FROM states USING expired WHERE states.topic = expired.topic RETURNING states.version
                     ), raised AS (
                        UPDATE states_floor
                        SET version = greatest(version, (SELECT coalesce(max(gone.version), 0) FROM gone))
                     )
                     SELECT count(*) FROM gone",
                )
                .bind(at.timestamp_micros())
                .bind(at_most(limit))
                .fetch_one(&mut *transaction)
                .await
                .map_err(failed)?;
                transaction.commit().await?;
                number("states", gone)
            })
            .await
    }
}

async fn project(connection: &mut PgConnection, floor: i64, changes: &[StateChange]) -> Result<Projection> {
    let topics: Vec<&str> = changes.iter().map(|change| change.topic.as_str()).collect();
    let found: Vec<StateRow> = sqlx::query_as(
        "SELECT topic, version, time, data, memory, expires FROM states WHERE topic = ANY ($1)",
    )
    .bind(topics)
    .fetch_all(&mut *connection)
    .await
    .map_err(failed)?;
    let kept = found.into_iter().map(StateRow::kept).collect::<Result<_>>()?;
    let projection = Projection::of(changes, number("states_floor.version", floor)?, kept);
    let mut changed = Columns::default();
    for (topic, kept) in projection.changed() {
        changed.topics.push(topic.as_str());
        changed.versions.push(version(kept.version));
        changed.times.push(kept.time.to_rfc3339());
        changed.data.push(&kept.data);
        changed.memories.push(to_json(&kept.memory));
        let expires = kept.expires.map(|expires| expires.timestamp_micros());
        changed.expires.push(expires);
    }
    if !changed.topics.is_empty() {
        changed.write(connection).await?;
    }
    Ok(projection)
}

/// The columns of rows to write.
#[derive(Default)]
struct Columns<'a> {
    topics: Vec<&'a str>,
    versions: Vec<i64>,
    times: Vec<String>,
    data: Vec<&'a str>,
    memories: Vec<String>,
    expires: Vec<Option<i64>>,
}

impl Columns<'_> {
    async fn write(&self, connection: &mut PgConnection) -> Result<()> {
        sqlx::query(
            "INSERT INTO states (topic, version, time, data, memory, expires)
             SELECT topic, version, time, data, memory, expires
             FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[])
                AS given (topic, version, time, data, memory, expires)
             ON CONFLICT (topic) DO UPDATE SET
                version = excluded.version, time = excluded.time, data = excluded.data,
                memory = excluded.memory, expires = excluded.expires",
        )
        .bind(&self.topics)
        .bind(&self.versions)
        .bind(&self.times)
        .bind(&self.data)
        .bind(&self.memories)
        .bind(&self.expires)
        .execute(connection)
        .await
        .map_err(failed)?;
        Ok(())
    }
}
