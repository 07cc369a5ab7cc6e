//! What a changed schema breaks. Within a version of a type only optional additions are harmless: who
//! sends events must not find that what was right is wrong now, and who gets them must not miss what
//! was promised. The comparison goes keyword by keyword and is strict: a change that it cannot see
//! through breaks both sides.
//!
//! A comparison of what two schemas accept would not do: a new optional property narrows a schema that
//! is open, because anything could stand under that name before.

mod keywords;

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;

use self::keywords::{Keywords, LOWER_BOUNDS, OPAQUE, RULES, UPPER_BOUNDS, allows_all, followed, pointer_of};
use crate::fault::push_token;

/// Whom a change breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Breaks {
    /// Who sends events: some that were valid are valid no more.
    Senders,
    /// Who gets events: something that was sure is sure no more.
    Receivers,
    /// It cannot be said whom.
    Both,
}

impl Breaks {
    /// Whether those who send events are among them.
    pub fn senders(self) -> bool {
        self != Self::Receivers
    }

    /// Whether those who get events are among them.
    pub fn receivers(self) -> bool {
        self != Self::Senders
    }
}

/// One change that is more than an optional addition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// JSON pointer to what is changed, in the new schema or, if it is gone, in the old one.
    pub pointer: String,
    /// What is changed, as the rest of a sentence.
    pub what: String,
    /// Whom it breaks.
    pub breaks: Breaks,
}

/// Everything in which `new` is more than `old` with optional additions. Both are checked schemas of
/// one type.
pub fn changes(old: &Value, new: &Value) -> Vec<Change> {
    let mut comparison = Comparison {
        old,
        new,
        seen: HashSet::new(),
        found: BTreeSet::new(),
    };
    comparison.schemas(At { old: "", new: "" }, old, new);
    comparison.found.into_iter().collect()
}

const UNCLEAR: &str = "is changed, and it cannot be seen whether that is harmless";
/// The same place in both schemas.
#[derive(Clone, Copy)]
struct At<'p> {
    old: &'p str,
    new: &'p str,
}

fn below(pointer: &str, tokens: &[&str]) -> String {
    let mut pointer = pointer.to_owned();
    for token in tokens {
        push_token(&mut pointer, token);
    }
    pointer
}

struct Comparison<'a> {
    old: &'a Value,
    new: &'a Value,
    /// Pairs of places that were compared or are being compared: schemas may refer to themselves.
    seen: HashSet<(String, String)>,
    found: BTreeSet<Change>,
}

impl<'a> Comparison<'a> {
    fn note(&mut self, pointer: String, breaks: Breaks, what: impl Into<String>) {
        let what = what.into();
        self.found.insert(Change {
            pointer,
            what,
            breaks,
        });
    }

    fn schemas(&mut self, at: At<'_>, old: &'a Value, new: &'a Value) {
        let (old_at, old) = followed(self.old, at.old, old);
        let (new_at, new) = followed(self.new, at.new, new);
        if !self.seen.insert((old_at.clone(), new_at.clone())) {
            return;
        }
        let at = At {
            old: &old_at,
            new: &new_at,
        };
        match (old, new) {
            (Value::Bool(false), Value::Bool(false)) => {}
            (Value::Bool(false), _) => {
                self.note(
                    at.new.to_owned(),
                    Breaks::Receivers,
                    "allows what was not allowed",
                );
            }
            (_, Value::Bool(false)) => {
                self.note(at.new.to_owned(), Breaks::Senders, "allows nothing any more");
            }
            _ => self.objects(at, Keywords::of(old), Keywords::of(new)),
        }
    }

    fn objects(&mut self, at: At<'_>, old: Keywords<'a>, new: Keywords<'a>) {
        self.references(at, old, new);
        self.types(at, old, new);
        self.values(at, old, new);
        self.bounds(at, old, new);
        self.required(at, old, new);
        self.properties(at, old, new);
        self.open_ends(at, old, new);
        self.lists(at, old, new);
        for keyword in RULES {
            self.rule(at, keyword, old, new);
        }
        for keyword in OPAQUE {
            if !self.is_same(old.get(keyword), new.get(keyword)) {
                let pointer = if new.has(keyword) { at.new } else { at.old };
                self.note(below(pointer, &[keyword]), Breaks::Both, UNCLEAR);
            }
        }
    }

    /// References that stand beside other keywords; the others were followed.
    fn references(&mut self, at: At<'_>, old: Keywords<'a>, new: Keywords<'a>) {
        let follow = |root, keywords: Keywords<'a>| {
            let reference = keywords.get("$ref")?.as_str()?;
            let pointer = pointer_of(root, reference)?;
            let schema = root.pointer(&pointer)?;
            Some((pointer, schema))
        };
        match (follow(self.old, old), follow(self.new, new)) {
            (None, None) => {}
            (Some((old_at, old)), Some((new_at, new))) => {
                let at = At {
                    old: &old_at,
                    new: &new_at,
                };
                self.schemas(at, old, new);
            }
            _ => self.note(below(at.new, &["$ref"]), Breaks::Both, UNCLEAR),
        }
    }

    fn types(&mut self, at: At<'_>, old: Keywords<'a>, new: Keywords<'a>) {
        let (before, after) = (old.types(), new.types());
        let gone: Vec<_> = before.difference(&after).copied().collect();
        let come: Vec<_> = after.difference(&before).copied().collect();
        let pointer = below(at.new, &["type"]);
        if !gone.is_empty() {
            self.note(
                pointer.clone(),
                Breaks::Senders,
                format!("no longer allows {}", gone.join(", ")),
            );
        }
        if !come.is_empty() {
            self.note(
                pointer,
                Breaks::Receivers,
                format!("also allows {}", come.join(", ")),
            );
        }
    }

    /// `enum` and `const`: the values that are named.
    fn values(&mut self, at: At<'_>, old: Keywords<'a>, new: Keywords<'a>) {
        let here = |keywords: Keywords<'a>, pointer| {
            let keyword = if keywords.has("const") { "const" } else { "enum" };
            below(pointer, &[keyword])
        };
        match (old.values(), new.values()) {
            (None, None) => {}
            (None, Some(_)) => {
                self.note(here(new, at.new), Breaks::Senders, "allows only these values now");
            }
            (Some(_), None) => {
                self.note(
                    here(old, at.old),
                    Breaks::Receivers,
                    "is gone: any value is allowed now",
                );
            }
            (Some(before), Some(after)) => {
                let pointer = here(new, at.new);
                if before.iter().any(|value| !after.contains(value)) {
                    self.note(pointer.clone(), Breaks::Senders, "lacks values that were allowed");
                }
                if after.iter().any(|value| !before.contains(value)) {
                    self.note(pointer, Breaks::Receivers, "has values that were not allowed");
                }
            }
        }
    }

    fn bounds(&mut self, at: At<'_>, old: Keywords<'a>, new: Keywords<'a>) {
        let lower = LOWER_BOUNDS.iter().map(|keyword| (*keyword, true));
        let upper = UPPER_BOUNDS.iter().map(|keyword| (*keyword, false));
        for (keyword, is_lower) in lower.chain(upper) {
            match (old.number(keyword), new.number(keyword)) {
                (Some(before), Some(after)) if before != after => {
                    let breaks = if (after > before) == is_lower {
                        Breaks::Senders
                    } else {
                        Breaks::Receivers
                    };
                    let what = format!("is {after} instead of {before}");
                    self.note(below(at.new, &[keyword]), breaks, what);
                }
                _ => self.rule(at, keyword, old, new),
            }
        }
    }

    /// A keyword that accepts less than its absence.
    fn rule(&mut self, at: At<'_>, keyword: &str, old: Keywords<'a>, new: Keywords<'a>) {
        let says = |keywords: Keywords<'a>| {
            keywords
                .get(keyword)
                .filter(|value| **value != Value::Bool(false))
        };
        match (says(old), says(new)) {
            (None, None) => {}
            (None, Some(_)) => {
                self.note(below(at.new, &[keyword]), Breaks::Senders, "is new");
            }
            (Some(_), None) => {
                self.note(below(at.old, &[keyword]), Breaks::Receivers, "is gone");
            }
            (Some(before), Some(after)) if !self.is_same(Some(before), Some(after)) => {
                self.note(below(at.new, &[keyword]), Breaks::Both, UNCLEAR);
            }
            _ => {}
        }
    }

    fn required(&mut self, at: At<'_>, old: Keywords<'a>, new: Keywords<'a>) {
        let (before, after) = (old.required(), new.required());
        let pointer = |pointer| below(pointer, &["required"]);
        for name in after.difference(&before) {
            self.note(
                pointer(at.new),
                Breaks::Senders,
                format!("{name:?} is required now"),
            );
        }
        for name in before.difference(&after) {
            self.note(
                pointer(if new.has("required") { at.new } else { at.old }),
                Breaks::Receivers,
                format!("{name:?} is no longer required"),
            );
        }
    }

    fn properties(&mut self, at: At<'_>, old: Keywords<'a>, new: Keywords<'a>) {
        let before = old.map("properties");
        let after = new.map("properties");
        for (name, schema) in &before {
            let tokens = ["properties", name.as_str()];
            match after.iter().find(|(other, _)| other == name) {
                Some((_, changed)) => {
                    let (old_at, new_at) = (below(at.old, &tokens), below(at.new, &tokens));
                    let at = At {
                        old: &old_at,
                        new: &new_at,
                    };
                    self.schemas(at, schema, changed);
                }
                None => {
                    let closed = new
                        .get("additionalProperties")
                        .is_some_and(|others| !allows_all(others));
                    let breaks = if closed { Breaks::Both } else { Breaks::Receivers };
                    self.note(below(at.old, &tokens), breaks, "is gone");
                }
            }
        }
        // What was judged by the schema of all others has one of its own now.
        let others = old
            .get("additionalProperties")
            .filter(|others| others.is_object());
        let added = after
            .iter()
            .filter(|(name, _)| !before.iter().any(|(known, _)| known == name));
        for (name, schema) in added {
            let tokens = ["properties", name.as_str()];
            if let Some(others) = others
                && !self.is_same(Some(others), Some(schema))
            {
                let what =
                    "is new, and the others had to fit `additionalProperties`, which it does not repeat";
                self.note(below(at.new, &tokens), Breaks::Both, what);
            }
        }
    }

    /// `additionalProperties`, `items`, `patternProperties`: what is said of all others.
    fn open_ends(&mut self, at: At<'_>, old: Keywords<'a>, new: Keywords<'a>) {
        for keyword in ["additionalProperties", "items"] {
            let (old_at, new_at) = (below(at.old, &[keyword]), below(at.new, &[keyword]));
            let at = At {
                old: &old_at,
                new: &new_at,
            };
            self.alternatives(at, old.get(keyword), new.get(keyword));
        }
        let (before, after) = (old.map("patternProperties"), new.map("patternProperties"));
        let names: BTreeSet<&str> = before
            .iter()
            .chain(&after)
            .map(|(name, _)| name.as_str())
            .collect();
        for name in names {
            let find = |members: &[(&String, &'a Value)]| {
                let found = members.iter().find(|(known, _)| *known == name);
                found.map(|(_, schema)| *schema)
            };
            let tokens = ["patternProperties", name];
            let (old_at, new_at) = (below(at.old, &tokens), below(at.new, &tokens));
            let at = At {
                old: &old_at,
                new: &new_at,
            };
            self.alternatives(at, find(&before), find(&after));
        }
    }

    /// A schema that allows everything where it is absent.
    fn alternatives(&mut self, at: At<'_>, old: Option<&'a Value>, new: Option<&'a Value>) {
        let says = |schema: Option<&'a Value>| schema.filter(|schema| !allows_all(schema));
        match (says(old), says(new)) {
            (None, None) => {}
            (None, Some(_)) => self.note(at.new.to_owned(), Breaks::Senders, "is new"),
            (Some(_), None) => self.note(at.old.to_owned(), Breaks::Receivers, "is gone"),
            (Some(old), Some(new)) => self.schemas(at, old, new),
        }
    }

    fn lists(&mut self, at: At<'_>, old: Keywords<'a>, new: Keywords<'a>) {
        // Keyword, whom one more breaks, whom one less.
        for (keyword, more, less) in [
            ("allOf", Breaks::Senders, Breaks::Receivers),
            ("prefixItems", Breaks::Both, Breaks::Both),
            ("anyOf", Breaks::Receivers, Breaks::Senders),
            ("oneOf", Breaks::Both, Breaks::Both),
        ] {
            let (before, after) = (old.list(keyword), new.list(keyword));
            let absent_allows_all = matches!(keyword, "anyOf" | "oneOf");
            if absent_allows_all && before.is_empty() != after.is_empty() {
                self.rule(at, keyword, old, new);
                continue;
            }
            for (index, (old, new)) in before.iter().zip(after).enumerate() {
                let tokens = [keyword, &index.to_string()];
                let (old_at, new_at) = (below(at.old, &tokens), below(at.new, &tokens));
                let at = At {
                    old: &old_at,
                    new: &new_at,
                };
                self.schemas(at, old, new);
            }
            let (count, counted) = (before.len(), after.len());
            if counted > count {
                self.note(
                    below(at.new, &[keyword]),
                    more,
                    format!("has {counted} schemas instead of {count}"),
                );
            } else if counted < count {
                self.note(
                    below(at.old, &[keyword]),
                    less,
                    format!("has {counted} schemas instead of {count}"),
                );
            }
        }
    }

    /// Whether two values of a keyword say the same to the letter, and so does what they may refer to.
    fn is_same(&self, old: Option<&Value>, new: Option<&Value>) -> bool {
        let refers =
            |value: Option<&Value>| value.is_some_and(|value| value.to_string().contains("\"$ref\""));
        old == new && (!refers(old) || self.old == self.new)
    }
}

#[cfg(test)]
mod tests;
