//! From the bus to the sessions: one message after the other, to all who subscribed and may have it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use super::bus::{Kind, Parcel};
use super::pressure::PATIENCE_MS;
use super::retained::Retained;
use super::session::{Manner, Session};
use super::sessions::{Route, Sessions};
use super::versions::{Age, Versions};
use super::{Clock, Counters, locked};
use crate::session::Options;
use crate::wire::Message;

#[derive(Debug)]
pub(super) struct FanOut {
    pub(super) sessions: Arc<Sessions>,
    pub(super) retained: Arc<Mutex<Retained>>,
    pub(super) counters: Arc<Counters>,
    pub(super) clock: Clock,
    pub(super) versions: Versions,
}

/// Whom a message goes to.
enum Audience {
    /// All who subscribed but the publisher where it said so.
    All { by: u64 },
    /// One who reads a state; none other.
    Reader(Arc<Session>),
    /// All, and this one as what it reads.
    AllAnd(Arc<Session>),
}

impl FanOut {
    pub(super) async fn deliver(&mut self, parcel: Parcel) {
        self.wait_for_room().await;
        let message = &parcel.message;
        let (audience, is_state) = match parcel.kind {
            Kind::Published { by } => (Audience::All { by }, false),
            Kind::State { version, reader } => {
                let audience = match (self.versions.note(&message.topic, version), reader) {
                    (Age::Newer, None) => Audience::All { by: 0 },
                    (Age::Newer, Some(reader)) => Audience::AllAnd(reader),
                    (Age::Same, Some(reader)) => Audience::Reader(reader),
                    (Age::Same, None) | (Age::Older, _) => {
                        self.counters.dropped_outdated.add(1);
                        return;
                    }
                };
                (audience, true)
            }
        };
        if !matches!(audience, Audience::Reader(_)) {
            self.counters.messages_in.add(1);
        }
        let now_ms = self.clock.now_ms();
        if message.retain && !is_state && !locked(&self.retained).keep(message, now_ms) {
            self.counters.dropped_no_room.add(1);
        }
        let crowded = self.send(message, &audience, is_state, now_ms);
        if crowded.is_empty() {
            return;
        }
        let wait = wait_for(self.sessions.clone(), self.clock, crowded);
        match parcel.own {
            // Who published waits, and nobody else.
            Some(place) => give_back(place, wait),
            None => wait.await,
        }
    }

    /// Gives who should be waited for.
    fn send(
        &self,
        message: &Arc<Message>,
        audience: &Audience,
        is_state: bool,
        now_ms: u64,
    ) -> Vec<Arc<Session>> {
        let mut crowded = Vec::new();
        let publisher = match audience {
            Audience::All { by } => *by,
            Audience::Reader(_) | Audience::AllAnd(_) => 0,
        };
        let mut push = |session: &Arc<Session>, manner: Manner| {
            let crowds = session.push(message, manner, &self.counters, &self.sessions.pressure, now_ms);
            // Who publishes to itself reads once it is let go.
            if crowds && session.number != publisher {
                crowded.push(session.clone());
            }
        };
        let index = self.sessions.index.read().unwrap_or_else(PoisonError::into_inner);
        let (by, reader) = match audience {
            Audience::All { by } => (*by, None),
            Audience::Reader(reader) | Audience::AllAnd(reader) => (0, Some(reader)),
        };
        let only_reader = matches!(audience, Audience::Reader(_));
        let manner = |route: &Route| Manner {
            qos: route.options.qos.min(message.qos),
            retain: message.retain && (is_reader(route, reader) || route.options.retain_as_published),
            subscription_ids: route.options.subscription_id.into_iter().collect(),
            is_state,
        };
        let wanted = |route: &Route| {
            let own = route.options.no_local && by == route.session.number;
            !own && (!only_reader || is_reader(route, reader))
        };
        let holders = index.matching(&message.topic);
        if let [only] = holders[..] {
            for route in only.values().filter(|route| wanted(route)) {
                push(&route.session, manner(route));
            }
        } else {
            // Who subscribed to several filters that match gets one copy, at the best of them
            // (MQTT 5.0, section 3.3.4).
            let mut merged: HashMap<u64, (&Arc<Session>, Manner)> = HashMap::new();
            for route in holders
                .into_iter()
                .flat_map(HashMap::values)
                .filter(|route| wanted(route))
            {
                let more = manner(route);
                merged
                    .entry(route.session.number)
                    .and_modify(|(_, manner)| manner.add(&more))
                    .or_insert((&route.session, more));
            }
            for (session, manner) in merged.into_values() {
                push(session, manner);
            }
        }
        crowded
    }

    /// While all sessions together hold too much. Whoever does not keep up is found out meanwhile and no
    /// longer counted, and unloaded where it is bytes that are too many.
    async fn wait_for_room(&self) {
        let pressure = &self.sessions.pressure;
        if !pressure.is_high() {
            return;
        }
        let since_ms = self.clock.now_ms();
        while !pressure.is_low() {
            pressure.relief().await;
            let now_ms = self.clock.now_ms();
            if now_ms > since_ms + PATIENCE_MS {
                for session in self.sessions.all() {
                    session.is_awaited(pressure, now_ms);
                }
                if pressure.is_full() {
                    self.sessions.unload(&self.counters, now_ms);
                }
                return;
            }
        }
    }
}

/// Until none of them has more than enough and still reads as fast as it can.
async fn wait_for(sessions: Arc<Sessions>, clock: Clock, mut crowded: Vec<Arc<Session>>) {
    let pressure = &sessions.pressure;
    loop {
        let now_ms = clock.now_ms();
        crowded.retain(|session| session.is_awaited(pressure, now_ms));
        if crowded.is_empty() {
            return;
        }
        pressure.relief().await;
    }
}

/// There are as few of these tasks as publishers have places, and each ends when nobody is waited for.
fn give_back(place: OwnedSemaphorePermit, wait: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(async move {
        wait.await;
        drop(place);
    });
}

fn is_reader(route: &Route, reader: Option<&Arc<Session>>) -> bool {
    reader.is_some_and(|reader| reader.number == route.session.number)
}

impl Manner {
    fn add(&mut self, more: &Self) {
        self.qos = self.qos.max(more.qos);
        self.retain |= more.retain;
        self.subscription_ids.extend(&more.subscription_ids);
    }
}

/// How a retained message goes to who subscribed just now.
pub(super) fn retained_manner(message: &Message, options: Options) -> Manner {
    Manner {
        qos: options.qos.min(message.qos),
        retain: true,
        subscription_ids: options.subscription_id.into_iter().collect(),
        is_state: false,
    }
}
