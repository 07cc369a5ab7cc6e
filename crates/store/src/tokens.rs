//! Browser tokens, as far as all hubs must agree on them: the environment that they belong to, the public keys that
//! verify them, and those that were revoked before their time. No token and no private key is ever here.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use crate::{Result, StoreError};

/// Signing keys given at most; the newest of them.
pub const SIGNING_KEYS_MAX: usize = 1_000;

/// The public half of a key that signs browser tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// Its name in the tokens that it signed.
    pub kid: String,
    /// The public key.
    pub public_key: Vec<u8>,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// Until when the hub that made it signs with it.
    pub signs_until: DateTime<Utc>,
    /// Until when what it signed is believed.
    pub verifies_until: DateTime<Utc>,
}

/// Tokens that are over before their time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// What of a token is named.
    pub kind: RevokedKind,
    /// Its name.
    pub name: String,
    /// Tokens issued until then are over.
    pub at: DateTime<Utc>,
    /// From when on there are no such tokens any more.
    pub until: DateTime<Utc>,
}

/// What of a token a revocation names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevokedKind {
    /// The token itself, by its id.
    Token,
    /// Whom it was issued to, by whomever.
    Subject,
    /// Whom one issuer issued it to.
    Principal,
    /// The API key that it was minted with.
    ApiKey,
    /// The key that signed it.
    SigningKey,
}

/// What all hubs know about browser tokens.
#[async_trait]
pub trait Tokens {
    /// The name of this environment; `candidate` becomes it if it has none yet.
    async fn environment(&self, candidate: &str) -> Result<String>;

    /// Makes a signing key's public half known. `Conflict` if the name is taken.
    async fn add_signing_key(&self, key: SigningKey) -> Result<()>;

    /// The signing keys that are believed after `at`, newest first, at most [`SIGNING_KEYS_MAX`].
    async fn signing_keys(&self, at: DateTime<Utc>) -> Result<Vec<SigningKey>>;

    /// No key that was made before signs after `at`; what one signed is believed until `verifies_until` at most.
    async fn retire_signing_keys(&self, at: DateTime<Utc>, verifies_until: DateTime<Utc>) -> Result<()>;

    /// Revokes tokens; the latest word about the same ones counts. `Conflict` where `max` revocations of the `revoker`,
    /// whatever it is called by, are in force, unless this one is among those in the database.
    async fn revoke_tokens(&self, revocation: Revocation, revoker: &str, max: u32) -> Result<()>;

    /// The revocations in force at `at`, and one of each API key that was revoked within `life`, the longest that a token
    /// lives.
    async fn token_revocations(&self, at: DateTime<Utc>, life: TimeDelta) -> Result<Vec<Revocation>>;

    /// Forgets signing keys and revocations that mean nothing after `before`.
    async fn forget_tokens(&self, before: DateTime<Utc>) -> Result<()>;
}

/// What it means that a revocation changed so many rows, where `max` may be in force.
pub(crate) fn too_many_revocations(rows: u64, max: u32) -> Result<()> {
    match rows {
        0 => Err(StoreError::Conflict(format!(
            "{max} revocations are in force already"
        ))),
        _ => Ok(()),
    }
}
