//! Header values in the types that AMQP 0-9-1 clients of different languages really send.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

/// The headers of a message by name.
pub type Headers = BTreeMap<String, HeaderValue>;

/// A header's value. AMQP's many integer types are one here; a string that is not UTF-8 is `Bytes`.
#[derive(Debug, Clone, PartialEq)]
pub enum HeaderValue {
    /// `t`
    Bool(bool),
    /// `b`, `B`, `s`, `u`, `I`, `i`, `l`
    Int(i64),
    /// `f`, `d`
    Float(f64),
    /// `S`; also `D`, a decimal, in digits
    Text(String),
    /// `x`
    Bytes(Bytes),
    /// `T`, in whole seconds
    Time(DateTime<Utc>),
    /// `A`
    List(Vec<HeaderValue>),
    /// `F`
    Table(Headers),
    /// `V`
    Null,
}

impl HeaderValue {
    /// The text, if it is text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is a whole number.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The nearest JSON: bytes as `{"bytes": [numbers]}`, times in RFC 3339, numbers that JSON does
    /// not have as `null`.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Bool(value) => json!(value),
            Self::Int(value) => json!(value),
            Self::Float(value) => json!(value),
            Self::Text(value) => json!(value),
            Self::Bytes(value) => json!({ "bytes": value.as_ref() }),
            Self::Time(value) => json!(value.to_rfc3339_opts(SecondsFormat::Secs, true)),
            Self::List(values) => values.iter().map(Self::to_json).collect(),
            Self::Table(headers) => headers_to_json(headers),
            Self::Null => Value::Null,
        }
    }
}

/// All headers as one JSON object.
pub fn headers_to_json(headers: &Headers) -> Value {
    Value::Object(
        headers
            .iter()
            .map(|(name, value)| (name.clone(), value.to_json()))
            .collect(),
    )
}

impl From<&str> for HeaderValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for HeaderValue {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<i64> for HeaderValue {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for HeaderValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}
