//! Events that an adapter says itself, before they have an envelope.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use crossdock_model::event::{AttributeValue, Event};
use serde::{Serialize, de::DeserializeOwned};

use crate::SdkError;

/// An event to be: its type, its data, and what it is about. Source, id and time are added when it is sent.
#[derive(Clone, Debug)]
pub struct Answer {
    event_type: String,
    data: Bytes,
    subject: Option<String>,
    correlation: Option<String>,
    aliases: Option<String>,
}

impl Answer {
    /// An event of this type with this data, as JSON.
    ///
    /// # Errors
    /// `Event` if the data cannot be written as JSON.
    pub fn new(event_type: &str, data: &impl Serialize) -> Result<Self, SdkError> {
        let data = serde_json::to_vec(data).map_err(|error| SdkError::Event(error.to_string()))?;
        Ok(Self {
            event_type: event_type.to_owned(),
            data: data.into(),
            subject: None,
            correlation: None,
            aliases: None,
        })
    }

    /// What it is about: an order's reference, a SKU. Events of one subject stay in order.
    #[must_use]
    pub fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// The business process it belongs to; an answer takes it over from the event it answers.
    #[must_use]
    pub fn correlated(mut self, correlation: impl Into<String>) -> Self {
        self.correlation = Some(correlation.into());
        self
    }

    /// Other systems' names of the same thing, each `system:id`.
    #[must_use]
    pub fn also_known_as(mut self, aliases: &[String]) -> Self {
        self.aliases = Some(aliases.join(" "));
        self
    }

    /// The CloudEvents type.
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// What it is about, where it says so itself.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// The data read as `T`.
    ///
    /// # Errors
    /// `Event` if the data is not such a `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, SdkError> {
        serde_json::from_slice(&self.data).map_err(|error| SdkError::Event(error.to_string()))
    }

    /// The whole event. `cause`: the event it answers.
    pub(crate) fn into_event(
        self,
        source: &str,
        id: String,
        time: DateTime<Utc>,
        cause: Option<&Event>,
    ) -> Result<Event, SdkError> {
        let mut extensions = BTreeMap::new();
        let mut extend = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                extensions.insert(name.to_owned(), AttributeValue::String(value));
            }
        };
        let inherited = cause.and_then(Event::correlation_id).map(str::to_owned);
        extend("correlationid", self.correlation.or(inherited));
        extend("causationid", cause.map(|event| event.id.clone()));
        extend("aliases", self.aliases);
        let same_subject = cause.filter(|_| self.subject.is_none());
        let key = same_subject.and_then(|event| event.extension("partitionkey"));
        extend("partitionkey", key.map(|value| value.into_owned()));
        extend(
            "traceparent",
            cause
                .and_then(|event| event.extension("traceparent"))
                .map(|value| value.into_owned()),
        );
        let event = Event {
            id,
            source: source.to_owned(),
            event_type: self.event_type,
            subject: self
                .subject
                .or_else(|| cause.and_then(|event| event.subject.clone())),
            time: Some(time),
            data_content_type: Some("application/json".to_owned()),
            data_schema: None,
            extensions,
            data: Some(self.data),
        };
        match event.validate().first() {
            None => Ok(event),
            Some(fault) => Err(SdkError::Event(format!("{} {}", fault.pointer, fault.message))),
        }
    }
}
