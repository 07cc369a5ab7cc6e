//! What the hub's gate will say of an event, for an adapter's own tests. It knows the schemas that the hub ships,
//! not those that an installation adds.

use chrono::DateTime;
use crossdock_model::{fault::Faults, schema::SchemaSet};

use crate::{Answer, SdkError};

/// The schemas of the event types that the hub ships. Making one takes a while: one serves all of a test.
pub struct Schemas(SchemaSet);

impl Schemas {
    /// All of them.
    pub fn shipped() -> Self {
        Self(SchemaSet::builtin())
    }

    /// Whether the hub would take the event. Its type need not be a shipped one.
    ///
    /// # Errors
    /// `Event` with every fault and its place.
    pub fn check(&self, answer: &Answer) -> Result<(), SdkError> {
        let event = answer
            .clone()
            .into_event("/adapter", "1".to_owned(), DateTime::UNIX_EPOCH, None)?;
        self.0
            .validate(&event)
            .map_err(|faults| SdkError::Event(Faults(faults).to_string()))
    }
}
