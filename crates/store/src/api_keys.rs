//! API keys: what they may do, and the hash that recognises them. The key itself is never here.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::Result;

/// An API key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// The public part of the key's text.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// SHA-256 of the secret part.
    pub hash: [u8; 32],
    /// What it may do.
    pub scopes: Vec<String>,
    /// The topic filters within which it mints browser tokens.
    pub topics: Vec<String>,
    /// The adapter it belongs to, if to one.
    pub adapter: Option<String>,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// From when on it is no longer good.
    pub expires: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked: Option<DateTime<Utc>>,
    /// When it was last used, roughly.
    pub last_used: Option<DateTime<Utc>>,
}

/// API keys.
#[async_trait]
pub trait ApiKeys {
    /// Adds a key. `Conflict` if the id is taken.
    async fn add_api_key(&self, key: ApiKey) -> Result<()>;

    /// One key, revoked and expired ones too.
    async fn api_key(&self, id: &str) -> Result<Option<ApiKey>>;

    /// All keys, oldest first.
    async fn api_keys(&self) -> Result<Vec<ApiKey>>;

    /// Revokes a key; a second time changes nothing. `NotFound` for an unknown id.
    async fn revoke_api_key(&self, id: &str, at: DateTime<Utc>) -> Result<()>;

    /// Notes when keys were last used: ids with times. Unknown ids and earlier times change nothing.
    async fn touch_api_keys(&self, uses: &[(String, DateTime<Utc>)]) -> Result<()>;
}
