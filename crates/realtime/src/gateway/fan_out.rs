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

/// Whom a message goes to: all who subscribed, or only the one who reads the state that it is.
#[derive(Clone, Copy)]
struct Audience {
    /// The session that published it, 0 where none did: left out where it said so.
    by: u64,
    /// The session that reads it, and gets it as retained.
    reader: Option<u64>,
    only_reader: bool,
}

impl FanOut {
    pub(super) async fn deliver(&mut self, parcel: Parcel) {
        self.wait_for_room().await;
        let message = &parcel.message;
        let is_state = matches!(parcel.kind, Kind::State { .. });
        let audience = match parcel.kind {
            Kind::Published { by } => Audience {
                by,
                reader: None,
                only_reader: false,
            },
            Kind::State { version, reader } => {
                let age = self.versions.note(&message.topic, version);
                if age == Age::Older || (age == Age::Same && reader.is_none()) {
                    self.counters.dropped_outdated.add(1);
                    return;
                }
                Audience {
                    by: 0,
                    reader: reader.map(|reader| reader.number),
                    only_reader: age == Age::Same,
                }
            }
        };
        if !audience.only_reader {
            self.counters.messages_in.add(1);
        }
        let now_ms = self.clock.now_ms();
        if message.retain && !is_state && !locked(&self.retained).keep(message, now_ms) {
            self.counters.dropped_no_room.add(1);
        }
        let crowded = self.send(message, audience, is_state, now_ms);
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
        audience: Audience,
        is_state: bool,
        now_ms: u64,
    ) -> Vec<Arc<Session>> {
        let mut crowded = Vec::new();
        let mut push = |session: &Arc<Session>, manner: Manner| {
            let crowds = session.push(message, manner, &self.counters, &self.sessions.pressure, now_ms);
            // Who publishes to itself reads once it is let go.
            if crowds && session.number != audience.by {
                crowded.push(session.clone());
            }
        };
        let index = self.sessions.index.read().unwrap_or_else(PoisonError::into_inner);
        let manner = |route: &Route| Manner {
            qos: route.options.qos.min(message.qos),
            retain: message.retain
                && (audience.reader == Some(route.session.number) || route.options.retain_as_published),
            subscription_ids: route.options.subscription_id.into_iter().collect(),
            is_state,
        };
        let holders = index.matching(&message.topic);
        if let [only] = holders[..] {
            for route in audience.among(only) {
                push(&route.session, manner(route));
            }
        } else {
            // Who subscribed to several filters that match gets one copy, at the best of them
            // (MQTT 5.0, section 3.3.4).
            let mut merged: HashMap<u64, (&Arc<Session>, Manner)> = HashMap::new();
            for route in holders.into_iter().flat_map(|holders| audience.among(holders)) {
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
    pub(super) async fn wait_for_room(&self) {
        let pressure = &self.sessions.pressure;
        if !pressure.is_high() {
            return;
        }
        let since_ms = self.clock.now_ms();
        if pressure.is_full() {
            // At once, since nobody is to wait for who does not read.
            self.sessions
                .unload(&self.counters, since_ms, |keeps_up| !keeps_up);
        }
        while !pressure.is_low() {
            pressure.relief().await;
            let now_ms = self.clock.now_ms();
            if now_ms > since_ms + PATIENCE_MS {
                for session in self.sessions.all() {
                    session.is_awaited(pressure, now_ms);
                }
                if pressure.is_full() {
                    self.sessions.unload(&self.counters, now_ms, |_| true);
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

impl Audience {
    /// Who of these it is.
    fn among(self, holders: &HashMap<u64, Route>) -> impl Iterator<Item = &Route> {
        let one = self.reader.filter(|_| self.only_reader);
        let all = (!self.only_reader).then(|| holders.values());
        let routes = one.and_then(|number| holders.get(&number)).into_iter();
        routes
            .chain(all.into_iter().flatten())
            .filter(move |route| !(route.options.no_local && self.by == route.session.number))
    }
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
