//! CloudEvents out of HTTP requests: binary, structured and batch mode
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>).
//! It reads and limits; who may send what is not known here.

use std::fmt;

use axum::http::HeaderMap;
use bytes::Bytes;
use crossdock_model::event::{ATTRIBUTES_MAX_BYTES, AttributeValue, DATA_MAX_BYTES, Event};
use crossdock_model::fault::{Fault, Faults, push_token};
use percent_encoding::percent_decode;
use serde::Deserializer;
use serde::de::{IgnoredAny, SeqAccess, Visitor};

use crate::media_type::MediaType;
use crate::problem::{Limit, counted};
use crate::{Problem, body::too_large, problem_types as kinds};

pub(crate) const STRUCTURED: &str = "application/cloudevents+json";
pub(crate) const BATCH: &str = "application/cloudevents-batch+json";
/// What the three modes are called in a refusal.
const SUPPORTED: [&str; 3] = [
    STRUCTURED,
    BATCH,
    "binary mode: ce-* headers and the content type of the data",
];
const HEADER_PREFIX: &str = "ce-";

/// A byte of an attribute that is written as an escape, such as `\u0041`.
const ESCAPE_BYTES: usize = 6;
/// Punctuation in structured mode, beyond names, values and data.
const STRUCTURE_MAX_BYTES: usize = 16 * 1024;
const DATA: Limit = Limit {
    name: "data_bytes",
    maximum: DATA_MAX_BYTES,
};
const ATTRIBUTES: Limit = Limit {
    name: "attributes_bytes",
    maximum: ATTRIBUTES_MAX_BYTES,
};
/// One structured event: attributes in nothing but escapes, and data in base64.
const EVENT: Limit = Limit {
    name: "event_bytes",
    maximum: DATA_MAX_BYTES.div_ceil(3) * 4 + ATTRIBUTES_MAX_BYTES * ESCAPE_BYTES + STRUCTURE_MAX_BYTES,
};
const BATCH_BODY: Limit = Limit {
    name: "batch_bytes",
    maximum: 8 * 1024 * 1024,
};
const BATCH_EVENTS: Limit = Limit {
    name: "batch_events",
    maximum: 1_000,
};

/// How a request carries its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Attributes as `ce-*` headers, the body is the data.
    Binary,
    /// The body is one event in JSON.
    Structured,
    /// The body is an array of events in JSON.
    Batch,
}

/// The events of a request whose body is in memory, as `POST /v1/events` reads them before it asks who
/// sends them.
///
/// # Errors
/// `unsupported-media-type`, `too-large`, or `invalid-event` with every fault of every event.
pub fn read_events(headers: &HeaderMap, body: Bytes) -> Result<Vec<Event>, Problem> {
    let mode = Mode::of(headers)?;
    if body.len() > mode.limit().maximum {
        return Err(too_large(mode.limit()));
    }
    mode.decode(headers, body)
}

impl Mode {
    /// The mode of a request.
    ///
    /// # Errors
    /// `unsupported-media-type` for anything else, naming the three.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let media_type = MediaType::of(headers)?;
        let essence = media_type.as_ref().map_or("", |media_type| &media_type.essence);
        let mode = match essence {
            STRUCTURED => Self::Structured,
            BATCH => Self::Batch,
            other if other.starts_with("application/cloudevents") => {
                return Err(unsupported("this encoding of CloudEvents"));
            }
            _ if headers
                .keys()
                .any(|name| name.as_str().starts_with(HEADER_PREFIX)) =>
            {
                return Ok(Self::Binary);
            }
            "" => {
                return Err(unsupported(
                    "a request without Content-Type and without ce-* headers",
                ));
            }
            _ => return Err(unsupported("this content type without ce-* headers")),
        };
        match media_type {
            Some(media_type) if !media_type.is_utf8() => {
                Err(unsupported("JSON in a charset other than UTF-8"))
            }
            _ => Ok(mode),
        }
    }

    /// The longest body.
    pub(crate) fn limit(self) -> Limit {
        match self {
            Self::Binary => DATA,
            Self::Structured => EVENT,
            Self::Batch => BATCH_BODY,
        }
    }

    /// The events of a request in this mode: one, unless it is a batch.
    ///
    /// # Errors
    /// `too-large` or `invalid-event`, with every fault of every event.
    pub(crate) fn decode(self, headers: &HeaderMap, body: Bytes) -> Result<Vec<Event>, Problem> {
        let decoded = match self {
            Self::Binary => from_headers(headers, body).map(|event| vec![event]),
            Self::Structured => Event::from_structured(&body).map(|event| vec![event]),
            Self::Batch if has_more_members_than(BATCH_EVENTS.maximum, &body) => {
                return Err(too_large(BATCH_EVENTS));
            }
            Self::Batch => Event::batch_from_json(&body),
        };
        decoded.map_err(|Faults(faults)| refusal(faults))
    }
}

fn unsupported(what: &str) -> Problem {
    let detail = format!(
        "{what} is not taken; send {STRUCTURED}, {BATCH}, or binary mode (ce-* headers beside the content type of the data)"
    );
    kinds::UNSUPPORTED_MEDIA_TYPE.with(detail).supported(&SUPPORTED)
}

fn refusal(faults: Vec<Fault>) -> Problem {
    let detail = format!("{} found; nothing was kept", counted(faults.len()));
    match faults.iter().find_map(limit_passed) {
        Some(limit) => kinds::TOO_LARGE
            .with(format!("over the limit {}; {detail}", limit.name))
            .limit(limit),
        None => kinds::INVALID_EVENT.with(detail),
    }
    .event_faults(faults)
}

/// The limit that a fault found by the model is about.
fn limit_passed(fault: &Fault) -> Option<Limit> {
    [DATA, ATTRIBUTES].into_iter().find(|limit| {
        let size = format!(" than {} bytes", limit.maximum);
        fault.message.contains(&size)
    })
}

fn from_headers(headers: &HeaderMap, body: Bytes) -> Result<Event, Faults> {
    let mut attributes = Vec::new();
    let mut faults = Vec::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix(HEADER_PREFIX) else {
            continue;
        };
        match attribute_text(value.as_bytes()) {
            Ok(text) => attributes.push((name.to_owned(), AttributeValue::String(text))),
            Err(message) => {
                let mut pointer = String::new();
                push_token(&mut pointer, name);
                faults.push(Fault::new(pointer, message));
            }
        }
    }
    Faults::none_in(faults)?;
    let content_type = headers
        .get(axum::http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    Event::from_attributes(attributes, content_type, Some(body))
}

/// The value of an attribute from its header (section 3.1.3.2): unquoted, then percent-decoded once.
fn attribute_text(value: &[u8]) -> Result<String, &'static str> {
    if !value.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err("has characters that a header cannot carry: percent-encode them as UTF-8");
    }
    let unquoted = match value {
        [b'"', inner @ .., b'"'] => unescaped(inner),
        [b'"', ..] => None,
        plain => Some(plain.to_vec()),
    };
    let unquoted = unquoted.ok_or("opens a quote that is not closed at the end of the header")?;
    if !escapes_are_whole(&unquoted) {
        return Err("has a % that two hexadecimal digits do not follow: write %25 for the character itself");
    }
    match percent_decode(&unquoted).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err("is not UTF-8 after percent-decoding"),
    }
}

/// The inside of a quoted string (RFC 9110, section 5.6.4); `None` if it ends too early.
fn unescaped(inner: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => text.push(*bytes.next()?),
            b'"' => return None,
            byte => text.push(*byte),
        }
    }
    Some(text)
}

fn escapes_are_whole(text: &[u8]) -> bool {
    text.iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'%')
        .all(|(index, _)| {
            text.get(index + 1..index + 3)
                .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        })
}

/// Whether `json` begins with an array of more than `maximum` members. Counts without keeping, so
/// that a body of nothing but small members costs no memory.
fn has_more_members_than(maximum: usize, json: &[u8]) -> bool {
    struct Count {
        maximum: usize,
    }
    impl<'de> Visitor<'de> for Count {
        type Value = bool;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<bool, A::Error> {
            for _ in 0..=self.maximum {
                if members.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(false);
                }
            }
            Ok(true)
        }
    }
    // What is not JSON, or no array, is refused with its faults when it is decoded.
    let mut json = serde_json::Deserializer::from_slice(json);
    json.deserialize_seq(Count { maximum }).unwrap_or_default()
}

#[cfg(test)]
mod encodings;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            )
        });
        pairs.collect()
    }

    fn binary(more: &[(&str, &str)]) -> HeaderMap {
        let base = [
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "/shop"),
            ("ce-type", "order.placed.v1"),
        ];
        headers(&[&base, more].concat())
    }

    fn structured(data_bytes: usize) -> String {
        format!(
            r#"{{"specversion":"1.0","id":"1","source":"/shop","type":"order.placed.v1","data":"{}"}}"#,
            "a".repeat(data_bytes - 2)
        )
    }

    #[test]
    fn the_content_type_tells_the_mode() {
        let mode =
            |pairs: &[(&str, &str)]| Mode::of(&headers(pairs)).map_err(|problem| problem.body().status);
        assert_eq!(
            mode(&[("content-type", "application/cloudevents+json; charset=utf-8")]),
            Ok(Mode::Structured)
        );
        assert_eq!(
            mode(&[("content-type", "Application/CloudEvents-Batch+JSON")]),
            Ok(Mode::Batch)
        );
        assert_eq!(
            mode(&[("content-type", "application/json"), ("ce-id", "1")]),
            Ok(Mode::Binary)
        );
        assert_eq!(mode(&[("ce-id", "1")]), Ok(Mode::Binary));
        assert_eq!(
            mode(&[("content-type", "application/cloudevents+json"), ("ce-id", "1")]),
            Ok(Mode::Structured)
        );
        for refused in [
            "application/json",
            "application/x-ndjson",
            "application/cloudevents+avro",
            "application/cloudevents",
            "application/cloudevents+json; charset=utf-16",
        ] {
            assert_eq!(mode(&[("content-type", refused)]), Err(415), "{refused}");
        }
        assert_eq!(
            mode(&[("content-type", "application/cloudevents+avro"), ("ce-id", "1")]),
            Err(415)
        );
        assert_eq!(mode(&[]), Err(415));
    }

    #[test]
    fn a_refused_content_type_names_the_three_modes() {
        let problem = Mode::of(&headers(&[("content-type", "text/plain")])).unwrap_err();
        assert_eq!(problem.body().supported, SUPPORTED);
        assert!(problem.body().detail.contains(BATCH));
    }

    #[test]
    fn binary_mode_is_read_with_its_escapes() {
        let more = [
            ("content-type", "application/json"),
            ("ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
        ];
        let events = Mode::Binary
            .decode(&binary(&more), Bytes::from_static(b"{\"a\":1}"))
            .unwrap();
        assert_eq!(events[0].subject.as_deref(), Some("Euro € 😀"));
        assert_eq!(events[0].data_content_type.as_deref(), Some("application/json"));
        assert_eq!(events[0].data.as_deref(), Some(b"{\"a\":1}".as_slice()));
        let events = Mode::Binary.decode(&binary(&[]), Bytes::new()).unwrap();
        assert_eq!(events[0].data, None);
    }

    #[test]
    fn header_values_are_unquoted_and_decoded_once() {
        for (value, text) in [
            ("plain", "plain"),
            ("two words", "two words"),
            ("\"quoted \\\"word\\\" 50%25\"", "quoted \"word\" 50%"),
            ("%2525", "%25"),
            ("%e2%82%ac", "€"),
        ] {
            assert_eq!(attribute_text(value.as_bytes()).as_deref(), Ok(text), "{value}");
        }
        for value in [
            "€", "%C0%A0", "%ff", "100%", "%4", "%zz", "\"open", "\"", "\"a\"b\"", "\"a\\\"", "a\tb",
        ] {
            assert!(attribute_text(value.as_bytes()).is_err(), "{value}");
        }
    }

    #[test]
    fn a_header_given_twice_is_refused() {
        let problem = Mode::Binary
            .decode(&binary(&[("ce-id", "2")]), Bytes::new())
            .unwrap_err();
        assert_eq!(problem.body().status, 400);
        let faults = serde_json::to_value(&problem.body().faults).unwrap();
        assert_eq!(faults[0]["pointer"], "/id");
    }

    #[test]
    fn names_and_values_that_no_attribute_has_are_refused() {
        for pair in [
            ("ce-", "x"),
            ("ce-order-id", "x"),
            ("ce-data", "x"),
            ("ce-specversion2", "%zz"),
        ] {
            let problem = Mode::Binary.decode(&binary(&[pair]), Bytes::new()).unwrap_err();
            assert_eq!(problem.body().status, 400, "{pair:?}");
        }
    }

    #[test]
    fn what_is_too_large_is_refused_with_its_limit() {
        let limit = |problem: Problem| (problem.body().status, problem.body().limit.unwrap().name);
        assert!(
            Mode::Structured
                .decode(&HeaderMap::new(), structured(DATA_MAX_BYTES).into())
                .is_ok()
        );
        let over = structured(DATA_MAX_BYTES + 1);
        assert_eq!(
            limit(
                Mode::Structured
                    .decode(&HeaderMap::new(), over.into())
                    .unwrap_err()
            ),
            (413, "data_bytes")
        );
        let long = "x".repeat(1000);
        let many: Vec<_> = (0..40)
            .map(|index| (format!("ce-x{index}"), long.clone()))
            .collect();
        let many: Vec<_> = many
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let refused = Mode::Binary.decode(&binary(&many), Bytes::new()).unwrap_err();
        assert_eq!(limit(refused), (413, "attributes_bytes"));
        let batch = format!("[{}0]", "0,".repeat(BATCH_EVENTS.maximum));
        assert_eq!(
            limit(Mode::Batch.decode(&HeaderMap::new(), batch.into()).unwrap_err()),
            (413, "batch_events")
        );
    }

    proptest::proptest! {
        #[test]
        fn no_header_and_no_body_breaks_the_decoder(
            name in "ce-[a-z0-9-]{0,4}",
            value in proptest::collection::vec(0x20_u8.., 0..40),
            body in proptest::collection::vec(proptest::sample::select(b"[]{}\":,\\0aid \xff".to_vec()), 0..60),
        ) {
            let mut headers = binary(&[]);
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(&value)) {
                headers.append(name, value);
            }
            for mode in [Mode::Binary, Mode::Structured, Mode::Batch] {
                let _ = mode.decode(&headers, Bytes::from(body.clone()));
            }
        }
    }

    #[test]
    fn a_batch_is_read_whole_or_refused_with_every_fault() {
        let good = structured(10);
        let batch = |members: &[&str]| Bytes::from(format!("[{}]", members.join(",")));
        let decode = |body| Mode::Batch.decode(&HeaderMap::new(), body);
        assert_eq!(decode(batch(&[])).unwrap().len(), 0);
        assert_eq!(decode(batch(&[&good, &good])).unwrap().len(), 2);
        let problem = decode(batch(&[&good, "{}", "7"])).unwrap_err();
        let faults = serde_json::to_value(&problem.body().faults).unwrap();
        assert_eq!(problem.body().status, 400);
        let pointers: Vec<_> = faults
            .as_array()
            .unwrap()
            .iter()
            .map(|fault| fault["pointer"].as_str().unwrap())
            .collect();
        assert!(
            pointers.contains(&"/1/id") && pointers.iter().any(|pointer| pointer.starts_with("/2")),
            "{pointers:?}"
        );
        for body in ["", "{", "{}", "[", "[1", "null", "[[[[[[\u{0}"] {
            assert_eq!(
                decode(Bytes::from(body)).unwrap_err().body().status,
                400,
                "{body}"
            );
        }
    }
}
