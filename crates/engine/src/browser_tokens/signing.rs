//! The keys that sign this environment's browser tokens. Each hub signs with a pair of its own, made when it is first
//! needed, whose private half never leaves the process's memory; the public half is in the database, where every hub
//! finds it. So a copy of the database mints nothing, hubs need to share no secret, and a hub that is gone has its
//! tokens verified to their end.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::{ArcSwap, ArcSwapOption};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use crossdock_store::{SigningKey, Store};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde::Serialize;

use super::{
    Keys, TokenFault,
    token::{LIFE_MAX, SKEW, Verifier},
};
use crate::{EngineError, keys};

/// How long a hub signs with one key; the next one follows by itself.
const SIGNS_FOR: TimeDelta = TimeDelta::days(1);
/// What a key signed is believed so long after its last signature.
pub(super) const VERIFIES_AFTER: TimeDelta = TimeDelta::seconds(LIFE_MAX.num_seconds() + SKEW.num_seconds());
/// How often the database is asked about a key that nobody here knows.
const ASK_AGAIN: TimeDelta = TimeDelta::seconds(1);
const KID_CHARS: usize = 16;

/// The pair that this hub signs with.
struct Own {
    kid: String,
    private: EncodingKey,
    public: Public,
    until: DateTime<Utc>,
}

/// A public key of this or another hub.
#[derive(Clone)]
struct Public {
    verifier: Arc<Verifier>,
    until: DateTime<Utc>,
}

pub(super) struct Signing {
    store: Store,
    own: ArcSwapOption<Own>,
    known: ArcSwap<HashMap<String, Public>>,
    /// Held while `own` and `known` change together, for no longer than that.
    placing: Mutex<()>,
    /// One pair at a time is made: who waits for it signs with it.
    making: tokio::sync::Mutex<()>,
    /// What is read later is put in place later.
    reading: tokio::sync::Mutex<()>,
    /// The last time that the database was asked about a key that nobody here knew. Those who come meanwhile wait.
    asked: tokio::sync::Mutex<Option<Asked>>,
    /// Counts those times, also those that ended without an answer because nobody waited any more.
    times_asked: AtomicU64,
}

#[derive(Clone, Copy)]
struct Asked {
    /// Which time it was.
    time: u64,
    at: DateTime<Utc>,
    answered: bool,
}

impl Signing {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            own: ArcSwapOption::empty(),
            known: ArcSwap::default(),
            placing: Mutex::default(),
            making: tokio::sync::Mutex::default(),
            reading: tokio::sync::Mutex::default(),
            asked: tokio::sync::Mutex::default(),
            times_asked: AtomicU64::default(),
        }
    }

    /// Signs claims.
    pub(super) async fn sign(
        &self,
        claims: &impl Serialize,
        now: DateTime<Utc>,
    ) -> Result<String, EngineError> {
        let own = match self.own(now) {
            Some(own) => own,
            None => {
                let _one_at_a_time = self.making.lock().await;
                match self.own(now) {
                    Some(made_meanwhile) => made_meanwhile,
                    None => self.make(now).await?,
                }
            }
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(own.kid.clone());
        jsonwebtoken::encode(&header, claims, &own.private)
            .map_err(|error| EngineError::Internal(format!("a token was not signed: {error}")))
    }

    /// The pair that signs now, if there is one.
    fn own(&self, now: DateTime<Utc>) -> Option<Arc<Own>> {
        self.own.load_full().filter(|own| now < own.until)
    }

    /// Makes the pair that is signed with from now on, and makes it known to all hubs before anything is signed.
    async fn make(&self, now: DateTime<Utc>) -> Result<Arc<Own>, EngineError> {
        let failed = |_| EngineError::Internal("no signing key could be made".into());
        // As exactly as the database keeps it.
        let made = now.trunc_subsecs(6);
        let pair = Ed25519KeyPair::generate().map_err(failed)?;
        let private = pair.to_pkcs8v1().map_err(failed)?;
        let key = SigningKey {
            kid: keys::random(KID_CHARS),
            public_key: pair.public_key().as_ref().to_vec(),
            created: made,
            signs_until: made + SIGNS_FOR,
            verifies_until: made + SIGNS_FOR + VERIFIES_AFTER,
        };
        self.store.add_signing_key(key.clone()).await?;
        let own = Arc::new(Own {
            kid: key.kid.clone(),
            private: EncodingKey::from_ed_der(private.as_ref()),
            public: public(&key),
            until: key.signs_until,
        });
        let _together = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = HashMap::clone(&self.known.load());
        known.insert(key.kid, own.public.clone());
        self.known.store(Arc::new(known));
        self.own.store(Some(own.clone()));
        tracing::info!(kid = own.kid, "a key that signs browser tokens was made");
        Ok(own)
    }

    /// What verifies tokens that the key of this name signed.
    pub(super) async fn verifier(
        &self,
        kid: &str,
        keys: Keys,
        now: DateTime<Utc>,
    ) -> Result<Arc<Verifier>, TokenFault> {
        if let Some(known) = self.known(kid, now) {
            return Ok(known);
        }
        if keys == Keys::AtHand {
            return Err(TokenFault::UnknownKey);
        }
        let before = self.times_asked.load(Ordering::Relaxed);
        let mut asked = self.asked.lock().await;
        // Whoever came before a time that was answered knows what it brought, so that a database that is away makes no queue.
        let last = asked.filter(|last| last.time > before || (now - last.at).abs() < ASK_AGAIN);
        let answered = match last {
            Some(last) => last.answered,
            None => {
                let time = self.times_asked.fetch_add(1, Ordering::Relaxed) + 1;
                let answered = self.refresh(now).await.is_ok();
                *asked = Some(Asked {
                    time,
                    at: now,
                    answered,
                });
                answered
            }
        };
        self.known(kid, now).ok_or(match answered {
            true => TokenFault::UnknownKey,
            false => TokenFault::KeysUnavailable,
        })
    }

    /// While it lives, questions about unknown keys wait.
    #[cfg(test)]
    pub(super) async fn hold_questions(&self) -> impl Sized + '_ {
        self.asked.lock().await
    }

    fn known(&self, kid: &str, now: DateTime<Utc>) -> Option<Arc<Verifier>> {
        let known = self.known.load();
        let known = known.get(kid).filter(|key| now < key.until)?;
        Some(known.verifier.clone())
    }

    /// Reads the keys of all hubs. A pair of this hub's that signs no longer by the database's word is given up. It waits
    /// for nobody who makes a pair, which takes as long as the database does: one that is made meanwhile stays.
    pub(super) async fn refresh(&self, now: DateTime<Utc>) -> Result<(), EngineError> {
        let _one_at_a_time = self.reading.lock().await;
        let before = self.own.load_full();
        let read = self.store.signing_keys(now).await?;
        let signs = |own: &Own| read.iter().any(|key| key.kid == own.kid && key.signs_until > now);
        let mut known: HashMap<_, _> = read.iter().map(|key| (key.kid.clone(), public(key))).collect();
        let _together = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
        match (self.own.load_full(), before) {
            (Some(own), Some(before)) if Arc::ptr_eq(&own, &before) => {
                if !signs(&own) {
                    self.own.store(None);
                }
            }
            (Some(made_meanwhile), _) => {
                let Own { kid, public, .. } = &*made_meanwhile;
                known.entry(kid.clone()).or_insert_with(|| public.clone());
            }
            (None, _) => {}
        }
        self.known.store(Arc::new(known));
        Ok(())
    }

    /// While it lives no pair is made: one that is under way is in use before.
    pub(super) async fn make_none(&self) -> impl Sized + '_ {
        self.making.lock().await
    }
}

fn public(key: &SigningKey) -> Public {
    Public {
        verifier: Arc::new(Verifier {
            algorithm: Algorithm::EdDSA,
            key: DecodingKey::from_ed_der(&key.public_key),
        }),
        until: key.verifies_until,
    }
}
