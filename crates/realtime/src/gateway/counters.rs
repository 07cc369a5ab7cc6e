//! What the gateway counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The gateway's counters, since it was made.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) messages_in: Counter,
    pub(crate) messages_out: Counter,
    pub(crate) dropped_slow: Counter,
    pub(crate) dropped_denied: Counter,
    pub(crate) dropped_too_large: Counter,
    pub(crate) dropped_outdated: Counter,
    pub(crate) dropped_no_room: Counter,
    pub(crate) refused: Counter,
    pub(crate) ended_slow: Counter,
    pub(crate) ended_no_room: Counter,
    pub(crate) ended_bad_packet: Counter,
    pub(crate) router_restarts: Counter,
}

/// How the gateway stands: numbers now, and totals since its start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Clients connected now.
    pub clients: u64,
    /// Sessions kept now, with their client or without.
    pub sessions: u64,
    /// Subscriptions of all sessions.
    pub subscriptions: u64,
    /// Retained messages that clients published. States are not among them: they are in the database.
    pub retained: u64,
    /// Bytes that wait for clients, overheads included.
    pub queue_bytes: u64,
    /// Messages written to clients within the last second.
    pub out_per_s: u64,
    /// Messages taken, from clients and of states.
    pub messages_in: u64,
    /// Messages written to clients.
    pub messages_out: u64,
    /// Messages not delivered, with the reason: `slow` (its client reads too slowly), `denied`,
    /// `too_large` (for its client), `outdated` (a newer state was there before), `no_room` (to be retained, or for a filter).
    pub dropped: Vec<(&'static str, u64)>,
    /// Clients that were not let in.
    pub refused: u64,
    /// Connections that were ended, with the reason: `slow`, `no_room` (for what they sent of a packet), `bad_packet`.
    pub ended: Vec<(&'static str, u64)>,
    /// Routers that ended and were replaced.
    pub router_restarts: u64,
}

impl Counters {
    pub(crate) fn figures(&self) -> Figures {
        Figures {
            messages_in: self.messages_in.get(),
            messages_out: self.messages_out.get(),
            dropped: vec![
                ("slow", self.dropped_slow.get()),
                ("denied", self.dropped_denied.get()),
                ("too_large", self.dropped_too_large.get()),
                ("outdated", self.dropped_outdated.get()),
                ("no_room", self.dropped_no_room.get()),
            ],
            refused: self.refused.get(),
            ended: vec![
                ("slow", self.ended_slow.get()),
                ("no_room", self.ended_no_room.get()),
                ("bad_packet", self.ended_bad_packet.get()),
            ],
            router_restarts: self.router_restarts.get(),
            ..Figures::default()
        }
    }
}
