//! The envelope's rules and its encodings.
#![allow(clippy::unwrap_used)]

use chrono::DateTime;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::fault::Faults;

mod limits;

fn structured(change: impl FnOnce(&mut Value)) -> Result<Event, Faults> {
    let mut event = json!({
        "specversion": "1.0", "id": "1", "source": "/shop", "type": "order.placed.v1", "data": {"a": 1}
    });
    change(&mut event);
    Event::from_structured(&serde_json::to_vec(&event).unwrap())
}

#[track_caller]
fn pointers(outcome: Result<Event, Faults>) -> Vec<String> {
    let Faults(faults) = outcome.unwrap_err();
    faults.into_iter().map(|fault| fault.pointer).collect()
}

fn binary(attributes: &[(&str, &str)], content_type: Option<&str>, data: &[u8]) -> Result<Event, Faults> {
    let required = [
        ("specversion", "1.0"),
        ("id", "1"),
        ("source", "/shop"),
        ("type", "t"),
    ];
    let all = required.iter().chain(attributes);
    let attributes = all.map(|(name, value)| ((*name).to_owned(), AttributeValue::from(*value)));
    Event::from_attributes(attributes, content_type, Some(Bytes::copy_from_slice(data)))
}

#[test]
fn a_structured_event_is_read() {
    let event = structured(|event| {
        event["subject"] = json!("536365");
        event["time"] = json!("2010-12-01T09:26:00.5+01:00");
        event["correlationid"] = json!("c-1");
        event["causationid"] = json!("0");
        event["aliases"] = json!("erp:SO-1 shop:536365");
        event["sequence"] = json!(7);
        event["test"] = json!(true);
        event["expirytime"] = json!("2011-01-01T00:00:00Z");
        event["dataschema"] = Value::Null;
    })
    .unwrap();
    assert_eq!(event.time.unwrap().to_rfc3339(), "2010-12-01T08:26:00.500+00:00");
    assert_eq!(
        (event.correlation_id(), event.causation_id()),
        (Some("c-1"), Some("0"))
    );
    assert_eq!(event.aliases().collect::<Vec<_>>(), ["erp:SO-1", "shop:536365"]);
    assert_eq!(event.extensions["sequence"], AttributeValue::Integer(7));
    assert_eq!(event.extension("sequence").as_deref(), Some("7"));
    assert_eq!(event.extension("test").as_deref(), Some("true"));
    assert_eq!(event.expiry().unwrap().to_rfc3339(), "2011-01-01T00:00:00+00:00");
    assert_eq!(event.data_schema, None);
    assert_eq!(event.json().unwrap(), json!({"a": 1}));
    assert_eq!(event.partition_key(), "536365");
}

#[test]
fn the_partition_key_falls_back_and_fits_a_routing_key() {
    let mut event = structured(|_| {}).unwrap();
    assert_eq!(event.partition_key(), "1");
    event.subject = Some("é".repeat(200));
    assert_eq!(event.partition_key().len(), 254);
    event.extensions.insert("partitionkey".to_owned(), "k".into());
    assert_eq!(event.partition_key(), "k");
}

#[test]
fn json_data_keeps_every_digit() {
    let text = br#"{"specversion":"1.0","id":"1","source":"/a","type":"t","data": {"n":1.10,"m":12345678901234567890123} }"#;
    let event = Event::from_structured(text).unwrap();
    assert_eq!(
        event.data.as_deref().unwrap(),
        br#"{"n":1.10,"m":12345678901234567890123}"#
    );
    let written = String::from_utf8(event.to_structured()).unwrap();
    assert!(
        written.ends_with(r#""data":{"n":1.10,"m":12345678901234567890123}}"#),
        "{written}"
    );
}

#[test]
fn data_that_is_not_json() {
    let text = structured(|event| {
        event["datacontenttype"] = json!("text/csv");
        event["data"] = json!("a,b\n1,2");
    })
    .unwrap();
    assert_eq!(text.data.as_deref().unwrap(), b"a,b\n1,2");
    assert!(
        String::from_utf8(text.to_structured())
            .unwrap()
            .contains(r#""data":"a,b\n1,2""#)
    );
    assert!(text.json().is_err());
    let quotes = binary(&[], Some("text/plain"), "\"".repeat(30).as_bytes()).unwrap();
    let written: Value = serde_json::from_slice(&quotes.to_structured()).unwrap();
    assert_eq!(
        written["data_base64"],
        "IiIi".repeat(10),
        "escapes would make more"
    );
    assert_eq!(Event::from_structured(&quotes.to_structured()).unwrap(), quotes);

    let bytes = binary(&[], Some("image/png"), b"\x89PNG\xff").unwrap();
    let written: Value = serde_json::from_slice(&bytes.to_structured()).unwrap();
    assert_eq!(written["data_base64"], "iVBOR/8=");
    assert_eq!(Event::from_structured(&bytes.to_structured()).unwrap(), bytes);

    let encoded_json = structured(|event| {
        event.as_object_mut().unwrap().remove("data");
        event["data_base64"] = json!("eyJhIjoxfQ==");
    });
    assert_eq!(encoded_json.unwrap().json().unwrap(), json!({"a": 1}));
    let null = structured(|event| event["data"] = Value::Null).unwrap();
    assert_eq!(null.data.as_deref(), Some(&b"null"[..]));
    assert_eq!(binary(&[], Some("text/plain"), b"").unwrap().data, None);
}

#[test]
fn every_fault_is_named() {
    type Change = fn(&mut Value);
    let cases: [(Change, &[&str]); 33] = [
        (|event| *event = json!([]), &[""]),
        (
            |event| *event = json!({}),
            &["/specversion", "/id", "/source", "/type"],
        ),
        (|event| event["specversion"] = json!("0.3"), &["/specversion"]),
        (|event| event["id"] = json!(""), &["/id"]),
        (|event| event["id"] = json!(7), &["/id"]),
        (|event| event["id"] = json!("a\u{0}"), &["/id"]),
        (|event| event["id"] = json!("x".repeat(256)), &["/id"]),
        (|event| event["source"] = json!("not a uri"), &["/source"]),
        (|event| event["type"] = json!(null), &["/type"]),
        (|event| event["subject"] = json!(""), &["/subject"]),
        (|event| event["time"] = json!("yesterday"), &["/time"]),
        (|event| event["time"] = json!(1_700_000_000), &["/time"]),
        (
            |event| event["datacontenttype"] = json!("json"),
            &["/datacontenttype", "/data"],
        ),
        (|event| event["dataschema"] = json!("/relative"), &["/dataschema"]),
        (|event| event["correlationId"] = json!("x"), &["/correlationId"]),
        (|event| event[""] = json!("x"), &["/"]),
        (|event| event["a/b"] = json!("x"), &["/a~1b"]),
        (|event| event["ext"] = json!(1.5), &["/ext"]),
        (|event| event["ext"] = json!(4_000_000_000_u32), &["/ext"]),
        (|event| event["ext"] = json!({"a": 1}), &["/ext"]),
        (|event| event["ext"] = json!("a\nb"), &["/ext"]),
        (|event| event["ext"] = json!("x".repeat(33_000)), &[""]),
        (|event| event["correlationid"] = json!(7), &["/correlationid"]),
        (|event| event["partitionkey"] = json!(""), &["/partitionkey"]),
        (
            |event| event["traceparent"] = json!("00-1-2-3"),
            &["/traceparent"],
        ),
        (|event| event["expirytime"] = json!("soon"), &["/expirytime"]),
        (|event| event["aliases"] = json!("erp:1  shop:2"), &["/aliases"]),
        (|event| event["aliases"] = json!("nonsense"), &["/aliases"]),
        (|event| event["datacontenttype"] = json!("text/plain"), &["/data"]),
        (|event| event["data_base64"] = json!("YQ=="), &["/data_base64"]),
        (
            |event| {
                event.as_object_mut().unwrap().remove("data");
                event["data_base64"] = json!("***");
            },
            &["/data_base64"],
        ),
        (
            |event| {
                event.as_object_mut().unwrap().remove("data");
                event["data_base64"] = json!("ew==");
            },
            &["/data"],
        ),
        (
            |event| {
                event["time"] = json!("x");
                event["id"] = json!("");
                event["aliases"] = json!("");
            },
            &["/time", "/id", "/aliases"],
        ),
    ];
    for (number, (change, expected)) in cases.into_iter().enumerate() {
        let mut found = pointers(structured(change));
        let mut expected = expected.to_vec();
        found.sort();
        expected.sort_unstable();
        assert_eq!(found, expected, "case {number}");
    }
}

#[test]
fn bytes_that_are_no_json_are_faults_not_crashes() {
    for text in [
        &b""[..],
        b"\xff\xfe",
        b"{",
        b"{\"id\":\"\\ud800\"}",
        b"nonsense",
        b"[]",
        b"null",
        b"{} {}",
    ] {
        assert!(!pointers(Event::from_structured(text)).is_empty());
    }
    let twice = br#"{"specversion":"1.0","id":"1","id":"2","source":"/a","type":"t","data":{"x":1,"x":2}}"#;
    assert_eq!(pointers(Event::from_structured(twice)), ["/id", "/data/x"]);
    let deep = format!("{{\"data\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(
        Event::from_structured(deep.as_bytes())
            .unwrap_err()
            .to_string()
            .contains("deeper")
    );
}

#[test]
fn data_has_its_limits() {
    let exactly = format!("\"{}\"", "x".repeat(DATA_MAX_BYTES - 2));
    assert!(binary(&[], None, exactly.as_bytes()).is_ok());
    assert_eq!(
        pointers(binary(&[], None, format!("{exactly} ").as_bytes())),
        ["/data"]
    );
    assert_eq!(
        pointers(binary(&[], Some("a/b"), &[0; DATA_MAX_BYTES + 1])),
        ["/data"]
    );
    assert_eq!(
        pointers(structured(
            |event| event["data"] = json!("x".repeat(DATA_MAX_BYTES))
        )),
        ["/data"]
    );
    let deepest = "[".repeat(JSON_MAX_DEPTH) + &"]".repeat(JSON_MAX_DEPTH);
    let event = binary(&[], None, deepest.as_bytes()).unwrap();
    let batch = [b"[".to_vec(), event.to_structured(), b"]".to_vec()].concat();
    assert_eq!(Event::batch_from_json(&batch).unwrap(), [event]);
    assert_eq!(
        pointers(binary(&[], None, format!("[{deepest}]").as_bytes()))[0][..8],
        *"/data/0/"
    );
}

#[test]
fn a_batch_names_the_faults_of_all_its_members() {
    assert_eq!(Event::batch_from_json(b"[]").unwrap(), []);
    let batch = json!([
        {"specversion": "1.0", "id": "1", "source": "/a", "type": "t"},
        {"specversion": "1.0", "id": "", "source": "/a", "type": "t"},
        {"specversion": "1.0", "id": "3", "source": "/a", "type": "t", "time": "x"},
        5,
    ]);
    let Faults(faults) = Event::batch_from_json(&serde_json::to_vec(&batch).unwrap()).unwrap_err();
    let found: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
    assert_eq!(found, ["/1/id", "/2/time", "/3"]);
    assert!(Event::batch_from_json(b"{}").is_err());
    let Faults(faults) = Event::batch_from_json(br#"[{"data":{"a":1,"a":2}}]"#).unwrap_err();
    assert_eq!(faults[0].pointer, "/0/data/a");
}

#[test]
fn binary_mode() {
    let event = binary(
        &[("subject", "s"), ("correlationid", "c")],
        Some("application/json"),
        b" {\"a\":1}\n",
    )
    .unwrap();
    assert_eq!(event.subject.as_deref(), Some("s"));
    assert_eq!(event.data_content_type.as_deref(), Some("application/json"));
    let names: Vec<_> = event.attributes().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        ["specversion", "id", "source", "type", "subject", "correlationid"]
    );

    assert_eq!(pointers(binary(&[("id", "2")], None, b"")), ["/id"]);
    assert_eq!(pointers(binary(&[], None, b"{\"a\":}")), ["/data/a"]);
    assert_eq!(pointers(binary(&[("data", "x")], None, b"")), ["/data"]);
    assert_eq!(pointers(binary(&[("", "x")], None, b"")), ["/"]);
    let differing = binary(
        &[("datacontenttype", "text/plain")],
        Some("application/json"),
        b"",
    );
    assert_eq!(pointers(differing), ["/datacontenttype"]);
    assert!(binary(&[("datacontenttype", "text/plain")], None, b"x").is_ok());
    assert_eq!(
        pointers(Event::from_attributes([], None, None)),
        ["/specversion", "/id", "/source", "/type"]
    );
}

#[test]
fn an_event_is_written_and_read_by_serde_in_structured_form() {
    let event = structured(|event| event["time"] = json!("2026-01-01T00:00:00Z")).unwrap();
    let value = serde_json::to_value(&event).unwrap();
    assert_eq!(value["time"], "2026-01-01T00:00:00Z");
    assert_eq!(serde_json::from_value::<Event>(value).unwrap(), event);
    assert!(serde_json::from_str::<Event>("{}").is_err());
}

#[test]
fn debug_output_shows_no_data() {
    let event = structured(|event| {
        event["subject"] = json!("s3cret");
        event["data"] = json!({"name": "s3cret"});
    });
    assert!(!format!("{event:?}").contains("s3cret"));
}

fn clean_text(max: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(
        any::<char>().prop_filter("clean", |c| syntax::is_clean_text(&c.to_string())),
        1..max,
    )
    .prop_map(String::from_iter)
}

fn json_data() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn payload() -> impl Strategy<Value = (Option<String>, Option<Bytes>)> {
    let json_types = proptest::sample::select(vec![
        None,
        Some("application/json"),
        Some("application/x+json; v=1"),
    ]);
    let other_types = proptest::sample::select(vec![
        "text/plain",
        "text/csv; charset=latin1",
        "application/octet-stream",
    ]);
    prop_oneof![
        (json_types, json_data())
            .prop_map(|(media, data)| (media.map(str::to_owned), Some(Bytes::from(data.to_string())))),
        (other_types, proptest::collection::vec(any::<u8>(), 1..64))
            .prop_map(|(media, data)| (Some(media.to_owned()), Some(Bytes::from(data)))),
        Just((None, None)),
    ]
}

fn attribute_value() -> impl Strategy<Value = AttributeValue> {
    prop_oneof![
        any::<bool>().prop_map(AttributeValue::Boolean),
        any::<i32>().prop_map(AttributeValue::Integer),
        clean_text(20).prop_map(AttributeValue::String),
    ]
}

prop_compose! {
    fn event()(
        id in clean_text(40),
        source in "/[a-z0-9/]{0,20}",
        event_type in clean_text(30),
        subject in proptest::option::of(clean_text(30)),
        micros in proptest::option::of(-62_135_596_800_000_000_i64..253_402_300_799_000_000),
        data_schema in proptest::option::of("urn:[a-z0-9]{1,10}"),
        extensions in proptest::collection::btree_map("x[a-z0-9]{0,10}", attribute_value(), 0..5),
        correlation in proptest::option::of(clean_text(20)),
        (data_content_type, data) in payload(),
    ) -> Event {
        let mut extensions = extensions;
        if let Some(correlation) = correlation {
            extensions.insert("correlationid".to_owned(), correlation.into());
        }
        let time = micros.and_then(DateTime::from_timestamp_micros);
        Event { id, source, event_type, subject, time, data_content_type, data_schema, extensions, data }
    }
}

proptest! {
    #[test]
    fn any_event_goes_round_through_structured_mode(event in event()) {
        prop_assert_eq!(event.validate(), vec![]);
        let text = event.to_structured();
        prop_assert_eq!(&Event::from_structured(&text).unwrap(), &event);
        let batch = [b"[".to_vec(), text.clone(), b",".to_vec(), text, b"]".to_vec()].concat();
        prop_assert_eq!(Event::batch_from_json(&batch).unwrap(), vec![event.clone(), event]);
    }

    #[test]
    fn any_event_goes_round_through_binary_mode(event in event()) {
        let read = Event::from_attributes(event.attributes(), event.data_content_type.as_deref(), event.data.clone());
        prop_assert_eq!(read.unwrap(), event);
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic(text in proptest::collection::vec(any::<u8>(), 0..200), json in "[\\[\\]{}\",:0-9a-z\\\\ ]{0,60}") {
        let _ = Event::from_structured(&text);
        let _ = Event::batch_from_json(json.as_bytes());
        let _ = binary(&[], None, &text);
    }

    #[test]
    fn any_attributes_are_judged_without_a_panic(name in any::<String>(), value in any::<String>(), media in any::<String>()) {
        for known in ["id", "source", "type", "subject", "time", "dataschema", "aliases", "traceparent", "expirytime", name.as_str()] {
            let _ = Event::from_attributes([(known.to_owned(), value.clone().into())], Some(&media), None);
        }
    }
}

#[test]
fn mappings_read_any_text_and_keep_every_digit() {
    let mut event = Event::from_structured(
        br#"{"specversion":"1.0","id":"1","source":"/s","type":"a.b.v1","n":3,"data":{"total":90071992547409.930}}"#,
    )
    .unwrap();
    let input = event.to_mapping_input();
    assert!(input.contains("\"total\":90071992547409.930"), "{input}");
    assert!(input.contains("\"n\":3"), "{input}");
    for (media_type, data, expected) in [
        (
            "application/xml",
            &b"<a>\xc3\xa9</a>"[..],
            ("data", "<a>\u{e9}</a>"),
        ),
        ("text/csv", b"a,b\n1,2\n", ("data", "a,b\n1,2\n")),
        ("image/png", b"\xff\x00", ("data_base64", "/wA=")),
    ] {
        event.data_content_type = Some(media_type.to_owned());
        event.data = Some(Bytes::copy_from_slice(data));
        let input: Value = serde_json::from_str(&event.to_mapping_input()).unwrap();
        assert_eq!(input[expected.0], expected.1, "{media_type}");
        assert_eq!(input["datacontenttype"], media_type);
    }
}

#[test]
fn other_data_takes_its_description_with_it() {
    let event = Event::from_structured(
        json!({
            "specversion": "1.0", "id": "1", "source": "/s", "type": "a.b.v1", "subject": "x", "correlationid": "c",
            "datacontenttype": "text/csv", "dataschema": "https://example.com/csv", "data": "a,b",
        })
        .to_string()
        .as_bytes(),
    )
    .unwrap();
    let other = event.with_json_data("{\"a\":1.10}".to_owned()).unwrap();
    assert_eq!(other.data.as_deref(), Some(&b"{\"a\":1.10}"[..]));
    assert_eq!(other.data_content_type.as_deref(), Some("application/json"));
    assert_eq!(other.data_schema, None);
    assert_eq!(other.attributes().len(), event.attributes().len() - 1);
    assert_eq!(
        event.with_json_data("null".to_owned()).unwrap().json().unwrap(),
        Value::Null
    );
    let large = format!("\"{}\"", "x".repeat(DATA_MAX_BYTES));
    assert_eq!(event.with_json_data(large).unwrap_err().0[0].pointer, "/data");
}
