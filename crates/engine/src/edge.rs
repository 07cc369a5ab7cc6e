//! The way in for events that come over HTTP: judged here as far as that needs no database, published to
//! the ingress exchange, and answered once RabbitMQ has confirmed.
//!
//! Duplicates are the gate's business; a repeat of a request that was not confirmed is therefore safe.

use std::sync::Arc;

use bytes::Bytes;
use crossdock_bus::{
    Publisher,
    message::{HeaderValue, Outgoing, encode_event},
    names,
};
use crossdock_model::{Traceparent, event::Event, fault::Fault};
use crossdock_telemetry::{Messaging, SEND, Span};
use tokio::sync::Semaphore;

use crate::{AcceptError, Principal, error::RETRY_AFTER_S, routing::Routing};

/// Names the adapter or key on whose behalf the hub publishes to the ingress exchange.
pub(crate) const PRODUCER_HEADER: &str = "crossdock-producer";

/// Requests that are judged at one time on threads of their own; more wait.
const JUDGED_AT_ONCE: usize = 2;
/// Events of so many bytes together are judged on the spot: no schema asks for much work about so little.
const LIGHT_MAX_BYTES: usize = 16 * 1024;

static JUDGES: Semaphore = Semaphore::const_new(JUDGED_AT_ONCE);

/// Every fault of every event, if there is any. Schemas may ask for much work, so what is not light is judged off the
/// threads on which others wait.
pub(crate) async fn judge(
    routing: Arc<Routing>,
    who: &Principal,
    events: Vec<Event>,
) -> (Vec<Event>, Result<(), AcceptError>) {
    if let Some(fault) = &routing.fault {
        let unavailable = AcceptError::Unavailable {
            reason: fault.clone(),
            retry_after_s: RETRY_AFTER_S,
        };
        return (events, Err(unavailable));
    }
    let producer = who.producer();
    let bytes: usize = events
        .iter()
        .filter_map(|event| event.data.as_ref())
        .map(Bytes::len)
        .sum();
    if bytes <= LIGHT_MAX_BYTES {
        let judged = faults(&routing, &producer, &events);
        return (events, judged);
    }
    let _place = JUDGES.acquire().await;
    let judge = move || {
        let judged = faults(&routing, &producer, &events);
        (events, judged)
    };
    tokio::task::spawn_blocking(judge).await.unwrap_or_else(|_| {
        let unavailable = AcceptError::Unavailable {
            reason: "the events could not be judged; the hub's log says more".to_owned(),
            retry_after_s: RETRY_AFTER_S,
        };
        (Vec::new(), Err(unavailable))
    })
}

fn faults(routing: &Routing, producer: &str, events: &[Event]) -> Result<(), AcceptError> {
    let mut forbidden = Vec::new();
    let mut invalid = Vec::new();
    for (index, event) in events.iter().enumerate() {
        let at = |fault: Fault| fault.within(&format!("/{index}"));
        forbidden.extend(routing.permission_faults(producer, event).into_iter().map(at));
        invalid.extend(routing.content_faults(event).into_iter().map(at));
    }
    if !forbidden.is_empty() {
        return Err(AcceptError::Forbidden(forbidden));
    }
    if !invalid.is_empty() {
        return Err(AcceptError::Invalid(invalid));
    }
    Ok(())
}

/// Publishes events that were judged, in their order; returns how many RabbitMQ confirmed. `request` is the step that
/// they came with, if it is traced.
pub(crate) async fn publish(
    publisher: &Publisher,
    hub_user: &str,
    who: &Principal,
    mut events: Vec<Event>,
    request: Option<Traceparent>,
) -> Result<usize, AcceptError> {
    let producer = who.producer();
    let mut spans = trace(&mut events, request);
    let messages: Vec<Outgoing> = events
        .iter()
        .map(|event| ingress_message(event, &producer, hub_user))
        .collect();
    let too_large: Vec<Fault> = messages
        .iter()
        .enumerate()
        .filter_map(|(index, message)| {
            let error = message.check_size().err()?;
            Some(Fault::new(
                format!("/{index}"),
                format!("the event makes a message that is too large: {error}"),
            ))
        })
        .collect();
    if !too_large.is_empty() {
        return Err(AcceptError::TooLarge(too_large));
    }

    let accepted = messages.len();
    match publisher.publish_all(messages).await {
        Ok(()) => Ok(accepted),
        Err(error) => {
            spans.iter_mut().for_each(|span| span.fail("unconfirmed"));
            Err(AcceptError::Unavailable {
                reason: error.to_string(),
                retry_after_s: RETRY_AFTER_S,
            })
        }
    }
}

/// A span for each publish, if telemetry is on: under the trace that the event brings, else under the request, and
/// then the event is part of that trace from here on.
fn trace(events: &mut [Event], request: Option<Traceparent>) -> Vec<Span> {
    let begin = |event: &mut Event| {
        let own = event.traceparent();
        let sending = Messaging {
            operation: SEND,
            exchange: names::INGRESS,
            queue: None,
            event,
        };
        let mut span = sending.start(own.or(request));
        match (own, request) {
            (Some(_), Some(request)) => span.link(request),
            _ => span
                .traceparent()
                .into_iter()
                .for_each(|here| event.join_trace(here)),
        }
        span
    };
    events.iter_mut().map(begin).filter(Span::is_on).collect()
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crossdock_bus::Broker;
    use serde_json::{Value, json};
    use tokio_util::{sync::CancellationToken, task::TaskTracker};

    use super::*;
    use crate::{
        Holder, Scope,
        testing::{HUB, event, routing},
    };

    fn caller(adapter: Option<&str>) -> Principal {
        let holder = match adapter {
            Some(name) => Holder::Adapter {
                key_id: "id".into(),
                name: name.into(),
            },
            None => Holder::Key {
                id: "id".into(),
                name: "shop".into(),
            },
        };
        Principal {
            holder,
            scopes: vec![Scope::EventsWrite],
        }
    }

    /// What the edge says without a broker: nothing that is refused may get as far as that.
    async fn sent(routing: Routing, who: &Principal, events: &[Value]) -> AcceptError {
        let events = events.iter().map(|changes| event(changes.clone())).collect();
        refusal(routing, who, events).await
    }

    async fn refusal(routing: Routing, who: &Principal, events: Vec<Event>) -> AcceptError {
        let (events, judged) = judge(Arc::new(routing), who, events).await;
        if let Err(refused) = judged {
            return refused;
        }
        let broker = Broker::new("amqp://hub:secret@127.0.0.1:1/").unwrap();
        let publisher = Publisher::spawn(broker, "test", &TaskTracker::new(), CancellationToken::new());
        publish(&publisher, HUB, who, events, None).await.unwrap_err()
    }

    fn pointers(faults: &[Fault]) -> Vec<&str> {
        faults.iter().map(|fault| fault.pointer.as_str()).collect()
    }

    #[tokio::test]
    async fn an_adapter_sends_as_itself_only() {
        let events = [
            json!({}),
            json!({ "source": "/erp" }),
            json!({ "type": "thing.seen.v1" }),
        ];
        match sent(routing(), &caller(Some("shop")), &events).await {
            AcceptError::Forbidden(faults) => assert_eq!(pointers(&faults), ["/1/source", "/2/type"]),
            other => panic!("{other}"),
        }
        match sent(routing(), &caller(Some("gone")), &[json!({})]).await {
            AcceptError::Forbidden(faults) => assert_eq!(pointers(&faults), ["/0"]),
            other => panic!("{other}"),
        }
    }

    #[tokio::test]
    async fn a_key_uses_no_adapters_source_whatever_it_is_called() {
        let events = [json!({ "source": "/import", "type": "any.thing.v9" }), json!({})];
        match sent(routing(), &caller(None), &events).await {
            AcceptError::Forbidden(faults) => assert_eq!(pointers(&faults), ["/1/source"]),
            other => panic!("{other}"),
        }
    }

    #[tokio::test]
    async fn every_fault_of_every_event_is_named() {
        let order = json!({
            "source": "/import", "type": "order.placed.v1", "datacontenttype": "application/json", "data": {},
        });
        let events = [order, json!({ "source": "/import", "type": "Nonsense" })];
        match sent(routing(), &caller(None), &events).await {
            AcceptError::Invalid(faults) => {
                let pointers = pointers(&faults);
                assert!(pointers.len() > 1, "{pointers:?}");
                assert!(pointers.iter().any(|pointer| pointer.starts_with("/0/data")));
                assert_eq!(pointers.last(), Some(&"/1/type"));
            }
            other => panic!("{other}"),
        }
    }

    #[tokio::test]
    async fn one_event_that_is_too_large_for_a_message_refuses_all() {
        let small = event(json!({ "source": "/import", "type": "any.thing.v9" }));
        // Only an event that nobody has checked can be.
        let mut large = small.clone();
        for number in 0..4_000 {
            large.extensions.insert(format!("a{number:04}"), "x".into());
        }
        match refusal(routing(), &caller(None), vec![small, large]).await {
            AcceptError::TooLarge(faults) => assert_eq!(pointers(&faults), ["/1"]),
            other => panic!("{other}"),
        }
    }

    #[tokio::test]
    async fn nothing_is_accepted_without_a_broker_or_by_a_revision_that_cannot_be_read() {
        let unavailable = |error: AcceptError| match error {
            AcceptError::Unavailable {
                reason,
                retry_after_s,
            } => (reason, retry_after_s),
            other => panic!("{other}"),
        };
        let (reason, retry_after_s) = unavailable(sent(routing(), &caller(Some("shop")), &[json!({})]).await);
        assert!(retry_after_s > 0 && !reason.contains("secret"), "{reason}");
        let unreadable = Routing::unreadable(7, String::new(), "revision 7 cannot be read".into());
        let (reason, _) = unavailable(sent(unreadable, &caller(Some("shop")), &[json!({})]).await);
        assert_eq!(reason, "revision 7 cannot be read");
    }

    #[test]
    fn what_the_edge_publishes_is_vouched_for_by_the_hub() {
        let message = ingress_message(&event(json!({ "partitionkey": "k" })), "key:import", HUB);
        assert_eq!(
            (message.exchange.as_str(), message.routing_key.as_str()),
            ("crossdock.ingress", "k")
        );
        assert_eq!(message.properties.user_id.as_deref(), Some(HUB));
        assert_eq!(
            message.properties.headers[PRODUCER_HEADER],
            HeaderValue::Text("key:import".into())
        );
        assert!(message.mandatory);
    }
}
