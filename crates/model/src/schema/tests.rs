//! Every schema with its golden example.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;
use crate::types::is_valid_type;

const FAMILIES: [&str; 29] = [
    "cart.abandoned.v1",
    "cart.updated.v1",
    "chat.message.v1",
    "device.offline.v1",
    "device.online.v1",
    "device.registered.v1",
    "hub.alert_cleared.v1",
    "hub.alert_raised.v1",
    "mail.requested.v1",
    "mail.sent.v1",
    "order.accepted.v1",
    "order.cancelled.v1",
    "order.numbered.v1",
    "order.placed.v1",
    "order.rejected.v1",
    "order.shipped.v1",
    "preflight.completed.v1",
    "preflight.requested.v1",
    "preflight.scanned.v1",
    "product.changed.v1",
    "product.removed.v1",
    "stock.adjusted.v1",
    "stock.drifted.v1",
    "stock.level.v1",
    "stock.low.v1",
    "vendor.degraded.v1",
    "vendor.received.v1",
    "vendor.recovered.v1",
    "vendor.silent.v1",
];

fn examples() -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schemas/examples");
    let mut examples: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let event_type = path.file_stem().unwrap().to_string_lossy().into_owned();
            (event_type, std::fs::read(path).unwrap())
        })
        .collect();
    examples.sort();
    examples
}

fn with_data(example: &[u8], change: impl FnOnce(&mut Value)) -> Event {
    let mut structured: Value = serde_json::from_slice(example).unwrap();
    change(&mut structured["data"]);
    Event::from_structured(&serde_json::to_vec(&structured).unwrap()).unwrap()
}

#[test]
fn every_family_has_its_schema_and_its_example() {
    let set = SchemaSet::builtin();
    let with_example: Vec<_> = examples().into_iter().map(|(event_type, _)| event_type).collect();
    assert_eq!(set.types().collect::<Vec<_>>(), FAMILIES);
    assert_eq!(with_example, FAMILIES);
    for event_type in set.types() {
        assert!(is_valid_type(event_type), "{event_type}");
        let schema = set.json(event_type).unwrap();
        assert!(jsonschema::draft202012::meta::is_valid(schema), "{event_type}");
        assert_eq!(schema["$id"], format!("urn:crossdock:schema:{event_type}"));
        assert!(schema["description"].is_string(), "{event_type}");
    }
}

#[test]
fn every_example_is_valid_and_goes_round_through_every_encoding() {
    let set = SchemaSet::builtin();
    for (event_type, text) in examples() {
        let event = Event::from_structured(&text).unwrap();
        assert_eq!(event.event_type, event_type);
        assert_eq!(event.validate(), []);
        assert_eq!(set.validate(&event), Ok(()), "{event_type}");
        let original: Value = serde_json::from_slice(&text).unwrap();
        let written: Value = serde_json::from_slice(&event.to_structured()).unwrap();
        assert_eq!(written, original, "{event_type}");
        let content_type = event.data_content_type.as_deref();
        let binary = Event::from_attributes(event.attributes(), content_type, event.data.clone()).unwrap();
        assert_eq!(binary, event, "{event_type}");
    }
}

#[test]
fn every_schema_wants_its_required_members_and_their_types() {
    let set = SchemaSet::builtin();
    for (event_type, text) in examples() {
        let schema = set.json(&event_type).unwrap();
        for name in schema["required"].as_array().unwrap() {
            let name = name.as_str().unwrap();
            let without = with_data(&text, |data| {
                data.as_object_mut().unwrap().remove(name).unwrap();
            });
            let faults = set.validate(&without).unwrap_err();
            assert_eq!(faults[0].pointer, "/data", "{event_type} without {name}");
            assert!(faults[0].message.contains(name), "{}", faults[0]);
            if schema["properties"][name]
                .get("x-personal")
                .is_some_and(|_| name == "payload")
            {
                continue;
            }
            let mistyped = with_data(&text, |data| data[name] = json!([[null]]));
            let faults = set.validate(&mistyped).unwrap_err();
            let pointer = format!("/data/{name}");
            assert!(
                faults.iter().all(|fault| fault.pointer.starts_with(&pointer)),
                "{event_type}: {faults:?}"
            );
        }
        let not_an_object = with_data(&text, |data| *data = json!("text"));
        assert_eq!(set.validate(&not_an_object).unwrap_err()[0].pointer, "/data");
    }
}

#[test]
fn faults_name_the_place_deep_inside() {
    let set = SchemaSet::builtin();
    let text = |wanted: &str| {
        examples()
            .into_iter()
            .find(|(event_type, _)| event_type == wanted)
            .unwrap()
            .1
    };
    type Change = fn(&mut Value);
    let cases: [(&str, Change, &str); 14] = [
        (
            "order.placed.v1",
            |data| data["total"]["amount"] = json!("12.50"),
            "/data/total/amount",
        ),
        (
            "order.placed.v1",
            |data| data["total"]["amount"] = json!(12.5),
            "/data/total/amount",
        ),
        (
            "order.placed.v1",
            |data| data["total"]["currency"] = json!("gbp"),
            "/data/total/currency",
        ),
        (
            "order.placed.v1",
            |data| data["total"]["cents"] = json!(1),
            "/data/total",
        ),
        ("order.placed.v1", |data| data["lines"] = json!([]), "/data/lines"),
        (
            "order.placed.v1",
            |data| data["lines"][1]["quantity"] = json!(0),
            "/data/lines/1/quantity",
        ),
        (
            "order.placed.v1",
            |data| data["customer"]["email"] = json!("ada"),
            "/data/customer/email",
        ),
        (
            "order.cancelled.v1",
            |data| data["lines"][0]["quantity"] = json!(0),
            "/data/lines/0/quantity",
        ),
        (
            "order.rejected.v1",
            |data| data["reason"] = json!("because"),
            "/data/reason",
        ),
        (
            "stock.adjusted.v1",
            |data| data["delta"] = json!(0),
            "/data/delta",
        ),
        (
            "stock.level.v1",
            |data| data["on_hand"] = json!(1.5),
            "/data/on_hand",
        ),
        (
            "preflight.requested.v1",
            |data| data["expected"]["width_mm"] = json!(0),
            "/data/expected/width_mm",
        ),
        (
            "preflight.completed.v1",
            |data| data["findings"][0]["page"] = json!(0),
            "/data/findings/0/page",
        ),
        (
            "device.offline.v1",
            |data| data["last_seen"] = json!("2026-03-01T11:30:00+01:00"),
            "/data/last_seen",
        ),
    ];
    for (event_type, change, pointer) in cases {
        let faults = set.validate(&with_data(&text(event_type), change)).unwrap_err();
        let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, [pointer], "{faults:?}");
    }
}

#[test]
fn faults_do_not_quote_the_data() {
    let set = SchemaSet::builtin();
    for (_, text) in examples() {
        let secret = with_data(&text, |data| {
            for value in data.as_object_mut().unwrap().values_mut() {
                *value = json!({"amount": "s3cret", "currency": "s3cret", "0": "s3cret"});
            }
        });
        let faults = format!("{:?}", set.validate(&secret).err());
        assert!(!faults.contains("s3cret"), "{faults}");
    }
}

#[test]
fn data_of_a_known_type_must_be_there_and_be_json() {
    let set = SchemaSet::builtin();
    let (_, text) = examples().into_iter().next().unwrap();
    let mut event = Event::from_structured(&text).unwrap();
    event.data_content_type = Some("text/plain".to_owned());
    assert_eq!(set.validate(&event).unwrap_err()[0].pointer, "/data");
    event.data_content_type = None;
    event.data = None;
    assert_eq!(set.validate(&event).unwrap_err()[0].message, "is missing");
    event.event_type = "parcel.scanned.v1".to_owned();
    assert_eq!(set.validate(&event), Ok(()));
}

fn order_with_lines(lines: &str) -> Event {
    let text = format!(
        r#"{{"specversion":"1.0","id":"1","source":"/a","type":"order.placed.v1",
            "data":{{"order":"1","lines":[{lines}0],"total":{{"amount":1,"currency":"GBP"}}}}}}"#
    );
    Event::from_structured(text.as_bytes()).unwrap()
}

#[test]
fn faults_are_bounded_in_number_and_length() {
    let set = SchemaSet::builtin();
    let faults = set.validate(&order_with_lines(&"0,".repeat(1_000))).unwrap_err();
    assert_eq!(faults.len(), FAULTS_MAX + 1);
    assert_eq!(faults[FAULTS_MAX].to_string(), "/data: has 901 more faults");

    let large = order_with_lines(&"0,".repeat(EVERY_FAULT_MAX_BYTES));
    let faults = set.validate(&large).unwrap_err();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert_eq!(faults[0].pointer, "/data/lines/0");
    assert!(faults[1].message.contains("more faults"));

    let (event_type, example) = &examples()[13];
    assert_eq!(event_type, "order.placed.v1");
    let wordy = with_data(example, |data| data["total"]["x".repeat(5_000)] = json!(1));
    let faults = set.validate(&wordy).unwrap_err();
    assert!(
        faults[0].message.len() <= MESSAGE_MAX_BYTES + "…".len(),
        "{faults:?}"
    );
}
