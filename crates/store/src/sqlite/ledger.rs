//! `Ledger` in SQLite.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{Sqlite, failed};
use crate::Result;
use crate::finding::at_most;
use crate::ledger::{AdapterTotals, Ledger, PendingDelivery, Totals};
use crate::rows::ledger::{ActivityRow, ForgottenRow, PendingRow, StateRow, TotalsRow, per_adapter};
use crate::stored::{number, time_if_any};

#[async_trait]
impl Ledger for Sqlite {
    async fn totals(&self) -> Result<Totals> {
        let row: TotalsRow = sqlx::query_as(
            "SELECT received, duplicates, redelivered, forgotten_events, forgotten_quarantined,
                    (SELECT count(*) FROM events) AS accepted, (SELECT count(*) FROM quarantine) AS quarantined
             FROM totals",
        )
        .fetch_one(&self.readers)
        .await
        .map_err(failed)?;
        row.totals()
    }

    async fn per_adapter(&self) -> Result<Vec<AdapterTotals>> {
        let mut snapshot = self.snapshot().await?;
        let states: Vec<StateRow> = sqlx::query_as(
            "SELECT adapter, state, count(*) AS deliveries, min(published) AS oldest
             FROM deliveries INDEXED BY deliveries_by_state GROUP BY adapter, state",
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
        per_adapter(states, forgotten, activity)
    }

    async fn pending_count(&self, adapter: &str, published_before: DateTime<Utc>) -> Result<u64> {
        let count: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM deliveries INDEXED BY deliveries_by_state
             WHERE adapter = ? AND state = 'pending' AND published < ?",
        )
        .bind(adapter)
        .bind(published_before.timestamp_micros())
        .fetch_one(&self.readers)
        .await
        .map_err(failed)?;
        number("deliveries", count)
    }

    async fn pending_before(&self, adapter: &str, younger: u64) -> Result<Option<DateTime<Utc>>> {
        let published: Option<i64> = sqlx::query_scalar(
            "SELECT published FROM deliveries INDEXED BY deliveries_by_state
             WHERE adapter = ? AND state = 'pending' ORDER BY published DESC LIMIT 1 OFFSET ?",
        )
        .bind(adapter)
        .bind(i64::try_from(younger).unwrap_or(i64::MAX))
        .fetch_optional(&self.readers)
        .await
        .map_err(failed)?;
        time_if_any(published)
    }

    async fn pending(
        &self,
        adapter: &str,
        published_before: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<PendingDelivery>> {
        let found: Vec<PendingRow> = sqlx::query_as(
            "SELECT events.id, events.source, events.type AS event_type, delivery.published
             FROM deliveries AS delivery INDEXED BY deliveries_by_state
             CROSS JOIN events USING (event_offset)
             WHERE delivery.adapter = ? AND delivery.state = 'pending' AND delivery.published < ?
             ORDER BY delivery.published, delivery.event_offset LIMIT ?",
        )
        .bind(adapter)
        .bind(published_before.timestamp_micros())
        .bind(at_most(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        found.into_iter().map(PendingRow::pending).collect()
    }
}
