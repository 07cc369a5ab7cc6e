//! Settings from environment variables: `CROSSDOCK_<SECTION>__<KEY>` in the place of `key` in
//! `[section]`. The variables are handed in; nothing here reads the process's environment.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::ConfigFault;
use crate::document::{Document, pointer_to};
use crate::grammar::{Grammar, Leaf};
use crate::phrase::nearest;

const PREFIX: &str = "CROSSDOCK_";

/// Variables that other parts of Crossdock read: operator commands, adapters, the MQTT listener.
const OF_OTHER_PARTS: [&str; 5] = [
    "CROSSDOCK_URL",
    "CROSSDOCK_API_KEY",
    "CROSSDOCK_ADAPTER",
    "CROSSDOCK_AMQP_URL",
    "CROSSDOCK_MQTT__LISTEN",
];

/// The variables that are set and not empty.
pub(crate) struct Environment(BTreeMap<String, String>);

impl Environment {
    pub(crate) fn new(variables: impl Iterator<Item = (String, String)>) -> Self {
        Self(variables.filter(|(_, text)| !text.is_empty()).collect())
    }

    /// Puts what the variables say into the document, and the values of those that it refers to
    /// with `{ env = "…" }`.
    pub(crate) fn override_settings(&self, grammar: &Grammar, document: &mut Document) -> Vec<ConfigFault> {
        let leaves = grammar.leaves();
        let mut faults = Vec::new();
        for (name, text) in &self.0 {
            let setting = name.strip_prefix(PREFIX);
            let Some(leaf) = leaves
                .iter()
                .find(|leaf| setting == Some(&in_capitals(&leaf.path)))
            else {
                continue;
            };
            let put = read(text, leaf).and_then(|value| {
                document.put(&leaf.path, value, name).map_err(|other| {
                    format!("this and {other} exclude each other, expected only one of them")
                })
            });
            faults.extend(put.err().map(|message| ConfigFault::of_variable(name, message)));
        }
        for leaf in leaves
            .iter()
            .filter(|leaf| leaf.accepts("string") && leaf.accepts("object"))
        {
            faults.extend(self.follow_reference(leaf, document));
        }
        faults
    }

    /// Where the document says `secret = { env = "…" }`, puts the variable's value in its place.
    fn follow_reference(&self, secret: &Leaf<'_>, document: &mut Document) -> Option<ConfigFault> {
        let reference = document.value().pointer(&secret.pointer())?.as_object()?;
        let name = reference
            .get("env")
            .filter(|_| reference.len() == 1)?
            .as_str()?
            .to_owned();
        let message = match self.0.get(&name) {
            Some(value) => document.put(&secret.path, value.as_str().into(), &name).err()?,
            None => format!("the environment variable `{name}` is not set"),
        };
        Some(document.fault(&pointer_to(&secret.pointer(), "env"), message))
    }

    /// One text for each variable that looks like a setting and is none.
    pub(crate) fn warnings(&self, grammar: &Grammar, document: &Document) -> Vec<String> {
        let settings: Vec<_> = grammar
            .leaves()
            .iter()
            .map(|leaf| in_capitals(&leaf.path))
            .collect();
        let unknown = self
            .0
            .keys()
            .filter(|name| !OF_OTHER_PARTS.contains(&name.as_str()) && !document.uses_variable(name));
        unknown
            .filter_map(|name| Some((name, nearest(name.strip_prefix(PREFIX)?, &settings))))
            .map(|(name, meant)| match meant {
                Some(meant) => {
                    format!("environment variable {name} is not a setting, did you mean {PREFIX}{meant}?")
                }
                None => format!("environment variable {name} is not a setting and has no effect"),
            })
            .collect()
    }
}

/// The name of a setting's variable, without the prefix.
fn in_capitals(path: &[String]) -> String {
    path.join("__").to_uppercase()
}

/// What the text of a variable means for a setting of this type.
fn read(text: &str, leaf: &Leaf<'_>) -> Result<Value, String> {
    if leaf.accepts("boolean") {
        let flag: bool = text
            .parse()
            .map_err(|_| format!("{text:?} is not a flag, expected true or false"))?;
        Ok(flag.into())
    } else if leaf.accepts("integer") {
        let number: i64 = text
            .parse()
            .map_err(|_| format!("{text:?} is not a whole number"))?;
        Ok(number.into())
    } else if leaf.accepts("array") {
        Ok(text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .collect())
    } else {
        Ok(text.into())
    }
}
