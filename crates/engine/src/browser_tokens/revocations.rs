//! Tokens that are over before their time, as far as this hub knows: read from the database every few seconds and after
//! each change of its own, and kept in memory for those who ask with every packet.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use chrono::{DateTime, TimeDelta, Utc};
use crossdock_store::{Revocation, RevokedKind, Store};
use tokio::sync::watch;

use super::token::{LIFE_MAX, SKEW};
use crate::EngineError;

/// Revocations in force at most, of each API key, and of all administrators together.
const REVOCATIONS_MAX: u32 = 10_000;
/// A subject's revocation reaches so far ahead, since the clock of the hub that minted the token may be as fast.
const REACH: TimeDelta = TimeDelta::seconds(2);
/// How long after it was revoked a token could still be believed if nobody remembered.
pub(super) const REMEMBERED: TimeDelta =
    TimeDelta::seconds(LIFE_MAX.num_seconds() + 2 * SKEW.num_seconds() + REACH.num_seconds());

/// Who revokes. What one of them has too many of is nothing to the others.
#[derive(Clone, Copy, Debug)]
pub(super) enum Revoker<'a> {
    /// An API key that is no administrator's, which can name only what it minted itself.
    ApiKey(&'a str),
    /// All of them together.
    Administrators,
    /// The hub, which names nothing but signing keys: there are no more revocations than those.
    Hub,
}

impl Revoker<'_> {
    /// What it is called in the database. No key's id has a colon.
    fn name(&self) -> &str {
        match self {
            Self::ApiKey(id) => id,
            Self::Administrators => "role:admin",
            Self::Hub => "hub:",
        }
    }

    fn max(&self) -> u32 {
        match self {
            Self::ApiKey(_) | Self::Administrators => REVOCATIONS_MAX,
            Self::Hub => u32::MAX,
        }
    }
}

type Known = HashMap<(RevokedKind, String), DateTime<Utc>>;

/// By what a token can be revoked.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    pub(super) issued: DateTime<Utc>,
    /// How far ahead of the hubs' clocks its issuer's may be.
    pub(super) ahead: TimeDelta,
    pub(super) subject: String,
    pub(super) principal: String,
    pub(super) token: Option<String>,
    pub(super) api_key: Option<String>,
    pub(super) signing_key: Option<String>,
}

pub(super) struct Revocations {
    store: Store,
    known: ArcSwap<Known>,
    /// Counts the changes of `known`.
    state: AtomicU64,
    changes: watch::Sender<u64>,
    /// What is read later is put in place later.
    reading: tokio::sync::Mutex<()>,
}

impl Revocations {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            known: ArcSwap::default(),
            state: AtomicU64::default(),
            changes: watch::Sender::default(),
            reading: tokio::sync::Mutex::default(),
        }
    }

    /// Changes whenever a token may have been revoked.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The number of what is known now.
    pub(super) fn state(&self) -> u64 {
        self.state.load(Ordering::Acquire)
    }

    /// Whether a token with these marks is over. A subject may come back; a token, and what made it, may not.
    pub(super) fn cover(&self, marks: &Marks) -> bool {
        let known = self.known.load();
        let since = |kind, name: &str| known.get(&(kind, name.to_owned())).copied();
        let is_named =
            |kind, name: &Option<String>| name.as_deref().is_some_and(|name| since(kind, name).is_some());
        let was_issued_before =
            |kind, name| since(kind, name).is_some_and(|revoked| marks.issued <= revoked + marks.ahead);
        !known.is_empty()
            && (is_named(RevokedKind::Token, &marks.token)
                || is_named(RevokedKind::ApiKey, &marks.api_key)
                || is_named(RevokedKind::SigningKey, &marks.signing_key)
                || was_issued_before(RevokedKind::Subject, &marks.subject)
                || was_issued_before(RevokedKind::Principal, &marks.principal))
    }

    /// Until when a token that is minted for them is one of those that were revoked.
    pub(super) fn revoked_until(&self, subject: &str, principal: &str) -> Option<DateTime<Utc>> {
        let known = self.known.load();
        let of = |kind, name: &str| known.get(&(kind, name.to_owned())).copied();
        of(RevokedKind::Subject, subject).max(of(RevokedKind::Principal, principal))
    }

    /// Revokes what bears this name: here at once, on other hubs when they look next.
    pub(super) async fn add(
        &self,
        revoker: Revoker<'_>,
        kind: RevokedKind,
        name: &str,
        now: DateTime<Utc>,
    ) -> Result<(), EngineError> {
        let revocation = Revocation {
            kind,
            name: name.to_owned(),
            at: now + REACH,
            until: now + REMEMBERED,
        };
        self.store
            .revoke_tokens(revocation, revoker.name(), revoker.max())
            .await?;
        self.refresh(now).await
    }

    /// Reads what all hubs know.
    pub(super) async fn refresh(&self, now: DateTime<Utc>) -> Result<(), EngineError> {
        let _one_at_a_time = self.reading.lock().await;
        let read = self.store.token_revocations(now, REMEMBERED).await?;
        let read: Known = read
            .into_iter()
            .map(|revocation| ((revocation.kind, revocation.name), revocation.at))
            .collect();
        let known = self.known.load();
        let is_news = read.iter().any(|(name, at)| known.get(name) != Some(at));
        self.known.store(Arc::new(read));
        if is_news {
            self.state.fetch_add(1, Ordering::Release);
            self.changes.send_modify(|changes| *changes += 1);
        }
        Ok(())
    }
}
