//! The JSON Schemas (draft 2020-12) of the event families that the hub ships and of the shop's own
//! types, and the check of an event's data against the schema of its type. It fetches nothing: a
//! schema stands alone. Members marked `x-personal` are personal data.

mod effort;
mod own;
mod versions;
mod walk;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use crate::event::{Event, POINTER_MAX_BYTES};
use crate::fault::Fault;

pub use effort::{EVALUATIONS_MAX, JUDGES_MAX, NESTING_MAX};
pub use own::{OwnSchema, PATTERN_MAX_BYTES, SCHEMA_MAX_BYTES, SUBSCHEMAS_MAX};
pub use versions::{Breaks, Change, changes};

/// Type and text of every schema under `schemas/`.
static BUILTIN: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/schemas.rs"));

/// The same, compiled when they are first needed.
static SHIPPED: LazyLock<BTreeMap<&str, Shipped>> = LazyLock::new(|| {
    let schemas = BUILTIN.iter().map(|(event_type, text)| {
        let json: Value = serde_json::from_str(text).expect("the shipped schemas are JSON");
        let validator = jsonschema::draft202012::options()
            .should_validate_formats(true)
            .build(&json)
            .expect("the shipped schemas are valid");
        (*event_type, Shipped { json, validator })
    });
    schemas.collect()
});

/// Faults of one event that are named.
pub const FAULTS_MAX: usize = 100;
/// Of larger data only the first fault is named: a megabyte of nothing but faults would take seconds and
/// hundreds of megabytes to be told.
pub const EVERY_FAULT_MAX_BYTES: usize = 64 * 1024;
/// The longest message about one fault, in bytes: some list the members that are too many.
const MESSAGE_MAX_BYTES: usize = 500;

struct Shipped {
    json: Value,
    validator: Validator,
}

/// Whether the hub ships a schema of this type.
pub fn is_shipped(event_type: &str) -> bool {
    BUILTIN.iter().any(|(known, _)| *known == event_type)
}

/// The schemas of the known types.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SchemaSet {
    own: BTreeMap<String, OwnSchema>,
}

impl SchemaSet {
    /// The families that the hub ships.
    pub fn builtin() -> SchemaSet {
        Self::default()
    }

    /// These and the families that the hub ships, which go before.
    pub fn with_own(own: BTreeMap<String, OwnSchema>) -> SchemaSet {
        SchemaSet { own }
    }

    /// Checks the data of an event of a known type; an event of any other type passes.
    ///
    /// # Errors
    /// Every breach up to [`FAULTS_MAX`], with its pointer under `/data`; for a missing member that of the
    /// object which lacks it. Messages never quote the data. Of data larger than [`EVERY_FAULT_MAX_BYTES`]
    /// the first.
    pub fn validate(&self, event: &Event) -> Result<(), Vec<Fault>> {
        let shipped = SHIPPED.get(event.event_type.as_str());
        let own = self.own.get(&event.event_type);
        if shipped.is_none() && own.is_none() {
            return Ok(());
        }
        let data = event.json().map_err(|fault| vec![fault])?;
        let bytes = event.data.as_ref().map_or(0, |data| data.len());
        let faults = match (shipped, own) {
            (Some(shipped), _) => faults(&shipped.validator, &data, bytes),
            (None, Some(own)) => own.faults(&data, bytes),
            (None, None) => Vec::new(),
        };
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// The known types, sorted.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        let own = self.own.keys().map(String::as_str);
        let mut types: Vec<_> = SHIPPED.keys().copied().chain(own).collect();
        types.sort_unstable();
        types.into_iter()
    }

    /// The schema of a type.
    pub fn json(&self, event_type: &str) -> Option<&Value> {
        let shipped = SHIPPED.get(event_type).map(|shipped| &shipped.json);
        shipped.or_else(|| self.own.get(event_type).map(OwnSchema::json))
    }

    /// The shop's own schemas, by type.
    pub fn own(&self) -> &BTreeMap<String, OwnSchema> {
        &self.own
    }
}

/// The faults of data that has so many bytes.
fn faults(validator: &Validator, data: &Value, bytes: usize) -> Vec<Fault> {
    let Err(first) = validator.validate(data) else {
        return Vec::new();
    };
    if bytes > EVERY_FAULT_MAX_BYTES {
        let more =
            format!("may have more faults: beyond {EVERY_FAULT_MAX_BYTES} bytes only the first is named");
        return vec![fault(&first), Fault::new("/data", more)];
    }
    let mut errors = validator.iter_errors(data);
    let mut faults: Vec<_> = errors
        .by_ref()
        .take(FAULTS_MAX)
        .map(|error| fault(&error))
        .collect();
    let more = errors.count();
    if more > 0 {
        faults.push(Fault::new("/data", format!("has {more} more faults")));
    }
    faults
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
