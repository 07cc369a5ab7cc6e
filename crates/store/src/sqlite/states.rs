//! `States` in SQLite.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use crossdock_model::topic::TopicName;

use super::{Sqlite, failed, rows};
use crate::Result;
use crate::finding::at_most;
use crate::projection::Projection;
use crate::rows::states::{LatestRow, StateRow, select_page, version};
use crate::states::{LatestState, Projected, STATES_PAGE_MAX, StateChange, States, StatesPage, Topics};
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
        let found: Option<LatestRow> = sqlx::query_as(
            "SELECT topic, version, time, data, expires FROM states
             WHERE topic = ? AND (expires IS NULL OR expires > ?)",
        )
        .bind(topic.as_str())
        .bind(at.timestamp_micros())
        .fetch_optional(&self.lookups)
        .await
        .map_err(failed)?;
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
        let found = query.fetch_all(&self.readers).await.map_err(failed)?;
        LatestRow::page(found, at, limit)
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use sqlx::AssertSqlSafe;

    use super::*;

    /// From the nearest topic to the last of the page, however many lie before and behind.
    #[tokio::test]
    async fn a_page_begins_and_ends_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("record.db").display());
        let database = Sqlite::open(&url).await.unwrap();
        let after = TopicName::new("state/a/7").unwrap();
        for (prefix, after, bounds) in [
            ("state/a/", None, "(topic>? AND topic<?)"),
            ("state/a/", Some(&after), "(topic>? AND topic<?)"),
            ("", Some(&after), "(topic>?)"),
        ] {
            let select = select_page::<sqlx::Sqlite>(&Topics::of(prefix, after), 10);
            let explain = format!("EXPLAIN QUERY PLAN {}", select.sql().as_str());
            let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(AssertSqlSafe(explain))
                .fetch_all(&database.readers)
                .await
                .unwrap();
            let steps: Vec<_> = plan.into_iter().map(|(.., step)| step).collect();
            assert_eq!(steps, [format!("SEARCH states USING PRIMARY KEY {bounds}")]);
        }
    }
}
