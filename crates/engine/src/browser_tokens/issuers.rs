//! Outside issuers of tokens: identity providers whose public keys are fetched as JSON Web Key Sets (RFC 7517) and
//! kept. A key that nobody knows has them fetched again, but seldom; a provider that is down changes nothing for as
//! long as its last keys are believed, one that says it has no keys ends its tokens. What a claim holds never opens more than the settings say.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use crossdock_config::{TokenIssuer, readable_filter};
use crossdock_model::topic::TopicFilter;
use serde_json::Value;

use super::{
    Keys, TOPICS_MAX, TokenFault, jwks,
    token::{Claims, Unverified, Verifier},
};
use crate::outbound::{Method, Outbound, Request, StatusCode, Wanted, header};

/// How long a fetch may take.
const FETCH_MAX: Duration = Duration::from_secs(5);
/// A key set is no longer, in bytes.
const KEY_SET_MAX_BYTES: usize = 256 * 1024;
/// Keys are fetched no more often, whatever keys tokens name.
const FETCH_AGAIN: TimeDelta = TimeDelta::seconds(30);
/// Keys are fetched again when they are so old: one that was withdrawn is believed no longer.
const FRESH: TimeDelta = TimeDelta::minutes(10);
/// How long the last known keys are believed while the issuer cannot be reached.
const BELIEVED: TimeDelta = TimeDelta::hours(24);

pub(super) struct Issuers(Vec<Issuer>);

pub(super) struct Issuer {
    settings: TokenIssuer,
    within: Vec<TopicFilter>,
    outbound: Outbound,
    keys: ArcSwapOption<Fetched>,
    /// When a fetch last began.
    tried: Mutex<Option<DateTime<Utc>>>,
    /// One fetch at a time; those who wait for it look at what it brought.
    fetching: tokio::sync::Mutex<()>,
}

struct Fetched {
    keys: HashMap<String, Arc<Verifier>>,
    at: DateTime<Utc>,
}

impl Issuers {
    pub(super) fn new(settings: Vec<TokenIssuer>, outbound: &Outbound) -> Self {
        let issuer = |settings: TokenIssuer| Issuer {
            within: settings
                .within
                .iter()
                .filter_map(|text| readable_filter(text).ok())
                .collect(),
            settings,
            outbound: outbound.clone(),
            keys: ArcSwapOption::empty(),
            tried: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        };
        Self(settings.into_iter().map(issuer).collect())
    }

    /// The one whose tokens have this `iss`.
    pub(super) fn of(&self, iss: &str) -> Option<&Issuer> {
        self.0.iter().find(|issuer| issuer.settings.issuer == iss)
    }

    /// Fetches the keys that are out of date, of all issuers at once.
    pub(super) async fn look_after(&self, now: DateTime<Utc>) {
        let is_due = |issuer: &&Issuer| issuer.fetched().is_none_or(|keys| now - keys.at >= FRESH);
        let due = self.0.iter().filter(is_due).map(|issuer| issuer.fetch(now));
        futures::future::join_all(due).await;
    }
}

impl Issuer {
    /// What the hub calls it.
    pub(super) fn name(&self) -> &str {
        &self.settings.name
    }

    /// The claims of a token that this issuer signed for this hub.
    pub(super) async fn verified(
        &self,
        token: Unverified<'_>,
        keys: Keys,
        now: DateTime<Utc>,
    ) -> Result<Claims, TokenFault> {
        let verifier = self.verifier(token.kid()?, keys, now).await?;
        let claims = token.verified(&verifier)?;
        claims.must_be_for(&self.settings.audience)?;
        Ok(claims)
    }

    async fn verifier(&self, kid: &str, keys: Keys, now: DateTime<Utc>) -> Result<Arc<Verifier>, TokenFault> {
        let known = self.known(kid, now);
        if known.is_ok() || keys == Keys::AtHand {
            return known;
        }
        self.fetch(now).await;
        self.known(kid, now)
    }

    fn known(&self, kid: &str, now: DateTime<Utc>) -> Result<Arc<Verifier>, TokenFault> {
        let is_believed = |known: &Arc<Fetched>| now - known.at < BELIEVED && !known.keys.is_empty();
        let keys = self.fetched().filter(is_believed);
        let keys = keys.ok_or(TokenFault::KeysUnavailable)?;
        keys.keys.get(kid).cloned().ok_or(TokenFault::UnknownKey)
    }

    fn fetched(&self) -> Option<Arc<Fetched>> {
        self.keys.load_full()
    }

    /// Fetches the keys, unless that was tried a moment ago.
    async fn fetch(&self, now: DateTime<Utc>) {
        let _one_at_a_time = self.fetching.lock().await;
        {
            let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
            if tried.is_some_and(|last| (now - last).abs() < FETCH_AGAIN) {
                return;
            }
            *tried = Some(now);
        }
        let known = self.fetched();
        match self.ask().await {
            Ok(keys) if !keys.is_empty() => {
                tracing::debug!(
                    issuer = self.name(),
                    keys = keys.len(),
                    "an issuer's keys were fetched"
                );
                self.keys.store(Some(Arc::new(Fetched { keys, at: now })));
            }
            Ok(none) => {
                tracing::warn!(
                    issuer = self.name(),
                    "an issuer has no key that has a kid and verifies signatures: its tokens open nothing"
                );
                if known.is_some() {
                    self.keys.store(Some(Arc::new(Fetched { keys: none, at: now })));
                }
            }
            Err(reason) => {
                let issuer = self.name();
                match known.filter(|known| !known.keys.is_empty()) {
                    Some(known) => tracing::warn!(
                        issuer,
                        reason,
                        known_since = known.at.to_rfc3339(),
                        "an issuer's keys could not be fetched; the last known ones hold for a day"
                    ),
                    None => tracing::warn!(
                        issuer,
                        reason,
                        "an issuer's keys could not be fetched, and none are known: its tokens open nothing"
                    ),
                }
            }
        }
    }

    /// Its keys, as far as they can be used: none where it says that it has none. An error where that is not known.
    async fn ask(&self) -> Result<HashMap<String, Arc<Verifier>>, String> {
        let request = Request {
            method: Method::GET,
            url: self.settings.jwks_url.clone(),
            headers: header::HeaderMap::from_iter([(
                header::ACCEPT,
                header::HeaderValue::from_static("application/json"),
            )]),
            body: Bytes::new(),
            timeout: FETCH_MAX,
            wanted: Wanted::Whole(KEY_SET_MAX_BYTES),
        };
        let answer = self
            .outbound
            .send(request)
            .await
            .map_err(|error| error.to_string())?;
        match answer.status {
            status if status.is_success() => jwks::read(&answer.body),
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                let (issuer, status) = (self.name(), answer.status.as_u16());
                tracing::warn!(
                    issuer,
                    status,
                    "an issuer publishes no keys any more at its jwks_url"
                );
                Ok(HashMap::new())
            }
            status => Err(format!("it answered {}, expected 200", status.as_u16())),
        }
    }

    /// The topics that these claims open.
    pub(super) fn topics(&self, claims: &Claims) -> Result<Vec<TopicFilter>, TokenFault> {
        let Some(claim) = &self.settings.topics_claim else {
            let value = |name: &str| match claims.get(name)? {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => number.as_i64().map(|number| number.to_string()),
                _ => None,
            };
            let templates = self.settings.topics.iter();
            let filters = templates.map(|template| template.fill(value));
            return filters.collect::<Result<_, _>>().map_err(|_| TokenFault::Topics);
        };
        let listed = claims.list(claim).filter(|listed| listed.len() <= TOPICS_MAX);
        let listed = listed.ok_or(TokenFault::Topics)?;
        let filters = listed.into_iter().map(|text| {
            let filter = readable_filter(text).map_err(|_| TokenFault::Topics)?;
            let is_within = self.within.iter().any(|bound| bound.covers(&filter));
            is_within.then_some(filter).ok_or(TokenFault::Topics)
        });
        filters.collect()
    }
}
