//! A JSON file with the places of its values.

use std::collections::BTreeMap;

use crossdock_model::event::check_json;
use crossdock_model::fault::Fault;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::{ConfigFault, SourceFile};

pub(crate) struct JsonText<'a> {
    file: &'a SourceFile,
    pub(crate) value: Value,
}

impl<'a> JsonText<'a> {
    /// Reads the file.
    ///
    /// # Errors
    /// The first fault of the grammar, or every key that stands twice.
    pub(crate) fn parse(file: &'a SourceFile) -> Result<Self, Vec<ConfigFault>> {
        let value = serde_json::from_str(&file.text).map_err(|error| {
            // The place has a line of its own in the fault.
            let told = error.to_string();
            let message = told.split(" at line ").next().unwrap_or_default();
            vec![ConfigFault {
                file: file.path.clone(),
                line: error.line().max(1),
                column: column(&file.text, &error),
                message: format!("not valid JSON: {message}"),
            }]
        })?;
        let text = Self { file, value };
        match check_json(file.text.as_bytes(), "") {
            Ok(()) => Ok(text),
            Err(faults) => Err(text.faults(faults)),
        }
    }

    /// Faults with the lines and columns of their pointers, in the order of their places.
    pub(crate) fn faults(&self, faults: impl IntoIterator<Item = Fault>) -> Vec<ConfigFault> {
        let mut placed: Vec<_> = faults.into_iter().map(|fault| self.fault(&fault)).collect();
        placed.sort();
        placed
    }

    fn fault(&self, fault: &Fault) -> ConfigFault {
        let offset = offset(&self.file.text, &fault.pointer);
        let before = &self.file.text[..self.file.text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        ConfigFault {
            file: self.file.path.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: fault.to_string(),
        }
    }
}

/// The column of a fault of the grammar in characters: the parser counts bytes.
fn column(text: &str, error: &serde_json::Error) -> usize {
    let line = text
        .split('\n')
        .nth(error.line().saturating_sub(1))
        .unwrap_or_default();
    let before = error.column().saturating_sub(1).min(line.len());
    line[..line.floor_char_boundary(before)].chars().count() + 1
}

/// Where the value at `pointer` begins, or the nearest value around it.
pub(crate) fn offset(text: &str, pointer: &str) -> usize {
    let Ok(mut value) = serde_json::from_str::<&RawValue>(text) else {
        return 0;
    };
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        let members = serde_json::from_str::<BTreeMap<String, &RawValue>>(value.get());
        let inner = match members {
            Ok(members) => members.get(&token).copied(),
            Err(_) => {
                let items = serde_json::from_str::<Vec<&RawValue>>(value.get()).unwrap_or_default();
                token
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| items.get(index).copied())
            }
        };
        match inner {
            Some(inner) => value = inner,
            None => break,
        }
    }
    // Both are parts of one text.
    value.get().as_ptr().addr().saturating_sub(text.as_ptr().addr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_in_their_text() {
        let text = "{\n  \"a\": [1, {\"b/c\": \"é\", \"d\": null}],\n  \"~\" : true}";
        for (pointer, expected) in [
            ("", "{\n"),
            ("/a", "[1"),
            ("/a/1/b~1c", "\"é\""),
            ("/a/1/d", "null}"),
            ("/~0", "true"),
            ("/a/9/x", "[1"),
            ("/gone", "{\n"),
        ] {
            assert!(text[offset(text, pointer)..].starts_with(expected), "{pointer}");
        }
        assert_eq!(offset("nonsense", "/a"), 0);
    }
}
