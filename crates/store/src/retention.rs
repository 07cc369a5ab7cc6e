//! What is forgotten once it was kept long enough, and what of it still counts: the figures of the ledger go on as if
//! it were there. When that is, and which adapter was taken at its word, is the caller's to say.
//!
//! The record is the memory of what was seen before, too: an event that comes again after it was forgotten is new.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::Result;

/// One step over the record, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgetEvents {
    /// Only offsets greater than this: where the step before ended.
    pub after_offset: i64,
    /// How many events are looked at, forgotten or not: what bounds the time for which others wait.
    pub limit: usize,
    /// Only events that the gate received before this time.
    pub received_before: DateTime<Utc>,
    /// By adapter: a delivery without a word that was published before this time has left the adapter's queue, and
    /// no receipt is owed for it.
    pub taken_before: BTreeMap<String, DateTime<Utc>>,
}

/// What a step did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventsForgotten {
    /// Events forgotten, with all their deliveries.
    pub forgotten: u64,
    /// Where the next step begins; `None` if nothing that follows is old enough.
    pub next: Option<i64>,
}

/// Which quarantined messages are forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForgetQuarantined {
    /// Those received before this time, if one is given.
    pub received_before: Option<DateTime<Utc>>,
    /// All but so many of each producer, the latest.
    pub messages_per_producer: u32,
    /// All but the latest of each producer that have no more bytes together, bodies and headers.
    pub bytes_per_producer: u64,
    /// How many at most, the oldest first.
    pub limit: usize,
}

/// Retention.
#[async_trait]
pub trait Retention {
    /// Looks at the next events and forgets those that are old enough and of whose deliveries none still waits: each
    /// is confirmed, discarded, expired, or taken. Parked and retrying ones keep their event.
    async fn forget_events(&self, step: &ForgetEvents) -> Result<EventsForgotten>;

    /// Forgets quarantined messages, and says how many.
    async fn forget_quarantined(&self, which: &ForgetQuarantined) -> Result<u64>;

    /// When the delivery was published that is the oldest of the adapter's without a word but for `older` of them.
    async fn pending_after(&self, adapter: &str, older: u64) -> Result<Option<DateTime<Utc>>>;
}
