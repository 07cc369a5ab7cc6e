//! What is wrong with an event, said so that its author can mend it: a place and a sentence.
//! Messages name rules and types, never values found in the data, which may be personal.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How much of an attribute's name is shown.
const NAME_SHOWN_MAX_BYTES: usize = 128;

/// One thing that is wrong, and where.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// JSON pointer (RFC 6901) into the structured form of the event, such as
    /// `/data/total/amount`, `/time`, or `""` for the whole. In a batch the member's index comes
    /// first: `/3/data/total/amount`.
    pub pointer: String,
    /// What is wrong and what was expected.
    pub message: String,
}

impl Fault {
    /// A fault at `pointer`.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            message: message.into(),
        }
    }

    /// A fault of a context attribute. A name longer than any attribute's may be is cut, and the fault lies in the whole:
    /// an answer must not grow with what was sent.
    pub fn of_attribute(name: &str, message: impl Into<String>) -> Self {
        if name.len() <= NAME_SHOWN_MAX_BYTES {
            let mut pointer = String::new();
            push_token(&mut pointer, name);
            return Self::new(pointer, message);
        }
        let shown = &name[..name.floor_char_boundary(NAME_SHOWN_MAX_BYTES)];
        Self::new("", format!("{shown}…: {}", message.into()))
    }

    /// The same fault seen from an enclosing document, where this one lies at `prefix`.
    #[must_use]
    pub fn within(mut self, prefix: &str) -> Self {
        self.pointer.insert_str(0, prefix);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointer.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.pointer, self.message)
        }
    }
}

/// Everything that is wrong with one event or batch. Never empty when used as an error.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// `Ok` if there is nothing wrong.
    pub fn none_in(faults: Vec<Fault>) -> Result<(), Faults> {
        if faults.is_empty() {
            Ok(())
        } else {
            Err(Faults(faults))
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Faults(vec![fault])
    }
}

/// Appends `token` to a JSON pointer, escaped as RFC 6901 asks.
pub fn push_token(pointer: &mut String, token: &str) {
    pointer.push('/');
    for character in token.chars() {
        match character {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_escaped_and_prefixed() {
        let mut pointer = String::new();
        push_token(&mut pointer, "data");
        push_token(&mut pointer, "a/b~c");
        assert_eq!(pointer, "/data/a~1b~0c");
        assert_eq!(
            Fault::new(pointer, "odd").within("/3").to_string(),
            "/3/data/a~1b~0c: odd"
        );
    }

    #[test]
    fn an_attributes_name_is_shown_in_part_if_it_is_longer_than_any_may_be() {
        assert_eq!(Fault::of_attribute("a/b", "odd").pointer, "/a~1b");
        let long = "ä".repeat(1_000_000);
        let fault = Fault::of_attribute(&long, "odd");
        assert_eq!(fault.pointer, "");
        assert_eq!(
            fault.message,
            format!("{}…: odd", "ä".repeat(NAME_SHOWN_MAX_BYTES / 2))
        );
    }

    #[test]
    fn faults_are_joined() {
        let faults = Faults(vec![Fault::new("", "whole"), Fault::new("/id", "is empty")]);
        assert_eq!(faults.to_string(), "whole; /id: is empty");
    }
}
