//! `Ledger` in SQLite.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteConnection;

use super::{Sqlite, failed};
use crate::Result;
use crate::events::DeliveryState;
use crate::ledger::{AdapterTotals, Ledger, PendingDelivery, Totals};
use crate::stored::{from_word, number, time, time_if_any};

#[async_trait]
impl Ledger for Sqlite {
    async fn totals(&self) -> Result<Totals> {
        let (received, duplicates, redelivered, accepted, quarantined): (i64, i64, i64, i64, i64) =
            sqlx::query_as(
                "SELECT received, duplicates, redelivered,
                        (SELECT count(*) FROM events), (SELECT count(*) FROM quarantine)
                 FROM totals",
            )
            .fetch_one(&self.readers)
            .await
            .map_err(failed)?;
        Ok(Totals {
            received: number("totals.received", received)?,
            accepted: number("events", accepted)?,
            duplicates: number("totals.duplicates", duplicates)?,
            redelivered: number("totals.redelivered", redelivered)?,
            quarantined: number("quarantine", quarantined)?,
        })
    }

    async fn per_adapter(&self) -> Result<Vec<AdapterTotals>> {
        let mut snapshot = self.snapshot().await?;
        let mut adapters = BTreeMap::new();
        add_states(&mut snapshot, &mut adapters).await?;
        add_activity(&mut snapshot, &mut adapters).await?;
        Ok(adapters.into_values().collect())
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

    async fn pending(
        &self,
        adapter: &str,
        published_before: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<PendingDelivery>> {
        let found: Vec<(String, String, String, i64)> = sqlx::query_as(
            "SELECT events.id, events.source, events.type, delivery.published
             FROM deliveries AS delivery INDEXED BY deliveries_by_state
             CROSS JOIN events USING (event_offset)
             WHERE delivery.adapter = ? AND delivery.state = 'pending' AND delivery.published < ?
             ORDER BY delivery.published, delivery.event_offset LIMIT ?",
        )
        .bind(adapter)
        .bind(published_before.timestamp_micros())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        found
            .into_iter()
            .map(|(event_id, source, event_type, published)| {
                Ok(PendingDelivery {
                    event_id,
                    source,
                    event_type,
                    published: time(published)?,
                })
            })
            .collect()
    }
}

type ByAdapter = BTreeMap<String, AdapterTotals>;

fn totals_of(adapters: &mut ByAdapter, adapter: String) -> &mut AdapterTotals {
    adapters
        .entry(adapter)
        .or_insert_with_key(|adapter| AdapterTotals {
            adapter: adapter.clone(),
            ..AdapterTotals::default()
        })
}

async fn add_states(connection: &mut SqliteConnection, adapters: &mut ByAdapter) -> Result<()> {
    let states: Vec<(String, String, i64, i64)> = sqlx::query_as(
        "SELECT adapter, state, count(*), min(published)
         FROM deliveries INDEXED BY deliveries_by_state GROUP BY adapter, state",
    )
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    for (adapter, state, count, oldest) in states {
        let totals = totals_of(adapters, adapter);
        let count = number("deliveries", count)?;
        totals.matched += count;
        match from_word("deliveries.state", &state)? {
            DeliveryState::Pending => {
                totals.pending = count;
                totals.oldest_pending = Some(time(oldest)?);
            }
            DeliveryState::Confirmed => totals.confirmed = count,
            DeliveryState::Parked => totals.parked = count,
            DeliveryState::Discarded => totals.discarded = count,
            DeliveryState::Expired => totals.expired = count,
            DeliveryState::Retrying => totals.retrying = count,
        }
    }
    Ok(())
}

async fn add_activity(connection: &mut SqliteConnection, adapters: &mut ByAdapter) -> Result<()> {
    let activity: Vec<(String, Option<i64>, i64)> =
        sqlx::query_as("SELECT adapter, receipts_since, last_settled FROM adapter_activity")
            .fetch_all(connection)
            .await
            .map_err(failed)?;
    for (adapter, receipts_since, last_settled) in activity {
        let totals = totals_of(adapters, adapter);
        totals.sends_receipts = receipts_since.is_some();
        totals.receipts_since = time_if_any(receipts_since)?;
        totals.last_settled = Some(time(last_settled)?);
    }
    Ok(())
}
