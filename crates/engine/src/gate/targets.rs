//! What the gate remembers about adapters' queues from one batch to the next: which have not confirmed anything
//! lately, and which were given up for a while, so that they do not cost every batch the time to find out again.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crossdock_bus::PublishError;

/// How long queues may confirm nothing, while nothing else is confirmed either, before it is their fault and not
/// RabbitMQ's: a node that hangs is taken over from within 80 seconds.
const SILENT_MAX: Duration = Duration::from_secs(120);
/// How long a queue that was silent is given up: trying it costs a batch two confirm deadlines.
const SILENT_GIVEN_UP_FOR: Duration = Duration::from_secs(60);
/// How long one that refused or is missing is given up: trying it costs little.
const REFUSING_GIVEN_UP_FOR: Duration = Duration::from_secs(5);

/// Queues with trouble, by adapter. Bounded by the adapters there are.
pub(super) struct Targets {
    troubles: Mutex<HashMap<String, Trouble>>,
    silent_max: Duration,
}

#[derive(Default)]
struct Trouble {
    silent_since: Option<Instant>,
    /// The reason, and until when.
    given_up: Option<(String, Instant)>,
}

impl Default for Targets {
    fn default() -> Self {
        Self::with_patience(SILENT_MAX)
    }
}

impl Targets {
    pub(super) fn with_patience(silent_max: Duration) -> Self {
        Self {
            troubles: Mutex::default(),
            silent_max,
        }
    }

    /// The reason for which nothing is published to the adapter for now.
    pub(super) fn given_up(&self, adapter: &str) -> Option<String> {
        let troubles = self.lock();
        let (reason, until) = troubles.get(adapter)?.given_up.as_ref()?;
        (Instant::now() < *until).then(|| reason.clone())
    }

    /// They have confirmed something.
    pub(super) fn confirmed(&self, adapters: &[String]) {
        let mut troubles = self.lock();
        if !troubles.is_empty() {
            troubles.retain(|adapter, _| !adapters.contains(adapter));
        }
    }

    /// It has not confirmed something in time; whether that has gone on for too long.
    pub(super) fn silent(&self, adapter: &str) -> bool {
        let mut troubles = self.lock();
        let trouble = troubles.entry(adapter.to_owned()).or_default();
        let since = *trouble.silent_since.get_or_insert_with(Instant::now);
        since.elapsed() >= self.silent_max
    }

    /// Gives the adapter's queue up for a while and returns the reason. An event that is too large says nothing
    /// about the next one.
    pub(super) fn give_up(&self, adapter: &str, error: &PublishError) -> String {
        let reason = format!("its queue refused it: {error}");
        let pause = match error {
            PublishError::TooLarge { .. } => return reason,
            PublishError::Timeout => SILENT_GIVEN_UP_FOR,
            _ => REFUSING_GIVEN_UP_FOR,
        };
        let mut troubles = self.lock();
        let trouble = troubles.entry(adapter.to_owned()).or_default();
        trouble.given_up = Some((reason.clone(), Instant::now() + pause));
        reason
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Trouble>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_given_up_until_it_confirms() {
        let targets = Targets::default();
        assert_eq!(targets.given_up("erp"), None);
        targets.give_up("erp", &PublishError::Nacked);
        assert!(
            targets
                .given_up("erp")
                .is_some_and(|reason| reason.contains("did not take"))
        );
        assert_eq!(targets.given_up("wms"), None);
        targets.confirmed(&["wms".into()]);
        assert!(targets.given_up("erp").is_some());
        targets.confirmed(&["wms".into(), "erp".into()]);
        assert_eq!(targets.given_up("erp"), None);
    }

    #[test]
    fn a_large_event_is_no_reason_to_give_up_a_queue() {
        let targets = Targets::default();
        targets.give_up("erp", &PublishError::TooLarge { limit: 1, actual: 2 });
        assert_eq!(targets.given_up("erp"), None);
    }

    #[test]
    fn silence_counts_from_the_first_time_and_ends_with_a_confirm() {
        let targets = Targets::default();
        assert!(!targets.silent("erp"));
        let since = targets.lock()["erp"].silent_since;
        assert!(!targets.silent("erp"));
        assert_eq!(targets.lock()["erp"].silent_since, since);
        targets.confirmed(&["erp".into()]);
        assert!(targets.lock().is_empty());
        assert!(Targets::with_patience(Duration::ZERO).silent("erp"));
    }
}
