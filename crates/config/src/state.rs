//! `state.toml`: which events make which live state.

use std::time::Duration;

use crossdock_model::TypePattern;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::adapters::{mapping_fault, repetitions, whole_file_fault};
use crate::document::Document;
use crate::grammar::Grammar;
use crate::topic::TopicTemplate;
use crate::{ConfigFault, SourceFile, delay, schema};

/// Where the rules stand.
pub(crate) const PATH: &str = "state.toml";
/// A longer file is not read: what is sent to a hub is judged while others wait.
const FILE_MAX_BYTES: usize = 256 * 1024;
/// The most rules.
pub const STATE_RULES_MAX: usize = 200;

/// The rules of `state.toml`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "state.toml", description = "Which events make which live state.")]
pub struct StateRules {
    /// Every rule whose types and filter match makes a state of an event.
    #[serde(default)]
    #[schemars(length(max = STATE_RULES_MAX))]
    pub state: Vec<StateRule>,
}

/// What some events say about a topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateRule {
    /// Event types, exact or with `*` for one whole segment: `order.*.v1`.
    #[schemars(schema_with = "schema::event_type_patterns")]
    pub types: Vec<TypePattern>,
    /// A jq expression over the event; the event counts when its first output is anything but false and null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::filter")]
    pub filter: Option<String>,
    /// The topic, which begins with `state/` or `stock/`. What stands in braces is taken from the event.
    #[schemars(schema_with = "schema::topic_template")]
    pub topic: TopicTemplate,
    /// A jq expression over the event whose one output is the state.
    #[schemars(schema_with = "schema::state_data")]
    pub data: String,
    /// A jq expression over the event: a time, a whole number or a text. An event with a smaller one is late.
    #[serde(default = "default_order_by")]
    #[schemars(schema_with = "schema::order_by")]
    pub order_by: String,
    /// Whether the members of `data` are put over those that earlier events have said, one by one; null says nothing.
    #[serde(default)]
    pub merge: bool,
    /// How long the state is kept after the last event; for ever when it is left out.
    #[serde(
        default,
        with = "delay::optional_lifetime",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "schema::lifetime")]
    pub expires_after: Option<Duration>,
}

fn default_order_by() -> String {
    ".time".to_owned()
}

/// Reads the rules.
///
/// # Errors
/// Every fault, in the order of the places.
pub(crate) fn load(file: &SourceFile) -> Result<StateRules, Vec<ConfigFault>> {
    if file.text.len() > FILE_MAX_BYTES {
        return Err(vec![whole_file_fault(
            file,
            "this file is too long, expected at most 256 KiB",
        )]);
    }
    let document = Document::parse(file);
    let mut faults = Grammar::new(schema::state()).faults(&document);
    let rules = document.value()["state"].as_array().map_or(0, Vec::len);
    for index in 0..rules.min(STATE_RULES_MAX) {
        faults.extend(rule_faults(&document, &format!("/state/{index}")));
    }
    match document.in_order(faults) {
        none if none.is_empty() => document.read().map_err(|fault| vec![fault]),
        faults => Err(faults),
    }
}

fn rule_faults(document: &Document, rule: &str) -> Vec<ConfigFault> {
    let mut faults = repetitions(document, &format!("{rule}/types"));
    for key in ["filter", "data", "order_by"] {
        faults.extend(mapping_fault(document, rule, key));
    }
    faults
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crossdock_model::jq::Mapping;

    use super::*;

    #[test]
    fn the_parts_of_a_topic_are_a_mapping() {
        let template: TopicTemplate = "stock/{.data.location}/{.data.sku}".parse().unwrap();
        assert!(Mapping::compile(&template.parts_as_jq()).is_ok());
    }
}
