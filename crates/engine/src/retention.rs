//! Retention: what was kept as long as the operator wants is forgotten, in steps so small that nobody waits for them.
//!
//! An event goes when all its deliveries are settled. A delivery without a word is, if the adapter was taken at its
//! word for it: which these are, the ledger knows. The quarantine is bounded for each producer besides, so that one
//! who sends nothing but garbage fills no disk. States go when they are over.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use crossdock_store::{ForgetEvents, ForgetQuarantined, QuarantineBound, QuarantineCutOff, StoreError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{EngineError, ledger, measures, shared::Shared, words::counted};

/// Pause between looks at the quarantine.
const QUARANTINE_ROUND: Duration = Duration::from_secs(15);
/// Pause between passes over the record.
const RECORD_ROUND: Duration = Duration::from_secs(600);
/// Pause between looks at the states.
const STATES_ROUND: Duration = Duration::from_secs(30);
/// States that are forgotten in one step.
const STEP_STATES: usize = 500;
/// Events that are looked at in one step.
const STEP_EVENTS: usize = 500;
/// Quarantined messages that are forgotten in one step …
const STEP_MESSAGES: usize = 2_000;
/// … unless they have so many bytes before: the database has to look at each page of them.
const STEP_BYTES: u64 = 32 * 1024 * 1024;
/// Shortest pause between two steps. It is as long as the step before took, so that others have the database for at
/// least half of the time.
const STEP_PAUSE_MIN: Duration = Duration::from_millis(20);
/// Messages of one producer that the quarantine keeps, whatever their age.
const QUARANTINE_MAX_MESSAGES: u32 = 10_000;
/// Bytes of theirs, bodies and headers.
const QUARANTINE_MAX_BYTES: u64 = 256 * 1024 * 1024;

pub(crate) const PART: &str = "retention";
const QUARANTINE: &str = "quarantine";

/// Rounds until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let keeper = Keeper {
        shared: &shared,
        stop: &stop,
    };
    // Each at its own pace: a pass over a long record takes hours, and a flood fills a disk in less.
    tokio::join!(
        keeper.keep_quarantine(),
        keeper.keep_record(),
        keeper.keep_states()
    );
}

struct Keeper<'a> {
    shared: &'a Shared,
    stop: &'a CancellationToken,
}

impl Keeper<'_> {
    /// What was received before this time may go; `None`: it is kept for ever.
    fn limit(&self, days: u32) -> Option<DateTime<Utc>> {
        let age = (days > 0).then(|| TimeDelta::days(days.into()))?;
        self.shared.clock.now().checked_sub_signed(age)
    }

    async fn keep_quarantine(&self) {
        while !self.stop.is_cancelled() {
            if let Err(error) = self.tidy_quarantine().await {
                tracing::debug!(%error, "the quarantine could not be tidied");
            }
            self.pause(QUARANTINE_ROUND).await;
        }
    }

    async fn keep_record(&self) {
        while !self.stop.is_cancelled() {
            let due = self.tidy_record().await;
            self.pause(due).await;
        }
    }

    async fn keep_states(&self) {
        while !self.stop.is_cancelled() {
            if let Err(error) = self.tidy_states().await {
                tracing::debug!(%error, "states that are over could not be forgotten");
            }
            self.pause(STATES_ROUND).await;
        }
    }

    /// Forgets states that are over. Nobody has been told of them since they were.
    async fn tidy_states(&self) -> Result<(), StoreError> {
        while !self.stop.is_cancelled() {
            let began = Instant::now();
            let now = self.shared.clock.now();
            let forgotten = self.shared.store.forget_states(now, STEP_STATES).await?;
            measures::forgotten("states", forgotten);
            if forgotten < STEP_STATES as u64 {
                break;
            }
            self.pause(began.elapsed()).await;
        }
        Ok(())
    }

    async fn tidy_quarantine(&self) -> Result<(), StoreError> {
        if let Some(received_before) = self.limit(self.shared.retention.quarantine_days) {
            self.forget_quarantined(QuarantineBound::Age(received_before))
                .await?;
        }
        let size = QuarantineBound::Size {
            messages: QUARANTINE_MAX_MESSAGES,
            bytes: QUARANTINE_MAX_BYTES,
        };
        let alarms = &self.shared.alarms;
        if self.forget_quarantined(size).await? == 0 {
            alarms.clear(PART, QUARANTINE);
        } else {
            let sentence = format!(
                "a producer has filled its part of the quarantine ({QUARANTINE_MAX_MESSAGES} messages or {} MiB): its \
                 oldest messages are forgotten",
                QUARANTINE_MAX_BYTES / 1024 / 1024
            );
            alarms.raise(PART, QUARANTINE, sentence);
        }
        Ok(())
    }

    /// One round: where each producer is cut off is found once, so that the time it takes grows with what is forgotten
    /// and with nothing else. What comes meanwhile is the next round's.
    async fn forget_quarantined(&self, bound: QuarantineBound) -> Result<u64, StoreError> {
        let mut all = 0;
        for cut_off in self.shared.store.quarantine_cut_offs(&bound).await? {
            all += self.forget_up_to(&cut_off).await?;
        }
        if all > 0 {
            let what = counted(all, "quarantined message was", "quarantined messages were");
            tracing::info!("{what} forgotten");
        }
        Ok(all)
    }

    async fn forget_up_to(&self, cut_off: &QuarantineCutOff) -> Result<u64, StoreError> {
        let mut step = ForgetQuarantined {
            cut_off,
            after: 0,
            messages: STEP_MESSAGES,
            bytes: STEP_BYTES,
        };
        let mut all = 0;
        while !self.stop.is_cancelled() {
            let began = Instant::now();
            let done = self.shared.store.forget_quarantined(&step).await?;
            all += done.forgotten;
            measures::forgotten(QUARANTINE, done.forgotten);
            match done.next {
                Some(next) => step.after = next,
                None => break,
            }
            self.pause(began.elapsed()).await;
        }
        Ok(all)
    }

    /// One pass; gives when the next is due.
    async fn tidy_record(&self) -> Duration {
        let Some(received_before) = self.limit(self.shared.retention.events_days) else {
            return RECORD_ROUND;
        };
        match self.forget_events(received_before).await {
            Ok(true) => RECORD_ROUND,
            Ok(false) => QUARANTINE_ROUND,
            Err(error) => {
                tracing::debug!(%error, "the record could not be tidied");
                QUARANTINE_ROUND
            }
        }
    }

    /// `false`: RabbitMQ did not say what is in its queues, so that what was taken is not known.
    async fn forget_events(&self, received_before: DateTime<Utc>) -> Result<bool, EngineError> {
        let taken_before = self.taken_before().await?;
        let queues_are_known = taken_before.is_some();
        let mut step = ForgetEvents {
            after_offset: 0,
            limit: STEP_EVENTS,
            received_before,
            taken_before: taken_before.unwrap_or_default(),
        };
        let mut all = 0;
        while !self.stop.is_cancelled() {
            let began = Instant::now();
            let done = self.shared.store.forget_events(&step).await?;
            all += done.forgotten;
            measures::forgotten("events", done.forgotten);
            match done.next {
                Some(next) => step.after_offset = next,
                None => break,
            }
            self.pause(began.elapsed()).await;
        }
        if all > 0 {
            let what = counted(all, "event was", "events were");
            tracing::info!(before = %received_before, "{what} forgotten");
        }
        Ok(queues_are_known)
    }

    /// By adapter, the time before which every delivery without a word was taken; `None` if RabbitMQ does not answer.
    async fn taken_before(&self) -> Result<Option<BTreeMap<String, DateTime<Utc>>>, EngineError> {
        let Some(queues) = self.shared.queues().await else {
            return Ok(None);
        };
        let routing = self.shared.routing.load_full();
        let mut taken_before = BTreeMap::new();
        for (adapter, line) in ledger::lines(self.shared, &routing, Some(&queues)).await? {
            if line.taken == 0 {
                continue;
            }
            // The oldest are gone first, so what came before the first that is not taken is.
            let first_that_is_not = self.shared.store.pending_after(&adapter, line.taken).await?;
            taken_before.insert(adapter, first_that_is_not.unwrap_or(line.certain_before));
        }
        Ok(Some(taken_before))
    }

    async fn pause(&self, pause: Duration) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(pause.max(STEP_PAUSE_MIN)) => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crossdock_store::{Batch, NewQuarantined};

    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn a_full_quarantine_is_said_and_its_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let shared = testing::shared(testing::database(&folder).await, &folder);
        let message = |n: u32| NewQuarantined {
            received: testing::now(),
            producer: Some("shop".into()),
            reasons: Vec::new(),
            headers: serde_json::json!({}),
            content_type: None,
            body: testing::garbage(),
            routing_key: n.to_string(),
            redelivered: false,
        };
        let full = Batch {
            quarantined: (0..QUARANTINE_MAX_MESSAGES + 250).map(message).collect(),
            ..Batch::default()
        };
        shared.store.record(full).await.unwrap();
        let stop = CancellationToken::new();
        let keeper = Keeper {
            shared: &shared,
            stop: &stop,
        };
        keeper.tidy_quarantine().await.unwrap();
        let totals = shared.store.totals().await.unwrap();
        assert_eq!((totals.forgotten_quarantined, totals.balanced()), (250, true));
        assert!(shared.alarms.sentences()[0].contains("filled its part of the quarantine"));
        let oldest = shared.store.quarantine_page(Some(251 + 1), 1).await.unwrap();
        assert_eq!(oldest[0].routing_key, "250");
        keeper.tidy_quarantine().await.unwrap();
        assert!(shared.alarms.sentences().is_empty());
    }

    #[tokio::test]
    async fn a_long_round_of_one_does_not_hold_up_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let database = testing::Moody::store(testing::database(&folder).await, |_| None);
        let mut shared = testing::shared(database.clone(), &folder);
        shared.retention.events_days = 1;
        let mut old = testing::accepted(testing::event(serde_json::json!({ "id": "1" })), &[]);
        old.received = testing::now() - TimeDelta::days(2);
        let batch = Batch {
            accepted: vec![old],
            ..Batch::default()
        };
        shared.store.record(batch).await.unwrap();
        let stop = CancellationToken::new();
        let store = shared.store.clone();
        let _held = database.quarantine.lock().await;
        let rounds = run(Arc::new(shared), stop.clone());
        let until_forgotten = async {
            while store.totals().await.unwrap().forgotten_events == 0 {
                tokio::task::yield_now().await;
            }
        };
        let limit = Duration::from_secs(10);
        tokio::select! {
            () = rounds => panic!("it goes on until it is stopped"),
            done = tokio::time::timeout(limit, until_forgotten) => done.expect("the record is tidied meanwhile"),
        }
    }

    #[tokio::test]
    async fn nothing_is_too_old_where_all_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut shared = testing::shared(testing::database(&folder).await, &folder);
        let stop = CancellationToken::new();
        let limit = |shared: &Shared, days| {
            let keeper = Keeper { shared, stop: &stop };
            keeper.limit(days)
        };
        assert_eq!(limit(&shared, 0), None);
        assert_eq!(limit(&shared, 1), Some(testing::now() - TimeDelta::days(1)));
        shared.retention.events_days = 0;
        let keeper = Keeper {
            shared: &shared,
            stop: &stop,
        };
        assert_eq!(keeper.tidy_record().await, RECORD_ROUND);
    }
}
