//! `Events` in SQLite; the writing and the search are in `record` and `query`.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;

use super::{Sqlite, failed, query, record, rows};
use crate::Result;
use crate::events::{Batch, EventKey, EventQuery, Events, JOURNEY_DATA_MAX_BYTES, NUMBERED_MAX, StoredEvent};
use crate::finding;
use crate::stored::number;

#[async_trait]
impl Events for Sqlite {
    async fn recorded(&self, keys: &[EventKey]) -> Result<HashSet<EventKey>> {
        let wanted: Vec<_> = keys.iter().map(|key| (&key.source, &key.id)).collect();
        let found: Vec<(String, String)> = sqlx::query_as(
            "SELECT events.source, events.id
             FROM json_each(?) AS wanted
             CROSS JOIN events ON events.id = wanted.value ->> 1 AND events.source = wanted.value ->> 0",
        )
        .bind(rows(&wanted))
        .fetch_all(&self.lookups)
        .await
        .map_err(failed)?;
        Ok(found
            .into_iter()
            .map(|(source, id)| EventKey { source, id })
            .collect())
    }

    async fn chain_lengths(&self, ids: &[String]) -> Result<HashMap<String, u32>> {
        let found: Vec<(String, i64)> = sqlx::query_as(
            "SELECT events.id, max(events.chain)
             FROM json_each(?) AS wanted
             CROSS JOIN events ON events.id = wanted.value
             GROUP BY events.id",
        )
        .bind(rows(ids))
        .fetch_all(&self.lookups)
        .await
        .map_err(failed)?;
        found
            .into_iter()
            .map(|(id, chain)| Ok((id, number("events.chain", chain)?)))
            .collect()
    }

    async fn record(&self, batch: Batch) -> Result<()> {
        let mut transaction = self.begin().await?;
        record::record(&mut transaction, &batch).await?;
        transaction.commit().await.map_err(failed)
    }

    async fn event(&self, id: &str, source: Option<&str>) -> Result<Vec<StoredEvent>> {
        let mut snapshot = self.snapshot().await?;
        let offsets: Vec<i64> = sqlx::query_scalar(
            "SELECT event_offset FROM events WHERE id = ?1 AND (?2 IS NULL OR source = ?2) ORDER BY event_offset",
        )
        .bind(id)
        .bind(source)
        .fetch_all(&mut *snapshot)
        .await
        .map_err(failed)?;
        query::load(&mut snapshot, &offsets).await
    }

    async fn find(&self, query: EventQuery) -> Result<Vec<StoredEvent>> {
        let mut snapshot = self.snapshot().await?;
        let offsets = finding::offsets(&mut *snapshot, &query).await?;
        query::load(&mut snapshot, &offsets).await
    }

    async fn latest_offset(&self) -> Result<i64> {
        sqlx::query_scalar("SELECT coalesce(max(event_offset), 0) FROM events")
            .fetch_one(&self.lookups)
            .await
            .map_err(failed)
    }

    async fn journey(&self, key: &str) -> Result<Vec<StoredEvent>> {
        let mut snapshot = self.snapshot().await?;
        let offsets = finding::journey(&mut *snapshot, key).await?;
        query::load_up_to(&mut snapshot, &offsets, JOURNEY_DATA_MAX_BYTES).await
    }

    async fn names_with_number(&self, number: &str) -> Result<Vec<String>> {
        sqlx::query_scalar(
            "SELECT DISTINCT name FROM event_names WHERE substr(name, instr(name, ':') + 1) = ? ORDER BY name LIMIT ?",
        )
        .bind(number)
        .bind(finding::at_most(NUMBERED_MAX))
        .fetch_all(&self.lookups)
        .await
        .map_err(failed)
    }
}
