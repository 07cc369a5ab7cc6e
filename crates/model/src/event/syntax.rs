//! The small grammars inside context attributes: URIs, media types, timestamps, names.

use chrono::{DateTime, Datelike, Utc};

/// An RFC 3339 timestamp, in UTC.
pub(super) fn timestamp(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text).ok()?.to_utc();
    is_writable(&time).then_some(time)
}

/// Whether RFC 3339 can say it in UTC. An offset moves times at either end out of its four-digit years.
pub(super) fn is_writable(time: &DateTime<Utc>) -> bool {
    (0..=9999).contains(&time.year())
}

/// An attribute name: lower-case ASCII letters and digits.
pub(super) fn is_attribute_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// A CloudEvents string has no control characters and no Unicode noncharacters.
pub(super) fn is_clean_text(text: &str) -> bool {
    !text.chars().any(|character| {
        let code = u32::from(character);
        character.is_control() || (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE
    })
}

/// A URI reference (RFC 3986, section 4.1) that is not empty. The characters and the scheme are
/// checked, the parts are not taken to pieces.
pub(super) fn is_uri_reference(text: &str) -> bool {
    let bytes = text.as_bytes();
    let characters = bytes.iter().enumerate().all(|(index, byte)| match byte {
        b'%' => bytes
            .get(index + 1..index + 3)
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)),
        byte => byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=".contains(byte),
    });
    let one_fragment = bytes.iter().filter(|byte| **byte == b'#').count() <= 1;
    let first = text.split(['/', '?', '#']).next().unwrap_or_default();
    !text.is_empty() && characters && one_fragment && (!first.contains(':') || scheme(text).is_some())
}

/// A URI reference with a scheme and something behind it.
pub(super) fn is_absolute_uri(text: &str) -> bool {
    is_uri_reference(text) && scheme(text).is_some_and(|scheme| text.len() > scheme.len() + 1)
}

fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once(':')?;
    let valid = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    valid.then_some(scheme)
}

/// `type/subtype`, with or without parameters (RFC 2045, section 5.1), as an HTTP header can carry it.
pub(super) fn is_media_type(text: &str) -> bool {
    essence(text)
        .split_once('/')
        .is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
        && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && text.trim_ascii() == text
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

/// `application/json`, `text/json`, or any subtype that ends in `+json`.
pub(super) fn is_json_media_type(media_type: &str) -> bool {
    let essence = essence(media_type).to_ascii_lowercase();
    matches!(essence.as_str(), "application/json" | "text/json") || essence.ends_with("+json")
}

/// `application/cloudevents` and whatever begins so: by these the content type tells the encodings apart.
pub(super) fn is_cloudevents_media_type(media_type: &str) -> bool {
    essence(media_type)
        .to_ascii_lowercase()
        .starts_with("application/cloudevents")
}

/// `text/*` in UTF-8, said or left unsaid.
pub(super) fn is_utf8_text_media_type(media_type: &str) -> bool {
    let lower = media_type.to_ascii_lowercase();
    let charset = lower
        .split(';')
        .skip(1)
        .find_map(|parameter| parameter.trim().strip_prefix("charset="))
        .map(|charset| charset.trim_matches('"'));
    essence(&lower).starts_with("text/") && matches!(charset, None | Some("utf-8" | "us-ascii"))
}

/// One of `aliases`: `system:id`, the system as an adapter would be named.
pub(super) fn is_alias(text: &str) -> bool {
    text.split_once(':')
        .is_some_and(|(system, id)| crate::name::is_adapter_name(system) && !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uri_references() {
        for valid in [
            "/erp",
            "https://shop.example/eu?x=1#y",
            "urn:a:b",
            "erp",
            "./a:b",
            "%C3%A9",
            "//host/p",
        ] {
            assert!(is_uri_reference(valid), "{valid}");
        }
        for invalid in ["", "a b", "é", "%4", "%zz", "1a:b", "a#b#c", "<x>", "a\\b", "\n"] {
            assert!(!is_uri_reference(invalid), "{invalid:?}");
        }
        assert!(is_absolute_uri("urn:x"));
        assert!(!is_absolute_uri("/erp"));
        assert!(!is_absolute_uri("urn:"));
    }

    #[test]
    fn media_types() {
        assert!(is_media_type("application/json; charset=utf-8"));
        assert!(is_media_type("image/png"));
        for invalid in [
            "",
            "json",
            "a/",
            "/b",
            "a/b/c",
            "a b/c",
            "text/plain; x=\u{7}",
            "text/plain; x=é",
            " text/plain",
        ] {
            assert!(!is_media_type(invalid), "{invalid:?}");
        }
        assert!(is_json_media_type("Application/JSON; charset=UTF-8"));
        assert!(is_json_media_type("application/vnd.shop+json"));
        assert!(!is_json_media_type("application/jsonl"));
        assert!(is_utf8_text_media_type("text/csv"));
        assert!(is_utf8_text_media_type("text/plain; charset=\"UTF-8\""));
        assert!(!is_utf8_text_media_type("text/plain; charset=latin1"));
        assert!(!is_utf8_text_media_type("application/xml"));
    }

    #[test]
    fn timestamps_stay_within_the_years_that_can_be_written() {
        for valid in [
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59.9+00:00",
            "2016-12-31T23:59:60Z",
        ] {
            assert!(timestamp(valid).is_some(), "{valid}");
        }
        for invalid in [
            "0000-01-01T00:00:00+00:01",
            "9999-12-31T23:59:00-00:01",
            "2026-02-30T00:00:00Z",
            "2026-01-01",
        ] {
            assert!(timestamp(invalid).is_none(), "{invalid}");
        }
    }

    #[test]
    fn text_without_control_characters() {
        assert!(is_clean_text("Æ ok 🛒"));
        for invalid in ["a\n", "\u{7f}", "\u{85}", "\u{fdd0}", "\u{ffff}", "\u{1fffe}"] {
            assert!(!is_clean_text(invalid), "{invalid:?}");
        }
    }
}
