//! Live state: what rules make of events, the latest of each topic in the database, and word of each change to every
//! hub. It knows nothing of who watches.
//!
//! The gate puts events that a rule is for into `crossdock.state`, of which one hub at a time is the consumer. Per batch:
//! run the rules → apply what they make in one transaction → announce the states that came of it, confirmed → ack. A
//! crash at any point repeats: what was applied is known when it comes again, and is announced again. Where a state
//! comes from and which of two events is newer is decided there and nowhere else
//! (docs/adr/0017-the-database-decides-which-state-is-newer.md).

mod announcement;
mod latest;
mod listening;
mod maker;
mod troubles;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use chrono::{DateTime, SubsecRound, Utc};
use crossdock_bus::{
    BusError,
    lane::Lane,
    message::{Delivery, HeaderValue, Outgoing, decode_event},
    names,
};
use crossdock_model::{event::Event, fault::Fault, topic::TopicName};
use crossdock_store::{
    Batch, EventKey, LatestState, NewQuarantined, Projected, STATE_DATA_MAX_BYTES, STATE_SEEN_MAX,
    StateChange, StateVerdict,
};
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use self::{announcement::Announcer, maker::Made, troubles::Troubles};
use crate::{
    StateView,
    lanes::{self, Post},
    measures::{self, Projection},
    quarantine, revisions,
    routing::Routing,
    shared::Shared,
    storing::Storing,
};

pub use latest::StatePage;
pub(crate) use listening::listen;
pub(crate) use maker::StateMaker;
pub(crate) use troubles::PART as RULES;

/// Messages RabbitMQ hands over ahead of acks.
const PREFETCH: u16 = 200;
/// Events applied together. They do not wait for each other: what comes meanwhile is the next batch.
const BATCH_MAX: usize = 200;
// What was applied before a crash is known when it comes again, even if all of it was of one moment.
const _: () = assert!(STATE_SEEN_MAX >= PREFETCH as usize);
/// How long nothing may come before troubles are looked through.
const LOOK_ROUND: Duration = Duration::from_secs(60);
/// Failures of a batch that are logged one by one.
const FAILURES_LOGGED: usize = 5;
const PART: &str = "the projection of states";

/// When the gate took an event that has no time of its own, in microseconds since 1970.
const RECEIVED_HEADER: &str = "crossdock-received";
/// The digits of its fraction of a second.
const RECEIVED_DIGITS: u16 = 6;

/// The state of a topic, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The topic.
    pub topic: TopicName,
    /// Greater than that of every earlier state of the topic.
    pub version: u64,
    /// `{"topic", "version", "time", "data"}` as JSON.
    pub payload: Bytes,
    /// From when on there is no state, in milliseconds since 1970.
    pub expires_ms: Option<u64>,
}

/// What is heard of states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveState {
    /// A topic has this state now. It may come again, and after a newer one: the version tells.
    Changed(State),
    /// Changes may have been lost: read anew what you know.
    Missed,
}

impl From<LatestState> for State {
    fn from(latest: LatestState) -> Self {
        let view = StateView {
            topic: latest.topic.to_string(),
            version: latest.version,
            time: latest.time,
            data: RawValue::from_string(latest.data).unwrap_or_else(|_| RawValue::NULL.to_owned()),
        };
        let payload = serde_json::to_vec(&view).expect("a state is plain data with text keys");
        Self {
            topic: latest.topic,
            version: latest.version,
            payload: payload.into(),
            expires_ms: latest
                .expires
                .and_then(|expires| u64::try_from(expires.timestamp_millis()).ok()),
        }
    }
}

/// Notes in the message when an event was received, where nothing else says when it happened.
pub(crate) fn note_received(message: &mut Outgoing, event: &Event, received: DateTime<Utc>) {
    if event.time.is_none() {
        let headers = &mut message.properties.headers;
        headers.insert(RECEIVED_HEADER.to_owned(), received.timestamp_micros().into());
    }
}

/// Writes into an event when it was received, where nothing else says when it happened: for a copy that is the hub's own
/// and goes where no header of this kind does. It is the very moment that [`note_received`] notes.
pub(crate) fn date_by_receipt(event: &mut Event, received: DateTime<Utc>) {
    event.time.get_or_insert(received.trunc_subsecs(RECEIVED_DIGITS));
}

/// Makes states of events until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let post = Post {
        queue: names::STATE,
        prefetch: PREFETCH,
        task: "state",
    };
    let troubles = Mutex::default();
    let look_through = async {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK_ROUND) => locked(&troubles).tell(&shared),
            }
        }
    };
    let serve = lanes::keep_serving(&shared, post, &stop, |lane| {
        let projector = Projector {
            storing: Storing {
                shared: &shared,
                part: PART,
                stop: &stop,
            },
            announcer: Announcer::new(),
            troubles: &troubles,
        };
        projector.serve(lane)
    });
    tokio::join!(serve, look_through);
}

fn locked(troubles: &Mutex<Troubles>) -> MutexGuard<'_, Troubles> {
    troubles.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The work over one lane.
struct Projector<'a> {
    storing: Storing<'a>,
    announcer: Announcer,
    troubles: &'a Mutex<Troubles>,
}

/// An event of a message.
struct Happened {
    event: Event,
    time: DateTime<Utc>,
    /// It may have been here before.
    redelivered: bool,
}

/// The same with what the rules make of it.
struct Read {
    redelivered: bool,
    event: EventKey,
    made: Vec<Made>,
}

impl Projector<'_> {
    async fn serve(self, mut lane: Lane) -> Result<(), BusError> {
        let stop = self.storing.stop;
        loop {
            let deliveries = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                deliveries = lane.next_batch(BATCH_MAX, Duration::ZERO) => deliveries?,
            };
            for batch in lanes::by_size(deliveries) {
                if !self.take(&lane, batch).await? {
                    lane.step_down().await;
                    return Ok(());
                }
            }
        }
        lane.step_down().await;
        Ok(())
    }

    /// One batch from the queue to the ack. `false` if the hub stops before the database has taken it.
    async fn take(&self, lane: &Lane, deliveries: Vec<Delivery>) -> Result<bool, BusError> {
        let tags: Vec<u64> = deliveries.iter().map(|delivery| delivery.tag).collect();
        let Some(states) = self.project(deliveries).await? else {
            return Ok(false);
        };
        fail::fail_point!("state-before-announcement");
        let messages = states.iter().map(|state| self.announcer.message(state)).collect();
        for told in lane.publish_all(messages).await {
            told.map_err(|error| BusError::Unavailable(format!("a state was not announced: {error}")))?;
        }
        fail::fail_point!("state-before-ack");
        lane.ack(&tags).await?;
        Ok(true)
    }

    /// The states that all hubs are to know of; `None` if the hub stops before the database has taken them.
    async fn project(&self, deliveries: Vec<Delivery>) -> Result<Option<Vec<State>>, BusError> {
        let now = self.storing.shared.clock.now();
        let (events, refused) = decode(deliveries, now);
        if !refused.is_empty() && self.keep_refused(refused).await.is_none() {
            return Ok(None);
        }
        let read = self.read(events, now).await?;
        self.note_failures(&read, now);
        let Some(told) = self.apply(&read).await else {
            return Ok(None);
        };
        Ok(Some(told.into_values().map(State::from).collect()))
    }

    /// Runs the rules, off the threads on which others wait. What is for none of them may be for one of a revision
    /// that another hub applied a moment ago.
    async fn read(&self, events: Vec<Happened>, now: DateTime<Utc>) -> Result<Vec<Read>, BusError> {
        let shared = self.storing.shared;
        let mut routing = shared.routing.load_full();
        let is_for_none = |one: &Happened| !routing.states().want(&one.event.event_type);
        if events.iter().any(is_for_none)
            && let Some(newest) = revisions::newest(shared).await
        {
            routing = newest;
        }
        tokio::task::spawn_blocking(move || read_all(&routing, events, now))
            .await
            .map_err(|error| BusError::Unavailable(format!("no states could be made: {error}")))
    }

    /// Applies everything, and gives the states that changed, and those that may not have been announced when they did.
    async fn apply(&self, read: &[Read]) -> Option<BTreeMap<TopicName, LatestState>> {
        let mut told = BTreeMap::new();
        let mut rest = read;
        while !rest.is_empty() {
            let (together, later) = rest.split_at(go_together(rest));
            self.apply_together(together, &mut told).await?;
            rest = later;
        }
        Some(told)
    }

    /// Applies them in one transaction; what the database refuses for good is found event by event, and is left out.
    async fn apply_together(&self, read: &[Read], told: &mut BTreeMap<TopicName, LatestState>) -> Option<()> {
        let all: Vec<StateChange> = read.iter().flat_map(changes).collect();
        if all.is_empty() {
            return Some(());
        }
        let store = &self.storing.shared.store;
        if let Ok(projected) = self.storing.persist(|| store.project(&all)).await? {
            self.note(read, projected, told);
            return Some(());
        }
        for one in read {
            let changes: Vec<StateChange> = changes(one).collect();
            match self.storing.persist(|| store.project(&changes)).await? {
                Ok(projected) => self.note(std::slice::from_ref(one), projected, told),
                Err(refused) => {
                    measures::projected(Projection::Failed, changes.len());
                    let reason = refused.to_string();
                    tracing::error!(event = one.event.id, reason, "the database refuses a state");
                    for made in &one.made {
                        self.trouble(&made.rule, &one.event, reason.clone());
                    }
                }
            }
        }
        Some(())
    }

    /// Takes in what became of the changes that `read` made.
    fn note(&self, read: &[Read], projected: Projected, told: &mut BTreeMap<TopicName, LatestState>) {
        let mut topics = BTreeSet::new();
        let mut verdicts = projected.verdicts.into_iter();
        for one in read {
            for made in &one.made {
                let Ok(change) = &made.change else { continue };
                let Some(verdict) = verdicts.next() else { continue };
                measures::projected(verdict.into(), 1);
                if verdict == StateVerdict::TooLarge {
                    let reason = format!(
                        "with what is there its data would have more than {STATE_DATA_MAX_BYTES} bytes"
                    );
                    self.trouble(&made.rule, &one.event, reason);
                }
                if verdict == StateVerdict::Changed || one.redelivered {
                    topics.insert(change.topic.clone());
                }
            }
        }
        let states = projected.states.into_iter();
        let states = states.filter(|state| topics.contains(&state.topic));
        told.extend(states.map(|state| (state.topic.clone(), state)));
        locked(self.troubles).tell(self.storing.shared);
    }

    fn note_failures(&self, read: &[Read], now: DateTime<Utc>) {
        let failures = read.iter().flat_map(|one| {
            let failed = one
                .made
                .iter()
                .filter_map(|made| Some((made, made.change.as_ref().err()?)));
            failed.map(move |(made, failure)| (one, made, failure))
        });
        let mut count = 0;
        for (one, made, failure) in failures {
            count += 1;
            if count <= FAILURES_LOGGED {
                let (rule, reason) = (&made.rule, &failure.logged);
                tracing::warn!(rule, event = one.event.id, reason, "no state is made of an event");
            }
            locked(self.troubles).note(&made.rule, one.event.clone(), failure.logged.clone(), now);
        }
        if count > FAILURES_LOGGED {
            tracing::warn!(count, "of more events no state is made");
        }
        if count > 0 {
            measures::projected(Projection::Failed, count);
            locked(self.troubles).tell(self.storing.shared);
        }
    }

    fn trouble(&self, rule: &str, event: &EventKey, reason: String) {
        let now = self.storing.shared.clock.now();
        locked(self.troubles).note(rule, event.clone(), reason, now);
    }

    /// Messages that are no events come from no gate.
    async fn keep_refused(&self, refused: Vec<NewQuarantined>) -> Option<()> {
        let batch = Batch {
            quarantined: refused,
            ..Batch::default()
        };
        let store = &self.storing.shared.store;
        self.storing.insist(|| store.record(batch.clone())).await
    }
}

fn changes(read: &Read) -> impl Iterator<Item = StateChange> {
    let changes = read.made.iter().filter_map(|made| made.change.as_ref().ok());
    changes.cloned()
}

/// How many from the front fit into one transaction, by the bytes of what they make: one at least.
fn go_together(read: &[Read]) -> usize {
    let mut bytes = 0;
    let fits = read.iter().take_while(|one| {
        bytes += changes(one).map(|change| change.data.len()).sum::<usize>();
        bytes <= lanes::BATCH_MAX_BYTES
    });
    fits.count().max(1)
}

/// The events of messages, and the messages that have none.
fn decode(deliveries: Vec<Delivery>, now: DateTime<Utc>) -> (Vec<Happened>, Vec<NewQuarantined>) {
    let (mut events, mut refused) = (Vec::new(), Vec::new());
    for delivery in deliveries {
        match decode_event(&delivery.properties, &delivery.body) {
            Ok(mut event) => {
                let received = delivery.properties.headers.get(RECEIVED_HEADER);
                let received = received
                    .and_then(HeaderValue::as_int)
                    .and_then(DateTime::from_timestamp_micros);
                // So that rules find a time in every event.
                let time = *event.time.get_or_insert(received.unwrap_or(now));
                events.push(Happened {
                    event,
                    time,
                    redelivered: delivery.redelivered,
                });
            }
            Err(faults) => {
                tracing::warn!("a message in crossdock.state went to quarantine");
                let reasons = vec![Fault::new("", faults.to_string())];
                refused.push(quarantine::keep_outcome(delivery, None, reasons, now));
            }
        }
    }
    (events, refused)
}

fn read_all(routing: &Routing, events: Vec<Happened>, now: DateTime<Utc>) -> Vec<Read> {
    let read = events.into_iter().map(|one| Read {
        redelivered: one.redelivered,
        made: routing.states().make(&one.event, one.time, now),
        event: EventKey::of(&one.event),
    });
    read.collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
