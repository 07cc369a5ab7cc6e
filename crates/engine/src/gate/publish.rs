//! The gate's publish step: one message with all targets, confirmed, in an order that holds per key.
//!
//! Events of one partition key go out one after the other, each confirmed before the next; different keys go
//! together. So a publish that has to be repeated never overtakes a later one of its key.

use std::collections::HashMap;

use crossdock_bus::{
    BusError, PublishError,
    lane::Lane,
    message::{HeaderValue, Outgoing, encode_event},
    names,
};
use crossdock_store::Accepted;

/// Counts the attempts of a delivery, from 1.
pub(crate) const ATTEMPT_HEADER: &str = "crossdock-attempt";
/// Targets of one message: more would make its header too large for a frame.
const TARGETS_PER_MESSAGE: usize = 200;

/// What became of a batch.
pub(super) struct Published {
    /// All of their targets have them, or are named unreachable.
    pub(super) confirmed: Vec<Confirmed>,
    /// The lane is over: what is not in `confirmed` must come again.
    pub(super) lane_over: Option<BusError>,
}

/// An event that needs no more publishing.
pub(super) struct Confirmed {
    pub(super) accepted: Accepted,
    /// Adapters whose queue refused it, with the reason.
    pub(super) unreachable: Vec<(String, String)>,
}

/// Publishes in waves: the first event of each key, then the second of each, and so on.
pub(super) async fn publish(lane: &Lane, events: Vec<Accepted>) -> Published {
    let mut published = Published {
        confirmed: Vec::with_capacity(events.len()),
        lane_over: None,
    };
    for wave in waves(events) {
        let messages: Vec<Vec<Outgoing>> = wave.iter().map(fan_out).collect();
        let counts: Vec<usize> = messages.iter().map(Vec::len).collect();
        let mut results = lane
            .publish_all(messages.into_iter().flatten().collect())
            .await
            .into_iter();
        for (accepted, count) in wave.into_iter().zip(counts) {
            let mut failures = Vec::new();
            for (index, result) in results.by_ref().take(count).enumerate() {
                match result {
                    Ok(()) => {}
                    Err(
                        error @ (PublishError::Nacked
                        | PublishError::Returned { .. }
                        | PublishError::TooLarge { .. }),
                    ) => {
                        failures.push((index, error));
                    }
                    Err(error) => published.lane_over = Some(BusError::Unavailable(error.to_string())),
                }
            }
            if published.lane_over.is_some() {
                continue;
            }
            let unreachable = match one_by_one(lane, &accepted, &failures).await {
                Ok(unreachable) => unreachable,
                Err(error) => {
                    published.lane_over = Some(error);
                    continue;
                }
            };
            published.confirmed.push(Confirmed {
                accepted,
                unreachable,
            });
        }
        if published.lane_over.is_some() {
            break;
        }
    }
    published
}

/// After a nack or return of a message for many: each of its targets alone, so that one that cannot take it
/// costs the others nothing. Returns those that could not.
async fn one_by_one(
    lane: &Lane,
    accepted: &Accepted,
    failures: &[(usize, PublishError)],
) -> Result<Vec<(String, String)>, BusError> {
    let mut unreachable = Vec::new();
    for (chunk, _) in failures {
        let targets = accepted
            .targets
            .chunks(TARGETS_PER_MESSAGE)
            .nth(*chunk)
            .unwrap_or_default();
        let messages = targets
            .iter()
            .map(|target| message(accepted, std::slice::from_ref(target)))
            .collect();
        for (target, result) in targets.iter().zip(lane.publish_all(messages).await) {
            match result {
                Ok(()) => {}
                Err(
                    error @ (PublishError::Nacked
                    | PublishError::Returned { .. }
                    | PublishError::TooLarge { .. }),
                ) => {
                    tracing::error!(adapter = target, %error, "an adapter's queue refused an event: it is parked");
                    unreachable.push((target.clone(), format!("the adapter's queue refused it: {error}")));
                }
                Err(error) => return Err(BusError::Unavailable(error.to_string())),
            }
        }
    }
    Ok(unreachable)
}

fn fan_out(accepted: &Accepted) -> Vec<Outgoing> {
    accepted
        .targets
        .chunks(TARGETS_PER_MESSAGE)
        .map(|targets| message(accepted, targets))
        .collect()
}

fn message(accepted: &Accepted, targets: &[String]) -> Outgoing {
    let (mut properties, body) = encode_event(&accepted.event);
    properties
        .headers
        .insert(ATTEMPT_HEADER.to_owned(), HeaderValue::Int(1));
    Outgoing {
        exchange: names::DELIVER.to_owned(),
        routing_key: String::new(),
        bcc: targets
            .iter()
            .map(|target| names::adapter_queue(target))
            .collect(),
        mandatory: true,
        properties,
        body,
    }
}

/// Splits a batch so that each part holds at most one event of a key, and the parts hold a key's order.
fn waves(events: Vec<Accepted>) -> Vec<Vec<Accepted>> {
    let mut next: HashMap<String, usize> = HashMap::new();
    let mut waves: Vec<Vec<Accepted>> = Vec::new();
    for accepted in events {
        let wave = next
            .entry(accepted.event.partition_key().into_owned())
            .or_default();
        if waves.len() == *wave {
            waves.push(Vec::new());
        }
        waves[*wave].push(accepted);
        *wave += 1;
    }
    waves
}
