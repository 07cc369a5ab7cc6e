//! The way in for events that come over HTTP: judged here as far as that needs no database, published to
//! the ingress exchange, and answered once RabbitMQ has confirmed.
//!
//! Duplicates are the gate's business; a repeat of a request that was not confirmed is therefore safe.

use crossdock_bus::{
    PublishError, Publisher,
    message::{HeaderValue, Outgoing, encode_event},
    names,
};
use crossdock_model::{event::Event, fault::Fault};
use futures::future::join_all;

use crate::{AcceptError, Principal, error::RETRY_AFTER_S, routing::Routing};

/// Names the adapter or key on whose behalf the hub publishes to the ingress exchange.
pub(crate) const PRODUCER_HEADER: &str = "crossdock-producer";

/// Accepts all events or reports every fault of every one; returns how many RabbitMQ confirmed.
pub(crate) async fn accept(
    routing: &Routing,
    publisher: &Publisher,
    hub_user: &str,
    who: &Principal,
    events: Vec<Event>,
) -> Result<usize, AcceptError> {
    let producer = who.producer();
    let mut forbidden = Vec::new();
    let mut invalid = Vec::new();
    for (index, event) in events.iter().enumerate() {
        let faults = routing.permission_faults(&producer, event);
        forbidden.extend(faults.into_iter().map(|fault| at(index, fault)));
        invalid.extend(
            routing
                .content_faults(event)
                .into_iter()
                .map(|fault| at(index, fault)),
        );
    }
    if !forbidden.is_empty() {
        return Err(AcceptError::Forbidden(forbidden));
    }
    if !invalid.is_empty() {
        return Err(AcceptError::Invalid(invalid));
    }

    let publishes = events
        .iter()
        .map(|event| publisher.publish(ingress_message(event, &producer, hub_user)));
    let mut away = None;
    let mut too_large = Vec::new();
    for (index, result) in join_all(publishes).await.into_iter().enumerate() {
        match result {
            Ok(()) => {}
            Err(PublishError::TooLarge { limit, actual }) => too_large.push(Fault {
                pointer: format!("/{index}"),
                message: format!("the event makes a message of {actual} bytes; at most {limit} fit"),
            }),
            Err(other) => away = Some(other.to_string()),
        }
    }
    if !too_large.is_empty() {
        return Err(AcceptError::TooLarge(too_large));
    }
    match away {
        None => Ok(events.len()),
        Some(reason) => Err(AcceptError::Unavailable {
            reason,
            retry_after_s: RETRY_AFTER_S,
        }),
    }
}

/// The message that carries an event to the gate on behalf of `producer`. Believed by the gate because
/// RabbitMQ has checked that `user_id` is the hub's own.
pub(crate) fn ingress_message(event: &Event, producer: &str, hub_user: &str) -> Outgoing {
    let (mut properties, body) = encode_event(event);
    properties.user_id = Some(hub_user.to_owned());
    properties
        .headers
        .insert(PRODUCER_HEADER.to_owned(), HeaderValue::Text(producer.to_owned()));
    Outgoing {
        exchange: names::INGRESS.to_owned(),
        routing_key: event.partition_key().into_owned(),
        bcc: Vec::new(),
        mandatory: true,
        properties,
        body,
    }
}

fn at(index: usize, fault: Fault) -> Fault {
    Fault {
        pointer: format!("/{index}{}", fault.pointer),
        message: fault.message,
    }
}
