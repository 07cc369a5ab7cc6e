//! stub
use crate::{broker::Broker, error::PublishError, message::Outgoing};
use chrono::{DateTime, Utc};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
/// w
pub const WINDOW: usize = 1_000;
/// d
pub const CONFIRM_DEADLINE: Duration = Duration::from_secs(10);
/// s
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// c
    Connected,
    /// b
    Blocked {
        /// r
        reason: String,
    },
    /// d
    Down {
        /// s
        since: DateTime<Utc>,
        /// r
        reason: String,
    },
}
/// p
#[derive(Clone)]
pub struct Publisher {}
impl Publisher {
    /// s
    pub fn spawn(_broker: Broker, _name: &str, _tracker: &TaskTracker, _stop: CancellationToken) -> Self {
        unimplemented!()
    }
    /// p
    pub async fn publish(&self, _message: Outgoing) -> Result<(), PublishError> {
        unimplemented!()
    }
    /// s
    pub fn state(&self) -> LinkState {
        unimplemented!()
    }
    /// w
    pub fn watch(&self) -> watch::Receiver<LinkState> {
        unimplemented!()
    }
}
