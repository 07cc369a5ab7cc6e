//! What a batch adds to the record, without a database: the names an event can be found by, its targets, the
//! counters.

use std::collections::BTreeSet;

use crate::events::{Accepted, Batch};
use crate::quarantine::NewQuarantined;

/// The correlation id and aliases, each once.
pub(crate) fn names(accepted: &Accepted) -> BTreeSet<&str> {
    let event = &accepted.event;
    event
        .correlation_id()
        .into_iter()
        .chain(event.aliases())
        .collect()
}

/// The adapters it was published to, each once.
pub(crate) fn targets(accepted: &Accepted) -> BTreeSet<&str> {
    accepted.targets.iter().map(String::as_str).collect()
}

/// How a batch changes the counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) received: i64,
    pub(crate) duplicates: i64,
    pub(crate) redelivered: i64,
}

impl Counted {
    /// The batch without its quarantined messages, `inserted` of whose events were new.
    pub(crate) fn of(batch: &Batch, inserted: usize) -> Self {
        let redelivered = batch
            .duplicates
            .iter()
            .filter(|duplicate| duplicate.redelivered)
            .count();
        let repeated = batch.duplicates.len() - redelivered;
        Self {
            received: signed(batch.accepted.len() + repeated),
            duplicates: signed(batch.accepted.len() - inserted + repeated),
            redelivered: signed(redelivered),
        }
    }

    /// A quarantined message, which was new to the quarantine or not.
    pub(crate) fn add(&mut self, message: &NewQuarantined, is_new: bool) {
        match (is_new, message.redelivered) {
            (false, true) => self.redelivered += 1,
            (false, false) => {
                self.received += 1;
                self.duplicates += 1;
            }
            (true, _) => self.received += 1,
        }
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).expect("no batch in memory has more than 2^63 messages")
}
