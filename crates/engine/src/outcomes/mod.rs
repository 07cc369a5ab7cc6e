//! What is said about deliveries: receipts, and what adapters rejected or died over, all from the one queue
//! `crossdock.failed`, in order, so that a receipt is read before the reject it explains. A message that makes no
//! sense goes to quarantine and holds up nothing behind it.

mod failures;
mod receipts;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use crossdock_bus::{BusError, lane::Lane, message::Delivery, names};
use crossdock_model::fault::Fault;
use crossdock_store::{Batch, NewQuarantined, Outcome, StoreError};
use tokio_util::sync::CancellationToken;

use crate::{
    measures::{self, Judgement},
    quarantine,
    shared::Shared,
    storing::{PAUSE_MIN, Storing},
};

const PREFETCH: u16 = 100;
const BATCH_MAX: usize = 250;
const BATCH_LINGER: Duration = Duration::from_millis(10);
/// Outcomes settled in one transaction.
const SETTLED_TOGETHER: usize = 2_000;
/// A lane that lasted so long was a good one: the next one is opened at once.
const GOOD_LANE: Duration = Duration::from_secs(10);

const PART: &str = "the reader of receipts";

/// Reads outcomes until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut pause = PAUSE_MIN;
    while !stop.is_cancelled() {
        if shared.wait_for_topology(&stop).await.is_err() {
            return;
        }
        let began = Instant::now();
        let tag = shared.consumer_tag("outcomes");
        let lane = tokio::select! {
            () = stop.cancelled() => return,
            lane = Lane::open(&shared.broker, names::FAILED, PREFETCH, &tag) => lane,
        };
        match lane {
            Ok(lane) => match serve(&shared, lane, &stop).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(%error, "the reader of receipts lost its lane and opens another");
                }
            },
            Err(error) => tracing::debug!(%error, "receipts cannot be read yet"),
        }
        if began.elapsed() > GOOD_LANE {
            pause = PAUSE_MIN;
        }
        shared.pause(&mut pause, &stop).await;
    }
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
        if keep(&storing, deliveries).await.is_none() {
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
    outcomes: Vec<Outcome>,
    faults: Vec<Fault>,
}

impl Read {
    fn refused(producer: Option<String>, fault: Fault) -> Self {
        Self {
            producer,
            outcomes: Vec::new(),
            faults: vec![fault],
        }
    }
}

/// What a message of receipts says in the name of its sender, and what is wrong with it. Whether it is about
/// deliveries that there are is not known here.
pub fn read_receipts(delivery: &Delivery, now: DateTime<Utc>) -> (Vec<Outcome>, Vec<Fault>) {
    let read = receipts::read(delivery, now);
    (read.outcomes, read.faults)
}

/// Settles what a batch of messages says, and quarantines what makes no sense; `None` if the hub stops before.
async fn keep(storing: &Storing<'_>, deliveries: Vec<Delivery>) -> Option<()> {
    let shared = storing.shared;
    let now = shared.clock.now();
    let mut messages: Vec<(Delivery, Read)> = deliveries
        .into_iter()
        .map(|delivery| {
            let said = read(&delivery, now);
            (delivery, said)
        })
        .collect();

    let all: Vec<Outcome> = messages
        .iter()
        .flat_map(|(_, read)| read.outcomes.clone())
        .collect();
    if storing.persist(|| settle(shared, &all)).await?.is_err() {
        // Which of them it is, the database does not say.
        for (_, read) in &mut messages {
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

    let refused: Vec<NewQuarantined> = messages
        .into_iter()
        .filter(|(_, read)| !read.faults.is_empty())
        .map(|(delivery, read)| refuse(delivery, read, now))
        .collect();
    if !refused.is_empty() {
        let count = refused.len();
        let batch = Batch {
            quarantined: refused,
            ..Batch::default()
        };
        storing.insist(|| shared.store.record(batch.clone())).await?;
        measures::judged(Judgement::Quarantined, count);
    }
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
            failures::read(delivery, now)
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
    use bytes::Bytes;
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
        assert_eq!(keep(&storing, messages).await, Some(()));

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
}
