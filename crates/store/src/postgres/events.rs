//! `Events` in PostgreSQL; the writing and the search are in `record` and `query`.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;

use super::error::failed;
use super::record::Rows;
use super::text::{bound, bound_if_any};
use super::{AS_WRITER, Postgres, SNAPSHOT, query, record};
use crate::Result;
use crate::events::{Batch, EventKey, EventQuery, Events, JOURNEY_DATA_MAX_BYTES, NUMBERED_MAX, StoredEvent};
use crate::finding;
use crate::stored::number;

#[async_trait]
impl Events for Postgres {
    async fn recorded(&self, keys: &[EventKey]) -> Result<HashSet<EventKey>> {
        let (sources, ids): (Vec<_>, Vec<_>) = keys
            .iter()
            .map(|key| (bound(&key.source), bound(&key.id)))
            .unzip();
        let query = sqlx::query_as(
            "SELECT events.source, events.id
             FROM unnest($1::text[], $2::text[]) AS wanted (source, id)
             JOIN events ON events.id = wanted.id AND events.source = wanted.source",
        )
        .bind(sources)
        .bind(ids);
        let found: Vec<(String, String)> = self.lookups.all(query).await?;
        Ok(found
            .into_iter()
            .map(|(source, id)| EventKey { source, id })
            .collect())
    }

    async fn chain_lengths(&self, ids: &[String]) -> Result<HashMap<String, u32>> {
        let ids: Vec<_> = ids.iter().map(|id| bound(id)).collect();
        let query =
            sqlx::query_as("SELECT id, max(chain) FROM events WHERE id = ANY ($1) GROUP BY id").bind(ids);
        let found: Vec<(String, i64)> = self.lookups.all(query).await?;
        found
            .into_iter()
            .map(|(id, chain)| Ok((id, number("events.chain", chain)?)))
            .collect()
    }

    async fn record(&self, batch: Batch) -> Result<()> {
        let rows = Rows::of(&batch);
        if batch.outcomes.is_empty() {
            let (first_offset,): (Option<i64>,) = self.writers.one(rows.statement(false)).await?;
            if first_offset.is_some() {
                return Ok(());
            }
        }
        self.writers
            .in_time(async {
                let mut transaction = self.writers.begin(AS_WRITER).await?;
                record::with_outcomes(&mut transaction, &rows, &batch.outcomes).await?;
                transaction.commit().await
            })
            .await
    }

    async fn event(&self, id: &str, source: Option<&str>) -> Result<Vec<StoredEvent>> {
        self.readers.in_time(async {
            let mut snapshot = self.readers.begin(SNAPSHOT).await?;
            let offsets: Vec<i64> = sqlx::query_scalar(
                "SELECT event_offset FROM events WHERE id = $1 AND ($2 IS NULL OR source = $2) ORDER BY event_offset",
            )
            .bind(bound(id))
            .bind(bound_if_any(source))
            .fetch_all(&mut *snapshot)
            .await
            .map_err(failed)?;
            let events = query::load(&mut snapshot, &offsets).await?;
            snapshot.commit().await?;
            Ok(events)
        })
        .await
    }

    async fn find(&self, query: EventQuery) -> Result<Vec<StoredEvent>> {
        self.readers
            .in_time(async {
                let mut snapshot = self.readers.begin(SNAPSHOT).await?;
                let offsets = finding::offsets(&mut *snapshot, &query).await?;
                let events = query::load(&mut snapshot, &offsets).await?;
                snapshot.commit().await?;
                Ok(events)
            })
            .await
    }

    async fn latest_offset(&self) -> Result<i64> {
        let query = sqlx::query_as("SELECT coalesce(max(event_offset), 0) FROM events");
        let (latest,) = self.lookups.one(query).await?;
        Ok(latest)
    }

    async fn journey(&self, key: &str) -> Result<Vec<StoredEvent>> {
        self.readers
            .in_time(async {
                let mut snapshot = self.readers.begin(SNAPSHOT).await?;
                let offsets = finding::journey(&mut *snapshot, key).await?;
                let events = query::load_up_to(&mut snapshot, &offsets, JOURNEY_DATA_MAX_BYTES).await?;
                snapshot.commit().await?;
                Ok(events)
            })
            .await
    }

    async fn names_with_number(&self, number: &str) -> Result<Vec<String>> {
        let query = sqlx::query_as(
            "SELECT DISTINCT name FROM event_names WHERE substr(name, strpos(name, ':') + 1) = $1 ORDER BY name LIMIT $2",
        )
        .bind(number)
        .bind(finding::at_most(NUMBERED_MAX));
        let names: Vec<(String,)> = self.lookups.all(query).await?;
        Ok(names.into_iter().map(|(name,)| name).collect())
    }
}
