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
    /// A [`Failure::Dead`] that says what does not fit: another attempt would not help.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(self.event.data.as_deref().unwrap_or_default()).map_err(|error| {
            Failure::Dead(format!(
                "the data of {} cannot be read: {error}",
                self.event.event_type
            ))
        })
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
