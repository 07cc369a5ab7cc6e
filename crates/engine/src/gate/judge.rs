//! The gate's first step: who sent this message, is it a CloudEvent, may its producer send it, does it
//! fit its schema. The answer names every fault at once.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use crossdock_bus::{
    BusError,
    message::{Delivery, HeaderValue, Headers, decode_event},
    names,
};
use crossdock_model::{event::Event, fault::Fault};
use crossdock_store::{EventKey, NewQuarantined};

use crate::{edge::PRODUCER_HEADER, quarantine, revisions, routing::Routing, shared::Shared};

/// Headers that only RabbitMQ or the hub may set: a copy of them on the way in would steer the message.
const FORBIDDEN_HEADERS: [&str; 4] = ["CC", "BCC", "x-death", "x-delay"];
const FORBIDDEN_PREFIXES: [&str; 3] = ["x-first-death-", "x-last-death-", "crossdock-"];

/// What the gate makes of a message.
pub(super) enum Verdict {
    Event(Box<Judged>),
    Quarantine(NewQuarantined),
}

/// An event whose producer is proved and whose content is right.
pub(super) struct Judged {
    pub(super) event: Event,
    pub(super) producer: String,
    pub(super) received: DateTime<Utc>,
    pub(super) redelivered: bool,
    delivery: Delivery,
}

impl Judged {
    pub(super) fn key(&self) -> EventKey {
        EventKey {
            source: self.event.source.clone(),
            id: self.event.id.clone(),
        }
    }

    /// Refuses it after all.
    pub(super) fn refuse(self, reasons: Vec<Fault>) -> NewQuarantined {
        quarantine::keep(self.delivery, Some(self.producer), reasons, self.received)
    }
}

/// Judges a batch, off the threads on which others wait: a schema may ask for much work. What is refused by a revision
/// that another hub has replaced meanwhile is judged once more, by the new one. Gives the routing that was judged by.
pub(super) async fn all(
    shared: &Shared,
    deliveries: Vec<Delivery>,
    received: DateTime<Utc>,
) -> Result<(Arc<Routing>, Vec<Verdict>), BusError> {
    let known = shared.routing.load_full();
    let verdicts = by(&known, shared, deliveries.clone(), received).await?;
    let is_refused = |verdict: &Verdict| matches!(verdict, Verdict::Quarantine(_));
    if verdicts.iter().any(is_refused)
        && let Some(newest) = revisions::newest(shared).await
        && newest.revision != known.revision
    {
        let verdicts = by(&newest, shared, deliveries, received).await?;
        return Ok((newest, verdicts));
    }
    Ok((known, verdicts))
}

async fn by(
    routing: &Arc<Routing>,
    shared: &Shared,
    deliveries: Vec<Delivery>,
    received: DateTime<Utc>,
) -> Result<Vec<Verdict>, BusError> {
    let (routing, hub_user) = (routing.clone(), shared.hub_user.clone());
    let judge = move || {
        let one = |delivery| judge(&routing, &hub_user, delivery, received);
        deliveries.into_iter().map(one).collect()
    };
    tokio::task::spawn_blocking(judge)
        .await
        .map_err(|error| BusError::Unavailable(format!("events could not be judged: {error}")))
}

/// Judges one message. A fault of our own while judging is a reason for quarantine too: one message that
/// trips the hub must not stop its partition.
pub(super) fn judge(
    routing: &Routing,
    hub_user: &str,
    delivery: Delivery,
    received: DateTime<Utc>,
) -> Verdict {
    let looked = catch_unwind(AssertUnwindSafe(|| look(routing, hub_user, &delivery)));
    match looked {
        Ok(Ok((event, producer))) => {
            let redelivered = delivery.redelivered;
            Verdict::Event(Box::new(Judged {
                event,
                producer,
                received,
                redelivered,
                delivery,
            }))
        }
        Ok(Err(Refusal { producer, reasons })) => {
            Verdict::Quarantine(quarantine::keep(delivery, producer, reasons, received))
        }
        Err(_) => {
            let reasons = vec![Fault::new(
                "",
                "the hub failed while it read this message; please report it".to_owned(),
            )];
            Verdict::Quarantine(quarantine::keep(delivery, None, reasons, received))
        }
    }
}

struct Refusal {
    producer: Option<String>,
    reasons: Vec<Fault>,
}

fn look(routing: &Routing, hub_user: &str, delivery: &Delivery) -> Result<(Event, String), Refusal> {
    let sender = sender(hub_user, delivery).map_err(|reason| Refusal {
        producer: None,
        reasons: vec![reason],
    })?;
    let mut reasons = Vec::new();
    if !sender.is_hub {
        reasons.extend(forbidden_headers(&delivery.properties.headers));
    }
    match decode_event(&delivery.properties, &delivery.body) {
        Err(faults) => reasons.extend(faults.0),
        Ok(event) => {
            reasons.extend(routing.permission_faults(&sender.producer, &event));
            reasons.extend(routing.content_faults(&event));
            if reasons.is_empty() {
                return Ok((event, sender.producer));
            }
        }
    }
    Err(Refusal {
        producer: Some(sender.producer),
        reasons,
    })
}

struct Sender {
    producer: String,
    is_hub: bool,
}

/// Who sent it, as RabbitMQ has checked: `user_id` is either the hub's own, and then the header names the
/// producer, or an adapter's.
fn sender(hub_user: &str, delivery: &Delivery) -> Result<Sender, Fault> {
    let Some(user) = delivery.properties.user_id.as_deref() else {
        let message = "the property user_id is missing: set it to the adapter's own RabbitMQ user, so that \
                       RabbitMQ vouches for it";
        return Err(Fault::new("", message));
    };
    if user == hub_user {
        return match delivery.properties.headers.get(PRODUCER_HEADER) {
            Some(HeaderValue::Text(producer)) => Ok(Sender {
                producer: producer.clone(),
                is_hub: true,
            }),
            _ => Err(Fault::new(
                "",
                format!("the hub's own message has no {PRODUCER_HEADER} header"),
            )),
        };
    }
    match names::adapter_of_user(user) {
        Some((adapter, _generation)) => Ok(Sender {
            producer: adapter.to_owned(),
            is_hub: false,
        }),
        None => Err(Fault::new(
            "",
            format!("the RabbitMQ user {user:?} belongs to no adapter"),
        )),
    }
}

fn forbidden_headers(headers: &Headers) -> Vec<Fault> {
    let forbidden = |name: &&String| {
        FORBIDDEN_HEADERS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
            || FORBIDDEN_PREFIXES
                .iter()
                .any(|prefix| name.to_ascii_lowercase().starts_with(prefix))
    };
    let refuse = |name: &String| {
        Fault::new(
            "",
            format!("the header {name:?} may only be set by RabbitMQ or the hub"),
        )
    };
    headers.keys().filter(forbidden).map(refuse).collect()
}

#[cfg(test)]
mod tests;
