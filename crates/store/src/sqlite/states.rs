//! `States` in SQLite.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use crossdock_model::topic::TopicName;

use super::{Sqlite, failed, rows};
use crate::Result;
use crate::finding::at_most;
use crate::projection::Projection;
use crate::rows::states::{StateRow, version};
use crate::states::{LatestState, Projected, STATES_PAGE_MAX, StateChange, States, end_of};
use crate::stored::{number, to_json};

#[async_trait]
impl States for Sqlite {
    async fn project(&self, changes: &[StateChange]) -> Result<Projected> {
        let topics: Vec<&str> = changes.iter().map(|change| change.topic.as_str()).collect();
        let mut transaction = self.begin().await?;
        let floor: i64 = sqlx::query_scalar("SELECT version FROM states_floor")
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed)?;
        let found: Vec<StateRow> = sqlx::query_as(
            "SELECT topic, version, time, data, memory, expires FROM states
             WHERE topic IN (SELECT value FROM json_each(?))",
        )
        .bind(rows(&topics))
        .fetch_all(&mut *transaction)
        .await
        .map_err(failed)?;
        let kept = found.into_iter().map(StateRow::kept).collect::<Result<_>>()?;
        let projection = Projection::of(changes, number("states_floor.version", floor)?, kept);
        let changed: Vec<_> = projection
            .changed()
            .map(|(topic, kept)| {
                (
                    topic.as_str(),
                    version(kept.version),
                    kept.time.to_rfc3339(),
                    &kept.data,
                    to_json(&kept.memory),
                    kept.expires.map(|expires| expires.timestamp_micros()),
                )
            })
            .collect();
        if !changed.is_empty() {
            sqlx::query(
                "INSERT INTO states (topic, version, time, data, memory, expires)
                 SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5
                 FROM json_each(?) WHERE true
                 ON CONFLICT (topic) DO UPDATE SET
                    version = excluded.version, time = excluded.time, data = excluded.data,
                    memory = excluded.memory, expires = excluded.expires",
            )
            .bind(rows(&changed))
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
            transaction.commit().await.map_err(failed)?;
        }
        Ok(projection.projected())
    }

    async fn state(&self, topic: &TopicName, at: DateTime<Utc>) -> Result<Option<LatestState>> {
        let found: Option<StateRow> = sqlx::query_as(
            "SELECT topic, version, time, data, memory, expires FROM states
             WHERE topic = ? AND (expires IS NULL OR expires > ?)",
        )
        .bind(topic.as_str())
        .bind(at.timestamp_micros())
        .fetch_optional(&self.lookups)
        .await
        .map_err(failed)?;
        found.map(StateRow::state).transpose()
    }

    async fn states(
        &self,
        prefix: &str,
        after: Option<&TopicName>,
        at: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<LatestState>> {
        let found: Vec<StateRow> = sqlx::query_as(
            "SELECT topic, version, time, data, memory, expires FROM states
             WHERE topic >= ?1 AND topic > ?2 AND (?3 IS NULL OR topic < ?3) AND (expires IS NULL OR expires > ?4)
             ORDER BY topic LIMIT ?5",
        )
        .bind(prefix)
        .bind(after.map_or("", TopicName::as_str))
        .bind(end_of(prefix))
        .bind(at.timestamp_micros())
        .bind(at_most(limit.min(STATES_PAGE_MAX)))
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        found.into_iter().map(StateRow::state).collect()
    }

    async fn forget_states(&self, at: DateTime<Utc>, limit: usize) -> Result<u64> {
        let expired: Vec<String> =
            sqlx::query_scalar("SELECT topic FROM states WHERE expires <= ? ORDER BY expires LIMIT ?")
                .bind(at.timestamp_micros())
                .bind(at_most(limit))
                .fetch_all(&self.readers)
                .await
                .map_err(failed)?;
        if expired.is_empty() {
            return Ok(0);
        }
        let mut transaction = self.begin().await?;
        // One that has got a new state meanwhile stays.
        let versions: Vec<i64> = sqlx::query_scalar(
            "DELETE FROM states WHERE topic IN (SELECT value FROM json_each(?)) AND expires <= ? RETURNING version",
        )
        .bind(rows(&expired))
        .bind(at.timestamp_micros())
        .fetch_all(&mut *transaction)
        .await
        .map_err(failed)?;
        sqlx::query("UPDATE states_floor SET version = max(version, ?)")
            .bind(versions.iter().max())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(versions.len() as u64)
    }
}
