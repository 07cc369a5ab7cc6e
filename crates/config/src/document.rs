//! A TOML file as JSON, with the place of every key and value. It knows nothing of what the file
//! means.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::{ConfigFault, SourceFile, syntax};

/// What a file says, or what the environment says in its stead.
#[derive(Default)]
pub(crate) struct Document {
    path: String,
    text: String,
    /// Where each line begins.
    lines: Vec<usize>,
    value: Value,
    /// By JSON pointer (RFC 6901).
    origins: HashMap<String, Origin>,
    syntax_faults: Vec<ConfigFault>,
    /// From this line on the file may read otherwise than it was meant.
    misled_from: Option<usize>,
}

enum Origin {
    File {
        key: Option<Range<usize>>,
        value: Range<usize>,
    },
    Variable(String),
}

/// The JSON pointer of a member of the value at `parent`.
pub(crate) fn pointer_to(parent: &str, key: &str) -> String {
    format!("{parent}/{}", key.replace('~', "~0").replace('/', "~1"))
}

impl Document {
    /// A document that says nothing.
    pub(crate) fn empty() -> Self {
        Self {
            value: Value::Object(Map::new()),
            ..Self::default()
        }
    }

    /// Reads the file as far as it can be read.
    pub(crate) fn parse(file: &SourceFile) -> Self {
        let mut document = Self {
            path: file.path.clone(),
            text: file.text.clone(),
            lines: std::iter::once(0)
                .chain(file.text.match_indices('\n').map(|(newline, _)| newline + 1))
                .collect(),
            ..Self::empty()
        };
        let (table, errors) = DeTable::parse_recoverable(&file.text);
        document.value = document.table(table.get_ref(), "");
        for fault in syntax::faults(&file.text, &errors, &document.places()) {
            let fault_here = document.fault_at(fault.offset, fault.message);
            if fault.misleads {
                let line = document.misled_from.unwrap_or(usize::MAX).min(fault_here.line);
                document.misled_from = Some(line);
            }
            document.syntax_faults.push(fault_here);
        }
        document
    }

    fn places(&self) -> Vec<Range<usize>> {
        let places = self.origins.values().filter_map(|origin| match origin {
            Origin::File { value, .. } => Some(value.clone()),
            Origin::Variable(_) => None,
        });
        places.collect()
    }

    fn table(&mut self, table: &DeTable<'_>, pointer: &str) -> Value {
        let members = table.iter().map(|(key, value)| {
            let name = key.get_ref().to_string();
            let pointer = pointer_to(pointer, &name);
            let json = self.json(value, &pointer, Some(key.span()));
            (name, json)
        });
        Value::Object(members.collect())
    }

    fn json(&mut self, value: &Spanned<DeValue<'_>>, pointer: &str, key: Option<Range<usize>>) -> Value {
        let span = value.span();
        let start = span.start;
        self.origins
            .insert(pointer.to_owned(), Origin::File { key, value: span });
        match value.get_ref() {
            DeValue::String(text) => text.as_ref().into(),
            DeValue::Boolean(flag) => (*flag).into(),
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix()).map_or_else(
                |_| self.odd_value(start, "this number is too large, expected one of at most 64 bits"),
                Value::from,
            ),
            DeValue::Float(float) => {
                let number = float.as_str().parse().ok().and_then(serde_json::Number::from_f64);
                number.map_or_else(
                    || self.odd_value(start, "this is not a finite number, expected one"),
                    Value::Number,
                )
            }
            DeValue::Datetime(_) => {
                self.odd_value(start, "a date has no place here, expected a text in quotes")
            }
            DeValue::Array(items) => {
                let items = items.iter().enumerate();
                Value::Array(
                    items
                        .map(|(index, item)| self.json(item, &format!("{pointer}/{index}"), None))
                        .collect(),
                )
            }
            DeValue::Table(table) => self.table(table, pointer),
        }
    }

    fn odd_value(&mut self, start: usize, message: &str) -> Value {
        self.syntax_fault(start, message.to_owned());
        Value::Null
    }

    fn syntax_fault(&mut self, offset: usize, message: String) {
        let fault = self.fault_at(offset, message);
        self.syntax_faults.push(fault);
    }

    /// What the document says.
    pub(crate) fn value(&self) -> &Value {
        &self.value
    }

    /// What the document says, as the struct that its schema describes.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, ConfigFault> {
        serde_json::from_value(self.value.clone()).map_err(|error| self.fault("", error.to_string()))
    }

    /// Puts the value of an environment variable at `path`, in the place of what was there.
    ///
    /// # Errors
    /// The name of the variable that has already said something that leaves no room for it.
    pub(crate) fn put(&mut self, path: &[String], value: Value, variable: &str) -> Result<(), String> {
        let mut pointer = String::new();
        let mut place = &mut self.value;
        for key in path {
            if !place.is_object() {
                if let Some(Origin::Variable(other)) = self.origins.get(&pointer) {
                    return Err(other.clone());
                }
                *place = Value::Object(Map::new());
                self.origins
                    .insert(pointer.clone(), Origin::Variable(variable.to_owned()));
            }
            pointer = pointer_to(&pointer, key);
            place = &mut place[key.as_str()];
        }
        *place = value;
        self.origins
            .retain(|known, _| !known.starts_with(&format!("{pointer}/")));
        self.origins
            .insert(pointer, Origin::Variable(variable.to_owned()));
        Ok(())
    }

    /// Whether anything comes from this environment variable.
    pub(crate) fn uses_variable(&self, name: &str) -> bool {
        self.origins
            .values()
            .any(|origin| matches!(origin, Origin::Variable(used) if used == name))
    }

    /// A fault of the value at `pointer`; where there is none, of the nearest value around it.
    pub(crate) fn fault(&self, pointer: &str, message: impl Into<String>) -> ConfigFault {
        match self.origin(pointer) {
            Some(Origin::File { value, .. }) => self.fault_at(value.start, message),
            Some(Origin::Variable(name)) => ConfigFault::of_variable(name, message),
            None => self.fault_at(0, message),
        }
    }

    /// A fault of the key that leads to the value at `pointer`.
    pub(crate) fn key_fault(&self, pointer: &str, message: impl Into<String>) -> ConfigFault {
        match self.origins.get(pointer) {
            Some(Origin::File { key: Some(key), .. }) => self.fault_at(key.start, message),
            _ => self.fault(pointer, message),
        }
    }

    /// A fault inside the text at `pointer`, at a line and a column (in characters) of that text,
    /// both counted from 1.
    pub(crate) fn fault_inside(
        &self,
        pointer: &str,
        line: usize,
        column: usize,
        message: impl Into<String>,
    ) -> ConfigFault {
        match self.origins.get(pointer) {
            Some(Origin::File { value, .. }) => {
                let offset = offset_inside(&self.text[value.clone()], line, column);
                self.fault_at(value.start + offset, message)
            }
            _ => self.fault(pointer, message),
        }
    }

    fn origin(&self, pointer: &str) -> Option<&Origin> {
        let mut pointer = pointer;
        loop {
            if let Some(origin) = self.origins.get(pointer) {
                return Some(origin);
            }
            pointer = &pointer[..pointer.rfind('/')?];
        }
    }

    fn fault_at(&self, offset: usize, message: impl Into<String>) -> ConfigFault {
        let (line, column) = self.position(offset);
        ConfigFault {
            file: self.path.clone(),
            line,
            column,
            message: message.into(),
        }
    }

    /// Line and column, in characters, both counted from 1.
    fn position(&self, offset: usize) -> (usize, usize) {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.lines.partition_point(|start| *start <= offset).max(1);
        let line_start = self.lines.get(line - 1).copied().unwrap_or(0);
        (line, self.text[line_start..offset].chars().count() + 1)
    }

    /// Whether the whole file reads as it was meant, so that a key that is not seen is not there.
    pub(crate) fn is_whole(&self) -> bool {
        self.misled_from.is_none()
    }

    /// All faults to report, in the order of their places: those of the syntax, and those of
    /// `faults` that are not a consequence of them.
    pub(crate) fn in_order(&self, faults: Vec<ConfigFault>) -> Vec<ConfigFault> {
        let spoilt: BTreeSet<_> = self.syntax_faults.iter().map(|fault| fault.line).collect();
        let mut all = self.syntax_faults.clone();
        all.extend(faults.into_iter().filter(|fault| {
            fault.line == 0
                || (!spoilt.contains(&fault.line) && self.misled_from.is_none_or(|first| fault.line < first))
        }));
        all.sort();
        all.dedup();
        all
    }
}

/// The offset, in the TOML string `raw` with its quotes, of a line and column of the text that it
/// stands for.
fn offset_inside(raw: &str, line: usize, column: usize) -> usize {
    let multiline = raw.starts_with("\"\"\"") || raw.starts_with("'''");
    let escapes = raw.starts_with('"');
    let quotes = if multiline { 3 } else { 1 };
    let mut offset = quotes;
    if multiline {
        let body = &raw[quotes..];
        offset += body.len()
            - body
                .trim_start_matches('\r')
                .strip_prefix('\n')
                .map_or(body.len(), str::len);
    }
    let mut position = (1, 1);
    while offset + quotes < raw.len() {
        // A text that the parser took in without its quotes may begin, or end an escape, in mid-character.
        offset = raw.ceil_char_boundary(offset);
        let rest = &raw[offset..];
        let (length, read) = if escapes {
            unescape(rest)
        } else {
            (char_length(rest), rest.chars().next())
        };
        position = match read {
            Some(_) if position >= (line, column) => break,
            Some('\n') => (position.0 + 1, 1),
            Some(_) => (position.0, position.1 + 1),
            None => position,
        };
        offset += length;
    }
    offset
}

/// The length of the first character or escape sequence of `rest`, and the character it stands
/// for: none for an escaped end of line. Which one an escape stands for matters only for `\n`.
fn unescape(rest: &str) -> (usize, Option<char>) {
    let Some(escaped) = rest.strip_prefix('\\') else {
        return (char_length(rest), rest.chars().next());
    };
    match escaped.chars().next() {
        Some('n') => (2, Some('\n')),
        Some('x') => (4, Some('.')),
        Some('u') => (6, Some('.')),
        Some('U') => (10, Some('.')),
        Some(blank) if blank.is_whitespace() => (1 + escaped.len() - escaped.trim_start().len(), None),
        _ => (1 + char_length(escaped), Some('.')),
    }
}

fn char_length(rest: &str) -> usize {
    rest.chars().next().map_or(1, char::len_utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_inside_a_text_are_found_through_quotes_and_escapes() {
        for (raw, line, column, expected) in [
            ("'abc'", 1, 3, "c'"),
            ("\"a\\u00e9bc\"", 1, 3, "bc\""),
            ("\"a\\nbc\"", 2, 2, "c\""),
            ("'''\na\nbc'''", 2, 2, "c'''"),
            ("'''\r\na'''", 1, 1, "a'''"),
            ("\"\"\"a \\\n   b c\"\"\"", 1, 3, "b c\"\"\""),
            ("'é→x'", 1, 3, "x'"),
            ("'ab'", 9, 9, "'"),
        ] {
            assert_eq!(&raw[offset_inside(raw, line, column)..], expected, "{raw}");
        }
    }
}
