//! The generations of credentials that each adapter was given. Passwords are RabbitMQ's to know, not ours.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::Result;

/// One generation of an adapter's credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterCredential {
    /// The adapter's name.
    pub adapter: String,
    /// Counted from 1.
    pub generation: u32,
    /// The API key that came with it.
    pub api_key_id: String,
    /// When it was issued.
    pub created: DateTime<Utc>,
    /// When it was withdrawn.
    pub retired: Option<DateTime<Utc>>,
}

/// Adapters' credentials.
#[async_trait]
pub trait Adapters {
    /// The generations of one adapter, or of all, retired ones too, by name and generation.
    async fn adapter_credentials(&self, adapter: Option<&str>) -> Result<Vec<AdapterCredential>>;

    /// Adds a generation. `Conflict` if the adapter has one of this number, or if there is no such API key.
    async fn add_adapter_credential(&self, credential: AdapterCredential) -> Result<()>;

    /// Marks a generation as withdrawn; a second time changes nothing. `NotFound` for an unknown one.
    async fn retire_adapter_credential(
        &self,
        adapter: &str,
        generation: u32,
        at: DateTime<Utc>,
    ) -> Result<()>;
}
