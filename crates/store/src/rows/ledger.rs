//! Rows that the ledger counts.

use std::collections::BTreeMap;

use crate::Result;
use crate::events::DeliveryState;
use crate::ledger::{AdapterTotals, PendingDelivery, Totals};
use crate::stored::{from_word, number, time, time_if_any};

#[derive(sqlx::FromRow)]
pub(crate) struct TotalsRow {
    received: i64,
    duplicates: i64,
    redelivered: i64,
    accepted: i64,
    quarantined: i64,
}

impl TotalsRow {
    pub(crate) fn totals(self) -> Result<Totals> {
        Ok(Totals {
            received: number("totals.received", self.received)?,
            accepted: number("events", self.accepted)?,
            duplicates: number("totals.duplicates", self.duplicates)?,
            redelivered: number("totals.redelivered", self.redelivered)?,
            quarantined: number("quarantine", self.quarantined)?,
        })
    }
}

/// How many deliveries of an adapter are in a state, and when the oldest of them was published.
#[derive(sqlx::FromRow)]
pub(crate) struct StateRow {
    adapter: String,
    state: String,
    deliveries: i64,
    oldest: i64,
}

/// When an adapter spoke.
#[derive(sqlx::FromRow)]
pub(crate) struct ActivityRow {
    adapter: String,
    receipts_since: Option<i64>,
    last_settled: i64,
}

/// A line for each adapter that any row is about, by name.
pub(crate) fn per_adapter(states: Vec<StateRow>, activity: Vec<ActivityRow>) -> Result<Vec<AdapterTotals>> {
    let mut adapters = ByAdapter::new();
    for row in states {
        let totals = totals_of(&mut adapters, row.adapter);
        let count = number("deliveries", row.deliveries)?;
        totals.matched += count;
        match from_word("deliveries.state", &row.state)? {
            DeliveryState::Pending => {
                totals.pending = count;
                totals.oldest_pending = Some(time(row.oldest)?);
            }
            DeliveryState::Confirmed => totals.confirmed = count,
            DeliveryState::Parked => totals.parked = count,
            DeliveryState::Discarded => totals.discarded = count,
            DeliveryState::Expired => totals.expired = count,
            DeliveryState::Retrying => totals.retrying = count,
        }
    }
    for row in activity {
        let totals = totals_of(&mut adapters, row.adapter);
        totals.sends_receipts = row.receipts_since.is_some();
        totals.receipts_since = time_if_any(row.receipts_since)?;
        totals.last_settled = Some(time(row.last_settled)?);
    }
    Ok(adapters.into_values().collect())
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

#[derive(sqlx::FromRow)]
pub(crate) struct PendingRow {
    id: String,
    source: String,
    event_type: String,
    published: i64,
}

impl PendingRow {
    pub(crate) fn pending(self) -> Result<PendingDelivery> {
        Ok(PendingDelivery {
            event_id: self.id,
            source: self.source,
            event_type: self.event_type,
            published: time(self.published)?,
        })
    }
}
