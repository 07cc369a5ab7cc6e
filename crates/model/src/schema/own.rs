//! A schema of the shop's own (draft 2020-12), checked before it judges events: it stands alone, it
//! cannot go round in circles, its patterns match in linear time, and what it costs is known.

use std::collections::HashMap;
use std::sync::Arc;

use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};

use super::FAULTS_MAX;
use super::effort::{self, EVALUATIONS_MAX, Effort, Excess, JUDGES_MAX, NESTING_MAX};
use super::walk::{subschemas, target};
use crate::fault::{Fault, push_token};
use crate::thread::on_own_thread;

/// The longest schema, in bytes.
pub const SCHEMA_MAX_BYTES: usize = 256 * 1024;
/// The most schemas in one, itself among them.
pub const SUBSCHEMAS_MAX: usize = 2_000;
/// What a pattern may take up when it is compiled, in bytes.
pub const PATTERN_MAX_BYTES: usize = 64 * 1024;

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";
/// What compiling or using a schema may take: it recurses with the schema and with the data.
const STACK_BYTES: usize = 256 * 1024 * 1024;
/// Levels of data times schemas about each of them that fit on anybody's stack.
const INLINE_FRAMES_MAX: u64 = 64;

/// A schema that is fit for use. Clones share it.
#[derive(Clone)]
pub struct OwnSchema(Arc<Compiled>);

struct Compiled {
    json: Value,
    validator: Validator,
    effort: Effort,
}

impl PartialEq for OwnSchema {
    fn eq(&self, other: &Self) -> bool {
        self.0.json == other.0.json
    }
}

impl std::fmt::Debug for OwnSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OwnSchema(…)")
    }
}

impl OwnSchema {
    /// Checks and compiles a schema.
    ///
    /// # Errors
    /// Every fault that is found, at its pointer into the schema.
    pub fn compile(json: &Value) -> Result<OwnSchema, Vec<Fault>> {
        on_own_thread(STACK_BYTES, || compile(json))
            .unwrap_or_else(|| Err(vec![Fault::new("", "the hub could not read this schema")]))
            .map(|compiled| OwnSchema(Arc::new(compiled)))
    }

    /// The schema as it is written.
    pub fn json(&self) -> &Value {
        &self.0.json
    }

    /// The faults of an event's data, which has so many bytes.
    pub(super) fn faults(&self, data: &Value, bytes: usize) -> Vec<Fault> {
        let schema = &*self.0;
        if schema.effort.is_too_much_for(data) {
            let message = format!(
                "is too large or too deep for the schema of its type: checking it could take more than {EVALUATIONS_MAX} \
                 steps"
            );
            return vec![Fault::new("/data", message)];
        }
        if depth(data) * schema.effort.nesting <= INLINE_FRAMES_MAX {
            return super::faults(&schema.validator, data, bytes);
        }
        on_own_thread(STACK_BYTES, || super::faults(&schema.validator, data, bytes)).unwrap_or_else(|| {
            vec![Fault::new(
                "/data",
                "could not be checked: there is no memory for a thread",
            )]
        })
    }
}

fn depth(value: &Value) -> u64 {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 1,
    }
}

fn compile(json: &Value) -> Result<Compiled, Vec<Fault>> {
    let Some(_) = json.as_object() else {
        return Err(vec![Fault::new("", "a schema must be a JSON object")]);
    };
    let by_meta_schema: Vec<_> = jsonschema::draft202012::meta::validator()
        .iter_errors(json)
        .take(FAULTS_MAX)
        .map(|error| {
            Fault::new(
                error.instance_path().as_str(),
                error.masked_with("this").to_string(),
            )
        })
        .collect();
    if !by_meta_schema.is_empty() {
        return Err(by_meta_schema);
    }
    let schemas = all(json)?;
    let anchors = anchors(&schemas)?;
    let target = |reference: &str| target(reference, &|name| anchors.get(name).cloned());
    let mut faults = Vec::new();
    for (pointer, schema) in &schemas {
        let Some(schema) = schema.as_object() else {
            continue;
        };
        let reaches = |reference: &str| {
            let pointer = target(reference)?;
            schemas.iter().find(|(known, _)| *known == pointer).map(drop)
        };
        faults.extend(stands_alone(schema, pointer, &reaches));
        faults.extend(patterns(schema, pointer));
    }
    if !faults.is_empty() {
        faults.truncate(FAULTS_MAX);
        return Err(faults);
    }
    let effort = effort::reckon(&schemas, &target).map_err(|excess| vec![excess.fault()])?;
    let validator = jsonschema::draft202012::options()
        .should_validate_formats(true)
        .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_MAX_BYTES))
        .offline()
        .build(json)
        .map_err(|error| {
            vec![Fault::new(
                error.instance_path().as_str(),
                error.masked_with("this").to_string(),
            )]
        })?;
    Ok(Compiled {
        json: json.clone(),
        validator,
        effort,
    })
}

/// Every schema in the document by its pointer, the document itself first.
fn all(json: &Value) -> Result<Vec<(String, &Value)>, Vec<Fault>> {
    let mut found = vec![(String::new(), json)];
    let mut next = 0;
    while let Some((pointer, schema)) = found.get(next).cloned() {
        if let Some(schema) = schema.as_object() {
            let inner = subschemas(schema, &pointer);
            found.extend(inner.into_iter().map(|(pointer, _, schema)| (pointer, schema)));
        }
        if found.len() > SUBSCHEMAS_MAX {
            let message = format!("has more than {SUBSCHEMAS_MAX} schemas in it, expected fewer");
            return Err(vec![Fault::new("", message)]);
        }
        next += 1;
    }
    Ok(found)
}

fn anchors(schemas: &[(String, &Value)]) -> Result<HashMap<String, String>, Vec<Fault>> {
    let mut anchors = HashMap::new();
    for (pointer, schema) in schemas {
        let Some(name) = schema.get("$anchor").and_then(Value::as_str) else {
            continue;
        };
        if anchors.insert(name.to_owned(), pointer.clone()).is_some() {
            let message = "this anchor is here for the second time, expected it once";
            return Err(vec![Fault::new(format!("{pointer}/$anchor"), message)]);
        }
    }
    Ok(anchors)
}

fn stands_alone(
    schema: &Map<String, Value>,
    pointer: &str,
    reaches: &dyn Fn(&str) -> Option<()>,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut refuse = |keyword: &str, message: &str| {
        let mut pointer = pointer.to_owned();
        push_token(&mut pointer, keyword);
        faults.push(Fault::new(pointer, message));
    };
    let text = |keyword: &str| schema.get(keyword).and_then(Value::as_str);
    if let Some(draft) = text("$schema")
        && draft.strip_suffix('#').unwrap_or(draft) != DRAFT
    {
        refuse(
            "$schema",
            &format!("expected {DRAFT:?}: schemas are read as draft 2020-12"),
        );
    }
    if !pointer.is_empty() && schema.contains_key("$id") {
        refuse(
            "$id",
            "a schema stands alone: `$id` has its place at the top, and nowhere else",
        );
    }
    for keyword in [
        "$dynamicRef",
        "$dynamicAnchor",
        "$recursiveRef",
        "$recursiveAnchor",
        "$vocabulary",
    ] {
        if schema.contains_key(keyword) {
            refuse(
                keyword,
                "is not available: a schema stands alone, expected `$ref`",
            );
        }
    }
    match text("$ref") {
        Some(reference) if !reference.starts_with('#') => refuse(
            "$ref",
            "a schema stands alone: expected a reference within this file, such as \"#/$defs/line\"",
        ),
        Some(reference) if reaches(reference).is_none() => {
            refuse("$ref", "there is no schema at this place of the file");
        }
        _ => {}
    }
    faults
}

fn patterns(schema: &Map<String, Value>, pointer: &str) -> Vec<Fault> {
    let mut found = Vec::new();
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
        found.push((vec!["pattern"], pattern));
    }
    let names = schema.get("patternProperties").and_then(Value::as_object);
    for name in names.into_iter().flat_map(Map::keys) {
        found.push((vec!["patternProperties", name], name));
    }
    let faults = found.into_iter().filter_map(|(tokens, pattern)| {
        let mut pointer = pointer.to_owned();
        for token in tokens {
            push_token(&mut pointer, token);
        }
        Some(Fault::new(pointer, pattern_fault(pattern)?))
    });
    faults.collect()
}

/// What is wrong with a pattern. The engine takes time in proportion to the text, and so knows
/// neither what looks around nor what refers back.
fn pattern_fault(pattern: &str) -> Option<String> {
    let alone = serde_json::json!({ "pattern": pattern });
    let built = jsonschema::draft202012::options()
        .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_MAX_BYTES))
        .build(&alone);
    if built.is_ok() && !looks_around(pattern) {
        return None;
    }
    let fancy = jsonschema::draft202012::options()
        .with_pattern_options(PatternOptions::fancy_regex().size_limit(PATTERN_MAX_BYTES))
        .build(&alone);
    Some(if looks_around(pattern) || fancy.is_ok() {
        "this pattern looks around or refers back, which can take for ever, expected one without `(?=`, `(?!`, `(?<=`, \
         `(?<!`, `\\1` and the like"
            .to_owned()
    } else {
        format!(
            "this is not a regular expression, or it takes more than {PATTERN_MAX_BYTES} bytes when it is compiled"
        )
    })
}

fn looks_around(pattern: &str) -> bool {
    let (mut escaped, mut in_class) = (false, false);
    for (offset, character) in pattern.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' => in_class = true,
            ']' => in_class = false,
            '(' if !in_class => {
                let rest = &pattern[offset..];
                if ["(?=", "(?!", "(?<=", "(?<!"]
                    .iter()
                    .any(|sign| rest.starts_with(sign))
                {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests;

impl Excess {
    fn fault(self) -> Fault {
        match self {
            Excess::Circle(pointer) => Fault::new(
                pointer,
                "this schema refers to itself about one and the same value, so that checking it would never end, \
                 expected a way through `properties` or `items`",
            ),
            Excess::Judges(pointer) => Fault::new(
                pointer,
                format!(
                    "one value would be checked by more than {JUDGES_MAX} schemas from here, expected fewer branches"
                ),
            ),
            Excess::Nesting(pointer) => Fault::new(
                pointer,
                format!("`allOf`, `$ref` and the like nest deeper than {NESTING_MAX} levels about one value"),
            ),
        }
    }
}
