//! What is said about deliveries: receipts, rejects, deaths by delivery limit, failures to publish, and that the hub
//! hands one over again. The rules for what a word makes of a delivery are here and in `settlement`; who may speak
//! for an adapter, and when a failed delivery is tried again, is the caller's.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use crossdock_model::event::Event;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::events::{DeliveryState, EventKey};

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
    /// The hub could not publish the message to the adapter's queue, or had no message to publish.
    Undelivered,
    /// The hub hands the message over for another attempt.
    HandedOver,
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
    /// The adapter that speaks, or is spoken of: it can settle only its own deliveries.
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
    /// After a failure, when the hub hands the message over again. A failure without it is final.
    pub due: Option<DateTime<Utc>>,
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

/// One delivery.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryKey {
    /// The adapter.
    pub adapter: String,
    /// The event.
    pub event: EventKey,
}

impl DeliveryKey {
    /// The delivery of `event` to `adapter`.
    pub fn of(adapter: &str, event: &Event) -> Self {
        Self {
            adapter: adapter.to_owned(),
            event: EventKey::of(event),
        }
    }
}

impl Outcome {
    /// A bare word about a delivery, to be filled in with what else there is to say.
    pub fn about(delivery: DeliveryKey, kind: OutcomeKind, at: DateTime<Utc>) -> Self {
        Self {
            adapter: delivery.adapter,
            event_id: delivery.event.id,
            source: Some(delivery.event.source),
            kind,
            detail: None,
            retry_after_s: None,
            duration_ms: None,
            attempt: None,
            due: None,
            at,
        }
    }
}

/// What is known of a delivery, to decide what comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Where it stands; `Pending` for one that is not recorded yet.
    pub state: DeliveryState,
    /// Every word about it, also those that wait for its event to be recorded. A word without an attempt's
    /// number is about the first there.
    pub words: Vec<Word>,
}

/// A word about an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The attempt, counted from 1.
    pub attempt: u32,
    /// What was said.
    pub kind: OutcomeKind,
    /// The adapter's reason.
    pub detail: Option<String>,
    /// When the adapter wants to try again, in seconds.
    pub retry_after_s: Option<u32>,
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

    /// How these deliveries stand. Of those that neither the record nor a word knows there is nothing in the answer.
    async fn standings(&self, keys: &[DeliveryKey]) -> Result<HashMap<DeliveryKey, Standing>>;
}

impl DeliveryState {
    /// What a word about its latest attempt makes of a delivery. `tried_again`: the word is a failure, and another
    /// attempt is due.
    ///
    /// Done is evidence, and nothing later takes it back: a repeat that fails was handled before. Given up or
    /// expired deliveries are changed by nothing else. The receipt `retry` alone changes nothing: the adapter still
    /// holds the message until it rejects it.
    pub fn after(self, outcome: OutcomeKind, tried_again: bool) -> Self {
        match (self, outcome) {
            (_, OutcomeKind::Done) | (Self::Confirmed, _) => Self::Confirmed,
            (Self::Discarded | Self::Expired, _) | (_, OutcomeKind::Retry) => self,
            (_, OutcomeKind::HandedOver) => Self::Pending,
            (Self::Pending | Self::Retrying, _) if tried_again => Self::Retrying,
            (Self::Pending | Self::Retrying | Self::Parked, _) => Self::Parked,
        }
    }
}
