//! Binary mode over HTTP judges as the model does, and carries what the other encodings carry: every event, at every
//! limit.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use axum::http::{HeaderName, HeaderValue, header};
use crossdock_model::event::{EXTENSION_NAME_MAX_BYTES, EXTENSIONS_MAX};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use proptest::prelude::*;

use super::*;

/// How often a test of large events runs.
const LARGE_CASES: u32 = 16;

/// What a sender must encode (section 3.1.3.2); everything else but printable ASCII is encoded anyway.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// The headers of an event in binary mode, as the specification tells a sender to write them.
fn headers(attributes: &[(String, AttributeValue)], content_type: Option<&str>) -> HeaderMap {
    let attributes = attributes.iter().map(|(name, value)| {
        let name = HeaderName::from_bytes(format!("{HEADER_PREFIX}{name}").as_bytes()).unwrap();
        let value = utf8_percent_encode(&value.to_string(), ENCODED).to_string();
        (name, HeaderValue::from_str(&value).unwrap())
    });
    let content_type =
        content_type.map(|media_type| (header::CONTENT_TYPE, HeaderValue::from_str(media_type).unwrap()));
    attributes.chain(content_type).collect()
}

/// Attributes of any value as the text that headers carry.
fn as_texts(attributes: Vec<(String, AttributeValue)>) -> Vec<(String, AttributeValue)> {
    let texts = attributes
        .into_iter()
        .map(|(name, value)| (name, value.to_string().into()));
    texts.collect()
}

fn pointers(faults: impl IntoIterator<Item = Fault>) -> BTreeSet<String> {
    faults.into_iter().map(|fault| fault.pointer).collect()
}

/// The pointers of a refusal as the client reads them.
fn refused_pointers(problem: &Problem) -> BTreeSet<String> {
    let body = serde_json::to_value(problem.body()).unwrap();
    let faults = body["faults"].as_array().unwrap().iter();
    faults
        .map(|fault| fault["pointer"].as_str().unwrap().to_owned())
        .collect()
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[ -~]{0,12}",
        2 => any::<String>(),
        1 => "[a-z]{1,3}:[a-z0-9]{1,9}",
        1 => "20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9](\\.[0-9]{1,12})?(Z|[+-][0-2][0-9]:[0-5][0-9])",
        1 => (250_usize..260).prop_map(|length| "€".repeat(length / 3) + &"a".repeat(length % 3)),
        1 => (1_020_usize..1_030).prop_map(|length| "a".repeat(length)),
    ]
}

fn attributes() -> impl Strategy<Value = BTreeMap<String, String>> {
    let names = prop_oneof![
        9 => prop::sample::select(vec![
            "id", "source", "type", "subject", "time", "dataschema", "correlationid", "causationid",
            "partitionkey", "traceparent", "expirytime", "aliases", "sequence", "x",
        ]).prop_map(str::to_owned),
        1 => "[a-z0-9_.-]{1,70}",
    ];
    let required = [
        ("specversion", "1.0"),
        ("id", "1"),
        ("source", "/shop"),
        ("type", "t"),
    ];
    prop::collection::btree_map(names, text(), 0..5).prop_map(move |changes| {
        let mut all: BTreeMap<_, _> = required
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        all.extend(changes);
        all
    })
}

fn body() -> impl Strategy<Value = (Option<&'static str>, Bytes)> {
    let types = prop::sample::select(vec![
        None,
        Some("application/json"),
        Some("text/plain; charset=utf-8"),
        Some("image/png"),
    ]);
    let bodies = prop_oneof![
        Just(Bytes::new()),
        Just(Bytes::from_static(b"{\"a\": 1.10}")),
        Just(Bytes::from_static(b"[1,{\"a\":1,\"a\":2}]")),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from),
    ];
    (types, bodies)
}

proptest! {
    #[test]
    fn headers_are_judged_as_attributes_are(attributes in attributes(), (content_type, body) in body()) {
        let attributes: Vec<_> = attributes.into_iter().map(|(name, value)| (name, value.into())).collect();
        let expected = Event::from_attributes(attributes.clone(), content_type, Some(body.clone()));
        let decoded = Mode::Binary.decode(&headers(&attributes, content_type), body);
        match (decoded, expected) {
            (Ok(events), Ok(expected)) => prop_assert_eq!(events, vec![expected]),
            (Err(problem), Err(Faults(faults))) => {
                let found = pointers(faults);
                prop_assert!(!found.is_empty() && found.iter().all(|pointer| pointer.is_empty() || pointer.starts_with('/')));
                prop_assert_eq!(refused_pointers(&problem), found);
            }
            (decoded, expected) => prop_assert!(false, "{decoded:?} instead of {expected:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(LARGE_CASES))]

    #[test]
    fn an_event_at_every_limit_passes_in_every_mode(
        extensions in 1..=EXTENSIONS_MAX,
        name_bytes in 4..=EXTENSION_NAME_MAX_BYTES,
        filler in prop::sample::select(vec!["a", "\"", "\\", "%", " ", "é", "€", "🛒"]),
        (media_type, byte) in prop::sample::select(vec![("text/plain", b'\n'), ("text/plain", 1), ("image/png", 0xff)]),
    ) {
        let data = vec![byte; DATA_MAX_BYTES];
        let event = |room: usize| {
            let required = [("specversion", "1.0"), ("id", "1"), ("source", "/shop"), ("type", "t")];
            let mut attributes: Vec<(String, AttributeValue)> =
                required.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
            for number in 0..extensions {
                let text = if number == 0 { filler.repeat(room / filler.len()) } else { String::new() };
                attributes.push((format!("x{number:0>width$}", width = name_bytes - 1), text.into()));
            }
            Event::from_attributes(attributes, Some(media_type), Some(data.clone().into()))
        };
        let (mut fits, mut too_large) = (0, ATTRIBUTES_MAX_BYTES + 1);
        while fits + 1 < too_large {
            let middle = (fits + too_large) / 2;
            *(if event(middle).is_ok() { &mut fits } else { &mut too_large }) = middle;
        }
        let event = event(fits).unwrap();

        let structured = event.to_structured();
        prop_assert!(structured.len() <= EVENT.maximum);
        let batch = [b"[", structured.as_slice(), b"]"].concat();
        let binary = headers(&as_texts(event.attributes()), event.data_content_type.as_deref());
        let typed = |media_type| [(header::CONTENT_TYPE, HeaderValue::from_static(media_type))].into_iter().collect();
        for (headers, body) in [
            (typed(STRUCTURED), structured),
            (typed(BATCH), batch),
            (binary, data),
        ] {
            let read = read_events(&headers, body.into()).unwrap();
            prop_assert_eq!(&read[..], std::slice::from_ref(&event));
        }
    }
}
