//! Topics with holes: `stock/{.data.location}/{.data.sku}`. What fills a hole comes from an event and is a part of one
//! level, never a level more.

use std::fmt;
use std::str::FromStr;

use crossdock_model::topic::TopicName;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest topic of a state, in bytes.
pub const STATE_TOPIC_MAX_BYTES: usize = 255;
/// Where states are: other topics are not the hub's to write.
const ROOTS: [&str; 2] = ["state/", "stock/"];
/// How deep a hole looks into an event.
const STEPS_MAX: usize = 8;

/// A topic with holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicTemplate {
    written: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// A path into the event: `.data.sku`.
    Hole(String),
}

/// What does not fill a hole, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} {reason}")]
pub struct Misfit {
    /// The hole.
    pub path: String,
    /// What is wrong with its value, without the value.
    pub reason: String,
}

impl TopicTemplate {
    /// The holes as a jq expression that yields an array.
    pub fn parts_as_jq(&self) -> String {
        format!("[{}]", self.holes().collect::<Vec<_>>().join(", "))
    }

    fn holes(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Hole(path) => Some(path.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The topic with its holes filled, in their order.
    ///
    /// # Errors
    /// For the first value that is no part of one level, or where the topic becomes too long.
    pub fn fill(&self, values: &[serde_json::Value]) -> Result<TopicName, Misfit> {
        let mut topic = String::new();
        let mut values = values.iter();
        for part in &self.parts {
            match part {
                Part::Text(text) => topic.push_str(text),
                Part::Hole(path) => {
                    let value = values.next().unwrap_or(&serde_json::Value::Null);
                    topic.push_str(&level(value).map_err(|reason| Misfit {
                        path: path.clone(),
                        reason,
                    })?);
                }
            }
        }
        let too_long = || Misfit {
            path: self.written.clone(),
            reason: format!(
                "becomes a topic of {} bytes, expected at most {STATE_TOPIC_MAX_BYTES}",
                topic.len()
            ),
        };
        if topic.len() > STATE_TOPIC_MAX_BYTES {
            return Err(too_long());
        }
        if has_dots(&topic) {
            return Err(Misfit {
                path: self.written.clone(),
                reason: format!("becomes a topic with {DOTS}"),
            });
        }
        TopicName::new(&topic).map_err(|_| too_long())
    }
}

/// A value as a part of a level.
fn level(value: &serde_json::Value) -> Result<String, String> {
    let text = match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
        serde_json::Value::Null => return Err("is not in the event".to_owned()),
        _ => return Err("is neither a text nor a whole number".to_owned()),
    };
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    match text.chars().find(|character| is_unfit(*character)) {
        None => Ok(text),
        Some('/') => Err("holds a /, which would make another level".to_owned()),
        Some(wildcard @ ('+' | '#')) => Err(format!("holds the wildcard {wildcard}")),
        Some(other) => Err(format!("holds the character U+{:04X}", u32::from(other))),
    }
}

/// What a level that is all dots is refused with.
const DOTS: &str = "a level that is . or .., which clients drop from a path before they ask for it";

fn has_dots(topic: &str) -> bool {
    topic.split('/').any(|level| matches!(level, "." | ".."))
}

/// Separators, wildcards, control characters, and the code points that Unicode sets aside.
pub(crate) fn is_unfit(character: char) -> bool {
    let code = u32::from(character);
    matches!(character, '/' | '+' | '#')
        || character.is_control()
        || matches!(code, 0xfdd0..=0xfdef)
        || code & 0xfffe == 0xfffe
}

impl FromStr for TopicTemplate {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        let fault = |reason: &str| format!("{written:?} is no topic of a state: {reason}");
        if !ROOTS.iter().any(|root| written.starts_with(root)) {
            return Err(fault(
                "expected it to begin with state/ or stock/, such as \"state/order/{.data.order}\"",
            ));
        }
        let mut parts = Vec::new();
        let mut rest = written;
        while let Some((text, after)) = rest.split_once('{') {
            let (path, after) = after
                .split_once('}')
                .ok_or_else(|| fault("a { has no }, expected {.path.into.the.event}"))?;
            if !is_path(path) {
                return Err(fault(&format!(
                    "{{{path}}} is no path into the event, expected one such as {{.data.sku}} or {{.subject}}"
                )));
            }
            parts.push(Part::Text(text.to_owned()));
            parts.push(Part::Hole(path.to_owned()));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        let text = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Hole(_) => "x".to_owned(),
        };
        let filled: String = parts.iter().map(text).collect();
        if filled.contains('}') {
            return Err(fault("a } has no {"));
        }
        if filled.split('/').any(str::is_empty) {
            return Err(fault("a level is empty"));
        }
        if has_dots(&filled) {
            return Err(fault(&format!("it has {DOTS}")));
        }
        if let Some(unfit) = filled.chars().find(|other| *other != '/' && is_unfit(*other)) {
            return Err(fault(&format!("{unfit:?} has no place in it")));
        }
        if filled.len() > STATE_TOPIC_MAX_BYTES || TopicName::new(&filled).is_err() {
            return Err(fault(&format!("expected at most {STATE_TOPIC_MAX_BYTES} bytes")));
        }
        parts.retain(|part| *part != Part::Text(String::new()));
        Ok(Self {
            written: written.to_owned(),
            parts,
        })
    }
}

/// Plain steps: `.data.sku`.
fn is_path(path: &str) -> bool {
    let is_step = |step: &str| {
        step.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && step
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    path.strip_prefix('.')
        .is_some_and(|steps| steps.split('.').count() <= STEPS_MAX && steps.split('.').all(is_step))
}

impl fmt::Display for TopicTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl Serialize for TopicTemplate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.written)
    }
}

impl<'de> Deserialize<'de> for TopicTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn filled(template: &str, values: Value) -> Result<String, String> {
        let template: TopicTemplate = template.parse().unwrap();
        let filled = template.fill(values.as_array().unwrap());
        filled
            .map(|topic| topic.to_string())
            .map_err(|misfit| misfit.to_string())
    }

    #[test]
    fn holes_are_filled_by_texts_and_whole_numbers() {
        let stock = "stock/{.data.location}/{.data.sku}";
        assert_eq!(
            filled(stock, json!(["LDN1", "MUG 330"])).unwrap(),
            "stock/LDN1/MUG 330"
        );
        assert_eq!(
            filled("state/a-{.data.n}-b", json!([-7])).unwrap(),
            "state/a--7-b"
        );
        assert_eq!(filled("state/clock", json!([])).unwrap(), "state/clock");
    }

    #[test]
    fn what_would_be_another_topic_is_refused() {
        for (value, reason) in [
            (json!(null), ".subject is not in the event"),
            (json!(""), ".subject is empty"),
            (json!("a/b"), ".subject holds a /, which would make another level"),
            (json!("+"), ".subject holds the wildcard +"),
            (json!("a#"), ".subject holds the wildcard #"),
            (json!("a\nb"), ".subject holds the character U+000A"),
            (json!("\u{fffe}"), ".subject holds the character U+FFFE"),
            (json!(1.5), ".subject is neither a text nor a whole number"),
            (json!(["a"]), ".subject is neither a text nor a whole number"),
            (
                json!("a".repeat(250)),
                "state/order/{.subject} becomes a topic of 262 bytes, expected at most 255",
            ),
        ] {
            assert_eq!(
                filled("state/order/{.subject}", json!([value])),
                Err(reason.to_owned())
            );
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for (written, reason) in [
            ("orders/{.subject}", "begin with state/ or stock/"),
            ("{.data.root}/x", "begin with state/ or stock/"),
            ("state", "begin with state/ or stock/"),
            ("$SYS/x", "begin with state/ or stock/"),
            ("state/", "a level is empty"),
            ("state//x", "a level is empty"),
            ("state/{.subject", "a { has no }"),
            ("state/subject}", "a } has no {"),
            ("state/{subject}", "is no path into the event"),
            ("state/{.data.lines[0].sku}", "is no path into the event"),
            ("state/{.}", "is no path into the event"),
            ("state/{}", "is no path into the event"),
            ("state/+", "'+' has no place in it"),
            ("state/#", "'#' has no place in it"),
            ("state/a\u{7}", "has no place in it"),
        ] {
            let fault = written.parse::<TopicTemplate>().unwrap_err();
            assert!(fault.contains(reason), "{written}: {fault}");
        }
        assert!(
            format!("state/{}", "x".repeat(300))
                .parse::<TopicTemplate>()
                .is_err()
        );
    }

    #[test]
    fn no_level_is_lost_in_a_path() {
        let dots = |template: &str, value: &str| {
            let fault = filled(template, json!([value])).unwrap_err();
            assert!(fault.contains("a level that is . or .."), "{fault}");
        };
        dots("state/order/{.subject}", ".");
        dots("state/{.subject}/lines", "..");
        dots("state/.{.subject}", ".");
        assert_eq!(
            filled("state/order/{.subject}", json!(["..."])),
            Ok("state/order/...".into())
        );
        for written in ["state/../{.subject}", "state/./{.subject}", "state/order/.."] {
            let fault = written.parse::<TopicTemplate>().unwrap_err();
            assert!(fault.contains("a level that is . or .."), "{written}: {fault}");
        }
    }

    proptest! {
        #[test]
        fn whatever_fills_a_hole_is_one_level(value in "\\PC*|[/+#a\0]*") {
            let template: TopicTemplate = "state/order/{.subject}".parse().unwrap();
            if let Ok(topic) = template.fill(&[json!(value)]) {
                prop_assert_eq!(topic.levels().collect::<Vec<_>>(), ["state", "order", &value]);
            }
        }

        #[test]
        fn any_text_is_judged_without_a_panic(text in "(state/)?[a-z{}./+# ]*") {
            if let Ok(template) = text.parse::<TopicTemplate>() {
                prop_assert_eq!(template.to_string(), text);
            }
        }
    }
}
