//! What is refused and where, that recursion works, and that nothing costs more than is known.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use serde_json::json;

use super::*;
use crate::event::JSON_MAX_DEPTH;

#[track_caller]
fn refused(schema: Value, pointer: &str, part: &str) {
    let faults = OwnSchema::compile(&schema).expect_err(&schema.to_string());
    let found = faults.iter().find(|fault| fault.pointer == pointer);
    let fault = found.unwrap_or_else(|| panic!("{schema}: {faults:?}"));
    assert!(fault.message.contains(part), "{schema}: {fault}");
}

fn compiled(schema: Value) -> OwnSchema {
    OwnSchema::compile(&schema).unwrap_or_else(|faults| panic!("{schema}: {faults:?}"))
}

fn pointers(schema: &OwnSchema, data: &Value) -> Vec<String> {
    schema
        .faults(data, 0)
        .into_iter()
        .map(|fault| fault.pointer)
        .collect()
}

#[test]
fn a_schema_judges_data() {
    let schema = compiled(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://shop.example/points",
        "type": "object",
        "required": ["order", "points"],
        "properties": {
            "order": {"$ref": "#/$defs/reference"},
            "points": {"type": "integer", "minimum": 0},
            "name": {"type": "string", "x-personal": true},
            "at": {"format": "date-time"},
            "lines": {"type": "array", "items": {"$ref": "#line"}}
        },
        "$defs": {
            "reference": {"type": "string", "pattern": "^[A-Z]-\\d+$"},
            "line": {"$anchor": "line", "type": "object", "required": ["sku"]}
        }
    }));
    assert!(
        pointers(
            &schema,
            &json!({"order": "R-1", "points": 3, "lines": [{"sku": "a"}]})
        )
        .is_empty()
    );
    assert_eq!(
        pointers(
            &schema,
            &json!({"order": "1", "points": -1, "at": "noon", "lines": [{}]})
        ),
        ["/data/at", "/data/lines/0", "/data/order", "/data/points"]
    );
    let secret = format!(
        "{:?}",
        schema.faults(&json!({"order": "s3cret", "points": "s3cret"}), 0)
    );
    assert!(!secret.contains("s3cret"), "{secret}");
    assert_eq!(
        schema.faults(&json!({"lines": vec![1; 1_000]}), 0).len(),
        FAULTS_MAX + 1
    );
}

#[test]
fn a_schema_stands_alone() {
    for reference in [
        "https://shop.example/other.json",
        "http://127.0.0.1/x",
        "file:///etc/passwd",
        "other.json",
        "order.placed.v1",
        "urn:crossdock:schema:order.placed.v1",
        "",
    ] {
        let schema = json!({"properties": {"a": {"$ref": reference}}});
        refused(schema, "/properties/a/$ref", "a schema stands alone");
    }
    for reference in [
        "#/$defs/gone",
        "#gone",
        "#/properties",
        "#/properties/a/$ref",
        "#/%zz",
    ] {
        let schema = json!({"properties": {"a": {"$ref": reference}}, "$defs": {}});
        refused(schema, "/properties/a/$ref", "there is no schema");
    }
    refused(
        json!({"$defs": {"a": {"$id": "x"}}}),
        "/$defs/a/$id",
        "at the top",
    );
    refused(
        json!({"$dynamicRef": "#a", "$dynamicAnchor": "a"}),
        "/$dynamicRef",
        "not available",
    );
    refused(
        json!({"$schema": "http://json-schema.org/draft-07/schema#"}),
        "/$schema",
        "2020-12",
    );
    refused(
        json!({"$defs": {"a": {"$anchor": "x"}, "b": {"$anchor": "x"}}}),
        "/$defs/b/$anchor",
        "second time",
    );
}

#[test]
fn what_is_no_schema_is_refused_with_its_place() {
    refused(json!([]), "", "JSON object");
    refused(json!(true), "", "JSON object");
    refused(
        json!({"properties": {"a": {"type": "strin"}}}),
        "/properties/a/type",
        "",
    );
    refused(json!({"required": "a"}), "/required", "");
    refused(json!({"properties": {"a": 7}}), "/properties/a", "");
    refused(json!({"items": [{}]}), "/items", "");
    refused(json!({"minimum": "1"}), "/minimum", "");
}

#[test]
fn a_circle_about_one_value_is_refused() {
    let circles = [
        (json!({"$ref": "#"}), ""),
        (json!({"allOf": [{"$ref": "#"}]}), ""),
        (json!({"anyOf": [{"type": "string"}, {"$ref": "#"}]}), ""),
        (json!({"not": {"$ref": "#"}}), ""),
        (json!({"if": {"oneOf": [{"$ref": "#"}]}}), ""),
        (json!({"dependentSchemas": {"a": {"$ref": "#"}}}), ""),
        (
            json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
            "/$defs/a",
        ),
        (
            json!({"properties": {"x": {"$ref": "#me"}}, "$defs": {"m": {"$anchor": "me", "allOf": [{"$ref": "#/$defs/m"}]}}}),
            "/$defs/m",
        ),
    ];
    for (schema, pointer) in circles {
        refused(schema, pointer, "refers to itself");
    }
}

#[test]
fn patterns_take_time_in_proportion_to_the_text() {
    for pattern in ["^(?=.*a)b", "(?!a)", "(?<=a)b", "(?<!a)b", "(a)\\1"] {
        refused(
            json!({"properties": {"a": {"pattern": pattern}}}),
            "/properties/a/pattern",
            "looks around or refers back",
        );
    }
    refused(
        json!({"patternProperties": {"^(?!x/)": {}}}),
        "/patternProperties/^(?!x~1)",
        "looks around",
    );
    for pattern in ["(", "[a", "((a{100}){100}){100}"] {
        refused(json!({"pattern": pattern}), "/pattern", "");
    }
    for pattern in [
        "^(a+)+$",
        "(x+x+)+y",
        "\\(?=",
        "[(?=]",
        "^[A-Z]{2}\\d{6}$",
        "^\\p{L}+$",
    ] {
        compiled(json!({"pattern": pattern}));
    }
    let schema = compiled(json!({"items": {"pattern": "^((a+)+|(a|aa)*|[ab]*a[ab]{40})$"}}));
    let began = Instant::now();
    assert_eq!(
        pointers(&schema, &json!(["a".repeat(1_000_000) + "!"])),
        ["/data/0"]
    );
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn schemas_have_their_limits() {
    let many: Map<String, Value> = (0..SUBSCHEMAS_MAX).map(|n| (n.to_string(), json!({}))).collect();
    refused(json!({"properties": many}), "", "more than 2000 schemas");
    // Each definition doubles what comes after it.
    let doubling: Map<String, Value> = (0..12)
        .map(|n| {
            let next = json!({"$ref": format!("#/$defs/{}", n + 1)});
            (n.to_string(), json!({"anyOf": [next, next]}))
        })
        .chain([("12".to_owned(), json!({"type": "string"}))])
        .collect();
    let faults = OwnSchema::compile(&json!({"$defs": doubling})).unwrap_err();
    assert!(faults[0].message.contains("fewer branches"), "{faults:?}");
    let deep = (0..NESTING_MAX).fold(json!({"type": "string"}), |inner, _| json!({"allOf": [inner]}));
    let faults = OwnSchema::compile(&deep).unwrap_err();
    assert!(faults[0].message.contains("nest deeper than 32"), "{faults:?}");
    let fits = (1..NESTING_MAX).fold(json!({"type": "string"}), |inner, _| json!({"allOf": [inner]}));
    assert_eq!(pointers(&compiled(fits), &json!(1)), ["/data"]);
}

/// `depth` levels of `wrap` around `innermost`.
fn nested(depth: usize, innermost: Value, wrap: impl Fn(Value) -> Value) -> Value {
    (0..depth).fold(innermost, |inner, _| wrap(inner))
}

#[test]
fn recursion_through_the_data_works_to_any_depth() {
    let tree = compiled(json!({
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#"}}}
    }));
    let of = |innermost| {
        nested(
            JSON_MAX_DEPTH / 2 - 1,
            innermost,
            |child| json!({"name": "x", "children": [child]}),
        )
    };
    assert!(pointers(&tree, &of(json!({"name": "leaf"}))).is_empty());
    let faults = pointers(&tree, &of(json!({})));
    assert_eq!(
        faults,
        [format!("/data{}", "/children/0".repeat(JSON_MAX_DEPTH / 2 - 1))]
    );
}

#[test]
fn the_deepest_data_fits_the_stack_under_the_most_nested_schema() {
    // A chain of schemas about each value, as long as may be, and data as deep as may be, on the stack
    // that a thread has that serves connections.
    let links = NESTING_MAX / 2 - 1;
    let mut definitions: Map<String, Value> = (0..links)
        .map(|n| {
            (
                n.to_string(),
                json!({"allOf": [{"$ref": format!("#/$defs/{}", n + 1)}]}),
            )
        })
        .collect();
    definitions.insert(
        links.to_string(),
        json!({"properties": {"a": {"$ref": "#/$defs/1"}}, "items": {"$ref": "#/$defs/1"}}),
    );
    let schema = compiled(json!({"$ref": "#/$defs/1", "$defs": definitions}));
    assert!(schema.0.effort.nesting > NESTING_MAX - 3);
    let deep = nested(JSON_MAX_DEPTH, json!(1), |inner| json!({"a": inner}));
    let lists = nested(JSON_MAX_DEPTH, json!(1), |inner| json!([inner]));
    let small = std::thread::Builder::new().stack_size(512 * 1024);
    let checked = small.spawn(move || (schema.faults(&deep, 0).len(), schema.faults(&lists, 0).len()));
    assert_eq!(checked.unwrap().join().unwrap(), (0, 0));
}

#[test]
fn branches_that_multiply_with_the_depth_are_cut_short() {
    let doubling = compiled(json!({
        "oneOf": [
            {"required": ["a"], "properties": {"kind": {"type": "string"}, "inner": {"$ref": "#"}}},
            {"required": ["b"], "properties": {"kind": {"type": "integer"}, "inner": {"$ref": "#"}}}
        ]
    }));
    let of = |depth| {
        nested(
            depth,
            json!({"a": 1}),
            |inner| json!({"a": 1, "kind": "x", "inner": inner}),
        )
    };
    assert!(pointers(&doubling, &of(12)).is_empty());
    let began = Instant::now();
    let faults = doubling.faults(&of(100), 0);
    assert!(faults[0].message.contains("too large or too deep"), "{faults:?}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());

    // A tree with a left and a right is no such thing: each judges its own.
    let binary = compiled(json!({"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}}));
    let pair = nested(14, json!({}), |inner| json!({"left": inner, "right": inner}));
    assert!(pointers(&binary, &pair).is_empty());
    let deep = nested(100, json!({}), |inner| json!({"left": inner}));
    assert!(pointers(&binary, &deep).is_empty());
}

#[test]
fn the_largest_schemas_compile_in_time() {
    let began = Instant::now();
    // Definitions that fan out to each other through properties: paths without number, few schemas.
    let fanning: Map<String, Value> = (0..400)
        .map(|n| {
            let next = json!({"$ref": format!("#/$defs/{}", (n + 1) % 400)});
            (
                n.to_string(),
                json!({"properties": {"a": next, "b": next, "c": next}}),
            )
        })
        .collect();
    compiled(json!({"$ref": "#/$defs/0", "$defs": fanning}));
    let patterns: Map<String, Value> = (0..900)
        .map(|n| {
            (
                n.to_string(),
                json!({"pattern": format!("^\\w{{1,30}}{n}$"), "minLength": n}),
            )
        })
        .collect();
    let faults = OwnSchema::compile(&json!({"properties": patterns}));
    drop(faults);
    let wide: Map<String, Value> = (0..SUBSCHEMAS_MAX - 1)
        .map(|n| {
            (
                n.to_string(),
                json!({"type": ["string", "null"], "maxLength": 30}),
            )
        })
        .collect();
    compiled(json!({"properties": wide}));
    // Without optimisation, on a busy machine.
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}
