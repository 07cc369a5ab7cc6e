//! Event types, `<family>.<past tense>.v<n>`, and the patterns that subscriptions name them by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest event type, in bytes.
pub const TYPE_MAX_BYTES: usize = 255;

/// Whether `event_type` has the form `<family>.<past tense>.v<n>`: two words of lower-case
/// letters, digits and underscores that begin with a letter, and a version counted from 1.
pub fn is_valid_type(event_type: &str) -> bool {
    let mut segments = event_type.split('.');
    let (Some(family), Some(verb), Some(version), None) =
        (segments.next(), segments.next(), segments.next(), segments.next())
    else {
        return false;
    };
    event_type.len() <= TYPE_MAX_BYTES && is_word(family) && is_word(verb) && is_version(version)
}

fn is_word(segment: &str) -> bool {
    segment.starts_with(|first: char| first.is_ascii_lowercase())
        && segment
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

fn is_version(segment: &str) -> bool {
    segment.strip_prefix('v').is_some_and(|number| {
        number.starts_with(|first: char| matches!(first, '1'..='9'))
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// A pattern over event types: an exact type, or one with `*` in place of whole segments, each
/// standing for exactly one segment, as in `order.*.v1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypePattern(String);

/// Why a text is not a [`TypePattern`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{pattern:?} can match no event type: expected <family>.<past tense>.v<n>, where `*` may stand for a whole segment, such as order.*.v1"
)]
pub struct InvalidPattern {
    /// The text as it was given.
    pub pattern: String,
}

impl TypePattern {
    /// Whether `event_type` is one of those meant.
    pub fn matches(&self, event_type: &str) -> bool {
        let mut segments = event_type.split('.');
        let all = self.0.split('.').all(|wanted| {
            segments
                .next()
                .is_some_and(|found| wanted == "*" && !found.is_empty() || wanted == found)
        });
        all && segments.next().is_none()
    }

    /// Whether the pattern names one type and no other.
    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TypePattern {
    type Err = InvalidPattern;

    fn from_str(pattern: &str) -> Result<Self, InvalidPattern> {
        let mut segments = pattern.split('.');
        let checks: [fn(&str) -> bool; 3] = [is_word, is_word, is_version];
        let valid = checks.iter().all(|check| {
            segments
                .next()
                .is_some_and(|segment| segment == "*" || check(segment))
        });
        if valid && segments.next().is_none() && pattern.len() <= TYPE_MAX_BYTES {
            Ok(Self(pattern.to_owned()))
        } else {
            Err(InvalidPattern {
                pattern: pattern.to_owned(),
            })
        }
    }
}

impl fmt::Display for TypePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for TypePattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TypePattern {
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

    use super::*;

    #[test]
    fn types() {
        for valid in ["order.placed.v1", "hub.alert_raised.v1", "chat.message.v12"] {
            assert!(is_valid_type(valid), "{valid}");
        }
        for invalid in [
            "",
            "order",
            "order.placed",
            "order.placed.v0",
            "order.placed.v01",
            "order.placed.1",
            "order.placed.v",
            "Order.placed.v1",
            "order..v1",
            ".placed.v1",
            "order.placed.v1.",
            "order.*.v1",
            "a.b.c.v1",
            "1a.b.v1",
            "order.pla-ced.v1",
            "order.placed.v1\n",
        ] {
            assert!(!is_valid_type(invalid), "{invalid:?}");
        }
    }

    #[test]
    fn a_star_stands_for_one_whole_segment() {
        let pattern: TypePattern = "order.*.v1".parse().unwrap();
        assert!(pattern.matches("order.placed.v1"));
        assert!(!pattern.matches("order.placed.v2"));
        assert!(!pattern.matches("order.v1"));
        assert!(!pattern.matches("order.placed.late.v1"));
        assert!(!pattern.matches("order..v1"));
        assert!(!pattern.matches("reorder.placed.v1"));
    }

    #[test]
    fn patterns_that_can_match_nothing_are_refused() {
        for pattern in [
            "",
            "*",
            "order.*",
            "order.pl*.v1",
            "order.placed.latest",
            "*.*.*.*",
            "order.placed.v1 ",
        ] {
            assert!(pattern.parse::<TypePattern>().is_err(), "{pattern:?}");
        }
        let error = serde_json::from_str::<TypePattern>("\"order.**.v1\"").unwrap_err();
        assert!(error.to_string().contains("order.*.v1"));
    }

    fn segments() -> impl Strategy<Value = [String; 3]> {
        ["[a-z][a-z0-9_]{0,8}", "[a-z][a-z0-9_]{0,8}", "v[1-9][0-9]{0,2}"]
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_it_was_made_from(segments in segments(), stars in any::<[bool; 3]>(), other in segments()) {
            let event_type = segments.join(".");
            prop_assert!(is_valid_type(&event_type));
            let mut blurred = segments.clone();
            for (segment, star) in blurred.iter_mut().zip(stars) {
                if star { *segment = "*".into(); }
            }
            let pattern: TypePattern = blurred.join(".").parse().unwrap();
            prop_assert!(pattern.matches(&event_type));
            prop_assert_eq!(pattern.is_exact(), stars == [false; 3]);
            let agrees = segments.iter().zip(&other).zip(stars).all(|((a, b), star)| star || a == b);
            prop_assert_eq!(pattern.matches(&other.join(".")), agrees);
            let written = serde_json::to_string(&pattern).unwrap();
            prop_assert_eq!(serde_json::from_str::<TypePattern>(&written).unwrap(), pattern);
        }

        #[test]
        fn any_text_is_judged_without_a_panic(text in "\\PC*") {
            let _ = is_valid_type(&text);
            if let Ok(pattern) = text.parse::<TypePattern>() {
                prop_assert_eq!(pattern.to_string(), text);
            }
        }
    }
}
