//! An event as a message of Standard Webhooks 1.0.0: its id, its body, its headers.

use chrono::{DateTime, Utc};
use crossdock_model::event::Event;
use crossdock_telemetry::{Span, TRACEPARENT_HEADER};
use uuid::Uuid;

use super::signature::Keys;
use crate::outbound::{
    Method, Request, Url, Wanted,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};

/// The structured mode of the HTTP binding of CloudEvents.
const STRUCTURED: HeaderValue = HeaderValue::from_static("application/cloudevents+json; charset=utf-8");
const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const TRACEPARENT: HeaderName = HeaderName::from_static(TRACEPARENT_HEADER);
/// What is read of a response's body, for people who look for the reason of a failure.
const BODY_READ_MAX_BYTES: usize = 1024;

/// The id of an event's message: the same at every attempt and for every receiver, and another one for an event of
/// the same id from another source. A UUID of version 5 in the namespace of URLs, of `<source> <id>`: a source has no
/// blanks.
pub(super) fn id(event: &Event) -> String {
    let name = format!("{} {}", event.source, event.id);
    Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string()
}

/// One attempt to deliver an event, signed with the time at which it begins.
pub(super) fn request(
    event: &Event,
    url: Url,
    timeout: std::time::Duration,
    keys: &Keys,
    now: DateTime<Utc>,
) -> Request {
    let (id, timestamp_s, body) = (id(event), now.timestamp(), event.to_structured());
    let signature = keys.sign(&id, timestamp_s, &body);
    let text = |text: &str| {
        HeaderValue::from_str(text).expect("digits, letters and signs of base64 are a header's value")
    };
    let headers = HeaderMap::from_iter([
        (CONTENT_TYPE, STRUCTURED),
        (ID, text(&id)),
        (TIMESTAMP, HeaderValue::from(timestamp_s)),
        (SIGNATURE, text(&signature)),
    ]);
    Request {
        method: Method::POST,
        url,
        headers,
        body: body.into(),
        timeout,
        wanted: Wanted::Beginning(BODY_READ_MAX_BYTES),
    }
}

/// Tells the receiver which step of a trace the request is. It is not signed: it says nothing about the event.
pub(super) fn name_step(request: &mut Request, step: &Span) {
    let here = step.traceparent();
    if let Some(value) = here.and_then(|here| HeaderValue::try_from(here.to_string()).ok()) {
        request.headers.insert(TRACEPARENT, value);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::testing::{self, now};

    #[test]
    fn an_events_id_is_its_own_and_does_not_change() {
        let event = |source: &str, id: &str| testing::event(json!({ "source": source, "id": id }));
        assert_eq!(id(&event("/shop", "1")), id(&event("/shop", "1")));
        assert_ne!(id(&event("/shop", "1")), id(&event("/erp", "1")));
        assert_ne!(id(&event("/shop", "1")), id(&event("/shop", "2")));
        // As Python has it: uuid.uuid5(uuid.NAMESPACE_URL, "/shop 1")
        assert_eq!(id(&event("/shop", "1")), "33c7219a-5f19-534b-9c7c-04a0d0f1af78");
    }

    #[test]
    fn a_message_is_the_event_with_its_signature() {
        let event = testing::event(json!({ "data": { "price": 1.10 } }));
        let keys = Keys::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let url: Url = "https://shop.example/in?key=7".parse().unwrap();
        let request = request(&event, url.clone(), Duration::from_secs(20), &keys, now());
        assert_eq!((request.method, request.url), (Method::POST, url));
        let header = |name: &str| request.headers[name].to_str().unwrap();
        assert_eq!(
            header("content-type"),
            "application/cloudevents+json; charset=utf-8"
        );
        assert_eq!(header("webhook-id"), id(&event));
        assert_eq!(header("webhook-timestamp"), "1700000000");
        let signature = keys.sign(&id(&event), 1_700_000_000, &request.body);
        assert_eq!(header("webhook-signature"), signature);
        assert_eq!(Event::from_structured(&request.body).unwrap(), event);
    }
}
