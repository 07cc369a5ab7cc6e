//! The gate's publish step: one message with all targets, confirmed, in an order that holds per key.
//!
//! Events of one partition key go out one after the other, each confirmed before the next; different keys go
//! together. So a publish that has to be repeated never overtakes a later one of its key. A target that cannot
//! take an event costs the others nothing, and later events of the batch do not wait for it again.

use std::collections::{BTreeSet, HashMap};

use crossdock_bus::{
    BusError, PublishError,
    message::{Outgoing, encode_event},
    names,
};
use crossdock_model::{Traceparent, event::Event};
use crossdock_telemetry::{Messaging, SEND, Span, TRACEPARENT_HEADER};

use super::{route::Routed, targets::Targets};
use crate::{
    retry::{Outlet, Progress},
    routing::Failure,
    state,
};

/// Targets of one message: more would make its header too large for a frame.
const TARGETS_PER_MESSAGE: usize = 200;
/// How often a target that cannot take an event is tried by itself.
const ATTEMPTS_APART: usize = 3;

/// Where messages are published, with a way to wait for a queue to come back.
pub(super) trait PatientOutlet: Outlet {
    /// Gives a target that could not take a message the time to come back. `queue_is_missing`: its queue has to
    /// be made again first.
    fn before_another_attempt(&self, queue_is_missing: bool) -> impl Future<Output = ()> + Send;
}

/// What became of a batch.
#[derive(Default)]
pub(super) struct Published {
    /// All of their targets have them, or are named unreachable. In the order in which they were published.
    pub(super) confirmed: Vec<Confirmed>,
    /// The lane is over: what is not in `confirmed` must come again.
    pub(super) lane_over: Option<BusError>,
}

/// An event that needs no more publishing.
pub(super) struct Confirmed {
    pub(super) routed: Routed,
    /// Adapters whose queue does not take it now, with the reason.
    pub(super) unreachable: Vec<(String, String)>,
}

/// Publishes in waves: the first event of each key, then the second of each, and so on.
pub(super) async fn publish(
    outlet: &impl PatientOutlet,
    targets: &Targets,
    events: Vec<Routed>,
) -> Published {
    let mut published = Published::default();
    for wave in waves(events) {
        publish_wave(outlet, targets, wave, &mut published).await;
        if published.lane_over.is_some() {
            break;
        }
    }
    published
}

/// The message that brings an event to these adapters.
pub(crate) fn message(event: &Event, targets: &[String]) -> Outgoing {
    let (mut properties, body) = encode_event(event);
    Progress::starting_with(1).write(&mut properties.headers);
    Outgoing {
        exchange: names::DELIVER.to_owned(),
        routing_key: String::new(),
        bcc: targets
            .iter()
            .map(|target| names::queue_of_target(target))
            .collect(),
        mandatory: true,
        properties,
        body,
    }
}

/// Begins the span of a message's publish, under `parent`, and names it in the message as the step that the receiver's
/// work belongs under. Nothing without telemetry.
pub(crate) fn traced(
    message: &mut Outgoing,
    event: &Event,
    adapters: &[String],
    parent: Option<Traceparent>,
) -> Span {
    let sending = Messaging {
        operation: SEND,
        exchange: names::DELIVER,
        queue: None,
        event,
    };
    let mut span = sending.start(parent);
    span.say("crossdock.adapters", || {
        let adapters = adapters.iter().filter(|name| !names::is_own_target(name));
        adapters.map(String::as_str).collect::<Vec<_>>().join(" ")
    });
    if let Some(here) = span.traceparent() {
        let headers = &mut message.properties.headers;
        headers.insert(TRACEPARENT_HEADER.to_owned(), here.to_string().as_str().into());
    }
    span
}

/// A message to be: the event's place in the wave, which of its forms it brings, and the adapters that get it.
struct Parcel {
    event: usize,
    form: Form,
    targets: Vec<String>,
}

#[derive(Clone, Copy)]
enum Form {
    AsItIs,
    /// One of those that transforms made, by its place.
    Transformed(usize),
}

impl Parcel {
    fn message(&self, wave: &[Routed], spans: &mut Vec<Span>) -> Outgoing {
        let routed = &wave[self.event];
        let event = match self.form {
            Form::AsItIs => &routed.accepted.event,
            Form::Transformed(place) => &routed.transformed[place].1,
        };
        let mut message = message(event, &self.targets);
        if self.targets.iter().any(|target| target == names::STATE) {
            state::note_received(&mut message, event, routed.accepted.received);
        }
        let parent = routed.span.traceparent();
        let span = traced(&mut message, event, &self.targets, parent);
        if span.is_on() {
            spans.push(span);
        }
        message
    }
}

/// What is known about an event of the wave.
#[derive(Default)]
struct Fate {
    unreachable: Vec<(String, String)>,
    /// Adapters whose queue will never take it.
    failed: Vec<(String, Failure)>,
    unknown: bool,
}

async fn publish_wave(
    outlet: &impl PatientOutlet,
    targets: &Targets,
    wave: Vec<Routed>,
    published: &mut Published,
) {
    let mut fates: Vec<Fate> = wave.iter().map(|_| Fate::default()).collect();
    let mut parcels = pack(&wave, targets, &mut fates);
    let mut lane_works = false;
    let mut attempt = 0;
    while !parcels.is_empty() {
        let mut spans = Vec::new();
        let message = |parcel: &Parcel| parcel.message(&wave, &mut spans);
        let messages = parcels.iter().map(message).collect();
        let results = outlet.publish_all(messages).await;
        tell_failures(&mut spans, &results);
        lane_works |= results.iter().any(Result::is_ok);
        let mut again = Vec::new();
        let mut queue_is_missing = false;
        for (parcel, result) in parcels.into_iter().zip(results) {
            let Err(error) = result else {
                targets.confirmed(&parcel.targets);
                continue;
            };
            match next_step(&error, &parcel, attempt, lane_works, targets) {
                NextStep::Again => {
                    queue_is_missing |= matches!(error, PublishError::Returned { .. });
                    again.push(parcel);
                }
                NextStep::GiveUp => {
                    for target in parcel.targets {
                        let reason = targets.give_up(&target, &error);
                        let fate = &mut fates[parcel.event];
                        match error {
                            PublishError::TooLarge { .. } => fate.failed.push((target, Failure::of(reason))),
                            _ => fate.unreachable.push((target, reason)),
                        }
                    }
                }
                NextStep::LeaveLane => {
                    fates[parcel.event].unknown = true;
                    published.lane_over = Some(BusError::Unavailable(error.to_string()));
                }
            }
        }
        if published.lane_over.is_some() {
            // Whatever is to be tried again is unknown now, too.
            for parcel in &again {
                fates[parcel.event].unknown = true;
            }
            break;
        }
        if attempt > 0 && !again.is_empty() || queue_is_missing {
            outlet.before_another_attempt(queue_is_missing).await;
        }
        attempt += 1;
        parcels = apart(again);
    }
    published
        .confirmed
        .extend(
            wave.into_iter()
                .zip(fates)
                .filter(|(_, fate)| !fate.unknown)
                .map(|(mut routed, fate)| {
                    routed.failed.extend(fate.failed);
                    Confirmed {
                        routed,
                        unreachable: fate.unreachable,
                    }
                }),
        );
}

/// With telemetry there is a span for each result, and it ends here.
pub(crate) fn tell_failures(spans: &mut Vec<Span>, results: &[Result<(), PublishError>]) {
    for (mut span, result) in spans.drain(..).zip(results) {
        if result.is_err() {
            span.fail("unconfirmed");
        }
    }
}

/// The messages of a wave: each event to as many targets as may be, what a transform made to its own, and nothing
/// to those that are given up.
fn pack(wave: &[Routed], targets: &Targets, fates: &mut [Fate]) -> Vec<Parcel> {
    let mut parcels = Vec::new();
    for (event, routed) in wave.iter().enumerate() {
        let mut is_reachable = |target: &str| match targets.given_up(target) {
            None => true,
            Some(reason) => {
                fates[event].unreachable.push((target.to_owned(), reason));
                false
            }
        };
        let plain: Vec<String> = routed
            .plain_targets()
            .filter(|target| is_reachable(target))
            .map(str::to_owned)
            .collect();
        parcels.extend(plain.chunks(TARGETS_PER_MESSAGE).map(|targets| Parcel {
            event,
            form: Form::AsItIs,
            targets: targets.to_vec(),
        }));
        for (place, (target, _)) in routed.transformed.iter().enumerate() {
            if is_reachable(target) {
                parcels.push(Parcel {
                    event,
                    form: Form::Transformed(place),
                    targets: vec![target.clone()],
                });
            }
        }
    }
    parcels
}

/// Each target by itself, so that one that cannot take an event costs the others nothing.
fn apart(parcels: Vec<Parcel>) -> Vec<Parcel> {
    parcels
        .into_iter()
        .flat_map(|Parcel { event, form, targets }| {
            targets.into_iter().map(move |target| Parcel {
                event,
                form,
                targets: vec![target],
            })
        })
        .collect()
}

/// What to do about a message that was not confirmed.
enum NextStep {
    /// Publish it again, to each target by itself.
    Again,
    /// Its targets cannot take it.
    GiveUp,
    /// It says something about the connection, not about the targets.
    LeaveLane,
}

/// Without a confirm in time it is the targets' fault if others confirm, or if they have been silent for very long.
fn next_step(
    error: &PublishError,
    parcel: &Parcel,
    attempt: usize,
    lane_works: bool,
    targets: &Targets,
) -> NextStep {
    let can_be_split = parcel.targets.len() > 1;
    match error {
        PublishError::Unavailable(_) | PublishError::Blocked(_) => NextStep::LeaveLane,
        PublishError::Nacked | PublishError::Returned { .. } if attempt < ATTEMPTS_APART => NextStep::Again,
        PublishError::Timeout | PublishError::TooLarge { .. } if can_be_split => NextStep::Again,
        PublishError::Timeout => {
            let all_silent = parcel.targets.iter().all(|target| targets.silent(target));
            if lane_works || all_silent {
                NextStep::GiveUp
            } else {
                NextStep::LeaveLane
            }
        }
        _ => NextStep::GiveUp,
    }
}

impl Published {
    /// The gate's spans of what was confirmed, for the one who waits for its record.
    pub(super) fn spans(&mut self) -> Vec<Span> {
        let spans = self.confirmed.iter_mut();
        let spans = spans.map(|confirmed| std::mem::take(&mut confirmed.routed.span));
        spans.filter(Span::is_on).collect()
    }

    /// The targets of this batch that took something, and those that could not, with the reason.
    pub(super) fn targets(&self) -> (BTreeSet<&str>, HashMap<&str, &str>) {
        let mut reached = BTreeSet::new();
        let mut unreachable = HashMap::new();
        for Confirmed {
            routed,
            unreachable: lost,
        } in &self.confirmed
        {
            let published = |target: &&str| !routed.failed.iter().any(|(name, _)| name == *target);
            reached.extend(routed.targets().filter(published));
            unreachable.extend(
                lost.iter()
                    .map(|(target, reason)| (target.as_str(), reason.as_str())),
            );
        }
        reached.retain(|target| !unreachable.contains_key(target));
        (reached, unreachable)
    }
}

/// Splits a batch so that each part holds at most one event of a key, and the parts hold a key's order.
fn waves(events: Vec<Routed>) -> Vec<Vec<Routed>> {
    let mut next: HashMap<String, usize> = HashMap::new();
    let mut waves: Vec<Vec<Routed>> = Vec::new();
    for routed in events {
        let wave = next
            .entry(routed.accepted.event.partition_key().into_owned())
            .or_default();
        if waves.len() == *wave {
            waves.push(Vec::new());
        }
        waves[*wave].push(routed);
        *wave += 1;
    }
    waves
}

#[cfg(test)]
mod tests;
