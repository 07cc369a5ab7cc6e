//! How adapters' attempts ended lately, counted over a time that is short enough to be counted quickly.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use crossdock_store::RECENT_MAX;

use crate::{EngineError, shared::Shared};

/// Over how long attempts are counted, in seconds: a shorter time where there were too many in a longer one.
const WINDOWS_S: [u32; 4] = [300, 60, 10, 1];

/// What was counted of an adapter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attempts {
    pub(crate) window_s: u32,
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) last_done: Option<DateTime<Utc>>,
}

pub(crate) async fn attempts(
    shared: &Shared,
    mut adapters: Vec<String>,
) -> Result<BTreeMap<String, Attempts>, EngineError> {
    let now = shared.clock.now();
    let mut counted = BTreeMap::new();
    for (place, window_s) in WINDOWS_S.into_iter().enumerate() {
        if adapters.is_empty() {
            break;
        }
        let since = now - TimeDelta::seconds(i64::from(window_s));
        let is_shortest = place + 1 == WINDOWS_S.len();
        let mut too_many = Vec::new();
        for recent in shared.store.recent_attempts(&adapters, since).await? {
            if recent.done.max(recent.failed) >= RECENT_MAX as u64 && !is_shortest {
                too_many.push(recent.adapter);
                continue;
            }
            let attempts = Attempts {
                window_s,
                done: recent.done,
                failed: recent.failed,
                last_done: recent.last_done,
            };
            counted.insert(recent.adapter, attempts);
        }
        adapters = too_many;
    }
    Ok(counted)
}
