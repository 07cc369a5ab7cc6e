//! Topics as the settings name them: filters, and templates of filters that a token's claims fill in.

use std::fmt;
use std::str::FromStr;

use crossdock_model::topic::TopicFilter;
use serde::{Deserialize, Deserializer, de};

use crate::topic::is_unfit;

/// The longest name of a claim, and the longest value that is filled in, in bytes.
const CLAIM_MAX_BYTES: usize = 255;
/// What stands for a claim while the rest of a template is judged.
const ANY_VALUE: &str = "x";

/// A topic filter with claims in it, `state/customer/{sub}/#`. What a claim holds fills a part of one level and is
/// never more than that: a wildcard or a separator in it fills nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimTemplate(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Claim(String),
}

/// Why a text is no [`ClaimTemplate`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a topic filter with claims in braces, such as \"state/customer/{{sub}}/#\": it {reason}"
)]
pub struct InvalidTemplate {
    /// The text as it was given.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Why a template could not be filled in; names the claim, never its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// There is no such claim.
    #[error("the claim {0:?} is missing")]
    Missing(String),
    /// Its value is no part of a level.
    #[error(
        "the claim {0:?} is empty, too long, or holds a wildcard, a separator, a control character or what Unicode sets aside"
    )]
    Unfit(String),
    /// With it the whole is no filter of the hub's topics.
    #[error("no topic filter comes of the claims")]
    NoFilter,
}

impl ClaimTemplate {
    /// The filter in which each claim stands for what `claim` says of it.
    ///
    /// # Errors
    /// See [`FillError`].
    pub fn fill(&self, claim: impl Fn(&str) -> Option<String>) -> Result<TopicFilter, FillError> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(literal) => text.push_str(literal),
                Piece::Claim(name) => {
                    let value = claim(name).ok_or_else(|| FillError::Missing(name.clone()))?;
                    if !is_part_of_a_level(&value) {
                        return Err(FillError::Unfit(name.clone()));
                    }
                    text.push_str(&value);
                }
            }
        }
        readable_filter(&text).map_err(|_| FillError::NoFilter)
    }
}

fn is_part_of_a_level(value: &str) -> bool {
    (1..=CLAIM_MAX_BYTES).contains(&value.len()) && !value.contains(is_unfit)
}

/// A filter of topics that somebody outside may read: any but the server's own, which begin with `$`.
///
/// # Errors
/// What is wrong with the text.
pub fn readable_filter(text: &str) -> Result<TopicFilter, String> {
    if text.starts_with('$') {
        return Err("begins with $, expected none of the server's own topics".to_owned());
    }
    TopicFilter::new(text).map_err(|error| error.to_string())
}

impl FromStr for ClaimTemplate {
    type Err = InvalidTemplate;

    fn from_str(text: &str) -> Result<Self, InvalidTemplate> {
        let invalid = |reason: &str| InvalidTemplate {
            text: text.to_owned(),
            reason: reason.to_owned(),
        };
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (literal, opened) = rest.split_at(at);
            let opened = opened
                .strip_prefix('{')
                .ok_or_else(|| invalid("holds a } without a {"))?;
            let (name, after) = opened
                .split_once('}')
                .ok_or_else(|| invalid("holds a { without a }"))?;
            if !(1..=CLAIM_MAX_BYTES).contains(&name.len()) || name.contains('{') {
                return Err(invalid("holds braces without the name of a claim"));
            }
            pieces.push(Piece::Text(literal.to_owned()));
            pieces.push(Piece::Claim(name.to_owned()));
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        let template = Self(pieces);
        let filled: String = template.0.iter().map(Piece::stand_in).collect();
        match readable_filter(&filled) {
            Ok(_) => Ok(template),
            Err(reason) => Err(invalid(&reason)),
        }
    }
}

impl Piece {
    fn stand_in(&self) -> &str {
        match self {
            Self::Text(literal) => literal,
            Self::Claim(_) => ANY_VALUE,
        }
    }
}

impl fmt::Display for ClaimTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(literal) => f.write_str(literal),
            Piece::Claim(name) => write!(f, "{{{name}}}"),
        })
    }
}

impl<'de> Deserialize<'de> for ClaimTemplate {
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

    fn template(text: &str) -> ClaimTemplate {
        text.parse().unwrap()
    }

    #[test]
    fn claims_fill_the_places_that_they_have() {
        let claims = |name: &str| match name {
            "sub" => Some("42".to_owned()),
            "https://shop.example/store" => Some("london".to_owned()),
            _ => None,
        };
        for (text, filled) in [
            ("state/customer/{sub}/#", "state/customer/42/#"),
            ("stock/{https://shop.example/store}/+", "stock/london/+"),
            ("state/order-{sub}", "state/order-42"),
            ("state/order/#", "state/order/#"),
            ("{sub}/{sub}", "42/42"),
        ] {
            assert_eq!(template(text).fill(claims).unwrap().as_str(), filled);
            assert_eq!(template(text).to_string(), text);
        }
        let missing = template("state/{tenant}").fill(claims);
        assert_eq!(missing, Err(FillError::Missing("tenant".into())));
    }

    #[test]
    fn no_claim_widens_a_filter() {
        let own = template("state/customer/{sub}/#");
        for value in [
            "",
            "+",
            "#",
            "a/b",
            "/",
            "a+",
            "a#",
            "a\0",
            "a\n",
            "a\u{fdd0}",
            "\u{10ffff}",
            &"x".repeat(256),
        ] {
            let filled = own.fill(|_| Some(value.to_owned()));
            assert_eq!(filled, Err(FillError::Unfit("sub".into())), "{value:?}");
        }
        let servers = template("{sub}/#").fill(|_| Some("$SYS".into()));
        assert_eq!(servers, Err(FillError::NoFilter));
    }

    #[test]
    fn what_is_no_template_says_why() {
        for (text, reason) in [
            ("", "at least one character"),
            ("state/{sub", "without a }"),
            ("state/sub}", "without a {"),
            ("state/{}", "without the name"),
            ("state/{{sub}}", "without the name"),
            ("state/#/{sub}", "# in the last one"),
            ("state/{sub}#", "stand alone"),
            ("$SYS/{sub}", "begins with $"),
            ("$share/a/{sub}", "begins with $"),
        ] {
            let error = text.parse::<ClaimTemplate>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn a_filled_template_has_the_levels_that_it_was_written_with(value in ".*") {
            let own = template("state/customer/{sub}/+");
            if let Ok(filter) = own.fill(|_| Some(value.clone())) {
                let levels: Vec<_> = filter.levels().collect();
                prop_assert_eq!(levels, ["state", "customer", value.as_str(), "+"]);
            }
        }
    }
}
