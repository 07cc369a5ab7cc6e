//! The sender of one webhook adapter: takes events from its queue and posts each to the endpoint.
//!
//! For each attempt, in this order: the request → the word about it in the record → ack, or reject, with which the event
//! comes to `crossdock.failed`, where the next attempt is decided. A crash in between repeats the request, under the
//! same id, and loses nothing.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crossdock_bus::{BusError, lane::Lane, message::Delivery, names};
use crossdock_store::{DeliveryKey, DisabledEndpoint, Outcome, OutcomeKind};
use futures::StreamExt;
use tokio::{sync::Mutex, time::timeout_at};
use tokio_util::sync::CancellationToken;

use super::{
    PART, Webhook,
    hands::{Finished, Hands, Held},
    message, secret,
    signature::Keys,
    throttle::Throttle,
    verdict::{self, Health, Verdict},
};
use crate::{
    lanes::{self, Post},
    measures,
    shared::Shared,
    storing::Storing,
};

/// Deliveries taken in at once.
const TAKEN_TOGETHER: usize = 50;
/// Bytes of the events under way, unless one alone is larger.
const UNDER_WAY_MAX_BYTES: usize = 32 * 1024 * 1024;
/// While the record takes so long to take in what has come back, nothing new is sent: after a crash it would all be
/// sent again.
const RECORD_LATE: Duration = Duration::from_secs(5);
/// How long requests under way are waited for at a stop; the hub itself waits little longer.
const DRAIN_MAX: Duration = Duration::from_secs(12);
/// How often the secret is read again, for it may be another one.
const SECRET_ROUND: Duration = Duration::from_secs(20);
/// From so many pauses in a row on it is an alarm.
const PAUSES_WORTH_AN_ALARM: u32 = 3;

/// Why a sender ended by itself or at a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was told to.
    Stopped,
    /// The endpoint is gone, and the record knows it.
    Gone,
}

/// Sends until `stop`, or until the endpoint is gone. Lanes come and go with the broker; this goes on.
pub(super) async fn run(shared: Arc<Shared>, webhook: Webhook, stop: CancellationToken) -> Ended {
    let Some(keys) = secret::wait_for(&shared, &webhook, &stop).await else {
        return Ended::Stopped;
    };
    let throttle = Throttle::new(
        webhook.max_in_flight,
        webhook.rate_per_s,
        webhook.timeout,
        webhook.ordered,
    );
    let prefetch = u16::try_from(throttle.holds_at_most()).unwrap_or(u16::MAX);
    let sender = Mutex::new(Sender {
        part: format!("the webhook sender of {}", webhook.adapter),
        throttle,
        secret_read: Instant::now(),
        keys,
        shared: &shared,
        webhook: &webhook,
        stop: &stop,
    });
    let post = Post {
        queue: &names::adapter_queue(&webhook.adapter),
        prefetch,
        task: &format!("webhook-{}", webhook.adapter),
    };
    let sender = &sender;
    let serve = |lane| async move { sender.lock().await.serve(lane).await };
    lanes::keep_serving(&shared, post, &stop, serve)
        .await
        .unwrap_or(Ended::Stopped)
}

struct Sender<'a> {
    shared: &'a Arc<Shared>,
    webhook: &'a Webhook,
    stop: &'a CancellationToken,
    /// The task's name in alarms.
    part: String,
    throttle: Throttle,
    keys: Keys,
    secret_read: Instant,
}

/// What happens next.
enum Step {
    Stop,
    Came(Vec<Delivery>),
    Answered(Finished),
    /// Noted in the record; `None`: the hub stops, and the database did not take it.
    Noted(Option<Vec<Finished>>),
    /// A request may begin, or the secret is to be read again.
    Turn,
}

impl Sender<'_> {
    /// Serves one lane: an error when the lane is over.
    async fn serve(&mut self, mut lane: Lane) -> Result<Ended, BusError> {
        let mut hands = Hands::of(self.webhook.ordered);
        let gone = loop {
            self.begin_requests(&mut hands);
            self.note(&mut hands);
            measures::webhooks_in_flight(&self.webhook.adapter, hands.under_way.len());
            match self.step(&mut lane, &mut hands).await? {
                Step::Stop | Step::Noted(None) => break None,
                Step::Came(deliveries) => deliveries.into_iter().for_each(|delivery| hands.take(delivery)),
                Step::Answered(finished) => {
                    let gone = self.learn(&finished);
                    hands.finished.push(finished);
                    if gone.is_some() {
                        break gone;
                    }
                }
                Step::Noted(Some(noted)) => self.let_go(&lane, &mut hands, noted).await?,
                Step::Turn => self.reread_secret().await,
            }
        };
        let ended = match gone {
            None => Ended::Stopped,
            Some(reason) => self
                .disable(reason)
                .await
                .map_or(Ended::Stopped, |()| Ended::Gone),
        };
        self.drain(&lane, hands).await?;
        measures::webhooks_in_flight(&self.webhook.adapter, 0);
        lane.step_down().await;
        Ok(ended)
    }

    async fn step(&self, lane: &mut Lane, hands: &mut Hands) -> Result<Step, BusError> {
        let turn = self.next_turn(hands);
        let Hands {
            under_way, noting, ..
        } = hands;
        let noted = async {
            match noting {
                Some(noting) => noting.done.as_mut().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Ok(Step::Stop),
            noted = noted => {
                hands.noting = None;
                Ok(Step::Noted(noted))
            }
            Some(finished) = under_way.next() => Ok(Step::Answered(finished)),
            deliveries = lane.next_batch(TAKEN_TOGETHER, Duration::ZERO) => Ok(Step::Came(deliveries?)),
            () = tokio::time::sleep_until(turn.into()) => Ok(Step::Turn),
        }
    }

    /// When there is something to do though nothing has happened.
    fn next_turn(&self, hands: &Hands) -> Instant {
        let secret = self.secret_read + SECRET_ROUND;
        let opens = self.throttle.opens(Instant::now());
        opens
            .filter(|_| hands.has_one_to_send())
            .map_or(secret, |opens| opens.min(secret))
    }

    /// Begins as many requests as may be under way.
    fn begin_requests(&mut self, hands: &mut Hands) {
        while !hands.record_is_late(RECORD_LATE)
            && hands.under_way.len() < self.throttle.room(hands.held())
            && self.throttle.opens(Instant::now()).is_none()
        {
            let Some(held) = hands.next_to_send(UNDER_WAY_MAX_BYTES) else {
                return;
            };
            let now = self.shared.clock.now();
            match &held.event {
                Err(_) => hands.finished.push(held.unsent(None)),
                Ok(event) => match event.expiry().filter(|expiry| *expiry <= now) {
                    Some(expiry) => {
                        let expired = verdict::expired(expiry);
                        measures::webhook_answered(&self.webhook.adapter, expired.counted, None);
                        hands.finished.push(held.unsent(Some(expired)));
                    }
                    None => {
                        self.throttle.begin(Instant::now());
                        self.send(held, hands);
                    }
                },
            }
        }
    }

    fn send(&self, held: Held, hands: &mut Hands) {
        let Ok(event) = &held.event else {
            return;
        };
        let webhook = self.webhook;
        let (clock, outbound) = (self.shared.clock.clone(), self.shared.webhooks.outbound.clone());
        let mut span = held.span(event, &webhook.adapter, &webhook.url);
        let mut request = message::request(
            event,
            webhook.url.clone(),
            webhook.timeout,
            &self.keys,
            clock.now(),
        );
        message::name_step(&mut request, &span);
        hands.under_way.push(Box::pin(async move {
            let began = Instant::now();
            let answer = outbound.send(request).await;
            let verdict = verdict::judge(&answer, clock.now());
            if let Ok(response) = &answer {
                let status = response.status.as_u16();
                span.say("http.response.status_code", || i64::from(status));
            }
            if verdict.kind != OutcomeKind::Done {
                span.fail("not delivered");
            }
            drop(span);
            held.answered(began, began.elapsed(), verdict)
        }));
    }

    /// What an answer says about the endpoint; the reason, if it is gone.
    fn learn(&mut self, finished: &Finished) -> Option<String> {
        let verdict = finished.verdict.as_ref()?;
        measures::webhook_answered(&self.webhook.adapter, verdict.counted, Some(finished.took));
        match verdict.health {
            Health::Gone => return Some(verdict.in_short.clone()),
            Health::Answers => {
                if self.throttle.answered(finished.began) {
                    self.shared.webhooks.is_well(self.shared, &self.webhook.adapter);
                }
            }
            Health::Silent if self.throttle.is_troubled() => self.is_troubled(finished.began, None, verdict),
            Health::Silent => {}
            Health::Overloaded(wanted) => self.is_troubled(finished.began, wanted, verdict),
        }
        None
    }

    fn is_troubled(&mut self, began: Instant, wanted: Option<Duration>, verdict: &Verdict) {
        let times = self.throttle.overloaded(began, Instant::now(), wanted);
        let (webhooks, adapter) = (&self.shared.webhooks, &self.webhook.adapter);
        webhooks.is_troubled(adapter, &verdict.detail);
        if times >= PAUSES_WORTH_AN_ALARM {
            let sentence = format!(
                "{adapter}: its endpoint takes no events for now: {}",
                verdict.in_short
            );
            self.shared.alarms.raise(PART, adapter, sentence);
        }
    }

    /// Begins to note what has come back, unless that is under way.
    fn note(&self, hands: &mut Hands) {
        if hands.noting.is_some() || hands.finished.is_empty() {
            return;
        }
        let finished = std::mem::take(&mut hands.finished);
        let outcomes = self.outcomes(&finished);
        let (shared, part, stop) = (self.shared.clone(), self.part.clone(), self.stop.clone());
        hands.note(Box::pin(async move {
            let storing = Storing {
                shared: &shared,
                part: &part,
                stop: &stop,
            };
            fail::fail_point!("webhook-before-record");
            storing.insist(|| shared.store.settle(&outcomes)).await?;
            Some(finished)
        }));
    }

    fn outcomes(&self, finished: &[Finished]) -> Vec<Outcome> {
        let at = self.shared.clock.now();
        let outcome = |finished: &Finished| {
            let verdict = finished.verdict.as_ref()?;
            let delivery = DeliveryKey {
                adapter: self.webhook.adapter.clone(),
                event: finished.event.clone()?,
            };
            Some(Outcome {
                detail: Some(verdict.detail.clone()),
                retry_after_s: verdict.retry_after_s,
                duration_ms: u64::try_from(finished.took.as_millis()).ok(),
                attempt: Some(finished.attempt),
                ..Outcome::about(delivery, verdict.kind, at)
            })
        };
        finished.iter().filter_map(outcome).collect()
    }

    /// The record knows: acks what was delivered and rejects the rest.
    async fn let_go(&self, lane: &Lane, hands: &mut Hands, noted: Vec<Finished>) -> Result<(), BusError> {
        fail::fail_point!("webhook-after-record");
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        let routing = self.shared.routing.load();
        for finished in noted {
            let kind = finished.verdict.as_ref().map(|verdict| verdict.kind);
            if let Some(kind) = kind {
                measures::outcome(&routing, &self.webhook.adapter, kind);
            }
            match kind {
                Some(OutcomeKind::Done) => done.push(finished.tag),
                _ => failed.push(finished.tag),
            }
            hands.is_let_go(&finished);
        }
        drop(routing);
        lane.ack(&done).await?;
        lane.reject(&failed).await
    }

    /// Waits for the requests under way, as long as a stop may take, and notes what came of them. What has not ended
    /// then is delivered again.
    async fn drain(&mut self, lane: &Lane, mut hands: Hands) -> Result<(), BusError> {
        let end = tokio::time::Instant::now() + DRAIN_MAX;
        while let Ok(Some(finished)) = timeout_at(end, hands.under_way.next()).await {
            if let Some(reason) = self.learn(&finished) {
                self.disable(reason).await;
            }
            hands.finished.push(finished);
        }
        loop {
            self.note(&mut hands);
            let Some(noting) = hands.noting.take() else {
                return Ok(());
            };
            match noting.done.await {
                Some(noted) => self.let_go(lane, &mut hands, noted).await?,
                None => return Ok(()),
            }
        }
    }

    /// Notes that the endpoint is gone; `None` if the hub stops before the database has taken it.
    async fn disable(&self, reason: String) -> Option<()> {
        let endpoint = DisabledEndpoint {
            adapter: self.webhook.adapter.clone(),
            url: self.webhook.url.to_string(),
            revision: self.shared.routing.load().revision,
            reason,
            at: self.shared.clock.now(),
        };
        let storing = Storing {
            shared: self.shared,
            part: &self.part,
            stop: self.stop,
        };
        storing
            .insist(|| self.shared.store.disable_endpoint(endpoint.clone()))
            .await
    }

    /// Takes another secret, if there is one; one that has become unreadable is an alarm, and the known one holds.
    async fn reread_secret(&mut self) {
        if self.secret_read.elapsed() >= SECRET_ROUND {
            self.secret_read = Instant::now();
            if let Ok(keys) = secret::look(self.shared, self.webhook).await {
                self.keys = keys;
            }
        }
    }
}
