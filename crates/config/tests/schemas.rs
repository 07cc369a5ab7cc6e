//! The shop's own schemas: read beside the manifests, and every fault told with its place.

#![allow(clippy::unwrap_used, missing_docs)]

use crossdock_config::{SourceFile, digest, load_shared};
use crossdock_model::Event;
use serde_json::json;

fn file(path: &str, text: &str) -> SourceFile {
    SourceFile {
        path: path.into(),
        text: text.into(),
    }
}

const POINTS: &str = r##"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "required": ["order", "points"],
  "properties": {
    "order": { "$ref": "#/$defs/reference" },
    "points": { "type": "integer", "minimum": 0 },
    "name": { "type": "string", "x-personal": true }
  },
  "$defs": { "reference": { "type": "string", "minLength": 1 } }
}
"##;

fn points(data: serde_json::Value) -> Event {
    let event = json!({
        "specversion": "1.0", "id": "1", "source": "/loyalty", "type": "points.earned.v1",
        "datacontenttype": "application/json", "data": data,
    });
    Event::from_structured(event.to_string().as_bytes()).unwrap()
}

#[test]
fn schemas_are_read_beside_manifests() {
    let files = [
        file("schemas/points.earned.v1.json", POINTS),
        file("adapters/erp.toml", "name = \"erp\"\nsource = \"/erp\"\n"),
    ];
    let shared = load_shared(&files).unwrap();
    assert_eq!(shared.adapters.manifests.len(), 1);
    assert_eq!(
        shared.schemas.own().keys().collect::<Vec<_>>(),
        ["points.earned.v1"]
    );
    let schemas = &shared.schemas;
    assert_eq!(
        schemas.validate(&points(json!({ "order": "R-1", "points": 3 }))),
        Ok(())
    );
    let faults = schemas
        .validate(&points(json!({ "order": "", "points": 3 })))
        .unwrap_err();
    assert_eq!(faults[0].pointer, "/data/order");
    assert!(schemas.types().any(|known| known == "order.placed.v1"));
    assert_ne!(digest(&files), digest(&files[1..]));
    assert_eq!(load_shared(&files).unwrap(), shared);
    assert_ne!(load_shared(&files[1..]).unwrap(), shared);
}

fn faults(files: &[SourceFile]) -> String {
    let faults = load_shared(files).unwrap_err();
    let printed: Vec<_> = faults.iter().map(ToString::to_string).collect();
    printed.join("\n")
}

fn faults_of(text: &str) -> String {
    faults(&[file("schemas/points.earned.v1.json", text)]).replace("schemas/points.earned.v1.json:", "")
}

#[test]
fn every_fault_is_told_at_its_place() {
    for (text, expected) in [
        (
            "{\n  \"type\": \"object\",\n}",
            "3:1: not valid JSON: trailing comma",
        ),
        ("{\"é\": \"é\u{1}\"}", "1:9: not valid JSON: control character"),
        ("", "1:1: not valid JSON: EOF while parsing a value"),
        ("[]", "1:1: a schema must be a JSON object"),
        ("{\"é\": \"🛒\",}", "1:11: not valid JSON: trailing comma"),
        (
            "{\n  \"type\": \"string\",\n  \"type\": \"object\"\n}",
            "3:11: /type: stands twice in the same object",
        ),
        (
            "{\n  \"properties\": { \"a\": { \"type\": \"strin\" } }\n}",
            "2:34: /properties/a/type: ",
        ),
        (
            "{\"properties\": {\n \"é\": {\"$ref\": \"https://shop.example/x.json\"}}}",
            "2:16: /properties/é/$ref: a schema stands alone: expected a reference within this file, such as \"#/$defs/line\"",
        ),
        (
            "{\"properties\": {\"a\": {\"$ref\": \"file:///etc/passwd\"}}}",
            "1:31: /properties/a/$ref: a schema stands alone",
        ),
        (
            "{\n  \"allOf\": [\n    { \"$ref\": \"#\" }\n  ]\n}",
            "1:1: this schema refers to itself about one and the same value",
        ),
        (
            "{\n  \"pattern\": \"^(?=a)\"\n}",
            "2:14: /pattern: this pattern looks around or refers back",
        ),
    ] {
        let told = faults_of(text);
        assert!(told.starts_with(expected), "{text}: {told}");
    }
}

#[test]
fn a_file_has_its_place_or_none() {
    let told = faults(&[
        file("schemas/Points.v1.json", POINTS),
        file("schemas/points.earned.v1.toml", POINTS),
        file("schemas/old/points.earned.v1.json", POINTS),
        file("schemas/points.earned.v1.json", POINTS),
        file("schemas/points.earned.v1.json", POINTS),
        file("schemas/order.placed.v1.json", POINTS),
        file(
            "schemas/large.thing.v1.json",
            &format!("{{\"title\":\"{}\"}}", "x".repeat(256 * 1024)),
        ),
        file("notes.md", ""),
    ]);
    assert_eq!(
        told,
        r#"notes.md:1:1: this file has no place here, expected adapters/<name>.toml, schemas/<type>.json or state.toml
schemas/Points.v1.json:1:1: this file has no place here, expected schemas/<type>.json with a type such as points.earned.v1
schemas/large.thing.v1.json:1:1: this file is too long, expected at most 256 KiB
schemas/old/points.earned.v1.json:1:1: this file has no place here, expected schemas/<type>.json with a type such as points.earned.v1
schemas/order.placed.v1.json:1:1: order.placed.v1 has a schema already, which comes with the hub, expected a type of your own
schemas/points.earned.v1.json:1:1: this file is here for the second time, expected it once
schemas/points.earned.v1.toml:1:1: this file has no place here, expected schemas/<type>.json with a type such as points.earned.v1"#
    );
}

mod robustness {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_answered_with_places_inside(text in "\\PC*|[\\[\\]{}:,\"$a-f0-9 \n]{0,80}") {
            judged(&text)?;
        }

        #[test]
        fn a_damaged_schema_is_answered(cut in 0..POINTS.len(), length in 0usize..12, put in "[\\[\\]{}:,\"$é]{0,3}") {
            let rest = POINTS.get(cut + length..).unwrap_or_default();
            judged(&format!("{}{put}{rest}", &POINTS[..cut]))?;
        }
    }

    fn judged(text: &str) -> Result<(), TestCaseError> {
        for fault in load_shared(&[file("schemas/points.earned.v1.json", text)])
            .err()
            .unwrap_or_default()
        {
            let line = text.split('\n').nth(fault.line - 1);
            let is_inside = line.is_some_and(|line| fault.column <= line.chars().count() + 1);
            prop_assert!(is_inside, "{fault} in {text:?}");
        }
        Ok(())
    }
}
