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

/// What bounds the quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuarantineBound {
    /// What the gate received before this time goes.
    Age(DateTime<Utc>),
    /// All but the latest of each producer go.
    Size {
        /// So many of each producer stay at most.
        messages: u32,
        /// Only as many of these as have no more bytes together, bodies and headers.
        bytes: u64,
    },
}

/// Up to where a producer's quarantined messages are forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineCutOff {
    /// Whose messages; `None`: those of which nobody knows who sent them.
    pub producer: Option<String>,
    /// The id of the last one to go.
    pub up_to: i64,
}

/// One step over a producer's quarantined messages, the oldest first. Its cost does not depend on how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForgetQuarantined<'a> {
    /// Whose messages, and up to which.
    pub cut_off: &'a QuarantineCutOff,
    /// Only ids greater than this: where the step before ended.
    pub after: i64,
    /// How many messages at most.
    pub messages: usize,
    /// It ends with the first message by which it has so many bytes.
    pub bytes: u64,
}

/// What a step over the quarantine did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QuarantineForgotten {
    /// Messages forgotten.
    pub forgotten: u64,
    /// Where the next step begins; `None` if nothing is left up to the cut-off.
    pub next: Option<i64>,
}

/// Retention.
#[async_trait]
pub trait Retention {
    /// Looks at the next events and forgets those that are old enough and of whose deliveries none still waits: each
    /// is confirmed, discarded, expired, or taken. Parked and retrying ones keep their event.
    async fn forget_events(&self, step: &ForgetEvents) -> Result<EventsForgotten>;

    /// Where each producer that has messages beyond the bound is to be cut off. Looks at no more than one index and no
    /// message; to be asked once, whatever number of steps follows.
    async fn quarantine_cut_offs(&self, bound: &QuarantineBound) -> Result<Vec<QuarantineCutOff>>;

    /// Forgets the next messages of a producer, up to its cut-off.
    async fn forget_quarantined(&self, step: &ForgetQuarantined<'_>) -> Result<QuarantineForgotten>;

    /// When the delivery was published that is the oldest of the adapter's without a word but for `older` of them.
    async fn pending_after(&self, adapter: &str, older: u64) -> Result<Option<DateTime<Utc>>>;
}
