//! One session as the gateway shares it: the state machine behind a lock, who holds it now, and how the
//! connection that does is woken. The index is locked before a session, never after.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::Waker;

use bytes::BytesMut;
use crossdock_model::topic::{Subscription, TopicFilter, TopicName};
use futures::task::AtomicWaker;

use super::pressure::{PATIENCE_MS, Pressure};
use super::{Counters, locked};
use crate::session::{Action, Client, Effect, Pushed, Rights, Terms, Waiting};
use crate::why::Why;
use crate::wire::{self, Incoming, Message, Outgoing, QoS, Will};

/// What is written at once, about.
pub(super) const BATCH_BYTES: usize = 64 * 1024;

/// Whose it is, and what its owner calls it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) principal: Arc<str>,
    pub(super) client_id: Arc<str>,
}

pub(super) struct Session {
    pub(super) number: u64,
    pub(super) key: Key,
    held: Mutex<Held>,
    waker: AtomicWaker,
    /// Set with every wake, so that a connection that looks anyway does not look twice.
    news: AtomicBool,
}

struct Held {
    client: Client,
    rights: Arc<dyn Rights>,
    /// Counts connections: one that is not the last any more has no say.
    epoch: u64,
    connected: bool,
    closed: bool,
    /// Whether states are to be read for it that its connection has not got yet: the next one has them read.
    reads_due: bool,
    /// Why the connection has to end.
    ended: Option<Ended>,
    /// What is published once it has been away for its delay, or is forgotten.
    delayed_will: Option<Will>,
    /// What of it the pressure knows.
    counted_messages: usize,
    counted_bytes: usize,
    awaited: bool,
}

/// How a message is to be delivered to one session.
#[derive(Debug, Clone)]
pub(super) struct Manner {
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) subscription_ids: Vec<u32>,
    pub(super) is_state: bool,
}

/// Why a connection has to end, in the one byte that each session has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Slow,
    Unloaded,
    Revoked,
}

impl From<Ended> for Why {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Slow => Self::Slow,
            Ended::Unloaded => Self::Unloaded,
            Ended::Revoked => Self::Revoked,
        }
    }
}

/// What a new connection finds.
pub(super) struct Resumed {
    pub(super) epoch: u64,
    /// What is to be sent first.
    pub(super) again: Vec<Outgoing>,
    /// The will of the connection before it.
    pub(super) will: Option<Will>,
    /// What it subscribed to, where a state went past it meanwhile.
    pub(super) reread: Vec<TopicFilter>,
}

/// What is left when a connection is over.
pub(super) struct Parting {
    pub(super) will: Option<Will>,
    pub(super) will_delay_s: Option<u32>,
    pub(super) expiry_s: u32,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Session")
            .field("number", &self.number)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn new(number: u64, key: Key, client: Client, rights: Arc<dyn Rights>) -> Self {
        let held = Held {
            client,
            rights,
            epoch: 0,
            connected: true,
            closed: false,
            reads_due: false,
            ended: None,
            delayed_will: None,
            counted_messages: 0,
            counted_bytes: 0,
            awaited: false,
        };
        Self {
            number,
            key,
            held: Mutex::new(held),
            waker: AtomicWaker::new(),
            news: AtomicBool::new(true),
        }
    }

    /// A new connection takes it, and gets what its own rights cover of what waits. A will whose delay has not passed is
    /// not published (MQTT 5.0, section 3.1.3.2.2).
    pub(super) fn take_over(
        &self,
        terms: Terms,
        rights: Arc<dyn Rights>,
        pressure: &Pressure,
        now_ms: u64,
    ) -> Resumed {
        let mut held = locked(&self.held);
        let will = held.supersede().filter(|will| will.delay_s == 0);
        held.delayed_will = None;
        held.connected = true;
        let may_get = |topic: &TopicName| rights.may(Action::Receive(topic), now_ms);
        let a_state_went = held.client.outbox.keep_only(may_get);
        held.rights = rights;
        let again = held.client.resume(terms);
        // Who loses the session leaves what it has not got.
        let reread = if held.client.outbox.has_missed() || held.reads_due {
            held.filters()
        } else {
            Vec::new()
        };
        held.reads_due = !reread.is_empty();
        if a_state_went {
            // It is nothing to this connection, but to one whose rights cover it again.
            held.client.outbox.miss();
        }
        held.count(pressure, Some(now_ms));
        let epoch = held.epoch;
        drop(held);
        self.wake();
        Resumed {
            epoch,
            again,
            will,
            reread,
        }
    }

    /// It is forgotten: gives the will that it leaves and the filters that it held.
    pub(super) fn close(&self, pressure: &Pressure) -> (Option<Will>, Vec<TopicFilter>) {
        let mut held = locked(&self.held);
        let will = held.supersede().or_else(|| held.take_delayed_will());
        held.closed = true;
        let filters = held.filters();
        held.count(pressure, None);
        drop(held);
        self.wake();
        (will, filters)
    }

    /// The connection of this epoch is over. None where it had lost the session before.
    pub(super) fn leave(
        &self,
        epoch: u64,
        will: Option<Will>,
        pressure: &Pressure,
        now_ms: u64,
    ) -> Option<Parting> {
        let mut held = locked(&self.held);
        if held.epoch != epoch {
            return None;
        }
        held.connected = false;
        held.ended = None;
        held.client.suspend();
        held.count(pressure, Some(now_ms));
        let expiry_s = held.client.session_expiry_s();
        let delay_s = will.as_ref().map(|will| will.delay_s.min(expiry_s));
        let (now, later) = match delay_s {
            Some(0) | None => (will, None),
            Some(_) => (None, will),
        };
        let will_delay_s = delay_s.filter(|_| later.is_some());
        held.delayed_will = later;
        Some(Parting {
            will: now,
            will_delay_s,
            expiry_s,
        })
    }

    /// The will that has waited long enough, if nobody came back.
    pub(super) fn overdue_will(&self, epoch: u64) -> Option<Will> {
        let mut held = locked(&self.held);
        if held.epoch != epoch || held.connected {
            return None;
        }
        held.take_delayed_will()
    }

    /// Whether nobody came back since.
    pub(super) fn is_left(&self, epoch: u64) -> bool {
        let held = locked(&self.held);
        held.epoch == epoch && !held.connected
    }

    /// All that is to be read for the connection of this epoch waits for it, or was sent.
    pub(super) fn reads_done(&self, epoch: u64) {
        let mut held = locked(&self.held);
        held.reads_due &= held.epoch != epoch;
    }

    /// Where what waits for it now ends.
    pub(super) fn end_of_waiting(&self) -> u64 {
        locked(&self.held).client.outbox.end()
    }

    /// Whether there is room for the next page of states, once what waited up to `end` is sent.
    pub(super) fn has_room(&self, end: u64) -> bool {
        locked(&self.held).client.outbox.has_room(end)
    }

    #[cfg(test)]
    pub(super) fn has_reads_due(&self) -> bool {
        locked(&self.held).reads_due
    }

    /// Whether it was forgotten.
    pub(super) fn is_closed(&self) -> bool {
        locked(&self.held).closed
    }

    /// Takes a packet from the connection of this epoch.
    pub(super) fn handle(&self, epoch: u64, packet: Incoming, now_ms: u64) -> Result<Vec<Effect>, Why> {
        let mut held = locked(&self.held);
        if held.epoch != epoch {
            return Err(Why::TakenOver);
        }
        let rights = held.rights.clone();
        let effects = held.client.handle(packet, &*rights, now_ms);
        held.reads_due |= effects
            .iter()
            .any(|effect| matches!(effect, Effect::Subscribed { retained: true, .. }));
        Ok(effects)
    }

    /// The will of a connection that ends.
    pub(super) fn end(&self, epoch: u64) -> Option<Will> {
        let mut held = locked(&self.held);
        if held.epoch != epoch {
            return None;
        }
        held.end()
    }

    /// Puts a message to what waits. Gives whether the fan-out should wait for it: it reads as fast as it
    /// can, and has more than enough.
    pub(super) fn push(
        &self,
        message: &Arc<Message>,
        manner: Manner,
        counters: &Counters,
        pressure: &Pressure,
        now_ms: u64,
    ) -> bool {
        let mut held = locked(&self.held);
        let nobody_there = !held.connected && manner.qos == QoS::AtMostOnce;
        let denied = !held.rights.may(Action::Receive(&message.topic), now_ms);
        if nobody_there || denied || held.ended.is_some() {
            if denied {
                counters.dropped_denied.add(1);
            }
            if manner.is_state {
                held.client.outbox.miss();
            }
            return false;
        }
        let before = held.client.outbox.lost();
        let waiting = Waiting {
            message: message.clone(),
            qos: manner.qos,
            retain: manner.retain,
            subscription_ids: manner.subscription_ids,
            is_state: manner.is_state,
        };
        let pushed = held.client.outbox.push(waiting, now_ms);
        counters.dropped_slow.add(held.client.outbox.lost() - before);
        held.count(pressure, Some(now_ms));
        if pushed == Pushed::Full && held.connected {
            held.ended = Some(Ended::Slow);
        }
        let outbox = &held.client.outbox;
        let crowded = held.connected && outbox.is_crowded() && outbox.keeps_up(PATIENCE_MS, now_ms);
        held.awaited |= crowded;
        let connected = held.connected;
        drop(held);
        if connected {
            self.wake();
        }
        crowded
    }

    /// Whether the fan-out still has to wait for it.
    pub(super) fn is_awaited(&self, pressure: &Pressure, now_ms: u64) -> bool {
        let mut held = locked(&self.held);
        held.count(pressure, Some(now_ms));
        let outbox = &held.client.outbox;
        held.awaited &= held.connected && !outbox.is_empty() && outbox.keeps_up(PATIENCE_MS, now_ms);
        held.awaited
    }

    /// Whether it reads as fast as it is sent to, and the bytes that wait for it.
    pub(super) fn load(&self, now_ms: u64) -> (bool, usize) {
        let held = locked(&self.held);
        let outbox = &held.client.outbox;
        let keeps_up = held.connected && outbox.keeps_up(PATIENCE_MS, now_ms);
        (keeps_up, outbox.bytes())
    }

    /// What waits for it is let go, to make room for others; it reads the states anew when it is back.
    pub(super) fn unload(&self, counters: &Counters, pressure: &Pressure) {
        let mut held = locked(&self.held);
        counters.dropped_slow.add(held.client.outbox.len() as u64);
        if held.client.outbox.keep_only(|_| false) {
            held.client.outbox.miss();
        }
        if held.connected {
            held.ended = Some(Ended::Unloaded);
        }
        held.count(pressure, None);
        drop(held);
        self.wake();
    }

    /// Registers who is to be woken; before looking for what there is. Gives whether the connection of this epoch still has
    /// the session: one that lost it must not take the place of the one that is to be woken now.
    pub(super) fn register(&self, epoch: u64, waker: &Waker) -> bool {
        let held = locked(&self.held);
        let is_held = held.epoch == epoch;
        if is_held {
            self.waker.register(waker);
        }
        is_held
    }

    /// There may be something to write, though nothing came.
    pub(super) fn look_again(&self) {
        self.news.store(true, Relaxed);
    }

    /// Whether anything happened since the last look.
    pub(super) fn has_news(&self) -> bool {
        self.news.swap(false, Relaxed)
    }

    /// Writes what waits into `buffer`, until that holds [`BATCH_BYTES`].
    ///
    /// # Errors
    /// If the connection has to end.
    pub(super) fn fill(
        &self,
        epoch: u64,
        buffer: &mut BytesMut,
        max_packet_bytes: usize,
        counters: &Counters,
        pressure: &Pressure,
        now_ms: u64,
    ) -> Result<(), Why> {
        let mut held = locked(&self.held);
        if held.epoch != epoch {
            // The news was for whoever has it now.
            drop(held);
            self.wake();
            return Err(Why::TakenOver);
        }
        if let Some(ended) = held.ended {
            return Err(ended.into());
        }
        let version = held.client.version();
        let mut written = 0;
        while buffer.len() < BATCH_BYTES
            && let Some(publish) = held.client.outbox.pop(now_ms)
        {
            let (before, id, qos) = (buffer.len(), publish.id, publish.qos);
            let packet = Outgoing::Publish(publish);
            let fits = wire::encode(version, &packet, buffer).is_ok_and(|bytes| bytes <= max_packet_bytes);
            if fits {
                written += 1;
            } else {
                buffer.truncate(before);
                counters.dropped_too_large.add(1);
                held.client.outbox.acknowledged(id, qos);
            }
        }
        counters.messages_out.add(written);
        held.count(pressure, Some(now_ms));
        if held.awaited && held.client.outbox.is_empty() {
            held.awaited = false;
            pressure.relieve();
        }
        Ok(())
    }

    /// Ends the connection if what it may do was taken back.
    pub(super) fn recheck(&self) {
        let mut held = locked(&self.held);
        if held.connected && held.rights.are_revoked() {
            held.ended = Some(Ended::Revoked);
            drop(held);
            self.wake();
        }
    }

    fn wake(&self) {
        if !self.news.swap(true, Relaxed) {
            self.waker.wake();
        }
    }
}

impl Held {
    /// Whoever holds it has no say from here on; gives the will it left.
    fn supersede(&mut self) -> Option<Will> {
        self.epoch += 1;
        self.ended = None;
        let connected = std::mem::take(&mut self.connected);
        let will = self.end();
        will.filter(|_| connected)
    }

    /// The will of a connection that ends, none where its rights were taken back.
    fn end(&mut self) -> Option<Will> {
        let will = self.client.take_will();
        will.filter(|_| !self.rights.are_revoked())
    }

    fn take_delayed_will(&mut self) -> Option<Will> {
        let will = self.delayed_will.take();
        will.filter(|_| !self.rights.are_revoked())
    }

    fn filters(&self) -> Vec<TopicFilter> {
        let subscriptions = self.client.subscriptions();
        subscriptions
            .filter_map(|(text, _)| Some(Subscription::new(text).ok()?.filter))
            .collect()
    }

    /// Tells the pressure what waits now; without a time, that nothing does.
    fn count(&mut self, pressure: &Pressure, now_ms: Option<u64>) {
        let outbox = &self.client.outbox;
        let (messages, bytes) = match now_ms {
            None => (0, 0),
            Some(now_ms) if self.connected && outbox.keeps_up(PATIENCE_MS, now_ms) => {
                (outbox.len(), outbox.bytes())
            }
            Some(_) => (0, outbox.bytes()),
        };
        if messages != self.counted_messages {
            pressure.messages(self.counted_messages, messages);
        }
        if bytes != self.counted_bytes {
            pressure.bytes(self.counted_bytes, bytes);
        }
        (self.counted_messages, self.counted_bytes) = (messages, bytes);
    }
}
