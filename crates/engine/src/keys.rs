//! API keys: who holds one, what it opens.
//!
//! A key reads `cdk_<id>_<secret>`. The database holds the SHA-256 of the secret, which is enough for a
//! secret of 256 random bits. A key seen lately stays known while the database is away.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use crossdock_config::readable_filter;
use crossdock_model::topic::TopicFilter;
use crossdock_store::{ApiKey, Store, StoreError};
use moka::sync::Cache;
use rand::{Rng, distr::Alphanumeric};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{ApiKeyView, AuthError, EngineError, Holder, Principal, Scope, browser_tokens::TOPICS_MAX};

/// What every API key begins with.
pub(crate) const KEY_PREFIX: &str = "cdk_";
/// Keys remembered at most.
const REMEMBERED_KEYS: u64 = 10_000;
/// How long a key may be used without asking the database again: the longest time in which a key that
/// another hub revoked still works here.
const FRESH: TimeDelta = TimeDelta::seconds(5);
/// How long the database is not asked about remembered keys once it did not answer: a request is not to wait for it
/// time and again.
const AWAY: TimeDelta = TimeDelta::seconds(5);
/// How long a remembered key is believed while the database is away.
const REMEMBERED: Duration = Duration::from_secs(3600);

const NAME_MAX_CHARS: usize = 100;
/// A topic filter of a key is no longer, in bytes.
const TOPIC_MAX_BYTES: usize = 1_024;
const ID_CHARS: usize = 12;
/// 256 random bits.
const SECRET_CHARS: usize = 43;

/// A key to be made.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What people will call it: up to 100 characters.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The topic filters within which it may mint browser tokens: up to 50.
    pub topics: Vec<String>,
    /// The adapter it belongs to: it then sends as that adapter and nothing else.
    pub adapter: Option<String>,
    /// When it ends by itself.
    pub expires: Option<DateTime<Utc>>,
}

/// What a key may give browsers to read.
#[derive(Default)]
pub(crate) struct Grantor {
    /// The public half of the key.
    pub(crate) id: String,
    pub(crate) topics: Vec<TopicFilter>,
    /// When the key ends by itself, and what it gave with it.
    pub(crate) expires: Option<DateTime<Utc>>,
}

#[derive(Clone)]
struct Remembered {
    key: ApiKey,
    asked: DateTime<Utc>,
}

/// The keys of this environment.
pub(crate) struct Keys {
    store: Store,
    remembered: Cache<String, Remembered>,
    /// When the database last did not answer.
    away: Mutex<Option<DateTime<Utc>>>,
    used: Mutex<HashSet<String>>,
}

impl Keys {
    pub(crate) fn new(store: Store) -> Self {
        let remembered = Cache::builder()
            .max_capacity(REMEMBERED_KEYS)
            .time_to_live(REMEMBERED)
            .build();
        Self {
            store,
            remembered,
            away: Mutex::default(),
            used: Mutex::default(),
        }
    }

    pub(crate) async fn authenticate(&self, token: &str, now: DateTime<Utc>) -> Result<Principal, AuthError> {
        let (id, secret) = split(token).ok_or(AuthError::Unknown)?;
        let key = self.find(id, now).await?;
        if !bool::from(digest(secret).ct_eq(&key.hash)) {
            return Err(AuthError::Unknown);
        }
        if key.revoked.is_some() {
            return Err(AuthError::Revoked);
        }
        if key.expires.is_some_and(|expires| expires <= now) {
            return Err(AuthError::Expired);
        }
        if let Ok(mut used) = self.used.lock() {
            used.insert(key.id.clone());
        }
        let scopes = key.scopes.iter().filter_map(|scope| scope.parse().ok()).collect();
        let holder = match key.adapter {
            Some(name) => Holder::Adapter { key_id: key.id, name },
            None => Holder::Key {
                id: key.id,
                name: key.name,
            },
        };
        Ok(Principal { holder, scopes })
    }

    /// What the key of this id, whose caller was authenticated, may give browsers to read.
    pub(crate) async fn grantor(&self, id: &str, now: DateTime<Utc>) -> Result<Grantor, EngineError> {
        let key = self.find(id, now).await.map_err(|error| match error {
            AuthError::Unavailable => EngineError::unavailable(error.to_string()),
            _ => EngineError::Conflict("the API key is gone".into()),
        })?;
        let topics = key.topics.iter().filter_map(|text| readable_filter(text).ok());
        Ok(Grantor {
            topics: topics.collect(),
            id: key.id,
            expires: key.expires,
        })
    }

    async fn find(&self, id: &str, now: DateTime<Utc>) -> Result<ApiKey, AuthError> {
        let remembered = self.remembered.get(id);
        if let Some(known) = &remembered
            && ((now - known.asked).abs() < FRESH || self.is_away(now))
        {
            return Ok(known.key.clone());
        }
        match self.store.api_key(id).await {
            Ok(Some(key)) => {
                self.remembered.insert(
                    id.to_owned(),
                    Remembered {
                        key: key.clone(),
                        asked: now,
                    },
                );
                Ok(key)
            }
            Ok(None) => {
                self.remembered.invalidate(id);
                Err(AuthError::Unknown)
            }
            Err(_) => {
                *self.away.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
                remembered.map(|known| known.key).ok_or(AuthError::Unavailable)
            }
        }
    }

    fn is_away(&self, now: DateTime<Utc>) -> bool {
        let away = *self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.is_some_and(|since| (now - since).abs() < AWAY)
    }

    /// Makes a key and returns it with its whole text, which is not kept.
    pub(crate) async fn add(
        &self,
        new: NewKey,
        now: DateTime<Utc>,
    ) -> Result<(ApiKeyView, String), EngineError> {
        let (_, text) = new_text();
        let key = self.add_with_text(new, &text, now).await?;
        Ok((key, text))
    }

    /// Makes a key of a text that [`new_text`] gave.
    pub(crate) async fn add_with_text(
        &self,
        new: NewKey,
        text: &str,
        now: DateTime<Utc>,
    ) -> Result<ApiKeyView, EngineError> {
        let name = new.name.trim();
        if name.is_empty() || name.chars().count() > NAME_MAX_CHARS || name.chars().any(char::is_control) {
            return Err(EngineError::Invalid(format!(
                "a key's name has 1 to {NAME_MAX_CHARS} printable characters"
            )));
        }
        if new.scopes.is_empty() && new.adapter.is_none() {
            return Err(EngineError::Invalid("a key needs at least one scope".into()));
        }
        check_topics(&new)?;
        if new.expires.is_some_and(|expires| expires <= now) {
            return Err(EngineError::Invalid("expires lies in the past".into()));
        }
        let (id, secret) =
            split(text).ok_or_else(|| EngineError::Internal("a key's text has another form".into()))?;
        let key = ApiKey {
            id: id.to_owned(),
            name: name.to_owned(),
            hash: digest(secret),
            scopes: new.scopes.iter().map(ToString::to_string).collect(),
            topics: new.topics,
            adapter: new.adapter,
            created: now,
            expires: new.expires,
            revoked: None,
            last_used: None,
        };
        self.store.add_api_key(key.clone()).await?;
        Ok(view(key))
    }

    pub(crate) async fn list(&self) -> Result<Vec<ApiKeyView>, EngineError> {
        Ok(self.store.api_keys().await?.into_iter().map(view).collect())
    }

    pub(crate) async fn revoke(&self, id: &str, now: DateTime<Utc>) -> Result<(), EngineError> {
        self.store
            .revoke_api_key(id, now)
            .await
            .map_err(|error| match error {
                StoreError::NotFound => EngineError::NotFound(format!("there is no API key {id:?}")),
                other => other.into(),
            })?;
        self.remembered.invalidate(id);
        Ok(())
    }

    /// Writes down which keys were used since the last call.
    pub(crate) async fn note_use(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let used: Vec<_> = match self.used.lock() {
            Ok(mut used) => used.drain().map(|id| (id, now)).collect(),
            Err(_) => return Ok(()),
        };
        if used.is_empty() {
            Ok(())
        } else {
            self.store.touch_api_keys(&used).await
        }
    }
}

/// A random word of `length` letters and digits: about 5.95 bits each.
pub(crate) fn random(length: usize) -> String {
    rand::rng()
        .sample_iter(Alphanumeric)
        .take(length)
        .map(char::from)
        .collect()
}

/// A new key's id and whole text.
pub(crate) fn new_text() -> (String, String) {
    let (id, secret) = (random(ID_CHARS), random(SECRET_CHARS));
    let text = format!("{KEY_PREFIX}{id}_{secret}");
    (id, text)
}

/// Topics are for keys that may mint browser tokens, and such a key mints nothing without.
fn check_topics(new: &NewKey) -> Result<(), EngineError> {
    let mints = new.scopes.contains(&Scope::BrowserTokensWrite);
    let may_mint = mints || new.scopes.contains(&Scope::Admin);
    if new.topics.is_empty() && mints {
        return Err(EngineError::Invalid(format!(
            "a key with the scope {} needs topics: the filters within which it may mint browser tokens",
            Scope::BrowserTokensWrite
        )));
    }
    if !new.topics.is_empty() && !may_mint {
        return Err(EngineError::Invalid(format!(
            "a key with topics needs the scope {}: they are what it may mint browser tokens for",
            Scope::BrowserTokensWrite
        )));
    }
    if new.topics.len() > TOPICS_MAX {
        return Err(EngineError::Invalid(format!(
            "a key has {} topics, expected at most {TOPICS_MAX}",
            new.topics.len()
        )));
    }
    for text in &new.topics {
        if text.len() > TOPIC_MAX_BYTES {
            return Err(EngineError::Invalid(format!(
                "a topic filter has {} bytes, expected at most {TOPIC_MAX_BYTES}",
                text.len()
            )));
        }
        readable_filter(text)
            .map_err(|reason| EngineError::Invalid(format!("the topic filter {text:?} {reason}")))?;
    }
    Ok(())
}

fn split(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.strip_prefix(KEY_PREFIX)?.split_once('_')?;
    (id.len() == ID_CHARS && secret.len() == SECRET_CHARS).then_some((id, secret))
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

fn view(key: ApiKey) -> ApiKeyView {
    ApiKeyView {
        id: key.id,
        name: key.name,
        scopes: key.scopes,
        topics: key.topics,
        adapter: key.adapter,
        created: key.created,
        expires: key.expires,
        revoked: key.revoked,
        last_used: key.last_used,
    }
}

#[cfg(test)]
mod tests;
