//! What is harmless, what is not, and whom it breaks.
#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::schema::OwnSchema;

/// Both must be schemas that are fit for use.
fn compared(old: &Value, new: &Value) -> Vec<(String, Breaks)> {
    for schema in [old, new] {
        OwnSchema::compile(schema).unwrap();
    }
    changes(old, new)
        .into_iter()
        .map(|change| {
            assert!(!change.what.is_empty());
            (change.pointer, change.breaks)
        })
        .collect()
}

fn points() -> Value {
    json!({
        "title": "Points earned",
        "type": "object",
        "required": ["order", "points"],
        "properties": {
            "order": {"type": "string", "minLength": 1},
            "points": {"type": "integer", "minimum": 0, "maximum": 1000},
            "level": {"enum": ["silver", "gold"]},
            "price": {"$ref": "#/$defs/price"},
            "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}, "maxItems": 10}
        },
        "$defs": {
            "price": {"type": "object", "required": ["amount"], "properties": {"amount": {"type": "integer"}}, "additionalProperties": false},
            "line": {"type": "object", "properties": {"sku": {"type": "string"}, "parts": {"items": {"$ref": "#/$defs/line"}}}}
        }
    })
}

#[track_caller]
fn changed(change: impl FnOnce(&mut Value), expected: &[(&str, Breaks)]) {
    let (old, mut new) = (points(), points());
    change(&mut new);
    let found = compared(&old, &new);
    let found: Vec<_> = found
        .iter()
        .map(|(pointer, breaks)| (pointer.as_str(), *breaks))
        .collect();
    assert_eq!(found, expected, "{new}");
    assert!(changes(&new, &new).is_empty());
}

#[test]
fn optional_additions_and_annotations_are_harmless() {
    changed(|_| {}, &[]);
    changed(|new| new["description"] = json!("How many."), &[]);
    changed(|new| new["properties"]["order"]["x-personal"] = json!(true), &[]);
    changed(|new| new["properties"]["order"]["default"] = json!("x"), &[]);
    changed(
        |new| new["properties"]["note"] = json!({"type": "string", "maxLength": 9}),
        &[],
    );
    changed(
        |new| new["$defs"]["line"]["properties"]["quantity"] = json!({"type": "integer"}),
        &[],
    );
    changed(
        |new| new["$defs"]["price"]["properties"]["currency"] = json!({"type": "string"}),
        &[],
    );
}

#[test]
fn what_was_valid_must_stay_so() {
    use Breaks::Senders;
    changed(
        |new| new["required"].as_array_mut().unwrap().push(json!("level")),
        &[("/required", Senders)],
    );
    changed(
        |new| new["properties"]["points"]["maximum"] = json!(999),
        &[("/properties/points/maximum", Senders)],
    );
    changed(
        |new| new["properties"]["points"]["minimum"] = json!(1),
        &[("/properties/points/minimum", Senders)],
    );
    changed(
        |new| new["properties"]["order"]["maxLength"] = json!(30),
        &[("/properties/order/maxLength", Senders)],
    );
    changed(
        |new| new["properties"]["order"]["pattern"] = json!("^R-"),
        &[("/properties/order/pattern", Senders)],
    );
    changed(
        |new| new["properties"]["level"]["enum"] = json!(["gold"]),
        &[("/properties/level/enum", Senders)],
    );
    changed(
        |new| new["additionalProperties"] = json!(false),
        &[("/additionalProperties", Senders)],
    );
    changed(
        |new| new["$defs"]["line"]["properties"]["sku"]["minLength"] = json!(1),
        &[("/$defs/line/properties/sku/minLength", Senders)],
    );
    changed(
        |new| new["patternProperties"] = json!({"^x-": {"type": "string"}}),
        &[("/patternProperties/^x-", Senders)],
    );
    changed(
        |new| new["allOf"] = json!([{"required": ["level"]}]),
        &[("/allOf", Senders)],
    );
    changed(
        |new| new["properties"]["order"] = json!(false),
        &[("/properties/order", Senders)],
    );
    changed(|new| new["properties"]["note"] = json!({"type": "string"}), &[]);
}

#[test]
fn what_was_promised_must_stay_so() {
    use Breaks::Receivers;
    changed(
        |new| new["required"] = json!(["order"]),
        &[("/required", Receivers)],
    );
    changed(
        |new| drop(new["properties"].as_object_mut().unwrap().remove("level")),
        &[("/properties/level", Receivers)],
    );
    changed(
        |new| new["properties"]["points"]["maximum"] = json!(2000),
        &[("/properties/points/maximum", Receivers)],
    );
    changed(
        |new| {
            drop(
                new["properties"]["order"]
                    .as_object_mut()
                    .unwrap()
                    .remove("minLength"),
            )
        },
        &[("/properties/order/minLength", Receivers)],
    );
    changed(
        |new| new["properties"]["points"]["type"] = json!("number"),
        &[("/properties/points/type", Receivers)],
    );
    changed(
        |new| new["properties"]["order"]["type"] = json!(["string", "null"]),
        &[("/properties/order/type", Receivers)],
    );
    changed(
        |new| new["properties"]["level"]["enum"] = json!(["silver", "gold", "platinum"]),
        &[("/properties/level/enum", Receivers)],
    );
    changed(
        |new| new["$defs"]["price"]["additionalProperties"] = json!(true),
        &[("/$defs/price/additionalProperties", Receivers)],
    );
    changed(
        |new| {
            drop(
                new["properties"]["lines"]
                    .as_object_mut()
                    .unwrap()
                    .remove("items"),
            )
        },
        &[("/properties/lines/items", Receivers)],
    );
    changed(
        |new| *new = json!({}),
        &[
            ("/properties/level", Receivers),
            ("/properties/lines", Receivers),
            ("/properties/order", Receivers),
            ("/properties/points", Receivers),
            ("/properties/price", Receivers),
            ("/required", Receivers),
            ("/required", Receivers),
            ("/type", Receivers),
        ],
    );
}

#[test]
fn a_property_that_is_gone_from_a_closed_schema_breaks_both() {
    changed(
        |new| {
            drop(
                new["$defs"]["price"]["properties"]
                    .as_object_mut()
                    .unwrap()
                    .remove("amount"),
            )
        },
        &[("/$defs/price/properties/amount", Breaks::Both)],
    );
    let list = |prefix: Value| json!({"prefixItems": prefix, "items": {"type": "string"}});
    assert_eq!(
        compared(&list(json!([{}])), &list(json!([{}, {}]))),
        [("/prefixItems".to_owned(), Breaks::Both)]
    );
    let exact = |number: u64| json!({"minimum": number});
    assert_eq!(
        compared(&exact(9_007_199_254_740_992), &exact(9_007_199_254_740_993)),
        [("/minimum".to_owned(), Breaks::Both)]
    );
}

#[test]
fn a_change_of_kind_breaks_both() {
    use Breaks::{Both, Receivers, Senders};
    changed(
        |new| new["properties"]["points"]["type"] = json!("string"),
        &[
            ("/properties/points/type", Receivers),
            ("/properties/points/type", Senders),
        ],
    );
    changed(
        |new| new["properties"]["level"] = json!({"const": "bronze"}),
        &[
            ("/properties/level/const", Receivers),
            ("/properties/level/const", Senders),
        ],
    );
    changed(|new| new["not"] = json!({"required": ["x"]}), &[("/not", Both)]);
    changed(
        |new| new["oneOf"] = json!([{}, {"required": ["x"]}]),
        &[("/oneOf", Senders)],
    );
    let two = |second: Value| json!({"if": {"$ref": "#/$defs/a"}, "$defs": {"a": second}});
    assert_eq!(
        compared(&two(json!({"type": "string"})), &two(json!({"type": "integer"}))),
        [("/if".to_owned(), Both)]
    );
    let strict = json!({"additionalProperties": {"type": "string"}});
    let mixed = json!({"additionalProperties": {"type": "string"}, "properties": {"n": {"type": "integer"}}});
    assert_eq!(compared(&strict, &mixed), [("/properties/n".to_owned(), Both)]);
}

#[test]
fn it_does_not_matter_where_a_schema_stands() {
    let inline = json!({"properties": {"a": {"type": "string"}, "b": {"items": {"minimum": 1}}}});
    let apart = json!({
        "properties": {"a": {"$ref": "#text", "description": "moved"}, "b": {"$ref": "#/$defs/list"}},
        "$defs": {"x": {"$anchor": "text", "type": "string"}, "list": {"items": {"$ref": "#/$defs/n"}}, "n": {"minimum": 1}}
    });
    assert!(compared(&inline, &apart).is_empty());
    assert!(compared(&apart, &inline).is_empty());
    let mut stricter = apart.clone();
    stricter["$defs"]["n"]["minimum"] = json!(2);
    assert_eq!(
        compared(&inline, &stricter),
        [("/$defs/n/minimum".to_owned(), Breaks::Senders)]
    );
    let beside = |other: &str| json!({"$ref": format!("#/$defs/{other}"), "minimum": 0, "$defs": {"a": {"type": "integer"}, "b": {"type": "number"}}});
    assert_eq!(
        compared(&beside("a"), &beside("b")),
        [("/$defs/b/type".to_owned(), Breaks::Receivers)]
    );
}

#[test]
fn schemas_that_refer_to_themselves_are_compared() {
    let tree = |sku: Value| json!({"properties": {"sku": sku, "children": {"items": {"$ref": "#"}}}});
    let (old, new) = (
        tree(json!({"type": "string"})),
        tree(json!({"type": "string", "maxLength": 5})),
    );
    assert!(compared(&old, &old).is_empty());
    assert_eq!(
        compared(&old, &new),
        [("/properties/sku/maxLength".to_owned(), Breaks::Senders)]
    );
}

mod any_change {
    use proptest::prelude::*;
    use serde_json::{Map, Number};

    use super::*;

    fn schema() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!({})),
            Just(json!({"type": "string"})),
            Just(json!({"type": ["string", "null"]})),
            Just(json!({"type": "integer"})),
            Just(json!({"type": "number"})),
            (0..3_i64, 0..3_i64).prop_map(|(low, more)| json!({"minimum": low, "maximum": low + more})),
            (0..3_u64).prop_map(|most| json!({"type": "string", "maxLength": most})),
            Just(json!({"enum": [1, "a"]})),
            Just(json!({"const": 1})),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                inner
                    .clone()
                    .prop_map(|items| json!({"type": "array", "items": items})),
                (inner.clone(), inner.clone(), any::<bool>(), any::<bool>()).prop_map(
                    |(a, b, required, closed)| {
                        let mut schema = json!({"type": "object", "properties": {"a": a, "b": b}});
                        if required {
                            schema["required"] = json!(["a"]);
                        }
                        if closed {
                            schema["additionalProperties"] = json!(false);
                        }
                        schema
                    }
                ),
                (inner.clone(), inner).prop_map(|(a, b)| json!({"anyOf": [a, b]})),
            ]
        })
    }

    fn data() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            (-1..5_i64).prop_map(|number| Value::Number(Number::from(number))),
            Just(json!(1.5)),
            "a{0,3}".prop_map(Value::String),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
                prop::collection::btree_map("[ab]", inner, 0..3)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// Where nobody who sends is said to break, what was valid is valid still. Names that the old schema
        /// left open are the exception that makes optional additions possible, so both name the same.
        #[test]
        fn no_word_about_senders_means_that_what_was_valid_is_valid(old in schema(), new in schema(), data in data()) {
            let found = changes(&old, &new);
            prop_assume!(!adds_names(&old, &new));
            let valid = |schema: &Value| jsonschema::draft202012::is_valid(schema, &data);
            if !found.iter().any(|change| change.breaks.senders()) && valid(&old) {
                prop_assert!(valid(&new), "{old} → {new}: {data}");
            }
            if !found.iter().any(|change| change.breaks.receivers()) && valid(&new) {
                prop_assert!(valid(&old), "{old} → {new}: {data}");
            }
        }
    }

    /// An object with some of the properties `a` and `b`, and whether others are allowed.
    fn object() -> impl Strategy<Value = Value> {
        let property = prop::option::of(prop_oneof![
            Just(json!({})),
            Just(json!({"type": "integer"})),
            Just(json!({"type": "string", "maxLength": 2})),
        ]);
        let others = prop_oneof![
            Just(Value::Null),
            Just(json!(true)),
            Just(json!(false)),
            Just(json!({"type": "integer"})),
        ];
        (property.clone(), property, others, any::<bool>()).prop_map(|(a, b, others, required)| {
            let named = [("a", a), ("b", b)];
            let properties: Map<String, Value> = named
                .into_iter()
                .filter_map(|(name, schema)| Some((name.to_owned(), schema?)))
                .collect();
            let mut schema = json!({"type": "object", "properties": properties});
            if !others.is_null() {
                schema["additionalProperties"] = others;
            }
            if required {
                schema["required"] = json!(["a"]);
            }
            schema
        })
    }

    fn names(schema: &Value) -> Vec<&String> {
        schema["properties"].as_object().unwrap().keys().collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]

        #[test]
        fn properties_come_and_go_as_is_said(old in object(), new in object(), data in data()) {
            let found = changes(&old, &new);
            prop_assume!(names(&new).iter().all(|name| names(&old).contains(name)));
            let valid = |schema: &Value| jsonschema::draft202012::is_valid(schema, &data);
            if !found.iter().any(|change| change.breaks.senders()) && valid(&old) {
                prop_assert!(valid(&new), "{old} → {new}: {data}");
            }
            if !found.iter().any(|change| change.breaks.receivers()) && valid(&new) {
                prop_assert!(valid(&old), "{old} → {new}: {data}");
            }
        }
    }

    fn adds_names(old: &Value, new: &Value) -> bool {
        let names = |schema: &Value| schema.to_string().matches("\"properties\"").count();
        names(old) != names(new)
    }
}
