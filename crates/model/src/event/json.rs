//! Strict JSON (RFC 8259 with the rules of I-JSON, RFC 7493, that matter for what two readers
//! understand): UTF-8, no lone surrogates, no key twice in one object, bounded depth.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::fault::{Fault, push_token};

/// How deep arrays and objects may nest in the data of an event. A batch of structured events, and
/// an answer that embeds it, still stay within the 128 levels that common parsers accept.
pub const JSON_MAX_DEPTH: usize = 120;

/// Levels that enclose the data: the event, the batch.
const ENVELOPE_DEPTH: usize = 2;

/// Checks that `text` is one strict JSON value. Every repeated key is a fault of its own; the first
/// breach of the grammar ends the search.
///
/// # Errors
/// The faults, with pointers that begin with `pointer`.
pub fn check_json(text: &[u8], pointer: &str) -> Result<(), Vec<Fault>> {
    scan(text, pointer, JSON_MAX_DEPTH)
}

/// Like [`check_json`], for a document that has events in it.
pub(super) fn check_envelope(text: &[u8], pointer: &str) -> Result<(), Vec<Fault>> {
    scan(text, pointer, JSON_MAX_DEPTH + ENVELOPE_DEPTH)
}

fn scan(text: &[u8], pointer: &str, max_depth: usize) -> Result<(), Vec<Fault>> {
    let mut scan = Scan {
        pointer: pointer.to_owned(),
        depth_left: max_depth,
        max_depth,
        too_deep: false,
        faults: Vec::new(),
    };
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let outcome = Node(&mut scan)
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    if let Err(error) = outcome {
        let message = if scan.too_deep {
            format!("nests deeper than {max_depth} levels")
        } else if std::str::from_utf8(text).is_err() {
            "is not UTF-8".to_owned()
        } else {
            format!("is not well-formed JSON: {error}")
        };
        scan.faults.push(Fault::new(scan.pointer, message));
    }
    if scan.faults.is_empty() {
        Ok(())
    } else {
        Err(scan.faults)
    }
}

/// Where the scan is. After a breach of the grammar `pointer` still names the place.
struct Scan {
    pointer: String,
    depth_left: usize,
    max_depth: usize,
    too_deep: bool,
    faults: Vec<Fault>,
}

impl Scan {
    fn enter<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.depth_left = self.depth_left.checked_sub(1).ok_or_else(|| {
            self.too_deep = true;
            E::custom(format_args!("deeper than {} levels", self.max_depth))
        })?;
        Ok(())
    }
}

struct Node<'a>(&'a mut Scan);

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Node(scan) = self;
        scan.enter()?;
        let length = scan.pointer.len();
        for index in 0_usize.. {
            push_token(&mut scan.pointer, &index.to_string());
            let item = items.next_element_seed(Node(scan))?;
            scan.pointer.truncate(length);
            if item.is_none() {
                break;
            }
        }
        scan.depth_left += 1;
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Node(scan) = self;
        scan.enter()?;
        let length = scan.pointer.len();
        let mut seen = HashSet::new();
        while let Some(key) = members.next_key::<String>()? {
            push_token(&mut scan.pointer, &key);
            if !seen.insert(key) {
                let twice = Fault::new(scan.pointer.clone(), "stands twice in the same object");
                scan.faults.push(twice);
            }
            members.next_value_seed(Node(scan))?;
            scan.pointer.truncate(length);
        }
        scan.depth_left += 1;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn faults(text: &[u8]) -> Vec<Fault> {
        check_json(text, "/data").unwrap_err()
    }

    #[test]
    fn strict_json_passes() {
        for text in [
            "null",
            " {\"a\": [1, -2.5e3, \"\\ud83d\\uded2\", true]} ",
            "123456789012345678901234567890",
        ] {
            check_json(text.as_bytes(), "").unwrap();
        }
    }

    #[test]
    fn every_repeated_key_is_named() {
        let found = faults(br#"{"a":{"b":1,"b":2},"c":[0,{"x/y":1,"x/y":1}],"a":0}"#);
        let pointers: Vec<_> = found.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/data/a/b", "/data/c/1/x~1y", "/data/a"]);
    }

    #[test]
    fn keys_that_differ_only_in_their_escapes_are_the_same() {
        assert_eq!(faults(br#"{"a":1,"\u0061":2}"#)[0].pointer, "/data/a");
    }

    #[test]
    fn malformed_text_is_a_fault_at_its_place() {
        for (text, pointer) in [
            (&b""[..], "/data"),
            (b"{\"a\":[1,}", "/data/a/1"),
            (b"1 2", "/data"),
            (b"NaN", "/data"),
            (b"\"\\ud800\"", "/data"),
            (b"{\"a\":\"\xff\"}", "/data/a"),
            (b"\xff", "/data"),
            (b"[1e999]", "/data/0"),
            (b"\"a\nb\"", "/data"),
        ] {
            assert_eq!(
                faults(text)[0].pointer,
                pointer,
                "{}",
                String::from_utf8_lossy(text)
            );
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        check_json(nested(JSON_MAX_DEPTH).as_bytes(), "").unwrap();
        for depth in [JSON_MAX_DEPTH + 1, 129, 100_000] {
            let found = faults(nested(depth).as_bytes());
            assert!(
                found[0].message.contains("deeper than 120"),
                "{}",
                found[0].message
            );
        }
    }
}
