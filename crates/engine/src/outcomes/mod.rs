//! What is said about deliveries: receipts, and what adapters rejected or died over, all from the one queue
//! `crossdock.failed`, in order, so that a receipt is read before the reject it explains. What failed is sent on its
//! way to another attempt, or becomes a dead letter. A message that makes no sense goes to quarantine and holds up
//! nothing behind it.

mod failures;
mod receipts;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use crossdock_bus::{BusError, PublishError, lane::Lane, message::Delivery, names};
use crossdock_model::fault::Fault;
use crossdock_store::{Batch, DeliveryKey, NewQuarantined, Outcome, StoreError};
use tokio_util::sync::CancellationToken;

use self::failures::{Decided, Failure};
use crate::{
    lanes::{self, Post},
    measures::{self, Judgement},
    quarantine,
    retry::{Outlet, due::confirmed},
    revisions,
    shared::Shared,
    storing::Storing,
};

const PREFETCH: u16 = 100;
const BATCH_MAX: usize = 250;
const BATCH_LINGER: Duration = Duration::from_millis(10);
/// Outcomes settled in one transaction.
const SETTLED_TOGETHER: usize = 2_000;

const PART: &str = "the reader of receipts";

/// Reads outcomes until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let post = Post {
        queue: names::FAILED,
        prefetch: PREFETCH,
        task: "outcomes",
    };
    lanes::keep_serving(&shared, post, &stop, |lane| serve(&shared, lane, &stop)).await;
}

async fn serve(shared: &Shared, mut lane: Lane, stop: &CancellationToken) -> Result<(), BusError> {
    loop {
        let deliveries = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            deliveries = lane.next_batch(BATCH_MAX, BATCH_LINGER) => deliveries?,
        };
        let tags: Vec<u64> = deliveries.iter().map(|delivery| delivery.tag).collect();
        let storing = Storing {
            shared,
            part: PART,
            stop,
        };
        if keep(&storing, &lane, deliveries).await?.is_none() {
            break;
        }
        lane.ack(&tags).await?;
    }
    lane.step_down().await;
    Ok(())
}

/// What a message of the queue says.
#[derive(Debug, Default)]
struct Read {
    /// Whom it comes from, where that is proved.
    producer: Option<String>,
    /// Receipts; for a failure what is decided about it.
    outcomes: Vec<Outcome>,
    failure: Option<Failure>,
    faults: Vec<Fault>,
}

impl Read {
    fn refused(producer: Option<String>, fault: Fault) -> Self {
        Self {
            producer,
            faults: vec![fault],
            ..Self::default()
        }
    }
}

/// What a message of receipts says in the name of its sender, and what is wrong with it. Whether it is about
/// deliveries that there are is not known here.
pub fn read_receipts(delivery: &Delivery, now: DateTime<Utc>) -> (Vec<Outcome>, Vec<Fault>) {
    let read = receipts::read(delivery, now);
    (read.outcomes, read.faults)
}

type Message = (Delivery, Read);

/// Settles what a batch of messages says, has failures tried again, and quarantines what makes no sense; `None` if
/// the hub stops before.
///
/// Another attempt is published before it is noted that there will be one: a crash in between repeats the publish,
/// and of two copies the second is dropped when it is due.
async fn keep(
    storing: &Storing<'_>,
    outlet: &impl Outlet,
    deliveries: Vec<Delivery>,
) -> Result<Option<()>, BusError> {
    let now = storing.shared.clock.now();
    let mut messages: Vec<Message> = deliveries
        .into_iter()
        .map(|delivery| {
            let said = read(&delivery, now);
            (delivery, said)
        })
        .collect();
    // The receipts first: what they say decides about the failures.
    if settle_each(storing, &mut messages).await.is_none() {
        return Ok(None);
    }
    let (mut failures, others): (Vec<Message>, Vec<Message>) =
        messages.into_iter().partition(|(_, read)| read.failure.is_some());
    if !failures.is_empty() {
        if follow_up(storing, outlet, &mut failures, now).await?.is_none() {
            return Ok(None);
        }
        if settle_each(storing, &mut failures).await.is_none() {
            return Ok(None);
        }
    }
    Ok(quarantine_refused(storing, others.into_iter().chain(failures), now).await)
}

/// Decides about the failures and sends on their way those that get another attempt.
async fn follow_up(
    storing: &Storing<'_>,
    outlet: &impl Outlet,
    failures: &mut [Message],
    now: DateTime<Utc>,
) -> Result<Option<()>, BusError> {
    let shared = storing.shared;
    let failed: Vec<Failure> = failures
        .iter()
        .filter_map(|(_, read)| read.failure.clone())
        .collect();
    let keys: Vec<DeliveryKey> = failed.iter().map(Failure::key).collect();
    let Some(standings) = storing.insist(|| shared.store.standings(&keys)).await else {
        return Ok(None);
    };
    let adapters = failed.iter().map(|failure| failure.adapter.as_str());
    let (routing, certain) = revisions::knowing(shared, adapters).await;
    let mut decided = failures::decide(failed, &standings, (&routing, certain), now, rand::random);

    let again = || {
        decided
            .iter()
            .flatten()
            .filter_map(|decided| decided.again.as_ref())
    };
    let results = outlet
        .publish_all(again().map(|waiting| waiting.message(now)).collect())
        .await;
    fail::fail_point!("failed-after-publish");
    let published = decided
        .iter_mut()
        .flatten()
        .filter(|decided| decided.again.is_some());
    for (Decided { outcome, .. }, result) in published.zip(results) {
        match result {
            Err(error @ PublishError::TooLarge { .. }) => {
                outcome.due = None;
                outcome
                    .detail
                    .get_or_insert(format!("it cannot wait for another attempt: {error}"));
            }
            other => confirmed(&[other])?,
        }
    }
    for ((_, read), decided) in failures.iter_mut().zip(decided) {
        read.outcomes.extend(decided.map(|decided| decided.outcome));
    }
    Ok(Some(()))
}

/// Settles what the messages say. What the database refuses for good becomes a fault of its message.
async fn settle_each(storing: &Storing<'_>, messages: &mut [Message]) -> Option<()> {
    let shared = storing.shared;
    let all: Vec<Outcome> = messages
        .iter()
        .flat_map(|(_, read)| read.outcomes.clone())
        .collect();
    if storing.persist(|| settle(shared, &all)).await?.is_err() {
        // Which of them it is, the database does not say.
        for (_, read) in messages.iter_mut() {
            if let Err(refused) = storing.persist(|| settle(shared, &read.outcomes)).await? {
                let reason = format!("the database refuses what this message says: {refused}");
                read.faults.push(Fault::new("", reason));
                read.outcomes.clear();
            }
        }
    }
    let routing = shared.routing.load();
    for outcome in messages.iter().flat_map(|(_, read)| &read.outcomes) {
        measures::outcome(&routing, &outcome.adapter, outcome.kind);
    }
    Some(())
}

async fn quarantine_refused(
    storing: &Storing<'_>,
    messages: impl Iterator<Item = Message>,
    now: DateTime<Utc>,
) -> Option<()> {
    let refused: Vec<NewQuarantined> = messages
        .filter(|(_, read)| !read.faults.is_empty())
        .map(|(delivery, read)| refuse(delivery, read, now))
        .collect();
    if refused.is_empty() {
        return Some(());
    }
    let count = refused.len();
    let batch = Batch {
        quarantined: refused,
        ..Batch::default()
    };
    storing
        .insist(|| storing.shared.store.record(batch.clone()))
        .await?;
    measures::judged(Judgement::Quarantined, count);
    Some(())
}

async fn settle(shared: &Shared, outcomes: &[Outcome]) -> Result<(), StoreError> {
    for outcomes in outcomes.chunks(SETTLED_TOGETHER) {
        shared.store.settle(outcomes).await?;
    }
    Ok(())
}

fn refuse(delivery: Delivery, read: Read, now: DateTime<Utc>) -> NewQuarantined {
    let reasons = quarantine::for_the_log(&read.faults);
    tracing::warn!(
        producer = read.producer,
        ?reasons,
        "a message to crossdock.failed went to quarantine"
    );
    quarantine::keep_outcome(delivery, read.producer, read.faults, now)
}

/// Reads one message. A fault of our own while reading is a reason for quarantine too: one message that trips the
/// hub must not stop the queue.
fn read(delivery: &Delivery, now: DateTime<Utc>) -> Read {
    let read = catch_unwind(AssertUnwindSafe(|| {
        if delivery.exchange == names::RECEIPTS {
            receipts::read(delivery, now)
        } else {
            failures::read(delivery)
        }
    }));
    read.unwrap_or_else(|_| {
        let message = "the hub failed while it read this message; please report it";
        Read::refused(None, Fault::new("", message))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;

    use bytes::Bytes;
    use crossdock_bus::message::{HeaderValue, Headers, Outgoing};
    use crossdock_store::DeliveryState;
    use serde_json::json;

    use super::*;
    use crate::testing::{self, Moody, accepted, database, event, garbage};

    fn receipts(body: impl Into<Bytes>) -> Delivery {
        let mut delivery = testing::published_by(Some("erp.1"), &event(json!({})));
        delivery.exchange = names::RECEIPTS.into();
        delivery.routing_key = String::new();
        delivery.body = body.into();
        delivery
    }

    /// Confirms everything and remembers where it went.
    #[derive(Default)]
    struct Paper(Mutex<Vec<Outgoing>>);

    impl Outlet for Paper {
        async fn publish_all(&self, messages: Vec<Outgoing>) -> Vec<Result<(), PublishError>> {
            let results = messages.iter().map(|_| Ok(())).collect();
            self.0.lock().unwrap().extend(messages);
            results
        }
    }

    fn done(id: &str) -> Delivery {
        receipts(json!({ "event": id, "outcome": "done" }).to_string())
    }

    #[tokio::test]
    async fn a_bad_message_goes_to_quarantine_and_holds_up_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let moody = Moody::store(database(&folder).await, |id| {
            (id == "bad").then(|| StoreError::Invalid("it does not fit".into()))
        });
        let recorded = Batch {
            accepted: ["1", "2"]
                .map(|id| accepted(event(json!({ "id": id })), &["erp"]))
                .into(),
            ..Batch::default()
        };
        moody.inner.record(recorded).await.unwrap();
        let shared = testing::shared(moody, &folder);
        let stop = CancellationToken::new();
        let storing = Storing {
            shared: &shared,
            part: PART,
            stop: &stop,
        };
        let mut stray = done("1");
        stray.exchange = names::DEAD.into();
        let messages = vec![receipts(garbage()), done("1"), stray, done("bad"), done("2")];
        assert!(
            keep(&storing, &Paper::default(), messages)
                .await
                .unwrap()
                .is_some()
        );

        for id in ["1", "2"] {
            let stored = shared.store.event(id, None).await.unwrap();
            assert_eq!(stored[0].deliveries[0].state, DeliveryState::Confirmed, "{id}");
        }
        let kept = shared.store.quarantine_page(None, 10).await.unwrap();
        let reasons: Vec<_> = kept
            .iter()
            .map(|message| message.reasons[0].message.as_str())
            .collect();
        assert_eq!(kept.len(), 3, "{reasons:?}");
        assert!(reasons[0].contains("the database refuses"), "{reasons:?}");
        assert!(reasons[1].contains("x-death"), "{reasons:?}");
        assert!(reasons[2].contains("no JSON"), "{reasons:?}");
        let whole = shared.store.quarantined(kept[0].id).await.unwrap().unwrap();
        assert_eq!(whole.headers["crossdock-exchange"], "crossdock.receipts");
    }

    fn rejected(id: &str) -> Delivery {
        let mut delivery = testing::published_by(None, &event(json!({ "id": id })));
        delivery.exchange = names::DEAD.into();
        let death = Headers::from([
            ("queue".to_owned(), "crossdock.adapter.erp".into()),
            ("reason".to_owned(), "rejected".into()),
        ]);
        let deaths = HeaderValue::List(vec![HeaderValue::Table(death)]);
        testing::with_header(delivery, "x-death", deaths)
    }

    #[tokio::test]
    async fn a_reject_follows_the_receipt_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let shared = testing::shared(database(&folder).await, &folder);
        let recorded = Batch {
            accepted: ["plain", "asks", "dead", "done"]
                .map(|id| accepted(event(json!({ "id": id })), &["erp"]))
                .into(),
            ..Batch::default()
        };
        shared.store.record(recorded).await.unwrap();
        let stop = CancellationToken::new();
        let storing = Storing {
            shared: &shared,
            part: PART,
            stop: &stop,
        };
        let asks = json!({ "event": "asks", "outcome": "retry", "retry_after_s": 700, "detail": "busy" });
        let dead = json!({ "event": "dead", "outcome": "dead", "detail": "no such sku" });
        let messages = || {
            vec![
                rejected("plain"),
                receipts(asks.to_string()),
                receipts(dead.to_string()),
                done("done"),
                rejected("asks"),
                rejected("dead"),
                rejected("done"),
                rejected("plain"),
                rejected("not recorded yet"),
            ]
        };
        let paper = Paper::default();
        for _ in 0..2 {
            assert!(keep(&storing, &paper, messages()).await.unwrap().is_some());
        }
        let delayed: Vec<_> = paper
            .0
            .lock()
            .unwrap()
            .iter()
            .map(|message| {
                let id = message.properties.headers["cloudEvents_id"]
                    .as_text()
                    .unwrap()
                    .to_owned();
                (id, message.routing_key.clone())
            })
            .collect();
        let at = |id: &str, queue: &str| (id.to_owned(), format!("crossdock.delay.{queue}"));
        assert_eq!(
            delayed,
            [
                at("plain", "5s"),
                at("asks", "600s"),
                at("not recorded yet", "5s")
            ],
            "each once, though the batch came twice"
        );
        for (id, state) in [
            ("plain", DeliveryState::Retrying),
            ("asks", DeliveryState::Retrying),
            ("dead", DeliveryState::Parked),
            ("done", DeliveryState::Confirmed),
        ] {
            let stored = shared.store.event(id, None).await.unwrap();
            let row = &stored[0].deliveries[0];
            assert_eq!(row.state, state, "{id}");
            assert_eq!(row.due.is_some(), state == DeliveryState::Retrying, "{id}");
        }
    }
}
