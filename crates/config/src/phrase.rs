//! What a JSON Schema says of a document, in the words of someone who edits TOML: what is wrong,
//! where, and what was expected.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind as Kind;
use serde_json::Value;

use crate::ConfigFault;
use crate::document::{Document, pointer_to};
use crate::formats;
use crate::grammar::{resolve, types};

pub(crate) struct Phrasing<'a> {
    schema: &'a Value,
    document: &'a Document,
}

impl<'a> Phrasing<'a> {
    pub(crate) fn new(schema: &'a Value, document: &'a Document) -> Self {
        Self { schema, document }
    }

    /// The faults behind one error of the validator.
    pub(crate) fn faults(&self, error: &ValidationError<'_>) -> Vec<ConfigFault> {
        let place = error.instance_path().as_str();
        let label = label(place);
        let broken = self.broken_schema(error);
        let message = match error.kind() {
            Kind::AdditionalProperties { unexpected } => {
                return unexpected
                    .iter()
                    .map(|key| self.unknown_key(place, key, broken))
                    .collect();
            }
            Kind::OneOfNotValid { context } => return self.no_alternative(error, broken, context),
            Kind::Required { property } => {
                return property
                    .as_str()
                    .and_then(|key| self.missing_key(place, key, broken))
                    .into_iter()
                    .collect();
            }
            Kind::Type { .. } => self.wrong_type(place, error.instance(), broken),
            Kind::Format { format } => {
                let judge = formats::judge(format).unwrap_or(|_| Ok(()));
                let fault = error.instance().as_str().and_then(|text| judge(text).err());
                fault.unwrap_or_else(|| error.masked().to_string())
            }
            Kind::MinItems { .. } | Kind::MinLength { .. } => {
                format!("{label} is empty, expected {}", self.description(broken))
            }
            Kind::MaxItems { limit } => format!(
                "{label} has {} items, expected at most {limit}",
                error.instance().as_array().map_or(0, Vec::len)
            ),
            Kind::MinProperties { .. } => {
                format!("{label} is empty, expected one of {}", self.keys(broken, " and "))
            }
            Kind::MaxProperties { .. } => {
                format!(
                    "{label} names {}, expected only one of them",
                    self.keys(broken, " and ")
                )
            }
            Kind::Minimum { limit } => format!("{label} is {}, expected at least {limit}", error.instance()),
            Kind::Maximum { limit } => format!("{label} is {}, expected at most {limit}", error.instance()),
            _ => error.masked().to_string(),
        };
        vec![self.document.fault(place, message)]
    }

    /// The part of the schema whose keyword is broken.
    fn broken_schema(&self, error: &ValidationError<'_>) -> &'a Value {
        let keyword = error.schema_path().as_str();
        let schema = keyword
            .rfind('/')
            .and_then(|end| self.schema.pointer(&keyword[..end]));
        schema.unwrap_or(self.schema)
    }

    fn unknown_key(&self, table: &str, key: &str, schema: &Value) -> ConfigFault {
        let place = pointer_to(table, key);
        let value = self.document.value().pointer(&place);
        let unknown = match value {
            Some(value) if table.is_empty() && is_section(value) => format!("unknown section [{key}]"),
            _ => format!("unknown key `{key}`{}", within(table)),
        };
        let message = if let Some(meant) = nearest(key, &known_keys(schema)) {
            format!(
                "{unknown}, did you mean {}?",
                self.written(meant, &schema["properties"][meant.as_str()])
            )
        } else if !table.is_empty() && self.schema["properties"].get(key).is_some() {
            format!("{unknown}; it belongs at the top of the file, above the first [section]")
        } else {
            format!("{unknown}, expected {}", self.keys(schema, " or "))
        };
        self.document.key_fault(&place, message)
    }

    /// Nothing, where the file is too broken to tell, or holds a key that is taken for a misspelling
    /// of the missing one.
    fn missing_key(&self, table: &str, key: &str, schema: &Value) -> Option<ConfigFault> {
        let known = known_keys(schema);
        let present = self.document.value().pointer(table)?.as_object()?;
        let misspelt = |present: &String| {
            !known.contains(present) && nearest(present, &known).is_some_and(|meant| meant == key)
        };
        if !self.document.is_whole() || present.keys().any(misspelt) {
            return None;
        }
        let expected = self.description(&schema["properties"][key]);
        Some(self.document.fault(
            table,
            format!("missing key `{key}`{}, expected {expected}", within(table)),
        ))
    }

    fn wrong_type(&self, place: &str, found: &Value, schema: &Value) -> String {
        let expected = match place.rsplit_once('/') {
            Some((_, key)) if self.is_list_of_tables(schema) => self.written(key, schema),
            _ => self.description(schema),
        };
        format!("{} is {}, expected {expected}", label(place), kind_of(found))
    }

    /// A value that fits none of several alternatives: a choice of words, or tables told apart by
    /// the word under one of their keys.
    fn no_alternative(
        &self,
        error: &ValidationError<'_>,
        schema: &Value,
        context: &[Vec<ValidationError<'static>>],
    ) -> Vec<ConfigFault> {
        let place = error.instance_path().as_str();
        let expected = self.description(schema);
        let Some((tag, words)) = tagged(schema) else {
            let message = format!(
                "{} is {}, expected {expected}",
                label(place),
                shown(error.instance())
            );
            return vec![self.document.fault(place, message)];
        };
        let Some(table) = error.instance().as_object() else {
            return vec![
                self.document
                    .fault(place, self.wrong_type(place, error.instance(), schema)),
            ];
        };
        let expected = format!("expected {}", one_of(&words));
        match table.get(tag) {
            None if !self.document.is_whole() => Vec::new(),
            None => {
                let message = format!("missing key `{tag}`{}, {expected}", within(place));
                vec![self.document.fault(place, message)]
            }
            Some(word) => match words.iter().position(|known| *known == word) {
                Some(chosen) => context[chosen]
                    .iter()
                    .flat_map(|error| self.faults(error))
                    .collect(),
                None => {
                    let place = pointer_to(place, tag);
                    vec![
                        self.document
                            .fault(&place, format!("`{tag}` is {}, {expected}", shown(word))),
                    ]
                }
            },
        }
    }

    /// What a schema accepts, with an example where it has one.
    fn description(&self, schema: &Value) -> String {
        let resolved = resolve(self.schema, schema);
        let kinds = match resolved["oneOf"].as_array() {
            Some(_) if tagged(resolved).is_some() => kind_name("object").to_owned(),
            Some(words) => one_of(&words.iter().map(|word| &word["const"]).collect::<Vec<_>>()),
            None => types(resolved).map(kind_name).collect::<Vec<_>>().join(" or "),
        };
        match resolved["examples"].get(0) {
            Some(example) => format!("{kinds}, such as {}", shown(example)),
            None => kinds,
        }
    }

    /// The keys that a schema knows, in a row.
    fn keys(&self, schema: &Value, last_joint: &str) -> String {
        let properties = schema["properties"].as_object().into_iter().flatten();
        let keys: Vec<_> = properties
            .map(|(key, property)| self.written(key, property))
            .collect();
        row(&keys, last_joint)
    }

    /// A key as it is written in TOML: a section's in brackets.
    fn written(&self, key: &str, schema: &Value) -> String {
        if self.is_list_of_tables(schema) {
            format!("[[{key}]]")
        } else if resolve(self.schema, schema)["type"] == "object" {
            format!("[{key}]")
        } else {
            format!("`{key}`")
        }
    }

    fn is_list_of_tables(&self, schema: &Value) -> bool {
        let schema = resolve(self.schema, schema);
        schema["type"] == "array" && resolve(self.schema, &schema["items"])["type"] == "object"
    }
}

fn known_keys(schema: &Value) -> Vec<String> {
    schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key.clone())
        .collect()
}

/// The key that tells the alternatives of a tagged union apart, and its words in their order.
fn tagged(schema: &Value) -> Option<(&str, Vec<&Value>)> {
    let alternatives = schema["oneOf"].as_array()?;
    let properties = alternatives.first()?["properties"].as_object()?;
    let (tag, _) = properties
        .iter()
        .find(|(_, property)| property.get("const").is_some())?;
    Some((
        tag,
        alternatives
            .iter()
            .map(|alternative| &alternative["properties"][tag]["const"])
            .collect(),
    ))
}

/// The known word that someone who wrote `word` most likely meant.
pub(crate) fn nearest<'a>(word: &str, known: &'a [String]) -> Option<&'a String> {
    let likeness = |candidate: &String| strsim::jaro_winkler(word, candidate);
    let close = |candidate: &&String| {
        strsim::osa_distance(word, candidate) <= (word.chars().count() / 3).clamp(1, 4)
            || likeness(candidate) > 0.85
    };
    known
        .iter()
        .filter(close)
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

/// Whether a value is written under a header of its own.
fn is_section(value: &Value) -> bool {
    value.is_object()
        || value
            .as_array()
            .is_some_and(|items| !items.is_empty() && items.iter().all(Value::is_object))
}

/// The table at a pointer, as part of a sentence.
fn within(table: &str) -> String {
    let keys: Vec<_> = table.split('/').skip(1).filter(|key| !is_index(key)).collect();
    match table.rsplit('/').next() {
        None | Some("") => String::new(),
        Some(last) if is_index(last) => format!(" in [[{}]]", keys.join(".")),
        Some(_) => format!(" in [{}]", keys.join(".")),
    }
}

/// What the value at a pointer is called in a sentence.
fn label(place: &str) -> String {
    match place.rsplit_once('/') {
        None => "the file".to_owned(),
        Some((list, index)) if is_index(index) => {
            let number = index.parse::<usize>().map_or(0, |index| index + 1);
            format!("item {number} of `{}`", last_key(list))
        }
        Some((_, key)) => format!("`{key}`"),
    }
}

fn last_key(place: &str) -> &str {
    place.rsplit('/').find(|key| !is_index(key)).unwrap_or_default()
}

fn is_index(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit())
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => kind_name("boolean"),
        Value::Number(number) if number.is_f64() => kind_name("number"),
        Value::Number(_) => kind_name("integer"),
        Value::String(_) => kind_name("string"),
        Value::Array(_) => kind_name("array"),
        Value::Object(_) => kind_name("object"),
    }
}

/// A JSON type in the words of TOML.
fn kind_name(json_type: &str) -> &'static str {
    match json_type {
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a decimal number",
        "string" => "a string",
        "array" => "a list",
        _ => "a table",
    }
}

/// A value as TOML writes it.
fn shown(value: &Value) -> String {
    toml::Value::try_from(value).map_or_else(|_| kind_of(value).to_owned(), |value| value.to_string())
}

fn one_of(words: &[&Value]) -> String {
    row(&words.iter().map(|word| shown(word)).collect::<Vec<_>>(), " or ")
}

fn row(words: &[String], last_joint: &str) -> String {
    match words {
        [] => "nothing".to_owned(),
        [only] => only.clone(),
        [others @ .., last] => format!("{}{last_joint}{last}", others.join(", ")),
    }
}
