//! Where schemas stand inside a schema (draft 2020-12), and which of them judge the same value.

use serde_json::{Map, Value};

use crate::fault::push_token;

/// What a subschema is about, as seen from the schema that it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The same value.
    Same,
    /// A member of an object with a name of its own, or an item at a place of its own: no two of
    /// these are about one value.
    Member,
    Item,
    /// Whatever is there besides.
    OtherMembers,
    OtherItems,
    /// Members or items that others judge, too.
    Members,
    Items,
    /// Nothing of the value: a definition, or a member's name.
    Apart,
}

/// Keywords whose value is a schema.
const ONE: [(&str, Place); 11] = [
    ("not", Place::Same),
    ("if", Place::Same),
    ("then", Place::Same),
    ("else", Place::Same),
    ("items", Place::OtherItems),
    ("contains", Place::Items),
    ("unevaluatedItems", Place::Items),
    ("additionalProperties", Place::OtherMembers),
    ("unevaluatedProperties", Place::Members),
    ("propertyNames", Place::Apart),
    ("contentSchema", Place::Apart),
];
/// Keywords whose value is a list of schemas.
const LISTS: [(&str, Place); 4] = [
    ("allOf", Place::Same),
    ("anyOf", Place::Same),
    ("oneOf", Place::Same),
    ("prefixItems", Place::Item),
];
/// Keywords whose value is schemas by name.
const MAPS: [(&str, Place); 5] = [
    ("properties", Place::Member),
    ("patternProperties", Place::Members),
    ("dependentSchemas", Place::Same),
    ("$defs", Place::Apart),
    ("definitions", Place::Apart),
];

/// The subschemas that stand in a schema, each with its pointer. What has the wrong shape is left out.
pub(super) fn subschemas<'a>(
    schema: &'a Map<String, Value>,
    pointer: &str,
) -> Vec<(String, Place, &'a Value)> {
    let mut found = Vec::new();
    let mut add = |tokens: &[&str], place, value| {
        let mut pointer = pointer.to_owned();
        for token in tokens {
            push_token(&mut pointer, token);
        }
        found.push((pointer, place, value));
    };
    for (keyword, place) in ONE {
        if let Some(value) = schema.get(keyword) {
            add(&[keyword], place, value);
        }
    }
    for (keyword, place) in LISTS {
        let items = schema.get(keyword).and_then(Value::as_array);
        for (index, value) in items.into_iter().flatten().enumerate() {
            add(&[keyword, &index.to_string()], place, value);
        }
    }
    for (keyword, place) in MAPS {
        let members = schema.get(keyword).and_then(Value::as_object);
        for (name, value) in members.into_iter().flatten() {
            add(&[keyword, name], place, value);
        }
    }
    found
}

/// The pointer that a `$ref` within its own document means: `#`, `#/…`, or `#` and the name of an
/// anchor, which `anchors` knows.
pub(super) fn target(reference: &str, anchors: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let fragment = percent_decoded(reference.strip_prefix('#')?)?;
    if fragment.is_empty() || fragment.starts_with('/') {
        Some(fragment)
    } else {
        anchors(&fragment)
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn subschemas_are_found_with_their_pointers() {
        let schema = json!({
            "properties": {"a/b": true, "c": {"type": "string"}},
            "allOf": [{}, 7],
            "items": {},
            "enum": [{"properties": {"not": "a schema"}}],
        });
        let found = subschemas(schema.as_object().unwrap(), "/x");
        let pointers: Vec<_> = found.iter().map(|(pointer, ..)| pointer.as_str()).collect();
        assert_eq!(
            pointers,
            [
                "/x/items",
                "/x/allOf/0",
                "/x/allOf/1",
                "/x/properties/a~1b",
                "/x/properties/c"
            ]
        );
        assert!(subschemas(json!({"allOf": {}, "properties": []}).as_object().unwrap(), "").is_empty());
    }

    #[test]
    fn references_are_pointers_or_anchors() {
        let anchors = |name: &str| (name == "line").then(|| "/$defs/l".to_owned());
        let target = |reference: &str| target(reference, &anchors);
        assert_eq!(target("#").as_deref(), Some(""));
        assert_eq!(target("#/$defs/a%20b").as_deref(), Some("/$defs/a b"));
        assert_eq!(target("#line").as_deref(), Some("/$defs/l"));
        for reference in ["", "other", "#gone", "#/%", "#/%zz", "https://x/#/a"] {
            assert_eq!(target(reference), None, "{reference}");
        }
    }
}
