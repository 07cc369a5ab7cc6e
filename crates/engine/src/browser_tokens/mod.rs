//! Browser tokens: JSON Web Tokens with which a browser reads live state, over MQTT and HTTP, for an hour at most.
//!
//! A backend exchanges its API key for one (`minting`), within the topics that the key may grant; or an identity
//! provider that the settings name issues them (`issuers`). Whoever shows one is admitted with [`Grants`], which answer
//! for every packet without asking anybody. What ends a token before its time (`revocations`) and the keys that
//! verify it (`signing`) are in the database, so that all hubs agree. Nothing here knows MQTT.

mod grants;
mod issuers;
mod jwks;
mod looking;
mod minting;
mod refusals;
mod revocations;
mod signing;
#[cfg(test)]
mod tests;
mod token;

use std::{net::IpAddr, sync::Arc};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use crossdock_config::{TokenIssuer, readable_filter};
use crossdock_model::topic::TopicFilter;
use crossdock_store::{RevokedKind, Store};
use tokio::sync::watch;

use self::{
    issuers::Issuers,
    minting::Said,
    refusals::Refusals,
    revocations::{Marks, Revocations, Revoker},
    signing::{Signing, VERIFIES_AFTER},
    token::{Claims, NAME_MAX_BYTES, SKEW, Unverified},
};
use crate::{
    EngineError, Holder, Hub, Principal, Scope, attempts::Attempts, keys, measures, outbound::Outbound,
};
pub use grants::Grants;
pub(crate) use looking::run;
pub use minting::{BrowserToken, MintError, NewBrowserToken};
pub(crate) use refusals::ManyRefused;
pub use token::BROWSER_TOKEN_MAX_BYTES;

/// Topic filters of one token, and of one API key, at most.
pub(crate) const TOPICS_MAX: usize = 50;
const CLIENT_ID_PREFIX: &str = "browser-";
const CLIENT_ID_CHARS: usize = 20;
/// 128 random bits.
const TOKEN_ID_CHARS: usize = 22;
/// As metrics call a login that was told to wait.
const TOO_SOON: &str = "too_soon";
const ENVIRONMENT_CHARS: usize = 16;

/// Why a token opens nothing. For the log and the metrics; whoever showed it is [`told`](TokenFault::told) as much as helps
/// nobody to guess one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum TokenFault {
    /// More bytes than any token has here.
    #[error("it is longer than {BROWSER_TOKEN_MAX_BYTES} bytes")]
    TooLong,
    /// It does not consist of a head, claims and a signature.
    #[error("it is no JSON Web Token")]
    Malformed,
    /// It is what a backend exchanges for a token.
    #[error("it is an API key, which opens no topic: exchange it for a token at POST /v1/browser-tokens")]
    ApiKey,
    /// It has an extension that must be understood.
    #[error("it has a critical extension")]
    Critical,
    /// It does not say by which key it was signed.
    #[error("it names no key")]
    NoKeyId,
    /// Nobody has this key.
    #[error("its key is unknown")]
    UnknownKey,
    /// Nobody whose tokens are taken is called so.
    #[error("its issuer is unknown")]
    UnknownIssuer,
    /// It was signed by another algorithm than the key's, or not at all.
    #[error("its algorithm is not the key's")]
    Algorithm,
    /// The key did not sign this.
    #[error("its signature is wrong")]
    Signature,
    /// A claim is missing, or not what it should be.
    #[error("its claim {0:?} is missing or not as it should be")]
    Claim(&'static str),
    /// It is for somebody else.
    #[error("it is for another audience")]
    Audience,
    /// It is not good yet.
    #[error("it is not good yet")]
    NotYet,
    /// It would be good for longer than any token is.
    #[error("it lives for longer than an hour")]
    LivesTooLong,
    /// It was good.
    #[error("it has expired")]
    Expired,
    /// It was ended before its time.
    #[error("it was revoked")]
    Revoked,
    /// Its topics are no filters, too many, or more than its issuer may open.
    #[error("its topics are not what its issuer may open")]
    Topics,
    /// The keys cannot be had now.
    #[error("the keys that would verify it cannot be had now")]
    KeysUnavailable,
}

impl TokenFault {
    /// The reason in one word, as metrics count it.
    pub fn word(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::ApiKey => "api_key",
            Self::Critical => "critical_extension",
            Self::NoKeyId => "no_key_id",
            Self::UnknownKey => "unknown_key",
            Self::UnknownIssuer => "unknown_issuer",
            Self::Algorithm => "algorithm",
            Self::Signature => "signature",
            Self::Claim(_) => "claim",
            Self::Audience => "audience",
            Self::NotYet => "not_yet",
            Self::LivesTooLong => "lives_too_long",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Topics => "topics",
            Self::KeysUnavailable => "keys_unavailable",
        }
    }

    /// What whoever showed it may know. Whether a key is known, and what for, is not told to those whose token it did not
    /// sign.
    pub fn told(self) -> String {
        match self {
            Self::NoKeyId | Self::UnknownKey | Self::Algorithm | Self::Signature => {
                "no key that is known here has signed it".to_owned()
            }
            fault => fault.to_string(),
        }
    }

    /// Whether somebody who guesses tokens would run into it: all that is found before a signature is. One that
    /// somebody signed whose tokens are taken is no guess, nor is one that nobody can judge now.
    fn is_a_guess(self) -> bool {
        matches!(
            self,
            Self::TooLong
                | Self::Malformed
                | Self::ApiKey
                | Self::Critical
                | Self::NoKeyId
                | Self::UnknownKey
                | Self::UnknownIssuer
                // Whoever has no issuer has no key that could have signed.
                | Self::Claim("iss")
                | Self::Algorithm
                | Self::Signature
        )
    }
}

/// Why a login opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// The token opens nothing, and too many others from there did not either.
    #[error("too many logins have failed; try again in {retry_after_s} s")]
    TooSoon {
        /// Seconds to wait.
        retry_after_s: u32,
    },
    /// The token opens nothing.
    #[error(transparent)]
    Refused(#[from] TokenFault),
}

/// Which keys may verify a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Those that are known here: neither the database nor an issuer is asked for more.
    AtHand,
    /// Those that can be had.
    All,
}

/// The browser tokens of this environment.
pub(crate) struct BrowserTokens {
    environment: String,
    url: String,
    store: Store,
    signing: Signing,
    revocations: Arc<Revocations>,
    issuers: Issuers,
    attempts: Attempts,
    pub(crate) refusals: Refusals,
}

impl BrowserTokens {
    /// `environment` is what tokens are issued by and for; `public_url` where the hub is reached.
    pub(crate) fn new(
        store: Store,
        environment: String,
        public_url: &str,
        issuers: Vec<TokenIssuer>,
        outbound: &Outbound,
    ) -> Self {
        Self {
            environment,
            // `http` becomes `ws`, `https` becomes `wss`.
            url: format!("{}/mqtt", public_url.replacen("http", "ws", 1)),
            signing: Signing::new(store.clone()),
            revocations: Arc::new(Revocations::new(store.clone())),
            issuers: Issuers::new(issuers, outbound),
            attempts: Attempts::new(),
            refusals: Refusals::default(),
            store,
        }
    }

    /// Mints a token with an API key.
    pub(crate) async fn mint(
        &self,
        asked: NewBrowserToken,
        grantor: &keys::Grantor,
        now: DateTime<Utc>,
    ) -> Result<BrowserToken, MintError> {
        let granted = minting::judge(asked, grantor, now)?;
        let principal = own_principal(&grantor.id, &granted.subject);
        let issued = now.trunc_subsecs(0);
        if let Some(until) = self.revocations.revoked_until(&granted.subject, &principal)
            && issued <= until
        {
            let wait_s = (until - now).num_seconds().max(0) + 1;
            let reason = format!("tokens of this subject were revoked a moment ago; ask again in {wait_s} s");
            return Err(EngineError::Conflict(reason).into());
        }
        let id = format!("{}{}", ids_of(&grantor.id), keys::random(TOKEN_ID_CHARS));
        let said = Said {
            iss: &self.environment,
            aud: &self.environment,
            sub: &granted.subject,
            jti: &id,
            iat: issued.timestamp(),
            exp: granted.expires.timestamp(),
            key: &grantor.id,
            topics: granted.topics.iter().map(TopicFilter::as_str).collect(),
        };
        let token = self.signing.sign(&said, now).await?;
        minting::check_length(&token)?;
        Ok(BrowserToken {
            url: self.url.clone(),
            client_id: format!("{CLIENT_ID_PREFIX}{}", keys::random(CLIENT_ID_CHARS)),
            token,
            expires_at: granted.expires,
            id,
        })
    }

    /// What the holder of a token may do, which is verified by these keys.
    pub(crate) async fn admit(
        &self,
        token: &str,
        keys: Keys,
        now: DateTime<Utc>,
    ) -> Result<Grants, TokenFault> {
        let token = Unverified::read(token)?;
        let issuer = token.issuer()?;
        let grants = if issuer == self.environment {
            let verifier = self.signing.verifier(token.kid()?, keys, now).await?;
            let kid = token.kid()?.to_owned();
            let claims = token.verified(&verifier)?;
            claims.must_be_for(&self.environment)?;
            self.grants_of_own(&claims, kid, now)?
        } else {
            let issuer = self.issuers.of(issuer).ok_or(TokenFault::UnknownIssuer)?;
            let claims = issuer.verified(token, keys, now).await?;
            self.grants_of_outside(issuer, &claims, now)?
        };
        match grants.revoked() {
            true => Err(TokenFault::Revoked),
            false => Ok(grants),
        }
    }

    fn grants_of_own(&self, claims: &Claims, kid: String, now: DateTime<Utc>) -> Result<Grants, TokenFault> {
        let lifetime = claims.lifetime(now)?;
        let (subject, key) = (claims.name("sub")?, claims.name("key")?);
        let marks = Marks {
            issued: lifetime.issued,
            // A revocation reaches ahead for hubs already.
            ahead: TimeDelta::zero(),
            subject: subject.to_owned(),
            principal: own_principal(key, subject),
            token: Some(claims.name("jti")?.to_owned()),
            api_key: Some(key.to_owned()),
            signing_key: Some(kid),
        };
        let topics = claims.list("topics").filter(|topics| topics.len() <= TOPICS_MAX);
        let topics = topics.ok_or(TokenFault::Topics)?.into_iter().map(readable_filter);
        let topics = topics.collect::<Result<_, _>>().map_err(|_| TokenFault::Topics)?;
        Ok(self.grants(topics, lifetime.expires, marks))
    }

    fn grants_of_outside(
        &self,
        issuer: &issuers::Issuer,
        claims: &Claims,
        now: DateTime<Utc>,
    ) -> Result<Grants, TokenFault> {
        let lifetime = claims.lifetime(now)?;
        let subject = claims.name("sub")?;
        let marks = Marks {
            issued: lifetime.issued,
            ahead: SKEW,
            subject: subject.to_owned(),
            principal: format!("issuer:{}/{subject}", issuer.name()),
            token: claims.name("jti").ok().map(str::to_owned),
            api_key: None,
            signing_key: None,
        };
        Ok(self.grants(issuer.topics(claims)?, lifetime.expires, marks))
    }

    fn grants(&self, topics: Vec<TopicFilter>, expires: DateTime<Utc>, marks: Marks) -> Grants {
        Grants::new(topics, expires, marks, self.revocations.clone())
    }

    /// The same for somebody who comes from this address. After many guesses from there the next ones are told to
    /// wait, and nobody is asked for the keys that they name; a token that is good by a key that is known passes all the
    /// same, since thousands may share an address and no guess hits a signature.
    pub(crate) async fn log_in(
        &self,
        token: &str,
        from: IpAddr,
        now: DateTime<Utc>,
    ) -> Result<Grants, LoginError> {
        let wait_s = self.attempts.wait(from, now);
        let keys = if wait_s.is_some() { Keys::AtHand } else { Keys::All };
        let fault = match self.admit(token, keys, now).await {
            Ok(grants) => return Ok(grants),
            Err(fault) => fault,
        };
        if fault.is_a_guess() {
            if let Some(retry_after_s) = wait_s {
                measures::token_refused(TOO_SOON);
                tracing::debug!(client = %from, reason = fault.word(), "a login came too soon after others that failed");
                return Err(LoginError::TooSoon { retry_after_s });
            }
            self.attempts.failed(from, now);
        }
        measures::token_refused(fault.word());
        tracing::info!(client = %from, reason = fault.word(), detail = %fault, "a browser token was refused");
        Err(fault.into())
    }

    /// Ends tokens of whomever, by an administrator's word or, with an API key, of those that it minted.
    async fn revoke(
        &self,
        own: Option<&str>,
        revoked: &Revoked,
        now: DateTime<Utc>,
    ) -> Result<(), EngineError> {
        let (Revoked::Token(name) | Revoked::Subject(name)) = revoked;
        if !minting::is_name(name) {
            return Err(EngineError::Invalid(format!(
                "no token has such an id or subject, expected 1 to {NAME_MAX_BYTES} bytes without control characters"
            )));
        }
        let by = own.map_or(Revoker::Administrators, Revoker::ApiKey);
        let (kind, name) = match (revoked, own) {
            (Revoked::Token(id), Some(key)) if !id.starts_with(&ids_of(key)) => {
                return Err(EngineError::Invalid(
                    "this API key has minted no token of such an id; an administrator may revoke any".into(),
                ));
            }
            (Revoked::Token(id), _) => (RevokedKind::Token, id.clone()),
            (Revoked::Subject(subject), Some(key)) => (RevokedKind::Principal, own_principal(key, subject)),
            (Revoked::Subject(subject), None) => (RevokedKind::Subject, subject.clone()),
        };
        self.revocations.add(by, kind, &name, now).await
    }

    /// Reads what was revoked, an API key above all.
    pub(crate) async fn read_revocations(&self, now: DateTime<Utc>) -> Result<(), EngineError> {
        self.revocations.refresh(now).await
    }

    /// Reads the keys of all hubs.
    pub(crate) async fn read_keys(&self, now: DateTime<Utc>) -> Result<(), EngineError> {
        self.signing.refresh(now).await
    }

    /// Has every hub sign with another key from now on. With `end_tokens` what was signed before is over; else it is
    /// good to its end.
    async fn rotate(&self, end_tokens: bool, now: DateTime<Utc>) -> Result<(), EngineError> {
        let _what_signs_is_known = self.signing.make_none().await;
        if end_tokens {
            for key in self.store.signing_keys(now).await? {
                self.revocations
                    .add(Revoker::Hub, RevokedKind::SigningKey, &key.kid, now)
                    .await?;
            }
        }
        self.store.retire_signing_keys(now, now + VERIFIES_AFTER).await?;
        self.signing.refresh(now).await
    }
}

fn own_principal(api_key: &str, subject: &str) -> String {
    format!("key:{api_key}/{subject}")
}

/// With what the ids of a key's tokens begin, so that it is seen whose they are.
fn ids_of(api_key: &str) -> String {
    format!("{api_key}.")
}

/// A name for an environment that has none.
pub(crate) fn new_environment() -> String {
    format!("crossdock:{}", keys::random(ENVIRONMENT_CHARS))
}

/// Whose tokens a revocation ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// The token of this id: one that the caller's own API key minted, or anybody's for an administrator.
    Token(String),
    /// All tokens of this subject: those that the caller's own API key minted, or everybody's for an administrator.
    Subject(String),
}

impl Hub {
    /// Mints a browser token for `who`, an API key with topics to grant.
    ///
    /// # Errors
    /// See [`MintError`].
    pub async fn mint_browser_token(
        &self,
        who: &Principal,
        asked: NewBrowserToken,
    ) -> Result<BrowserToken, MintError> {
        let (shared, now) = (&self.shared, self.shared.clock.now());
        let grantor = match key_of(who) {
            Some(id) => shared.keys.grantor(id, now).await?,
            None => keys::Grantor::default(),
        };
        let minted = shared.browser_tokens.mint(asked, &grantor, now).await?;
        measures::token_minted();
        tracing::debug!(by = who.mark(), token = minted.id, "a browser token was minted");
        Ok(minted)
    }

    /// What the holder of a browser token may do, who logs in from this address: failures have the next one wait.
    ///
    /// # Errors
    /// See [`LoginError`]; what the client may know of it says [`TokenFault::told`].
    pub async fn log_in_browser(&self, token: &str, from: IpAddr) -> Result<Grants, LoginError> {
        let now = self.shared.clock.now();
        self.shared.browser_tokens.log_in(token, from, now).await
    }

    /// Changes whenever the grants of somebody who is here may have been ended: then ask [`Grants::revoked`] again.
    pub fn token_changes(&self) -> watch::Receiver<u64> {
        self.shared.browser_tokens.revocations.changes()
    }

    /// Ends browser tokens before their time: here at once, on other hubs within 5 seconds.
    ///
    /// # Errors
    /// `Invalid` for what no token of the caller's is called, `Conflict` if too many of their revocations are in force, or `Unavailable` without a database.
    pub async fn revoke_browser_tokens(&self, who: &Principal, revoked: &Revoked) -> Result<(), EngineError> {
        let now = self.shared.clock.now();
        let own = key_of(who).filter(|_| !who.may(Scope::Admin));
        self.shared.browser_tokens.revoke(own, revoked, now).await
    }

    /// Has every hub sign browser tokens with another key: this one at once, the others within 5 seconds. With
    /// `end_tokens` every token that was minted before is over.
    ///
    /// # Errors
    /// `Unavailable` without a database.
    pub async fn rotate_signing_keys(&self, end_tokens: bool) -> Result<(), EngineError> {
        let now = self.shared.clock.now();
        self.shared.browser_tokens.rotate(end_tokens, now).await
    }
}

/// The API key of a caller who has one.
fn key_of(who: &Principal) -> Option<&str> {
    match &who.holder {
        Holder::Key { id, .. } | Holder::Adapter { key_id: id, .. } => Some(id),
        Holder::Person { .. } => None,
    }
}
