//! Hands failed deliveries over again when their time has come: reads `crossdock.due`, and publishes to the adapter's
//! queue, or to the next delay queue while there is time left.
//!
//! That an attempt begins is recorded before it is published. A crash in between repeats the publish; a receipt, which
//! names no attempt, is never read for an earlier one.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use crossdock_bus::{
    BusError, PublishError,
    lane::Lane,
    message::{Delivery, Outgoing},
    names,
};
use crossdock_model::fault::Fault;
use crossdock_store::{Batch, DeliveryKey, DeliveryState, NewQuarantined, Outcome, OutcomeKind, Standing};
use crossdock_telemetry::Span;
use tokio_util::sync::CancellationToken;

use super::{Outlet, ladder::Waiting, policy::UNDELIVERED_PAUSE};
use crate::{
    gate,
    lanes::{self, Post},
    measures, quarantine, revisions,
    shared::Shared,
    storing::Storing,
};

const PREFETCH: u16 = 100;
const BATCH_MAX: usize = 100;
const BATCH_LINGER: Duration = Duration::from_millis(10);
const PART: &str = "the retry of deliveries";

/// Hands over what is due until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let post = Post {
        queue: names::DUE,
        prefetch: PREFETCH,
        task: "due",
    };
    lanes::keep_serving(&shared, post, &stop, |lane| serve(&shared, lane, &stop)).await;
}

async fn serve(shared: &Shared, mut lane: Lane, stop: &CancellationToken) -> Result<(), BusError> {
    let storing = Storing {
        shared,
        part: PART,
        stop,
    };
    loop {
        let deliveries = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            deliveries = lane.next_batch(BATCH_MAX, BATCH_LINGER) => deliveries?,
        };
        let tags: Vec<u64> = deliveries.iter().map(|delivery| delivery.tag).collect();
        match process(&storing, &lane, deliveries).await? {
            Some(()) => lane.ack(&tags).await?,
            None => break,
        }
    }
    lane.step_down().await;
    Ok(())
}

/// What is to be done with a message.
enum Step {
    /// It waits on, in another queue.
    Wait(Waiting),
    HandOver(Waiting),
    /// There is nobody to hand it over to.
    GiveUp(Waiting, String),
    /// It was handed over already, or is no longer wanted.
    Drop,
}

/// One batch; `None` if the hub stops before the database has taken what must be noted first.
async fn process(
    storing: &Storing<'_>,
    outlet: &impl Outlet,
    deliveries: Vec<Delivery>,
) -> Result<Option<()>, BusError> {
    let shared = storing.shared;
    let now = shared.clock.now();
    let mut batch = Batch::default();
    let mut read = Vec::new();
    for delivery in deliveries {
        match Waiting::read(&delivery) {
            Ok(waiting) => read.push((waiting, delivery.redelivered)),
            Err(fault) => batch.quarantined.push(refuse(delivery, fault, now)),
        }
    }
    let keys: Vec<DeliveryKey> = read.iter().map(|(waiting, _)| key(waiting)).collect();
    let Some(standings) = storing.insist(|| shared.store.standings(&keys)).await else {
        return Ok(None);
    };

    let (mut wait, mut hand_over) = (Vec::new(), Vec::new());
    let adapters = read.iter().map(|(waiting, _)| waiting.adapter.as_str());
    let adapters = adapters.filter(|adapter| !names::is_own_target(adapter));
    let (routing, certain) = revisions::knowing(shared, adapters).await;
    for (waiting, redelivered) in read {
        let is_known =
            names::is_own_target(&waiting.adapter) || routing.adapters.contains_key(&waiting.adapter);
        let adapter = match is_known {
            true => Adapter::Known,
            false if certain => Adapter::Gone,
            false => Adapter::PerhapsNew,
        };
        match step(waiting, redelivered, adapter, &standings, now) {
            Step::Wait(waiting) => wait.push(waiting),
            Step::HandOver(waiting) => hand_over.push(waiting),
            Step::GiveUp(waiting, why) => {
                batch
                    .outcomes
                    .push(word(&waiting, OutcomeKind::Undelivered, Some(why), now))
            }
            Step::Drop => {}
        }
    }
    let begin = |waiting| word(waiting, OutcomeKind::HandedOver, None, now);
    let in_the_account = |waiting: &&Waiting| !names::is_own_target(&waiting.adapter);
    batch
        .outcomes
        .extend(hand_over.iter().filter(in_the_account).map(begin));
    if note(storing, batch).await.is_none() {
        return Ok(None);
    }
    fail::fail_point!("due-before-publish");
    let not_taken = Batch {
        outcomes: publish(outlet, wait, hand_over, now).await?,
        ..Batch::default()
    };
    Ok(note(storing, not_taken).await)
}

/// What this hub knows of a delivery's adapter.
#[derive(Clone, Copy)]
enum Adapter {
    Known,
    Gone,
    /// A revision may have it that this hub cannot read, now or ever.
    PerhapsNew,
}

fn step(
    mut waiting: Waiting,
    redelivered: bool,
    adapter: Adapter,
    standings: &HashMap<DeliveryKey, Standing>,
    now: DateTime<Utc>,
) -> Step {
    if let Some(standing) = standings.get(&key(&waiting)) {
        let is_over = match standing.state {
            DeliveryState::Confirmed | DeliveryState::Discarded | DeliveryState::Expired => true,
            DeliveryState::Parked => !waiting.redrive,
            DeliveryState::Pending | DeliveryState::Retrying => false,
        };
        let attempt = waiting.progress.attempt;
        let has_begun = standing
            .words
            .iter()
            .any(|word| word.kind == OutcomeKind::HandedOver && word.attempt >= attempt);
        // Of two copies the second is dropped; one that RabbitMQ gives out again may not have been published.
        if is_over || (has_begun && !redelivered) {
            return Step::Drop;
        }
    }
    match adapter {
        Adapter::Gone => {
            let why = format!("there is no adapter {} any more", waiting.adapter);
            Step::GiveUp(waiting, why)
        }
        Adapter::PerhapsNew => {
            waiting.due = waiting.due.max(now + UNDELIVERED_PAUSE);
            Step::Wait(waiting)
        }
        Adapter::Known if waiting.is_due(now) => Step::HandOver(waiting),
        Adapter::Known => Step::Wait(waiting),
    }
}

/// Publishes all of them. What its adapter's queue did not take goes into a delay queue once more; the answer says
/// so of each.
async fn publish(
    outlet: &impl Outlet,
    wait: Vec<Waiting>,
    hand_over: Vec<Waiting>,
    now: DateTime<Utc>,
) -> Result<Vec<Outcome>, BusError> {
    let to_delays = wait.iter().map(|waiting| waiting.message(now));
    let mut spans = Vec::new();
    let to_adapters = hand_over.iter().map(|waiting| handed_over(waiting, &mut spans));
    let results = outlet.publish_all(to_delays.chain(to_adapters).collect()).await;
    let (delayed, taken) = results.split_at(wait.len());
    gate::tell_failures(&mut spans, taken);
    confirmed(delayed)?;

    let (mut back, mut refusals) = (Vec::new(), Vec::new());
    for (mut waiting, result) in hand_over.into_iter().zip(taken) {
        match result {
            Ok(()) => {}
            Err(error @ (PublishError::Unavailable(_) | PublishError::Blocked(_))) => {
                return Err(BusError::Unavailable(error.to_string()));
            }
            Err(error) => {
                tracing::warn!(adapter = waiting.adapter, %error, "a queue did not take a delivery; it waits");
                let why = format!("its queue did not take it: {error}");
                waiting.due = now + UNDELIVERED_PAUSE;
                if !names::is_own_target(&waiting.adapter) {
                    refusals.push(Outcome {
                        due: Some(waiting.due),
                        ..word(&waiting, OutcomeKind::Undelivered, Some(why), now)
                    });
                }
                waiting.progress.attempt += 1;
                back.push(waiting.message(now));
            }
        }
    }
    confirmed(&outlet.publish_all(back).await)?;
    Ok(refusals)
}

/// The message for the adapter's queue.
fn handed_over(waiting: &Waiting, spans: &mut Vec<Span>) -> Outgoing {
    let adapter = std::slice::from_ref(&waiting.adapter);
    let mut message = gate::message(&waiting.event, adapter);
    waiting.progress.write(&mut message.properties.headers);
    let mut span = gate::traced(&mut message, &waiting.event, adapter, waiting.event.traceparent());
    span.say("crossdock.attempt", || i64::from(waiting.progress.attempt));
    if span.is_on() {
        spans.push(span);
    }
    message
}

/// Delay queues are the hub's own: if one of them does not confirm, the lane is over and everything comes again.
pub(crate) fn confirmed(results: &[Result<(), PublishError>]) -> Result<(), BusError> {
    match results.iter().find_map(|result| result.as_ref().err()) {
        None => Ok(()),
        Some(error) => Err(BusError::Unavailable(format!(
            "a delay queue did not take a message: {error}"
        ))),
    }
}

/// Notes what was decided, and puts aside what the database refuses for good.
async fn note(storing: &Storing<'_>, batch: Batch) -> Option<()> {
    let store = &storing.shared.store;
    let routing = storing.shared.routing.load();
    for outcome in &batch.outcomes {
        measures::outcome(&routing, &outcome.adapter, outcome.kind);
    }
    storing.insist(|| store.settle(&batch.outcomes)).await?;
    if !batch.quarantined.is_empty() {
        let refused = Batch {
            quarantined: batch.quarantined,
            ..Batch::default()
        };
        storing.insist(|| store.record(refused.clone())).await?;
    }
    Some(())
}

fn refuse(delivery: Delivery, fault: Fault, now: DateTime<Utc>) -> NewQuarantined {
    tracing::warn!(
        reason = fault.message,
        "a message in crossdock.due went to quarantine"
    );
    quarantine::keep_outcome(delivery, None, vec![fault], now)
}

fn key(waiting: &Waiting) -> DeliveryKey {
    DeliveryKey::of(&waiting.adapter, &waiting.event)
}

/// A word of the hub about the attempt to come.
fn word(waiting: &Waiting, kind: OutcomeKind, detail: Option<String>, at: DateTime<Utc>) -> Outcome {
    Outcome {
        detail,
        attempt: Some(waiting.progress.attempt),
        ..Outcome::about(key(waiting), kind, at)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use chrono::TimeDelta;
    use crossdock_store::Word;

    use super::*;
    use crate::{retry::Progress, testing};

    fn waiting(attempt: u32, due_in: TimeDelta) -> Waiting {
        Waiting {
            adapter: "erp".into(),
            event: testing::event(serde_json::json!({})),
            progress: Progress::starting_with(attempt),
            due: testing::now() + due_in,
            redrive: false,
        }
    }

    fn taken(waiting: Waiting, redelivered: bool, adapter: Adapter, known: Option<Standing>) -> &'static str {
        let standings = known
            .map(|standing| (key(&waiting), standing))
            .into_iter()
            .collect();
        match step(waiting, redelivered, adapter, &standings, testing::now()) {
            Step::HandOver(_) => "handed over",
            Step::Wait(waiting) if waiting.due >= testing::now() + UNDELIVERED_PAUSE => "waits for long",
            Step::Wait(_) => "waits",
            Step::GiveUp(..) => "given up",
            Step::Drop => "dropped",
        }
    }

    fn standing(state: DeliveryState, begun: Option<u32>) -> Standing {
        let word = |attempt| Word {
            attempt,
            kind: OutcomeKind::HandedOver,
            detail: None,
            retry_after_s: None,
        };
        Standing {
            state,
            words: begun.map(word).into_iter().collect(),
        }
    }

    #[test]
    fn what_is_due_is_handed_over_and_the_rest_waits() {
        let of = |due_in, adapter| taken(waiting(2, due_in), false, adapter, None);
        let (due, later) = (TimeDelta::zero(), TimeDelta::seconds(5));
        assert_eq!(of(due, Adapter::Known), "handed over");
        assert_eq!(of(later, Adapter::Known), "waits");
        assert_eq!(of(due, Adapter::PerhapsNew), "waits for long");
        assert_eq!(of(due, Adapter::Gone), "given up");
    }

    #[test]
    fn of_two_copies_one_is_handed_over() {
        use DeliveryState::{Confirmed, Parked, Retrying};
        let of = |redelivered, state, begun| {
            let known = Some(standing(state, begun));
            taken(waiting(2, TimeDelta::zero()), redelivered, Adapter::Known, known)
        };
        assert_eq!(of(false, Retrying, None), "handed over");
        assert_eq!(of(false, Retrying, Some(1)), "handed over");
        assert_eq!(of(false, Retrying, Some(2)), "dropped");
        // The crash may have come between record and publish.
        assert_eq!(of(true, Retrying, Some(2)), "handed over");
        assert_eq!(of(true, Confirmed, None), "dropped");
        assert_eq!(of(false, Parked, None), "dropped");
    }

    #[test]
    fn a_dead_letter_that_a_person_sends_again_is_handed_over() {
        let again = Waiting {
            redrive: true,
            ..waiting(2, TimeDelta::zero())
        };
        let known = Some(standing(DeliveryState::Parked, Some(1)));
        assert_eq!(taken(again, false, Adapter::Known, known), "handed over");
    }

    /// Takes everything, and keeps it.
    struct Paper(Mutex<Vec<Outgoing>>, Result<(), PublishError>);

    impl Outlet for Paper {
        async fn publish_all(&self, messages: Vec<Outgoing>) -> Vec<Result<(), PublishError>> {
            let to_delay = |message: &Outgoing| message.exchange.is_empty();
            let results = messages.iter().map(|one| match to_delay(one) {
                true => Ok(()),
                false => self.1.clone(),
            });
            let results = results.collect();
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(messages);
            results
        }
    }

    #[tokio::test]
    async fn what_the_hubs_own_queue_could_not_take_is_handed_over_without_a_word() {
        let folder = tempfile::tempdir().expect("a folder");
        let shared = testing::shared(testing::database(&folder).await, &folder);
        let stop = CancellationToken::new();
        let storing = Storing {
            shared: &shared,
            part: PART,
            stop: &stop,
        };
        let own = Waiting {
            adapter: names::STATE.into(),
            ..waiting(2, TimeDelta::zero())
        };
        let message = own.message(testing::now());
        let delivery = Delivery {
            tag: 1,
            exchange: message.exchange,
            routing_key: message.routing_key,
            redelivered: false,
            properties: message.properties,
            body: message.body,
        };
        for (answer, targets) in [
            (Ok(()), vec!["crossdock.state"]),
            (
                Err(PublishError::Nacked),
                vec!["crossdock.state", "crossdock.delay.30s"],
            ),
        ] {
            let paper = Paper(Mutex::default(), answer);
            let done = process(&storing, &paper, vec![delivery.clone()]).await;
            assert_eq!(done, Ok(Some(())));
            let published = paper.0.into_inner().unwrap_or_else(PoisonError::into_inner);
            let target = |message: &Outgoing| match message.bcc.first() {
                Some(queue) => queue.clone(),
                None => message.routing_key.clone(),
            };
            assert_eq!(published.iter().map(target).collect::<Vec<_>>(), targets);
        }
        let standing = shared.store.standings(&[key(&own)]).await;
        assert_eq!(standing.map(|known| known.len()), Ok(0));
    }
}
