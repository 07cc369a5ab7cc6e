//! The JSON Schemas (draft 2020-12) of the event families that the hub ships, and the check of an
//! event's data against the schema of its type. It fetches nothing: a schema stands alone. Members
//! marked `x-personal` are personal data.

use std::collections::BTreeMap;

use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use crate::event::{Event, POINTER_MAX_BYTES};
use crate::fault::Fault;

/// Type and text of every schema under `schemas/`.
static BUILTIN: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/schemas.rs"));

/// Faults of one event that are named.
pub const FAULTS_MAX: usize = 100;
/// Of larger data only the first fault is named: a megabyte of nothing but faults would take seconds and
/// hundreds of megabytes to be told.
pub const EVERY_FAULT_MAX_BYTES: usize = 64 * 1024;
/// The longest message about one fault, in bytes: some list the members that are too many.
const MESSAGE_MAX_BYTES: usize = 500;

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
    /// Every breach up to [`FAULTS_MAX`], with its pointer under `/data`; for a missing member that of the
    /// object which lacks it. Messages never quote the data. Of data larger than [`EVERY_FAULT_MAX_BYTES`]
    /// the first.
    pub fn validate(&self, event: &Event) -> Result<(), Vec<Fault>> {
        let Some(schema) = self.0.get(&event.event_type) else {
            return Ok(());
        };
        let data = event.json().map_err(|fault| vec![fault])?;
        let Err(first) = schema.validator.validate(&data) else {
            return Ok(());
        };
        if event
            .data
            .as_ref()
            .is_some_and(|data| data.len() > EVERY_FAULT_MAX_BYTES)
        {
            let more =
                format!("may have more faults: beyond {EVERY_FAULT_MAX_BYTES} bytes only the first is named");
            return Err(vec![fault(&first), Fault::new("/data", more)]);
        }
        let mut errors = schema.validator.iter_errors(&data);
        let mut faults: Vec<_> = errors
            .by_ref()
            .take(FAULTS_MAX)
            .map(|error| fault(&error))
            .collect();
        let more = errors.count();
        if more > 0 {
            faults.push(Fault::new("/data", format!("has {more} more faults")));
        }
        Err(faults)
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

fn fault(error: &ValidationError<'_>) -> Fault {
    let mut pointer = format!("/data{}", error.instance_path().as_str());
    while pointer.len() > POINTER_MAX_BYTES {
        pointer.truncate(pointer.rfind('/').unwrap_or_default());
    }
    let mut message = error.masked_with("the value").to_string();
    if message.len() > MESSAGE_MAX_BYTES {
        message.truncate(message.floor_char_boundary(MESSAGE_MAX_BYTES));
        message.push('…');
    }
    Fault::new(pointer, message)
}

#[cfg(test)]
mod tests;
