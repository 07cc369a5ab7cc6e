//! Every refusal of the gate, and what is no reason for one.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use crossdock_bus::message::{Headers, Properties};
use serde_json::{Value, json};

use super::*;
use crate::testing::{HUB, event, garbage, now, published_by, routing, with_header};

fn judged(delivery: Delivery) -> Result<Box<Judged>, Box<NewQuarantined>> {
    match judge(&routing(), HUB, delivery, now()) {
        Verdict::Event(judged) => Ok(judged),
        Verdict::Quarantine(refused) => Err(Box::new(refused)),
    }
}

fn accepted(delivery: Delivery) -> Box<Judged> {
    judged(delivery).unwrap_or_else(|refused| panic!("refused: {:?}", refused.reasons))
}

/// The refused message, with the pointers of its reasons.
fn refused(delivery: Delivery) -> (Box<NewQuarantined>, Vec<String>) {
    let Err(refused) = judged(delivery) else {
        panic!("it was accepted");
    };
    let pointers = refused
        .reasons
        .iter()
        .map(|fault| fault.pointer.clone())
        .collect();
    (refused, pointers)
}

fn sent() -> Delivery {
    published_by(Some("shop.1"), &event(json!({})))
}

#[test]
fn an_adapters_own_event_passes() {
    for user in ["shop.1", "shop.12"] {
        let judged = accepted(published_by(Some(user), &event(json!({}))));
        assert_eq!(judged.producer, "shop");
        assert_eq!(
            judged.key(),
            EventKey {
                source: "/shop".into(),
                id: "e-1".into()
            }
        );
    }
}

#[test]
fn without_a_user_that_rabbitmq_vouches_for_nobody_has_sent_it() {
    for user in [
        None,
        Some(""),
        Some("guest"),
        Some("shop"),
        Some("shop.0"),
        Some("shop.01"),
    ] {
        let (refused, pointers) = refused(published_by(user, &event(json!({}))));
        assert_eq!(pointers, [""], "{user:?}");
        assert_eq!(refused.producer, None, "{user:?}");
    }
    let (missing, _) = refused(published_by(None, &event(json!({}))));
    assert!(missing.reasons[0].message.contains("user_id"));
}

#[test]
fn a_producer_that_is_named_by_anybody_but_the_hub_is_a_forgery() {
    let forged = with_header(sent(), PRODUCER_HEADER, "key:admin");
    let (refused, _) = refused(forged);
    assert_eq!(refused.producer.as_deref(), Some("shop"));
    assert!(refused.reasons[0].message.contains("crossdock-producer"));
}

#[test]
fn the_hub_is_believed_whom_it_names() {
    let by_hub = |producer: &str, event: &Event| {
        with_header(published_by(Some(HUB), event), PRODUCER_HEADER, producer)
    };
    assert_eq!(accepted(by_hub("shop", &event(json!({})))).producer, "shop");
    let others = event(json!({ "source": "/somebody", "type": "thing.happened.v1" }));
    assert_eq!(accepted(by_hub("key:import", &others)).producer, "key:import");
    let (nameless, _) = refused(published_by(Some(HUB), &event(json!({}))));
    assert_eq!(nameless.producer, None);
    let (odd, _) = refused(with_header(
        published_by(Some(HUB), &event(json!({}))),
        PRODUCER_HEADER,
        7,
    ));
    assert_eq!(odd.producer, None);
}

#[test]
fn a_key_named_like_an_adapter_is_not_that_adapter() {
    let delivery = with_header(
        published_by(Some(HUB), &event(json!({}))),
        PRODUCER_HEADER,
        "key:shop",
    );
    let (refused, pointers) = refused(delivery);
    assert_eq!(refused.producer.as_deref(), Some("key:shop"));
    assert_eq!(
        pointers,
        ["/source"],
        "the source is the adapter's, not the key's"
    );
}

#[test]
fn headers_that_steer_rabbitmq_or_the_hub_are_refused_whoever_sends_them() {
    for header in [
        "CC",
        "BCC",
        "cc",
        "Bcc",
        "x-death",
        "X-Death",
        "x-delay",
        "x-first-death-queue",
        "x-last-death-reason",
        "crossdock-attempt",
        "crossdock-producer",
        "crossdock-resent",
        "crossdock-exchange",
        "Crossdock-Anything",
    ] {
        let (refused, pointers) = refused(with_header(sent(), header, "shop"));
        assert_eq!(pointers, [""], "{header}");
        assert!(refused.reasons[0].message.contains(header), "{header}");
        assert_eq!(refused.producer.as_deref(), Some("shop"));
    }
}

#[test]
fn headers_that_mean_nothing_here_are_no_fault() {
    for header in ["x-delivery-count", "x-acquired-count", "traceparent", "my-own"] {
        accepted(with_header(sent(), header, 1));
    }
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let wrong = event(json!({ "source": "/erp", "type": "thing.seen.v1" }));
    let delivery = with_header(
        with_header(published_by(Some("shop.1"), &wrong), "CC", "x"),
        "BCC",
        "y",
    );
    let (_, pointers) = refused(delivery);
    assert_eq!(pointers, ["", "", "/source", "/type"]);

    let mut nothing_right = with_header(sent(), "CC", "x");
    nothing_right
        .properties
        .headers
        .insert("cloudEvents_id".into(), 7.into());
    nothing_right
        .properties
        .headers
        .insert("cloudEvents_time".into(), "yesterday".into());
    let (_, pointers) = refused(nothing_right);
    assert!(pointers.contains(&String::new()) && pointers.contains(&"/time".to_owned()));
}

#[test]
fn an_adapter_uses_its_own_source_and_its_own_types_only() {
    let pointers_of = |changes: Value| refused(published_by(Some("shop.1"), &event(changes))).1;
    assert_eq!(pointers_of(json!({ "source": "/erp" })), ["/source"]);
    assert_eq!(pointers_of(json!({ "source": "/shop/branch" })), ["/source"]);
    assert_eq!(pointers_of(json!({ "type": "thing.seen.v1" })), ["/type"]);
    assert_eq!(pointers_of(json!({ "type": "thing.sent.v2" })), ["/type"]);
}

#[test]
fn an_adapter_that_the_revision_does_not_know_may_send_nothing() {
    let (refused, pointers) = refused(published_by(Some("gone.3"), &event(json!({}))));
    assert_eq!(refused.producer.as_deref(), Some("gone"));
    assert_eq!(pointers, [""]);
    assert!(refused.reasons[0].message.contains("revision 1"));
}

#[test]
fn types_have_a_form_and_known_ones_a_schema() {
    let by_key = |changes: Value| {
        let event = event(changes);
        with_header(published_by(Some(HUB), &event), PRODUCER_HEADER, "key:import")
    };
    let (_, pointers) = refused(by_key(json!({ "source": "/x", "type": "Order Placed" })));
    assert_eq!(pointers, ["/type"]);
    let (_, pointers) = refused(by_key(json!({
        "source": "/x", "type": "order.placed.v1", "datacontenttype": "application/json", "data": { "order": 1 },
    })));
    assert!(
        !pointers.is_empty() && pointers.iter().all(|pointer| pointer.starts_with("/data")),
        "{pointers:?}"
    );
}

#[test]
fn what_is_no_event_is_kept_as_it_came() {
    let no_event = |content_type: Option<&str>, body: Bytes| Delivery {
        properties: Properties {
            user_id: Some("shop.1".into()),
            content_type: content_type.map(str::to_owned),
            headers: Headers::from([("my-own".to_owned(), "7".into())]),
            ..Properties::default()
        },
        body,
        routing_key: "t-1".into(),
        redelivered: true,
        ..sent()
    };
    for content_type in [
        None,
        Some("text/plain"),
        Some("application/cloudevents+json"),
        Some("application/cloudevents-batch+json"),
    ] {
        let (refused, _) = refused(no_event(content_type, garbage()));
        assert_eq!(refused.producer.as_deref(), Some("shop"));
        assert_eq!(
            (refused.body, refused.routing_key.as_str(), refused.redelivered),
            (garbage(), "t-1", true)
        );
        assert_eq!(refused.headers, json!({ "my-own": "7" }));
        assert_eq!(refused.content_type.as_deref(), content_type);
        assert_eq!(refused.received, now());
    }
}

#[test]
fn an_attribute_without_a_name_does_not_trip_the_gate() {
    let (_, pointers) = refused(with_header(sent(), "cloudEvents_", "x"));
    assert!(!pointers.is_empty());
}
