//! A JSON Schema put to use: all faults of a document by it, and the settings that it names.

use jsonschema::{Draft, Validator};
use serde_json::Value;

use crate::ConfigFault;
use crate::document::{Document, pointer_to};
use crate::formats::FORMATS;
use crate::phrase::Phrasing;

pub(crate) struct Grammar {
    schema: Value,
    validator: Validator,
}

/// A setting: a value that is not just a table of others.
pub(crate) struct Leaf<'a> {
    pub(crate) path: Vec<String>,
    schema: &'a Value,
}

impl Grammar {
    pub(crate) fn new(schema: Value) -> Self {
        let options = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .should_validate_formats(true);
        let options = FORMATS.iter().fold(options, |options, (name, judge)| {
            options.with_format(*name, |text: &str| judge(text).is_ok())
        });
        let validator = options
            .build(&schema)
            .expect("the schemas come from our own structs, and tests compile them");
        Self { schema, validator }
    }

    /// Everything in which the document departs from the schema.
    pub(crate) fn faults(&self, document: &Document) -> Vec<ConfigFault> {
        let phrasing = Phrasing::new(&self.schema, document);
        self.validator
            .iter_errors(document.value())
            .flat_map(|error| phrasing.faults(&error))
            .collect()
    }

    /// Every setting of the schema.
    pub(crate) fn leaves(&self) -> Vec<Leaf<'_>> {
        let mut leaves = Vec::new();
        collect_leaves(&self.schema, &self.schema, &mut Vec::new(), &mut leaves);
        leaves
    }
}

fn collect_leaves<'a>(
    root: &'a Value,
    schema: &'a Value,
    path: &mut Vec<String>,
    leaves: &mut Vec<Leaf<'a>>,
) {
    let schema = resolve(root, schema);
    let leaf = Leaf {
        path: path.clone(),
        schema,
    };
    if leaf.schema["type"] != "object" {
        leaves.push(leaf);
    }
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        path.push(key.clone());
        collect_leaves(root, property, path, leaves);
        path.pop();
    }
}

impl Leaf<'_> {
    /// Whether the setting takes a value of this JSON type.
    pub(crate) fn accepts(&self, json_type: &str) -> bool {
        types(self.schema).any(|accepted| accepted == json_type)
    }

    /// JSON pointer of the setting.
    pub(crate) fn pointer(&self) -> String {
        self.path
            .iter()
            .fold(String::new(), |pointer, key| pointer_to(&pointer, key))
    }
}

/// The schema itself, or the definition that it refers to.
pub(crate) fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let definition = schema["$ref"]
        .as_str()
        .and_then(|reference| root.pointer(reference.strip_prefix('#')?));
    definition.unwrap_or(schema)
}

/// The JSON types that a schema accepts by name.
pub(crate) fn types(schema: &Value) -> impl Iterator<Item = &str> {
    let one = schema["type"].as_str();
    let several = schema["type"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    one.into_iter().chain(several)
}
