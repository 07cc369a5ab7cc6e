//! Rows about what is to be forgotten.

use crate::retention::ForgetEvents;

/// The events that a step looks at.
#[derive(sqlx::FromRow)]
pub(crate) struct StepRow {
    last: Option<i64>,
    oldest: Option<i64>,
}

impl StepRow {
    /// The offset up to which the step goes, if any of its events is old enough.
    pub(crate) fn last_of(&self, step: &ForgetEvents) -> Option<i64> {
        let before = step.received_before.timestamp_micros();
        self.last
            .filter(|_| self.oldest.is_some_and(|oldest| oldest < before))
    }
}
