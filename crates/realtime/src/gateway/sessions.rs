//! All sessions: who is connected, who may come back and for how long, and what is said of who does not.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crossdock_model::topic::{Subscription, TopicFilter};

use super::away::{Away, Due, Left};
use super::bus::{Bus, Kind};
use super::pressure::Pressure;
use super::session::{Key, Session};
use super::{Clock, Counters, RECEIVE_MAXIMUM, SESSION_LIMITS, locked};
use crate::index::Index;
use crate::session::{Client, Options, Rights, Terms};
use crate::why::Why;
use crate::wire::{Outgoing, SubscribeFilter, Will};

/// The most sessions, with their client or without: beyond it the one goes whose client is away and whose
/// time is nearest.
pub(crate) const SESSIONS_MAX: usize = 100_000;
/// The most levels of all filters together, those that several share counted once: about 500 MiB. Tests have not the time
/// to add as many.
const LEVELS_MAX: usize = if cfg!(test) { 3_200 } else { 2_000_000 };
/// Beyond so many only those add to them that have not their share: nobody alone takes it all, and as long as there is
/// room for all nobody is held to a share.
const LEVELS_MANY: usize = LEVELS_MAX / 2;
const LEVELS_SHARE: usize = LEVELS_MAX / 16;

/// Who subscribed, and how.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) session: Arc<Session>,
    pub(super) options: Options,
}

#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_key: Mutex<HashMap<Key, Arc<Session>>>,
    pub(super) index: RwLock<Index<u64, Route>>,
    away: Mutex<Away>,
    last_number: AtomicU64,
    pub(super) pressure: Pressure,
}

/// A session in the hands of a connection.
pub(super) struct Taken {
    pub(super) session: Arc<Session>,
    pub(super) epoch: u64,
    /// Whether it was there before.
    pub(super) present: bool,
    /// What is to be sent first.
    pub(super) again: Vec<Outgoing>,
    /// What it subscribed to and has to be read anew.
    pub(super) reread: Vec<TopicFilter>,
    /// What whoever held it before leaves, or who had to go for it.
    pub(super) wills: Vec<Will>,
}

impl Sessions {
    /// Takes the session up, or makes it, or makes it anew with `clean_start`; whoever held it loses it.
    pub(super) fn take(
        &self,
        key: Key,
        clean_start: bool,
        terms: Terms,
        rights: Arc<dyn Rights>,
        now_ms: u64,
    ) -> Result<Taken, Why> {
        let mut by_key = locked(&self.by_key);
        let mut wills = Vec::new();
        match by_key.get(&key) {
            Some(session) if !clean_start => {
                let session = session.clone();
                let resumed = session.take_over(terms, rights, &self.pressure, now_ms);
                locked(&self.away).back(session.number);
                return Ok(Taken {
                    session,
                    epoch: resumed.epoch,
                    present: true,
                    again: resumed.again,
                    reread: resumed.reread,
                    wills: resumed.will.into_iter().collect(),
                });
            }
            Some(_) => {
                if let Some(session) = by_key.remove(&key) {
                    wills.extend(self.close(&session));
                }
            }
            None if by_key.len() >= SESSIONS_MAX => wills.extend(self.make_room(&mut by_key)?),
            None => {}
        }
        let number = self.last_number.fetch_add(1, Relaxed) + 1;
        let client = Client::new(terms, RECEIVE_MAXIMUM, SESSION_LIMITS);
        let session = Arc::new(Session::new(number, key.clone(), client, rights));
        by_key.insert(key, session.clone());
        Ok(Taken {
            session,
            epoch: 0,
            present: false,
            again: Vec::new(),
            reread: Vec::new(),
            wills,
        })
    }

    /// Adds to the index, unless the session was forgotten meanwhile.
    pub(super) fn subscribe(&self, session: &Arc<Session>, subscription: &Subscription, options: Options) {
        let route = Route {
            session: session.clone(),
            options,
        };
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let owner = &session.key.principal;
        index.insert(&subscription.filter, owner, session.number, route);
        if session.is_closed() {
            index.remove(&subscription.filter, &session.number);
        }
    }

    pub(super) fn unsubscribe(&self, session: &Session, subscription: &Subscription) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.remove(&subscription.filter, &session.number);
    }

    /// The places of the filters that would take more memory than this principal may add. Those that are there already, of
    /// whomever, take none; so one that it `may` not subscribe to is left to the refusal that says nothing of others.
    pub(super) fn without_room(
        &self,
        principal: &str,
        filters: &[SubscribeFilter],
        may: impl Fn(&TopicFilter) -> bool,
    ) -> Vec<usize> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let levels = index.levels();
        let has_room =
            levels < LEVELS_MANY || levels < LEVELS_MAX && index.levels_of(principal) < LEVELS_SHARE;
        if has_room {
            return Vec::new();
        }
        let adds = |filter: &SubscribeFilter| {
            let subscription = Subscription::new(&filter.text);
            subscription.is_ok_and(|Subscription { filter, .. }| may(&filter) && !index.has_levels(&filter))
        };
        let filters = filters.iter().enumerate();
        filters
            .filter_map(|(place, filter)| adds(filter).then_some(place))
            .collect()
    }

    /// Forgets a session that its client has left, unless somebody came back; gives the will that it leaves.
    pub(super) fn forget(&self, Left { session, epoch, .. }: &Left) -> Option<Will> {
        let mut by_key = locked(&self.by_key);
        if !session.is_left(*epoch) {
            return None;
        }
        by_key.remove(&session.key);
        drop(by_key);
        self.close(session)
    }

    /// Makes room where more waits than may, for all sessions together: first at the expense of who does not read, and of
    /// those whom most waits for. `who`: which of them at all, by whether they keep up; they keep it where it would still be
    /// too much without all of theirs.
    pub(super) fn unload(&self, counters: &Counters, now_ms: u64, who: impl Fn(bool) -> bool) {
        let all = self.all().into_iter();
        let mut loaded: Vec<_> = all
            .map(|session| (session.load(now_ms), session))
            .filter(|((keeps_up, bytes), _)| *bytes > 0 && who(*keeps_up))
            .collect();
        let theirs = loaded.iter().map(|((_, bytes), _)| bytes).sum();
        if self.pressure.is_full_without(theirs) {
            return;
        }
        loaded.sort_unstable_by_key(|((keeps_up, bytes), _)| (*keeps_up, Reverse(*bytes)));
        for (_, session) in loaded {
            if self.pressure.has_room() {
                return;
            }
            session.unload(counters, &self.pressure);
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<Session>> {
        locked(&self.by_key).values().cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        locked(&self.by_key).len()
    }

    /// Those whose clients are here. Whoever is not let in has none.
    pub(super) fn with_client(&self) -> usize {
        let away = locked(&self.away).len();
        self.len().saturating_sub(away)
    }

    fn make_room(&self, by_key: &mut HashMap<Key, Arc<Session>>) -> Result<Option<Will>, Why> {
        loop {
            let first = locked(&self.away).first_to_go();
            let Left { session, epoch, .. } = first.ok_or(Why::TooManySessions)?;
            if session.is_left(epoch) {
                by_key.remove(&session.key);
                return Ok(self.close(&session));
            }
        }
    }

    fn close(&self, session: &Session) -> Option<Will> {
        locked(&self.away).back(session.number);
        let (will, filters) = session.close(&self.pressure);
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        for filter in filters {
            index.remove(&filter, &session.number);
        }
        will
    }
}

/// A connection is over: publishes its will, now or after its delay, and forgets the session in its time.
pub(super) async fn leave(
    sessions: &Sessions,
    bus: &Bus,
    clock: Clock,
    (session, epoch): (Arc<Session>, u64),
    will: Option<Will>,
) {
    let now_ms = clock.now_ms();
    let Some(parting) = session.leave(epoch, will, &sessions.pressure, now_ms) else {
        return;
    };
    let number = session.number;
    let after = |seconds: u32| now_ms + u64::from(seconds) * 1000;
    let left = Left {
        session,
        epoch,
        expires_ms: after(parting.expiry_s),
    };
    let goes = if parting.expiry_s == 0 {
        Some(left)
    } else {
        locked(&sessions.away).put(left, parting.will_delay_s.map(after))
    };
    let left_by = goes.map(|goes| (goes.session.number, sessions.forget(&goes)));
    publish(bus, number, parting.will).await;
    if let Some((number, will)) = left_by {
        publish(bus, number, will).await;
    }
}

/// Does what is due for sessions whose clients are away.
pub(super) async fn tend(sessions: &Sessions, bus: &Bus, now_ms: u64) {
    loop {
        let due = locked(&sessions.away).next_due(now_ms);
        match due {
            Some(Due::Will(Left { session, epoch, .. })) => {
                publish(bus, session.number, session.overdue_will(epoch)).await;
            }
            Some(Due::Expiry(left)) => {
                publish(bus, left.session.number, sessions.forget(&left)).await;
            }
            None => return,
        }
    }
}

/// A will is published as the client of this session would have.
pub(super) async fn publish(bus: &Bus, by: u64, will: Option<Will>) {
    if let Some(will) = will {
        bus.publish(Arc::new(will.message), Kind::Published { by }).await;
    }
}
