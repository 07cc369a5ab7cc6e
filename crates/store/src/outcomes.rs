//! What is said about deliveries: receipts, rejects, deaths by delivery limit, failures to publish. The rules for what
//! a word makes of a delivery are here and in `settlement`; who may speak for an adapter is the caller's.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::events::DeliveryState;

/// The most bytes of an outcome's detail that are kept.
pub const DETAIL_MAX_BYTES: usize = 4_096;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// Receipt: handled.
    Done,
    /// Receipt: failed, worth another attempt.
    Retry,
    /// Receipt: failed, and no attempt will help.
    Dead,
    /// The adapter rejected the message.
    Rejected,
    /// RabbitMQ gave the message up after its delivery limit.
    DeliveryLimit,
    /// The hub could not publish the message to the adapter's queue.
    Undelivered,
}

impl OutcomeKind {
    /// Whether the adapter itself sent this as a receipt; the others are the hub's and RabbitMQ's observations.
    pub fn is_receipt(self) -> bool {
        matches!(self, Self::Done | Self::Retry | Self::Dead)
    }
}

/// One word about one delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The adapter that speaks: it can settle only its own deliveries.
    pub adapter: String,
    /// The event's id.
    pub event_id: String,
    /// The event's source. Without it, events of one id from several sources are told apart by a rule:
    /// the oldest delivery that still waits is meant.
    pub source: Option<String>,
    /// How it ended.
    pub kind: OutcomeKind,
    /// The adapter's reason.
    pub detail: Option<String>,
    /// When the adapter wants to try again, in seconds.
    pub retry_after_s: Option<u32>,
    /// How long the adapter worked on it, in milliseconds.
    pub duration_ms: Option<u64>,
    /// Which attempt, counted from 1. Without it: the latest that is known of.
    pub attempt: Option<u32>,
    /// When the hub heard of it.
    pub at: DateTime<Utc>,
}

/// What `settle` did with the outcomes it was given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SettleSummary {
    /// Noted as a new word about a recorded delivery.
    pub applied: u64,
    /// Kept until the event is recorded.
    pub early: u64,
    /// Known already.
    pub repeated: u64,
    /// Left out: the id can be no event's.
    pub refused: u64,
}

/// Outcomes.
#[async_trait]
pub trait Outcomes {
    /// Notes outcomes, in one transaction. Saying the same again changes nothing, and the order in which
    /// words arrive does not matter, save for the reason shown.
    ///
    /// An outcome may come before the gate has recorded its event; it waits for it. Of these, each adapter's
    /// latest 10,000 are kept.
    async fn settle(&self, outcomes: &[Outcome]) -> Result<SettleSummary>;
}

impl DeliveryState {
    /// What an outcome makes of a delivery.
    ///
    /// Done is evidence, and nothing later takes it back: a repeat that fails was handled before. Given up or
    /// expired deliveries are changed by nothing else. Every failure is a dead letter, the ones worth another
    /// attempt too: this version has no retry schedule, and what failed must not look as if it were on its way.
    pub fn after(self, outcome: OutcomeKind) -> Self {
        match (self, outcome) {
            (_, OutcomeKind::Done) | (Self::Confirmed, _) => Self::Confirmed,
            (Self::Discarded | Self::Expired, _) => self,
            (Self::Pending | Self::Retrying | Self::Parked, _) => Self::Parked,
        }
    }
}
