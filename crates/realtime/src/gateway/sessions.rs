//! All sessions: who is connected, who may come back and for how long, and what is said of who does not.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use crossdock_model::topic::Subscription;

use super::bus::{Bus, Kind};
use super::pressure::Pressure;
use super::session::{Key, Left, Session};
use super::{Clock, RECEIVE_MAXIMUM, SESSION_LIMITS, locked};
use crate::index::Index;
use crate::session::{Client, Options, Rights, Terms};
use crate::wire::{Outgoing, Reason, Will};

/// The most sessions, with their client or without.
const SESSIONS_MAX: usize = 100_000;

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
    last_number: AtomicU64,
    pub(super) pressure: Pressure,
}

/// A session in the hands of a connection.
pub(super) struct Taken {
    pub(super) session: Arc<Session>,
    pub(super) epoch: u64,
    /// Whether it was there before.
    pub(super) present: bool,
    /// What was on its way, to be sent again first.
    pub(super) again: Vec<Outgoing>,
    /// What whoever held it before leaves.
    pub(super) will: Option<Will>,
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
    ) -> Result<Taken, Reason> {
        let mut by_key = locked(&self.by_key);
        let mut left_will = None;
        match by_key.get(&key) {
            Some(session) if !clean_start => {
                let session = session.clone();
                let (epoch, again, will) = session.take_over(terms, rights, now_ms);
                return Ok(Taken {
                    session,
                    epoch,
                    present: true,
                    again,
                    will,
                });
            }
            Some(_) => {
                if let Some(session) = by_key.remove(&key) {
                    left_will = self.close(&session);
                }
            }
            None if by_key.len() >= SESSIONS_MAX => return Err(Reason::QuotaExceeded),
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
            will: left_will,
        })
    }

    /// Adds to the index, unless the session was forgotten meanwhile.
    pub(super) fn subscribe(&self, session: &Arc<Session>, subscription: &Subscription, options: Options) {
        let route = Route {
            session: session.clone(),
            options,
        };
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.insert(&subscription.filter, session.number, route);
        if session.is_closed() {
            index.remove(&subscription.filter, &session.number);
        }
    }

    pub(super) fn unsubscribe(&self, session: &Session, subscription: &Subscription) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.remove(&subscription.filter, &session.number);
    }

    /// Forgets a session whose time is over; gives the will that it leaves.
    pub(super) fn forget(&self, session: &Arc<Session>) -> Option<Will> {
        let mut by_key = locked(&self.by_key);
        if by_key
            .get(&session.key)
            .is_some_and(|kept| Arc::ptr_eq(kept, session))
        {
            by_key.remove(&session.key);
        }
        drop(by_key);
        self.close(session)
    }

    pub(super) fn all(&self) -> Vec<Arc<Session>> {
        locked(&self.by_key).values().cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        locked(&self.by_key).len()
    }

    fn close(&self, session: &Session) -> Option<Will> {
        let (will, filters) = session.close(&self.pressure);
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        for text in filters {
            if let Ok(subscription) = Subscription::new(&text) {
                index.remove(&subscription.filter, &session.number);
            }
        }
        will
    }
}

/// A connection is over: publishes its will, now or after its delay, and forgets the session in its time.
pub(super) async fn leave(
    sessions: &Arc<Sessions>,
    bus: &Arc<Bus>,
    clock: Clock,
    (session, epoch): (Arc<Session>, u64),
    will: Option<Will>,
) {
    let Some(left) = session.leave(epoch, will, &sessions.pressure, clock.now_ms()) else {
        return;
    };
    let Left {
        will,
        will_delay_s,
        expiry_s,
    } = left;
    publish(bus, &session, will).await;
    if expiry_s == 0 {
        let will = sessions.forget(&session);
        publish(bus, &session, will).await;
        return;
    }
    let (sessions, bus) = (sessions.clone(), bus.clone());
    tokio::spawn(async move {
        let delay_s = will_delay_s.unwrap_or(0);
        if delay_s > 0 {
            tokio::time::sleep(Duration::from_secs(delay_s.into())).await;
            let will = session.overdue_will(epoch);
            publish(&bus, &session, will).await;
        }
        tokio::time::sleep(Duration::from_secs((expiry_s - delay_s).into())).await;
        if session.is_left(epoch) {
            let will = sessions.forget(&session);
            publish(&bus, &session, will).await;
        }
    });
}

/// A will is published as its client would have.
pub(super) async fn publish(bus: &Bus, session: &Session, will: Option<Will>) {
    if let Some(will) = will {
        let by = session.number;
        bus.publish(Arc::new(will.message), Kind::Published { by }).await;
    }
}
