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
    forgotten_events: i64,
    forgotten_quarantined: i64,
}

impl TotalsRow {
    pub(crate) fn totals(self) -> Result<Totals> {
        let forgotten_events = number("totals.forgotten_events", self.forgotten_events)?;
        let forgotten_quarantined = number("totals.forgotten_quarantined", self.forgotten_quarantined)?;
        Ok(Totals {
            received: number("totals.received", self.received)?,
            accepted: number::<u64>("events", self.accepted)? + forgotten_events,
            duplicates: number("totals.duplicates", self.duplicates)?,
            redelivered: number("totals.redelivered", self.redelivered)?,
            quarantined: number::<u64>("quarantine", self.quarantined)? + forgotten_quarantined,
            forgotten_events,
            forgotten_quarantined,
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

/// How many deliveries of an adapter were in a state when they were forgotten.
#[derive(sqlx::FromRow)]
pub(crate) struct ForgottenRow {
    adapter: String,
    state: String,
    deliveries: i64,
}

/// When an adapter spoke.
#[derive(sqlx::FromRow)]
pub(crate) struct ActivityRow {
    adapter: String,
    receipts_since: Option<i64>,
    last_settled: i64,
}

/// A line for each adapter that any row is about, by name.
pub(crate) fn per_adapter(
    states: Vec<StateRow>,
    forgotten: Vec<ForgottenRow>,
    activity: Vec<ActivityRow>,
) -> Result<Vec<AdapterTotals>> {
    let mut adapters = ByAdapter::new();
    for row in states {
        let totals = totals_of(&mut adapters, row.adapter);
        let state = from_word("deliveries.state", &row.state)?;
        if state == DeliveryState::Pending {
            totals.oldest_pending = Some(time(row.oldest)?);
        }
        *figure_of(totals, state) += number::<u64>("deliveries", row.deliveries)?;
    }
    for row in forgotten {
        let totals = totals_of(&mut adapters, row.adapter);
        let figure = match from_word("forgotten_deliveries.state", &row.state)? {
            DeliveryState::Pending => &mut totals.taken,
            settled => figure_of(totals, settled),
        };
        *figure += number::<u64>("forgotten_deliveries", row.deliveries)?;
    }
    for totals in adapters.values_mut() {
        totals.matched = totals.confirmed
            + totals.parked
            + totals.discarded
            + totals.expired
            + totals.pending
            + totals.taken
            + totals.retrying;
    }
    for row in activity {
        let totals = totals_of(&mut adapters, row.adapter);
        totals.sends_receipts = row.receipts_since.is_some();
        totals.receipts_since = time_if_any(row.receipts_since)?;
        totals.last_settled = Some(time(row.last_settled)?);
    }
    Ok(adapters.into_values().collect())
}

fn figure_of(totals: &mut AdapterTotals, state: DeliveryState) -> &mut u64 {
    match state {
        DeliveryState::Pending => &mut totals.pending,
        DeliveryState::Confirmed => &mut totals.confirmed,
        DeliveryState::Parked => &mut totals.parked,
        DeliveryState::Discarded => &mut totals.discarded,
        DeliveryState::Expired => &mut totals.expired,
        DeliveryState::Retrying => &mut totals.retrying,
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
