//! `Ledger` in PostgreSQL.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::error::failed;
use super::text::bound;
use super::{Postgres, SNAPSHOT};
use crate::Result;
use crate::finding::at_most;
use crate::ledger::{AdapterTotals, Ledger, PendingDelivery, Totals};
use crate::rows::ledger::{ActivityRow, ForgottenRow, PendingRow, StateRow, TotalsRow, per_adapter};
use crate::stored::{number, time_if_any};

#[async_trait]
impl Ledger for Postgres {
    async fn totals(&self) -> Result<Totals> {
        let query = sqlx::query_as(
            "SELECT received, duplicates, redelivered, forgotten_events, forgotten_quarantined,
                    (SELECT count(*) FROM events) AS accepted, (SELECT count(*) FROM quarantine) AS quarantined
             FROM totals",
        );
        let row: TotalsRow = self.readers.one(query).await?;
        row.totals()
    }

    async fn per_adapter(&self) -> Result<Vec<AdapterTotals>> {
        self.readers
            .in_time(async {
                let mut snapshot = self.readers.begin(SNAPSHOT).await?;
                let states: Vec<StateRow> = sqlx::query_as(
                    "SELECT adapter, state, count(*) AS deliveries, min(published) AS oldest
                 FROM deliveries GROUP BY adapter, state",
                )
                .fetch_all(&mut *snapshot)
                .await
                .map_err(failed)?;
                let forgotten: Vec<ForgottenRow> =
                    sqlx::query_as("SELECT adapter, state, deliveries FROM forgotten_deliveries")
                        .fetch_all(&mut *snapshot)
                        .await
                        .map_err(failed)?;
                let activity: Vec<ActivityRow> =
                    sqlx::query_as("SELECT adapter, receipts_since, last_settled FROM adapter_activity")
                        .fetch_all(&mut *snapshot)
                        .await
                        .map_err(failed)?;
                snapshot.commit().await?;
                per_adapter(states, forgotten, activity)
            })
            .await
    }

    async fn pending_count(&self, adapter: &str, published_before: DateTime<Utc>) -> Result<u64> {
        let query = sqlx::query_as(
            "SELECT count(*) FROM deliveries WHERE adapter = $1 AND state = 'pending' AND published < $2",
        )
        .bind(bound(adapter))
        .bind(published_before.timestamp_micros());
        let (count,): (i64,) = self.readers.one(query).await?;
        number("deliveries", count)
    }

    async fn pending_before(&self, adapter: &str, younger: u64) -> Result<Option<DateTime<Utc>>> {
        // The first order columns keep the planner from sorting them all.
        let query = sqlx::query_as(
            "SELECT published FROM deliveries WHERE adapter = $1 AND state = 'pending'
             ORDER BY adapter DESC, state DESC, published DESC LIMIT 1 OFFSET $2",
        )
        .bind(bound(adapter))
        .bind(i64::try_from(younger).unwrap_or(i64::MAX));
        let found: Option<(i64,)> = self.readers.optional(query).await?;
        time_if_any(found.map(|(published,)| published))
    }

    async fn pending(
        &self,
        adapter: &str,
        published_before: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<PendingDelivery>> {
        // OFFSET 0 holds the planner to the index of the oldest.
        let query = sqlx::query_as(
            "SELECT events.id, events.source, events.type AS event_type, waiting.published
             FROM (
                SELECT event_offset, published FROM deliveries
                WHERE adapter = $1 AND state = 'pending' AND published < $2
                ORDER BY published, event_offset LIMIT $3 OFFSET 0
             ) AS waiting JOIN events USING (event_offset)
             ORDER BY waiting.published, waiting.event_offset",
        )
        .bind(bound(adapter))
        .bind(published_before.timestamp_micros())
        .bind(at_most(limit));
        let found: Vec<PendingRow> = self.readers.all(query).await?;
        found.into_iter().map(PendingRow::pending).collect()
    }
}
