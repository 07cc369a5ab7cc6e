//! An event in the adapter's hands, and the ways to fail at it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use crossdock_model::event::Event;
use serde::de::DeserializeOwned;

use crate::SdkError;

/// An event to be handled.
#[derive(Clone)]
pub struct Incoming {
    pub(crate) event: Event,
    pub(crate) attempt: u32,
}

impl Incoming {
    /// The CloudEvents type.
    pub fn event_type(&self) -> &str {
        &self.event.event_type
    }

    /// The CloudEvents id, unique within its source.
    pub fn id(&self) -> &str {
        &self.event.id
    }

    /// What it is about.
    pub fn subject(&self) -> Option<&str> {
        self.event.subject.as_deref()
    }

    /// The business process it belongs to.
    pub fn correlation_id(&self) -> Option<&str> {
        self.event.correlation_id()
    }

    /// Other systems' names of the same thing, each `system:id`.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        self.event.aliases()
    }

    /// When it happened, as its producer says.
    pub fn time(&self) -> Option<DateTime<Utc>> {
        self.event.time
    }

    /// The attempt, counted from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The data read as `T`.
    ///
    /// # Errors
    /// A [`Failure::Dead`] that says where it does not fit and what was expected, and nothing of what stands
    /// there: another attempt would not help.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(self.event.data.as_deref().unwrap_or_default()).map_err(|error| {
            Failure::Dead(format!(
                "the data of {} cannot be read: {}",
                self.event.event_type,
                without_values(&error)
            ))
        })
    }
}

/// What is wrong with JSON, without the values that serde quotes: they may be personal.
fn without_values(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if !error.is_data() || text.starts_with("missing field") {
        return text;
    }
    match text.rsplit_once(", expected ") {
        // What was expected is the type's own word; the place follows it.
        Some((_, expected)) => format!("expected {expected}"),
        None => format!(
            "a value does not fit at line {} column {}",
            error.line(),
            error.column()
        ),
    }
}

/// How handling an event failed. The text is stored and shown to operators: it must hold no personal data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Another attempt may help, not before the given time where there is one.
    #[error("{0}")]
    Retry(String, Option<Duration>),
    /// No attempt will help.
    #[error("{0}")]
    Dead(String),
}

impl From<SdkError> for Failure {
    fn from(error: SdkError) -> Self {
        Self::Dead(error.to_string())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Way {
        Post,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Order {
        lines: u32,
        way: Way,
        at: DateTime<Utc>,
    }

    fn order(data: &str) -> String {
        let event = Event {
            id: "1".to_owned(),
            source: "/shop".to_owned(),
            event_type: "order.placed.v1".to_owned(),
            subject: None,
            time: None,
            data_content_type: None,
            data_schema: None,
            extensions: BTreeMap::new(),
            data: Some(Bytes::copy_from_slice(data.as_bytes())),
        };
        let incoming = Incoming { event, attempt: 1 };
        incoming.data::<Order>().unwrap_err().to_string()
    }

    #[test]
    fn data_that_does_not_fit_is_described_without_being_quoted() {
        let time = r#""at":"2026-01-01T00:00:00Z""#;
        for (data, said) in [
            (
                format!(r#"{{"lines":"jane@example.com","way":"post",{time}}}"#),
                "expected u32 at line 1 column 27",
            ),
            (
                format!(r#"{{"lines":"jane, expected jane","way":"post",{time}}}"#),
                "expected u32 at",
            ),
            (
                format!(r#"{{"lines":1,"way":"jane",{time}}}"#),
                "expected `post` at",
            ),
            (
                r#"{"lines":1,"way":"post","at":"jane"}"#.to_owned(),
                "does not fit at line 1",
            ),
            (r#"{"lines":1,"way":"post"}"#.to_owned(), "missing field `at`"),
            (r#"{"lines":1"#.to_owned(), "EOF while parsing"),
        ] {
            let failure = order(&data);
            assert!(failure.contains(said) && !failure.contains("jane"), "{failure}");
        }
    }
}
