//! `POST /v1/events`: header lines up to an empty one, then the body, in whichever mode the headers say.
#![no_main]

use crossdock_api::read_events;
use crossdock_fuzz::assert_goes_round;
use crossdock_model::event::{AttributeValue, Event};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

fuzz_target!(|request: &[u8]| {
    let Some((headers, body)) = parsed(request) else { return };
    match read_events(&headers, body.to_vec().into()) {
        Ok(events) => {
            events.iter().for_each(assert_goes_round);
            for event in &events {
                assert_eq!(read_events(&binary(event), event.data.clone().unwrap_or_default()).unwrap(), [texts(event)]);
            }
        }
        Err(problem) => {
            let body = problem.body();
            assert!(matches!(body.status, 400 | 413 | 415), "{body:?}");
            assert!(!body.detail.is_empty());
            if body.r#type.ends_with("invalid-event") {
                assert!(!body.faults.is_empty());
            }
        }
    }
});

/// Headers as an HTTP server would hand them on; `None` where it would not.
fn parsed(request: &[u8]) -> Option<(HeaderMap, &[u8])> {
    let mut headers = HeaderMap::new();
    let mut rest = request;
    loop {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let (line, after) = (&rest[..end], &rest[end + 1..]);
        rest = after;
        if line.is_empty() {
            return Some((headers, rest));
        }
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        headers.append(name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?);
    }
}

fn binary(event: &Event) -> HeaderMap {
    let attributes = event.attributes().into_iter().map(|(name, value)| {
        let value = utf8_percent_encode(&value.to_string(), NON_ALPHANUMERIC).to_string();
        (HeaderName::from_bytes(format!("ce-{name}").as_bytes()).unwrap(), value)
    });
    let content_type = event.data_content_type.clone().map(|text| (header::CONTENT_TYPE, text));
    attributes.chain(content_type).map(|(name, value)| (name, HeaderValue::from_str(&value).unwrap())).collect()
}

/// HTTP headers know only texts.
fn texts(event: &Event) -> Event {
    let text = |value: &AttributeValue| AttributeValue::String(value.to_string());
    let extensions = event.extensions.iter().map(|(name, value)| (name.clone(), text(value))).collect();
    Event { extensions, ..event.clone() }
}
