//! The JSON Schemas of the event families that the hub ships, and the check of an event against the
//! schema of its type.

use serde_json::Value;

use crate::event::Event;
use crate::fault::Fault;

/// The schemas of the known types.
pub struct SchemaSet {}

impl SchemaSet {
    /// The families that the hub ships.
    pub fn builtin() -> SchemaSet {
        SchemaSet {}
    }

    /// Checks the data of an event of a known type; other types pass.
    pub fn validate(&self, _event: &Event) -> Result<(), Vec<Fault>> {
        Ok(())
    }

    /// The known types, sorted.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }

    /// The schema of a type.
    pub fn json(&self, _event_type: &str) -> Option<&Value> {
        None
    }
}
