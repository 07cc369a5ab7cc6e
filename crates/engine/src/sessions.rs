//! Sessions of people: what a browser holds after a sign-in, and what it opens.
//!
//! A session's token reads `cds_<secret>`; the database holds its SHA-256. It ends 7 days after the sign-in, or 12
//! hours after its last use. One that was looked up lately is believed without asking the database again, as API keys
//! are: one that ends here ends at once, one that another hub ends works here for [`FRESH`] at most.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use crossdock_store::{Session, SignedIn, Store, StoreError, TokenHash};
use moka::sync::Cache;
use sha2::{Digest, Sha256};

use crate::{AuthError, EngineError, Holder, Principal, Role, SessionView, keys};

/// Sessions remembered at most.
const REMEMBERED_SESSIONS: u64 = 10_000;
/// How long a session may be used without asking the database again: the longest time in which one that another hub
/// ended still works here.
const FRESH: TimeDelta = TimeDelta::seconds(5);
/// How long the database is not asked about remembered sessions once it did not answer.
const AWAY: TimeDelta = TimeDelta::seconds(5);
/// How long a remembered session is believed while the database is away.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// How long after the sign-in a session ends in any case.
const LIFE: TimeDelta = TimeDelta::days(7);
/// How long after its last use it ends.
const IDLE: TimeDelta = TimeDelta::hours(12);
/// How exactly it is known when a session was last used.
const USE_STEP: TimeDelta = TimeDelta::minutes(1);
/// Sessions of one person at one time; beyond them the oldest ends.
const SESSIONS_MAX: u32 = 50;
/// How often sessions that are over are forgotten.
const FORGET_EVERY: TimeDelta = TimeDelta::minutes(10);

const TOKEN_PREFIX: &str = "cds_";
/// 256 random bits.
const SECRET_CHARS: usize = 43;

#[derive(Clone)]
struct Remembered {
    signed_in: SignedIn,
    asked: DateTime<Utc>,
}

/// What looking at a session means for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Somebody uses it.
    Use,
    /// The hub asks for itself whether it still holds.
    Check,
}

/// The sessions of this environment.
pub(crate) struct Sessions {
    store: Store,
    remembered: Cache<TokenHash, Remembered>,
    /// Counts sessions that ended here: what was read before is not remembered after.
    endings: AtomicU64,
    /// When the database last did not answer.
    away: Mutex<Option<DateTime<Utc>>>,
    used: Mutex<HashMap<TokenHash, DateTime<Utc>>>,
    forgotten: Mutex<Option<DateTime<Utc>>>,
}

impl Sessions {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            remembered: Cache::builder()
                .max_capacity(REMEMBERED_SESSIONS)
                .time_to_live(REMEMBERED)
                .build(),
            endings: AtomicU64::default(),
            away: Mutex::default(),
            used: Mutex::default(),
            forgotten: Mutex::default(),
        }
    }

    /// Begins a session of a person whose password has this hash still; gives its token, which is not kept.
    pub(crate) async fn begin(
        &self,
        user: &str,
        password: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<(String, DateTime<Utc>)>, EngineError> {
        let token = format!("{TOKEN_PREFIX}{}", keys::random(SECRET_CHARS));
        // As exactly as the database keeps it.
        let now = now.trunc_subsecs(6);
        let session = Session {
            token_hash: digest(&token),
            user: user.to_owned(),
            created: now,
            last_used: now,
            expires: now + LIFE,
        };
        let expires = session.expires;
        let begun = self.store.add_session(session, password, SESSIONS_MAX).await?;
        Ok(begun.then_some((token, expires)))
    }

    /// The session of this token, with its owner's role as it is now.
    pub(crate) async fn find(
        &self,
        token: &str,
        look: Look,
        now: DateTime<Utc>,
    ) -> Result<(Session, Role), AuthError> {
        if !is_token(token) {
            return Err(AuthError::SessionEnded);
        }
        let SignedIn { session, role } = self.look_up(digest(token), now).await?;
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = used.get(&session.token_hash).copied();
        let last_used = noted.map_or(session.last_used, |noted| noted.max(session.last_used));
        if session.expires <= now || last_used + IDLE <= now {
            return Err(AuthError::SessionEnded);
        }
        if look == Look::Use && last_used + USE_STEP <= now {
            used.insert(session.token_hash, now);
        }
        drop(used);
        // A newer hub may know more roles; they open nothing here.
        let role = role.parse().map_err(|_| AuthError::SessionEnded)?;
        Ok((session, role))
    }

    async fn look_up(&self, hash: TokenHash, now: DateTime<Utc>) -> Result<SignedIn, AuthError> {
        let remembered = self.remembered.get(&hash);
        if let Some(known) = &remembered
            && ((now - known.asked).abs() < FRESH || self.is_away(now))
        {
            return Ok(known.signed_in.clone());
        }
        let endings = self.endings.load(Ordering::SeqCst);
        match self.store.session(&hash).await {
            Ok(Some(signed_in)) => {
                let known = Remembered {
                    signed_in: signed_in.clone(),
                    asked: now,
                };
                self.remembered.insert(hash, known);
                if self.endings.load(Ordering::SeqCst) != endings {
                    self.remembered.invalidate(&hash);
                }
                Ok(signed_in)
            }
            Ok(None) => {
                self.remembered.invalidate(&hash);
                Err(AuthError::SessionEnded)
            }
            Err(_) => {
                *self.away.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
                remembered
                    .map(|known| known.signed_in)
                    .ok_or(AuthError::Unavailable)
            }
        }
    }

    fn is_away(&self, now: DateTime<Utc>) -> bool {
        let away = *self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.is_some_and(|since| (now - since).abs() < AWAY)
    }

    pub(crate) async fn end(&self, token: &str) -> Result<(), EngineError> {
        let hash = digest(token);
        self.store.end_session(&hash).await?;
        self.endings.fetch_add(1, Ordering::SeqCst);
        self.remembered.invalidate(&hash);
        Ok(())
    }

    pub(crate) async fn end_all_of(&self, user: &str) -> Result<(), EngineError> {
        self.store.end_sessions_of(user).await?;
        self.look_again_at(user);
        Ok(())
    }

    /// Something about this person has changed: nothing that is remembered of their sessions is believed.
    pub(crate) fn look_again_at(&self, user: &str) {
        self.endings.fetch_add(1, Ordering::SeqCst);
        for (hash, known) in &self.remembered {
            if known.signed_in.session.user == user {
                self.remembered.invalidate(hash.as_ref());
            }
        }
    }

    /// Writes down when sessions were used, and forgets those that are over.
    pub(crate) async fn look_after(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let used: Vec<_> = {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            used.drain().collect()
        };
        if !used.is_empty()
            && let Err(error) = self.store.touch_sessions(&used).await
        {
            let mut again = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            for (hash, at) in used {
                again.entry(hash).or_insert(at);
            }
            // An outage that lasts is not to fill the memory: the latest uses count.
            again.retain(|_, at| *at + FORGET_EVERY > now);
            return Err(error);
        }
        let is_due = {
            let mut forgotten = self.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
            let is_due = forgotten.is_none_or(|last| (now - last).abs() >= FORGET_EVERY);
            if is_due {
                *forgotten = Some(now);
            }
            is_due
        };
        if is_due {
            self.store.forget_sessions(now, now - IDLE).await?;
        }
        Ok(())
    }
}

/// Who a session's owner is as a caller.
pub(crate) fn principal(session: &Session, role: Role) -> Principal {
    Principal {
        holder: Holder::Person {
            name: session.user.clone(),
        },
        scopes: role.scopes().to_vec(),
    }
}

pub(crate) fn view(name: String, role: Role, expires: DateTime<Utc>) -> SessionView {
    SessionView {
        name,
        role,
        scopes: role.scopes().iter().map(ToString::to_string).collect(),
        expires,
    }
}

fn is_token(token: &str) -> bool {
    token
        .strip_prefix(TOKEN_PREFIX)
        .is_some_and(|secret| secret.len() == SECRET_CHARS)
}

fn digest(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}
