//! The stored form of values that both the record and its readers must agree on, whatever the database.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use crossdock_model::event::{AttributeValue, Event};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Result, StoreError};

/// The context attributes of an event that have no column of their own, by their CloudEvents names.
#[derive(Serialize, Deserialize)]
pub(crate) struct Attributes<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) time: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) datacontenttype: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dataschema: Option<Cow<'a, str>>,
    #[serde(flatten)]
    pub(crate) extensions: Cow<'a, BTreeMap<String, AttributeValue>>,
}

impl<'a> Attributes<'a> {
    pub(crate) fn of(event: &'a Event) -> Self {
        Self {
            time: event.time,
            datacontenttype: event.data_content_type.as_deref().map(Cow::Borrowed),
            dataschema: event.data_schema.as_deref().map(Cow::Borrowed),
            extensions: Cow::Borrowed(&event.extensions),
        }
    }
}

/// The JSON text of a value that is always representable.
pub(crate) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("maps with string keys, sequences and scalars serialize")
}

/// The value of a JSON column.
pub(crate) fn from_json<T: DeserializeOwned>(column: &str, text: &str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|error| StoreError::Corrupt(format!("{column}: {:?}", error.classify())))
}

/// An enumeration's stored word, the same as its word on the wire.
pub(crate) fn to_word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => unreachable!("stored enumerations have only unit variants"),
    }
}

/// The enumeration's value of a stored word.
pub(crate) fn from_word<T: DeserializeOwned>(column: &str, word: &str) -> Result<T> {
    serde_json::from_value(word.into())
        .map_err(|_| StoreError::Corrupt(format!("{column}: unknown word {word:?}")))
}

/// The time of a column in microseconds.
pub(crate) fn time(micros: i64) -> Result<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros)
        .ok_or_else(|| StoreError::Corrupt(format!("{micros} µs is beyond the calendar")))
}

/// The time of a column that may be empty.
pub(crate) fn time_if_any(micros: Option<i64>) -> Result<Option<DateTime<Utc>>> {
    micros.map(time).transpose()
}

/// A count or number that is never negative and within its type's range.
pub(crate) fn number<T: TryFrom<i64>>(column: &str, value: i64) -> Result<T> {
    T::try_from(value).map_err(|_| StoreError::Corrupt(format!("{column}: {value} is out of range")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{DeliveryState, OutcomeKind};

    #[test]
    fn words_are_those_of_the_wire() {
        assert_eq!(to_word(&OutcomeKind::DeliveryLimit), "delivery_limit");
        assert_eq!(
            from_word::<DeliveryState>("state", "parked").unwrap(),
            DeliveryState::Parked
        );
        assert!(matches!(
            from_word::<DeliveryState>("state", "lost"),
            Err(StoreError::Corrupt(_))
        ));
    }

    #[test]
    fn a_fault_in_stored_json_does_not_echo_it() {
        let error = from_json::<Vec<String>>("scopes", r#"["secret"#).unwrap_err();
        assert!(!error.to_string().contains("secret"));
    }
}
