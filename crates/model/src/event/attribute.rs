//! The value of an extension attribute.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A context attribute's value in the types of CloudEvents that the encodings tell apart. URIs,
/// timestamps and binary travel as strings.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(untagged)]
pub enum AttributeValue {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number of 32 bits.
    Integer(i32),
    /// Any text without control characters.
    String(String),
}

impl AttributeValue {
    /// The length of the canonical string form, in bytes.
    pub(super) fn string_length(&self) -> usize {
        match self {
            Self::String(text) => text.len(),
            other => other.to_string().len(),
        }
    }
}

/// The canonical string form that CloudEvents gives each type, as HTTP headers carry it.
impl fmt::Display for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::String(value) => f.write_str(value),
        }
    }
}

impl From<&str> for AttributeValue {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}

impl From<String> for AttributeValue {
    fn from(value: String) -> Self {
        Self::String(value)
    }
}

impl From<bool> for AttributeValue {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<i32> for AttributeValue {
    fn from(value: i32) -> Self {
        Self::Integer(value)
    }
}
