//! Connections that have not said who they are. When there are too many, the oldest goes: it had the
//! most time, and who means well needs little.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::locked;

/// The most connections that may be without a CONNECT.
const PENDING_MAX: usize = 2_048;

#[derive(Debug, Default)]
pub(super) struct Pending(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    by_age: BTreeMap<u64, Arc<Notify>>,
}

/// A place among them, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pending: &'a Pending,
    number: u64,
    pushed_out: Arc<Notify>,
}

impl Pending {
    pub(super) fn enter(&self) -> Place<'_> {
        let mut waiting = locked(&self.0);
        if waiting.by_age.len() >= PENDING_MAX
            && let Some((_, oldest)) = waiting.by_age.pop_first()
        {
            oldest.notify_one();
        }
        waiting.last += 1;
        let (number, pushed_out) = (waiting.last, Arc::new(Notify::new()));
        waiting.by_age.insert(number, pushed_out.clone());
        Place {
            pending: self,
            number,
            pushed_out,
        }
    }
}

impl Place<'_> {
    /// Until a younger one needs the place.
    pub(super) async fn pushed_out(&self) {
        self.pushed_out.notified().await;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        locked(&self.pending.0).by_age.remove(&self.number);
    }
}
