//! What the TOML parser finds wrong, said where a person would mend it. The parser goes on after a
//! fault and guesses; what follows only from its guesses is left out.

use std::ops::Range;

use toml::de::Error;

/// Of more errors in one file than this the rest is left out: it is no TOML.
const ERRORS_MAX: usize = 100;

pub(crate) struct SyntaxFault {
    /// In bytes from the beginning of the file.
    pub(crate) offset: usize,
    pub(crate) message: String,
    /// Whether the lines from here on may read otherwise than they were meant.
    pub(crate) misleads: bool,
}

/// The faults behind the parser's errors. `values` are the places of all values that it has read.
pub(crate) fn faults(text: &str, errors: &[Error], values: &[Range<usize>]) -> Vec<SyntaxFault> {
    let errors = &errors[..errors.len().min(ERRORS_MAX)];
    let spans: Vec<_> = errors
        .iter()
        .map(|error| error.span().unwrap_or_default())
        .collect();
    let open: Vec<_> = errors
        .iter()
        .zip(&spans)
        .map(|(error, span)| open_value(error, span.start, values))
        .collect();
    let is_guess = |offset: usize| open.iter().flatten().any(|value| value.contains(&offset));

    let mut faults = Vec::new();
    for ((error, span), open_value) in errors.iter().zip(&spans).zip(&open) {
        if let Some(value) = open_value {
            faults.push(SyntaxFault {
                offset: value.start,
                message: never_closed(&text[value.clone()]),
                misleads: text[value.clone()].contains('\n'),
            });
        } else if !is_guess(span.start) {
            let (message, misleads) = rephrase(error.message(), &text[span.clone()]);
            faults.push(SyntaxFault {
                offset: span.start,
                message,
                misleads,
            });
        }
    }
    faults
}

/// The value that is never closed, where that is what an error says: it reaches up to the error.
fn open_value(error: &Error, offset: usize, values: &[Range<usize>]) -> Option<Range<usize>> {
    let message = error.message();
    let is_about_a_value = ["unclosed array", "unclosed inline table"]
        .iter()
        .any(|fault| message.starts_with(fault))
        || (message.starts_with("invalid ") && message.contains(" string, expected "));
    let ending_here = values
        .iter()
        .filter(|value| value.end == offset && value.start < offset);
    ending_here
        .min_by_key(|value| value.start)
        .filter(|_| is_about_a_value)
        .cloned()
}

fn never_closed(value: &str) -> String {
    match value.as_bytes().first() {
        Some(b'[') => "this list is never closed, expected `]`".to_owned(),
        Some(b'{') => "this table is never closed, expected `}`".to_owned(),
        _ => "this text is never closed, expected a quote at its end".to_owned(),
    }
}

fn rephrase(message: &str, place: &str) -> (String, bool) {
    if message.starts_with("string values must be quoted") {
        (
            "a text without quotes, expected quotes around it".to_owned(),
            false,
        )
    } else if message.starts_with("duplicate key") {
        (
            format!("`{place}` is here for the second time, expected it once"),
            false,
        )
    } else {
        (format!("not valid TOML: {message}"), true)
    }
}
