//! Strict JSON (RFC 8259 with the rules of I-JSON, RFC 7493, that matter for what two readers
//! understand): UTF-8, no lone surrogates, no key twice in one object, bounded depth.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::fault::{Fault, push_token};

/// How deep arrays and objects may nest in the data of an event. A batch of structured events, and
/// an answer that embeds it, still stay within the 128 levels that common parsers accept.
pub const JSON_MAX_DEPTH: usize = 120;
/// Repeated keys that are named one by one; the search ends there.
pub const REPEATED_KEYS_MAX: usize = 100;
/// The longest pointer into JSON that a fault carries, in bytes before its escapes. What lies
/// deeper, or under a longer key, is a fault of the nearest value around it that can be named.
pub const POINTER_MAX_BYTES: usize = 1024;

/// How a text begins that a careless editor has marked as UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Checks that `text` is one strict JSON value. Every repeated key is a fault of its own, up to
/// [`REPEATED_KEYS_MAX`]; the first breach of the grammar ends the search.
///
/// # Errors
/// The faults, with pointers that begin with `pointer`.
pub fn check_json(text: &[u8], pointer: &str) -> Result<(), Vec<Fault>> {
    scan(text, pointer, JSON_MAX_DEPTH)
}

/// Like [`check_json`], for a document in which so many levels enclose the data of an event.
pub(super) fn check_envelope(text: &[u8], levels: usize) -> Result<(), Vec<Fault>> {
    scan(text, "", JSON_MAX_DEPTH + levels)
}

fn scan(text: &[u8], pointer: &str, max_depth: usize) -> Result<(), Vec<Fault>> {
    let mut scan = Scan {
        pointer: Place::at(pointer),
        depth_left: max_depth,
        ended_by: None,
        faults: Vec::new(),
    };
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let outcome = Node(&mut scan)
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    if let Err(error) = outcome {
        let (pointer, message) = match scan.ended_by {
            Some(Bound::Depth) => (
                scan.pointer.named(),
                format!("nests deeper than {max_depth} levels"),
            ),
            Some(Bound::RepeatedKeys) => (
                pointer.to_owned(),
                format!("has more than {REPEATED_KEYS_MAX} keys that stand twice; the rest was not read"),
            ),
            None if text.starts_with(BYTE_ORDER_MARK) => (
                pointer.to_owned(),
                "begins with a byte order mark: leave it out, JSON is UTF-8".to_owned(),
            ),
            None if std::str::from_utf8(text).is_err() => (scan.pointer.named(), "is not UTF-8".to_owned()),
            None => (
                scan.pointer.named(),
                format!("is not well-formed JSON: {}", in_words(&error)),
            ),
        };
        scan.faults.push(Fault::new(pointer, message));
    }
    if scan.faults.is_empty() {
        Ok(())
    } else {
        Err(scan.faults)
    }
}

/// What is wrong with the grammar, where the parser says it in a way that nobody understands.
fn in_words(error: &serde_json::Error) -> String {
    let half = "half of a surrogate pair";
    let said = error.to_string();
    said.replace("unexpected end of hex escape", half)
        .replace("lone leading surrogate in hex escape", half)
}

/// Where the scan is. After a breach of the grammar `pointer` still names the place.
struct Scan {
    pointer: Place,
    depth_left: usize,
    ended_by: Option<Bound>,
    faults: Vec<Fault>,
}

/// A limit of ours that a document went over.
#[derive(Clone, Copy)]
enum Bound {
    Depth,
    RepeatedKeys,
}

impl Scan {
    fn enter<E: serde::de::Error>(&mut self) -> Result<(), E> {
        match self.depth_left.checked_sub(1) {
            Some(left) => {
                self.depth_left = left;
                Ok(())
            }
            None => Err(self.end(Bound::Depth)),
        }
    }

    fn repeated_key<E: serde::de::Error>(&mut self) -> Result<(), E> {
        if self.faults.len() == REPEATED_KEYS_MAX {
            return Err(self.end(Bound::RepeatedKeys));
        }
        let pointer = self.pointer.named();
        self.faults
            .push(Fault::new(pointer, "stands twice in the same object"));
        Ok(())
    }

    fn end<E: serde::de::Error>(&mut self, bound: Bound) -> E {
        self.ended_by = Some(bound);
        E::custom("over a limit")
    }
}

/// A pointer that grows and shrinks with the scan, of which no more is kept than a fault may name.
struct Place {
    text: String,
    /// Steps below `text` that are not written down.
    unnamed: usize,
}

/// What undoes a step.
struct Step {
    length: usize,
    unnamed: usize,
}

impl Place {
    fn at(pointer: &str) -> Self {
        Self {
            text: pointer.to_owned(),
            unnamed: 0,
        }
    }

    fn step_to(&mut self, token: &str) -> Step {
        let step = Step {
            length: self.text.len(),
            unnamed: self.unnamed,
        };
        if self.unnamed == 0 && self.text.len() + token.len() < POINTER_MAX_BYTES {
            push_token(&mut self.text, token);
        } else {
            self.unnamed += 1;
        }
        step
    }

    fn step_back(&mut self, step: &Step) {
        self.text.truncate(step.length);
        self.unnamed = step.unnamed;
    }

    fn named(&self) -> String {
        self.text.clone()
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
        for index in 0_usize.. {
            let step = scan.pointer.step_to(&index.to_string());
            let item = items.next_element_seed(Node(scan))?;
            scan.pointer.step_back(&step);
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
        let mut seen = HashSet::new();
        while let Some(key) = members.next_key::<String>()? {
            let step = scan.pointer.step_to(&key);
            if !seen.insert(key) {
                scan.repeated_key()?;
            }
            members.next_value_seed(Node(scan))?;
            scan.pointer.step_back(&step);
        }
        scan.depth_left += 1;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

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
    fn faults_and_their_pointers_are_bounded() {
        let many = format!("{{{}\"a\":0}}", "\"a\":0,".repeat(100_000));
        let found = faults(many.as_bytes());
        assert_eq!(found.len(), REPEATED_KEYS_MAX + 1);
        assert!(found[REPEATED_KEYS_MAX].message.contains("more than 100"));
        assert_eq!(found[REPEATED_KEYS_MAX].pointer, "/data");

        let key = "k".repeat(POINTER_MAX_BYTES);
        let long = format!(r#"{{"a":{{"{key}":[{{"b":1,"b":2}}]}},"c":[1,}}"#);
        let pointers: Vec<_> = faults(long.as_bytes())
            .into_iter()
            .map(|fault| fault.pointer)
            .collect();
        assert_eq!(pointers, ["/data/a", "/data/c/1"]);
    }

    #[test]
    fn half_a_surrogate_pair_is_named() {
        for text in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\u0041""#, r#""\ud800\n""#] {
            let found = faults(text.as_bytes());
            assert!(found[0].message.contains("half of a surrogate pair"), "{found:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_named() {
        let found = faults(b"\xef\xbb\xbf{}");
        assert!(found[0].message.contains("byte order mark"), "{found:?}");
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

    /// JSON before it is written: objects may have a key twice.
    #[derive(Clone, Debug)]
    enum Tree {
        Leaf(&'static str),
        Array(Vec<Tree>),
        Object(Vec<(&'static str, Tree)>),
    }

    impl Tree {
        /// Writes it, and notes the keys that stand twice, in their order.
        fn write(&self, text: &mut String, pointer: &str, twice: &mut Vec<String>) {
            match self {
                Self::Leaf(leaf) => text.push_str(leaf),
                Self::Array(items) => {
                    text.push('[');
                    for (index, item) in items.iter().enumerate() {
                        text.push_str(if index > 0 { ", " } else { "" });
                        item.write(text, &format!("{pointer}/{index}"), twice);
                    }
                    text.push(']');
                }
                Self::Object(members) => {
                    text.push('{');
                    let mut seen = HashSet::new();
                    for (index, (written, member)) in members.iter().enumerate() {
                        text.push_str(if index > 0 { "," } else { "" });
                        text.push_str(&format!("\"{written}\":"));
                        let key: String = serde_json::from_str(&format!("\"{written}\"")).unwrap();
                        let mut here = pointer.to_owned();
                        push_token(&mut here, &key);
                        if !seen.insert(key) {
                            twice.push(here.clone());
                        }
                        member.write(text, &here, twice);
                    }
                    text.push('}');
                }
            }
        }
    }

    fn tree() -> impl Strategy<Value = Tree> {
        let leaves = vec!["null", "-1.50", "\"\\ud83d\\uded2\"", "1e3", "[]", "{}"];
        let leaf = prop::sample::select(leaves).prop_map(Tree::Leaf);
        leaf.prop_recursive(6, 60, 5, |inner| {
            let keys = prop::sample::select(vec!["a", "\\u0061", "b/c", "~", ""]);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Tree::Array),
                prop::collection::vec((keys, inner), 0..5).prop_map(Tree::Object),
            ]
        })
    }

    proptest! {
        #[test]
        fn exactly_the_keys_that_stand_twice_are_named(tree in tree()) {
            let (mut text, mut twice) = (String::new(), Vec::new());
            tree.write(&mut text, "/data", &mut twice);
            let found = check_json(text.as_bytes(), "/data").err().unwrap_or_default();
            let pointers: Vec<_> = found.into_iter().map(|fault| fault.pointer).collect();
            prop_assert_eq!(pointers, twice);
        }

        #[test]
        fn depth_ends_at_the_limit_whatever_it_is_made_of(shape in prop::collection::vec(any::<bool>(), JSON_MAX_DEPTH + 1)) {
            let nested = |levels: usize| {
                let opened = shape[..levels].iter().map(|array| if *array { "[1," } else { "{\"a\":" });
                let closed = shape[..levels].iter().rev().map(|array| if *array { "]" } else { "}" });
                opened.chain(["0"]).chain(closed).collect::<String>()
            };
            prop_assert_eq!(check_json(nested(JSON_MAX_DEPTH).as_bytes(), ""), Ok(()));
            let found = check_json(nested(JSON_MAX_DEPTH + 1).as_bytes(), "").unwrap_err();
            prop_assert_eq!(found[0].pointer.matches('/').count(), JSON_MAX_DEPTH);
            prop_assert!(found[0].message.contains("nests deeper than 120 levels"));
        }
    }
}
