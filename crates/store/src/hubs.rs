//! Which hub processes are alive, and with which configuration.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::Result;

/// A hub's sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubBeat {
    /// The process: a new one at each start.
    pub hub_id: String,
    /// The machine it runs on.
    pub host: String,
    /// The program's version.
    pub version: String,
    /// The digest of the configuration files it was started with.
    pub config_digest: String,
    /// The revision it routes by.
    pub revision: Option<u32>,
    /// When it said so.
    pub at: DateTime<Utc>,
}

/// Hubs.
#[async_trait]
pub trait Hubs {
    /// Notes a sign of life, in place of the hub's earlier one.
    async fn heartbeat(&self, beat: HubBeat) -> Result<()>;

    /// The hubs that were alive at or after a time, by id.
    async fn hubs(&self, alive_since: DateTime<Utc>) -> Result<Vec<HubBeat>>;

    /// Forgets a hub that stops. An unknown id changes nothing.
    async fn remove_hub(&self, hub_id: &str) -> Result<()>;
}
