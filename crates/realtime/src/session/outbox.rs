//! What waits for a client and what is on its way to it, bounded in messages and bytes. A client that
//! reads slowly harms only itself: QoS 0 loses its oldest, a topic of state keeps its latest value and
//! does not lose that unseen, QoS 1 and 2 are refused once the bound is reached, for the connection to be ended.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::wire::{Message, Outgoing, PublishOut, QoS, Reason};
use crossdock_model::topic::TopicName;

/// What a waiting message costs beside its topic and payload, about.
const OVERHEAD_BYTES: usize = 128;
/// What a user property costs beside its texts.
const USER_PROPERTY_BYTES: usize = size_of::<(String, String)>();

/// The bounds of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most messages that wait, states not counted: there is one for each topic.
    pub messages: usize,
    /// The most bytes that wait and are on their way.
    pub bytes: usize,
    /// The most of QoS 1 and 2 that are unacknowledged: the client's receive maximum, or less.
    pub in_flight: u16,
}

/// A message as it waits.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// What is sent.
    pub message: Arc<Message>,
    /// The lower of what was published and what was subscribed to.
    pub qos: QoS,
    /// Whether it is told as retained.
    pub retain: bool,
    /// The identifiers of the subscriptions that it matches.
    pub subscription_ids: Vec<u32>,
    /// Whether a newer message of the topic makes it worthless.
    pub is_state: bool,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It waits; older ones of QoS 0 may have been dropped for it.
    Waits,
    /// It took the place of an older state of its topic.
    Replaced,
    /// It was dropped: QoS 0 with no older one to drop.
    Dropped,
    /// It was refused past the bound, or as larger than that: QoS 1 or 2, or a state, whose reader would keep an old one
    /// for the latest. The connection ends with [`Reason::QuotaExceeded`]; for who comes back the states are read anew.
    Full,
}

#[derive(Debug)]
struct Slot {
    waiting: Waiting,
    since_ms: u64,
    bytes: usize,
}

#[derive(Debug)]
enum Flight {
    Sent {
        publish: PublishOut,
        since_ms: u64,
        bytes: usize,
        is_state: bool,
    },
    Released,
}

/// The sending side of one session. Outlives connections.
#[derive(Debug)]
pub struct Outbox {
    limits: Limits,
    waiting: BTreeMap<u64, Slot>,
    qos_0: BTreeSet<u64>,
    losable: BTreeSet<u64>,
    lost: u64,
    missed: bool,
    states: HashMap<TopicName, u64>,
    bytes: usize,
    emptied_ms: u64,
    popped_ms: u64,
    next: u64,
    flights: BTreeMap<u64, (u16, Flight)>,
    /// Of these the ones that this connection was not sent yet.
    again: BTreeSet<u64>,
    ids: HashMap<u16, u64>,
    last_id: u16,
}

impl Outbox {
    /// An empty one.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            waiting: BTreeMap::new(),
            qos_0: BTreeSet::new(),
            losable: BTreeSet::new(),
            lost: 0,
            missed: false,
            states: HashMap::new(),
            bytes: 0,
            emptied_ms: 0,
            popped_ms: 0,
            next: 0,
            flights: BTreeMap::new(),
            again: BTreeSet::new(),
            ids: HashMap::new(),
            last_id: 0,
        }
    }

    /// How many messages wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many bytes wait and are on their way, overheads included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many messages were dropped or refused for want of room, ever.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// A state went past its client, which is to read its states anew.
    pub fn miss(&mut self) {
        self.missed = true;
    }

    /// Whether a state went past its client since this was asked last.
    pub fn has_missed(&mut self) -> bool {
        std::mem::take(&mut self.missed)
    }

    /// Whether its client reads as fast as it is sent to: it was empty within this time, and within a
    /// quarter of it something was taken.
    #[must_use]
    pub fn keeps_up(&self, patience_ms: u64, now_ms: u64) -> bool {
        let moves = self.popped_ms.max(self.emptied_ms) + patience_ms / 4 >= now_ms;
        self.waiting.is_empty() || (moves && self.emptied_ms + patience_ms >= now_ms)
    }

    /// Whether half of what may wait does.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.counted() * 2 >= self.limits.messages || self.bytes * 2 >= self.limits.bytes
    }

    /// Where what waits now ends.
    pub(crate) fn end(&self) -> u64 {
        self.next
    }

    /// Whether there is room for a quarter more: little waits, or all up to `end` is sent and half is free.
    pub(crate) fn has_room(&self, end: u64) -> bool {
        let is_sent = self.waiting.keys().next().is_none_or(|first| *first >= end);
        let is_half_empty = self.bytes * 2 <= self.limits.bytes;
        self.bytes * 4 <= self.limits.bytes || (is_sent && is_half_empty)
    }

    /// What waits and is no state.
    fn counted(&self) -> usize {
        self.waiting.len() - self.states.len()
    }

    /// Puts a message at the end, or in the place of the state that it replaces.
    pub fn push(&mut self, waiting: Waiting, now_ms: u64) -> Pushed {
        if self.waiting.is_empty() {
            self.emptied_ms = now_ms;
        }
        let message = &waiting.message;
        let bytes = held_bytes(message);
        if bytes > self.limits.bytes || self.limits.messages == 0 {
            return self.refused(&waiting);
        }
        let place = self
            .states
            .get(&message.topic)
            .copied()
            .filter(|_| waiting.is_state);
        let older = place.and_then(|place| self.take(place));
        while (!waiting.is_state && self.counted() >= self.limits.messages)
            || self.bytes + bytes > self.limits.bytes
        {
            let Some(&oldest) = self.losable.first() else {
                if let (Some(place), Some(older)) = (place, older) {
                    self.put(place, older);
                }
                return self.refused(&waiting);
            };
            self.take(oldest);
            self.lost += 1;
        }
        let at = place.unwrap_or(self.next);
        self.next = self.next.max(at + 1);
        self.put(
            at,
            Slot {
                waiting,
                since_ms: now_ms,
                bytes,
            },
        );
        if older.is_some() {
            Pushed::Replaced
        } else {
            Pushed::Waits
        }
    }

    /// The next message to send, none while nothing waits or the window is closed; QoS 0 passes a
    /// closed window (MQTT 5.0, section 4.9). What expired is dropped.
    pub fn pop(&mut self, now_ms: u64) -> Option<PublishOut> {
        if let Some(publish) = self.pop_again(now_ms) {
            return Some(publish);
        }
        loop {
            let at = if self.is_open() {
                *self.waiting.keys().next()?
            } else {
                self.first_of_qos_0()?
            };
            let slot = self.take(at)?;
            self.popped_ms = now_ms;
            if self.waiting.is_empty() {
                self.emptied_ms = now_ms;
            }
            let Some(expiry_s) = left(&slot.waiting.message, slot.since_ms, now_ms) else {
                continue;
            };
            let Waiting {
                message,
                qos,
                retain,
                subscription_ids,
                is_state,
            } = slot.waiting;
            let mut publish = PublishOut {
                message,
                id: 0,
                dup: false,
                qos,
                retain,
                expiry_s,
                subscription_ids,
            };
            if qos != QoS::AtMostOnce {
                publish.id = self.free_id();
                let sent = Flight::Sent {
                    publish: publish.clone(),
                    since_ms: slot.since_ms,
                    bytes: slot.bytes,
                    is_state,
                };
                self.bytes += slot.bytes;
                self.flights.insert(at, (publish.id, sent));
                self.ids.insert(publish.id, at);
            }
            return Some(publish);
        }
    }

    /// What a former connection was sent and did not acknowledge, in its order.
    fn pop_again(&mut self, now_ms: u64) -> Option<PublishOut> {
        if !self.is_open() {
            return None;
        }
        let at = self.again.pop_first()?;
        let (
            _,
            Flight::Sent {
                publish, since_ms, ..
            },
        ) = self.flights.get(&at)?
        else {
            return None;
        };
        self.popped_ms = now_ms;
        Some(PublishOut {
            dup: true,
            expiry_s: left(&publish.message, *since_ms, now_ms).unwrap_or(Some(0)),
            ..publish.clone()
        })
    }

    /// Whether more of QoS 1 and 2 may be on its way.
    fn is_open(&self) -> bool {
        self.flights.len() - self.again.len() < usize::from(self.limits.in_flight)
    }

    /// A PUBACK, PUBCOMP or refusing PUBREC came: gives whether anything was on its way under the
    /// identifier. An acknowledgement of nothing, or of the wrong kind, changes nothing.
    pub fn acknowledged(&mut self, id: u16, kind: QoS) -> bool {
        let Some(&at) = self.ids.get(&id) else {
            return false;
        };
        let fits = match self.flights.get(&at) {
            Some((_, Flight::Sent { publish, .. })) => publish.qos == kind,
            Some((_, Flight::Released)) => kind == QoS::ExactlyOnce,
            None => false,
        };
        if fits {
            self.land(at);
        }
        fits
    }

    /// Nothing is on its way under this place any more.
    fn land(&mut self, at: u64) {
        if let Some((id, flight)) = self.flights.remove(&at) {
            self.bytes -= flight.bytes();
            self.ids.remove(&id);
            self.again.remove(&at);
        }
    }

    /// Its message is not sent any more; only its release is.
    fn release(&mut self, at: u64) {
        if let Some((_, flight)) = self.flights.get_mut(&at) {
            self.bytes -= flight.bytes();
            *flight = Flight::Released;
            self.again.remove(&at);
        }
    }

    /// A PUBREC came: gives the PUBREL to answer, which says so where the identifier is unknown.
    pub fn received(&mut self, id: u16) -> Outgoing {
        let at = self.ids.get(&id).copied();
        let reason = match at.and_then(|at| Some((at, &self.flights.get(&at)?.1))) {
            Some((_, Flight::Released)) => Reason::Success,
            Some((at, flight)) if flight.is_exactly_once() => {
                self.release(at);
                Reason::Success
            }
            _ => Reason::PacketIdNotFound,
        };
        Outgoing::PubRel { id, reason }
    }

    /// The connection ended: QoS 0 is not kept for the next one.
    pub fn suspend(&mut self) {
        while let Some(&at) = self.qos_0.first() {
            let slot = self.take(at);
            self.missed |= slot.is_some_and(|slot| slot.waiting.is_state);
        }
    }

    /// Leaves out what is of other topics than these, and gives whether a state was among it. An identifier of QoS 2 is still
    /// released: its client may have it.
    pub fn keep_only(&mut self, kept: impl Fn(&TopicName) -> bool) -> bool {
        let mut a_state_went = false;
        let goes = |message: &Message| !kept(&message.topic);
        let waiting = self.waiting.iter();
        let waiting = waiting.filter(|(_, slot)| goes(&slot.waiting.message));
        for at in waiting.map(|(at, _)| *at).collect::<Vec<_>>() {
            a_state_went |= self.take(at).is_some_and(|slot| slot.waiting.is_state);
        }
        let sent = self.flights.iter().filter_map(|(at, (_, flight))| match flight {
            Flight::Sent {
                publish, is_state, ..
            } => goes(&publish.message).then_some((*at, publish.qos, *is_state)),
            Flight::Released => None,
        });
        for (at, qos, is_state) in sent.collect::<Vec<_>>() {
            a_state_went |= is_state;
            if qos == QoS::ExactlyOnce {
                self.release(at);
            } else {
                self.land(at);
            }
        }
        a_state_went
    }

    /// A new connection took the session up, with its own window: what was on its way is sent again, in its order, before
    /// anything else (MQTT 5.0, section 4.4). Gives the releases.
    pub fn resume(&mut self, in_flight: u16) -> Vec<Outgoing> {
        self.limits.in_flight = in_flight;
        let (sent, released): (Vec<_>, Vec<_>) = self
            .flights
            .iter()
            .partition(|(_, (_, flight))| matches!(flight, Flight::Sent { .. }));
        self.again = sent.into_iter().map(|(at, _)| *at).collect();
        let release = |(_, (id, _)): (_, &(u16, _))| Outgoing::PubRel {
            id: *id,
            reason: Reason::Success,
        };
        released.into_iter().map(release).collect()
    }

    fn refused(&mut self, waiting: &Waiting) -> Pushed {
        self.lost += 1;
        self.missed |= waiting.is_state;
        let losable = waiting.qos == QoS::AtMostOnce && !waiting.is_state;
        if losable { Pushed::Dropped } else { Pushed::Full }
    }

    fn first_of_qos_0(&self) -> Option<u64> {
        self.qos_0.first().copied()
    }

    fn put(&mut self, at: u64, slot: Slot) {
        self.bytes += slot.bytes;
        if slot.waiting.qos == QoS::AtMostOnce {
            self.qos_0.insert(at);
            if !slot.waiting.is_state {
                self.losable.insert(at);
            }
        }
        if slot.waiting.is_state {
            self.states.insert(slot.waiting.message.topic.clone(), at);
        }
        self.waiting.insert(at, slot);
    }

    fn take(&mut self, at: u64) -> Option<Slot> {
        let slot = self.waiting.remove(&at)?;
        self.bytes -= slot.bytes;
        self.qos_0.remove(&at);
        self.losable.remove(&at);
        if slot.waiting.is_state {
            self.states.remove(&slot.waiting.message.topic);
        }
        Some(slot)
    }

    /// There is one: fewer are on their way than there are identifiers.
    fn free_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.ids.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }
}

impl Flight {
    fn bytes(&self) -> usize {
        match self {
            Self::Sent { bytes, .. } => *bytes,
            Self::Released => 0,
        }
    }

    fn is_exactly_once(&self) -> bool {
        matches!(self, Self::Sent { publish, .. } if publish.qos == QoS::ExactlyOnce)
    }
}

/// What a message that is kept takes of memory, about.
pub(crate) fn held_bytes(message: &Message) -> usize {
    let properties = &message.properties;
    let user: usize = properties
        .user
        .iter()
        .map(|(key, value)| USER_PROPERTY_BYTES + key.len() + value.len())
        .sum();
    OVERHEAD_BYTES
        + message.topic.as_str().len()
        + message.payload.len()
        + user
        + properties.content_type.as_ref().map_or(0, String::len)
        + properties
            .response_topic
            .as_ref()
            .map_or(0, |topic| topic.as_str().len())
        + properties.correlation.as_ref().map_or(0, bytes::Bytes::len)
}

/// The seconds that are left of a message, `Some(None)` where it never expires, none where it has.
#[allow(clippy::option_option, reason = "expired and never expiring are two things")]
fn left(message: &Message, since_ms: u64, now_ms: u64) -> Option<Option<u32>> {
    let Some(expiry_s) = message.properties.expiry_s else {
        return Some(None);
    };
    let waited_s = u32::try_from(now_ms.saturating_sub(since_ms) / 1000).unwrap_or(u32::MAX);
    expiry_s
        .checked_sub(waited_s)
        .filter(|left| *left > 0 || expiry_s == 0 && waited_s == 0)
        .map(Some)
}
