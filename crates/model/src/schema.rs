//! The JSON Schemas (draft 2020-12) of the event families that the hub ships, and the check of an
//! event's data against the schema of its type. It fetches nothing: a schema stands alone. Members
//! marked `x-personal` are personal data.

use std::collections::BTreeMap;

use jsonschema::Validator;
use serde_json::Value;

use crate::event::Event;
use crate::fault::Fault;

/// Type and text of every schema under `schemas/`.
static BUILTIN: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/schemas.rs"));

/// The schemas of the known types.
pub struct SchemaSet(BTreeMap<String, Schema>);

struct Schema {
    json: Value,
    validator: Validator,
}

impl SchemaSet {
    /// The families that the hub ships.
    pub fn builtin() -> SchemaSet {
        let schemas = BUILTIN.iter().map(|(event_type, text)| {
            let json: Value = serde_json::from_str(text).expect("the shipped schemas are JSON");
            let validator = jsonschema::draft202012::options()
                .should_validate_formats(true)
                .build(&json)
                .expect("the shipped schemas are valid");
            ((*event_type).to_owned(), Schema { json, validator })
        });
        SchemaSet(schemas.collect())
    }

    /// Checks the data of an event of a known type; an event of any other type passes.
    ///
    /// # Errors
    /// Every breach, with its pointer under `/data`; for a missing member that of the object which
    /// lacks it. Messages never quote the data.
    pub fn validate(&self, event: &Event) -> Result<(), Vec<Fault>> {
        let Some(schema) = self.0.get(&event.event_type) else {
            return Ok(());
        };
        let data = event.json().map_err(|fault| vec![fault])?;
        let faults: Vec<_> = schema
            .validator
            .iter_errors(&data)
            .map(|error| {
                let pointer = format!("/data{}", error.instance_path().as_str());
                Fault::new(pointer, error.masked_with("the value").to_string())
            })
            .collect();
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// The known types, sorted.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The schema of a type.
    pub fn json(&self, event_type: &str) -> Option<&Value> {
        self.0.get(event_type).map(|schema| &schema.json)
    }
}

#[cfg(test)]
mod tests;
