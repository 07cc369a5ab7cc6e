//! Which keywords of a schema say what is valid, and what they say.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::schema::own::SUBSCHEMAS_MAX;
use crate::schema::walk::{subschemas, target};

/// Says something about what is valid. Every other keyword is an annotation.
fn asserts(keyword: &str) -> bool {
    let others = [
        "$ref",
        "type",
        "enum",
        "const",
        "required",
        "properties",
        "patternProperties",
        "additionalProperties",
        "items",
        "prefixItems",
        "allOf",
        "anyOf",
        "oneOf",
    ];
    let all = [&LOWER_BOUNDS[..], &UPPER_BOUNDS, &RULES, &OPAQUE, &others];
    all.iter().any(|keywords| keywords.contains(&keyword))
}

/// A higher one accepts less.
pub(super) const LOWER_BOUNDS: [&str; 6] = [
    "minimum",
    "exclusiveMinimum",
    "minLength",
    "minItems",
    "minProperties",
    "minContains",
];
/// A lower one accepts less.
pub(super) const UPPER_BOUNDS: [&str; 6] = [
    "maximum",
    "exclusiveMaximum",
    "maxLength",
    "maxItems",
    "maxProperties",
    "maxContains",
];
/// Each accepts less than its absence, and no two of a kind are compared.
pub(super) const RULES: [&str; 6] = [
    "pattern",
    "format",
    "multipleOf",
    "uniqueItems",
    "contains",
    "propertyNames",
];
/// Cannot be seen through when they change.
pub(super) const OPAQUE: [&str; 8] = [
    "not",
    "if",
    "then",
    "else",
    "dependentSchemas",
    "dependentRequired",
    "unevaluatedProperties",
    "unevaluatedItems",
];
const TYPES: [&str; 7] = [
    "array", "boolean", "integer", "null", "number", "object", "string",
];

pub(super) fn allows_all(schema: &Value) -> bool {
    match schema {
        Value::Bool(allows) => *allows,
        Value::Object(members) => !members.keys().any(|keyword| asserts(keyword)),
        _ => false,
    }
}

/// Where a schema leads that says nothing but where to.
pub(super) fn followed<'a>(root: &'a Value, pointer: &str, schema: &'a Value) -> (String, &'a Value) {
    let (mut pointer, mut schema) = (pointer.to_owned(), schema);
    // A checked schema has no circle of references, so this ends before.
    for _ in 0..SUBSCHEMAS_MAX {
        let keywords = Keywords::of(schema);
        let says_more = keywords.0.is_none_or(|members| {
            members
                .keys()
                .any(|keyword| keyword != "$ref" && asserts(keyword))
        });
        let reference = keywords.get("$ref").and_then(Value::as_str);
        let target = reference
            .filter(|_| !says_more)
            .and_then(|reference| pointer_of(root, reference));
        match target.and_then(|target| Some((root.pointer(&target)?, target))) {
            Some((there, target)) => (pointer, schema) = (target, there),
            None => break,
        }
    }
    (pointer, schema)
}

pub(super) fn pointer_of(root: &Value, reference: &str) -> Option<String> {
    target(reference, &|anchor| anchored(root, anchor))
}

fn anchored(root: &Value, anchor: &str) -> Option<String> {
    let mut open = vec![(String::new(), root)];
    while let Some((pointer, schema)) = open.pop() {
        let Some(members) = schema.as_object() else {
            continue;
        };
        if members.get("$anchor").and_then(Value::as_str) == Some(anchor) {
            return Some(pointer);
        }
        let inner = subschemas(members, &pointer);
        open.extend(inner.into_iter().map(|(pointer, _, schema)| (pointer, schema)));
    }
    None
}

/// The keywords of a schema: none for `true`.
#[derive(Clone, Copy)]
pub(super) struct Keywords<'a>(Option<&'a Map<String, Value>>);

impl<'a> Keywords<'a> {
    pub(super) fn of(schema: &'a Value) -> Self {
        Self(schema.as_object())
    }

    pub(super) fn get(self, keyword: &str) -> Option<&'a Value> {
        self.0?.get(keyword)
    }

    pub(super) fn has(self, keyword: &str) -> bool {
        self.get(keyword).is_some()
    }

    pub(super) fn number(self, keyword: &str) -> Option<f64> {
        self.get(keyword)?.as_f64()
    }

    /// The types of value that are allowed. A number may be whole.
    pub(super) fn types(self) -> BTreeSet<&'a str> {
        let mut types: BTreeSet<&str> = match self.get("type") {
            Some(Value::String(one)) => BTreeSet::from([one.as_str()]),
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => TYPES.into(),
        };
        if types.contains("number") {
            types.insert("integer");
        }
        types
    }

    pub(super) fn values(self) -> Option<Vec<&'a Value>> {
        match (self.get("const"), self.get("enum")) {
            (Some(only), _) => Some(vec![only]),
            (None, Some(Value::Array(values))) => Some(values.iter().collect()),
            _ => None,
        }
    }

    pub(super) fn required(self) -> BTreeSet<&'a str> {
        let names = self.get("required").and_then(Value::as_array);
        names.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    pub(super) fn map(self, keyword: &str) -> Vec<(&'a String, &'a Value)> {
        let members = self.get(keyword).and_then(Value::as_object);
        members.into_iter().flatten().collect()
    }

    pub(super) fn list(self, keyword: &str) -> &'a [Value] {
        self.get(keyword)
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }
}
