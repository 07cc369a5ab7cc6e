//! Webhook endpoints that said they are gone: nothing is sent there until somebody decides otherwise. All hubs go by
//! this.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::Result;

/// An adapter's endpoint to which nothing is sent.
#[derive(Clone, PartialEq, Eq)]
pub struct DisabledEndpoint {
    /// The adapter's name.
    pub adapter: String,
    /// The address that was gone: another one is another endpoint.
    pub url: String,
    /// The revision by which it was called.
    pub revision: u32,
    /// What the endpoint said.
    pub reason: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Disabled endpoints, one of an adapter at most.
#[async_trait]
pub trait Endpoints {
    /// All of them, by adapter.
    async fn disabled_endpoints(&self) -> Result<Vec<DisabledEndpoint>>;

    /// Disables an endpoint, in the place of one that an earlier revision called.
    async fn disable_endpoint(&self, endpoint: DisabledEndpoint) -> Result<()>;

    /// Enables an adapter's endpoint again, and says whether it was disabled. With `before`, only one that an
    /// earlier revision than this called.
    async fn enable_endpoint(&self, adapter: &str, before: Option<u32>) -> Result<bool>;
}

/// Names the endpoint without its address, which may hold a key.
impl std::fmt::Debug for DisabledEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DisabledEndpoint")
            .field("adapter", &self.adapter)
            .field("revision", &self.revision)
            .field("reason", &self.reason)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}
