//! Spans of time, written `5s`, `2m`, `6h` or `1h30m`: the delays of a retry schedule, and how long a state is kept.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de};

/// The shortest delay before a retry: the hub's shortest delay queue.
pub const DELAY_MIN: Duration = Duration::from_secs(1);

/// The longest delay before a retry.
pub const DELAY_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The most delays that a schedule may list.
pub const SCHEDULE_MAX_DELAYS: usize = 64;

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// How long a state is kept at most.
pub const LIFETIME_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Reads a delay: whole numbers with the units `d`, `h`, `m`, `s`, from the largest to the
/// smallest, within [`DELAY_MIN`] and [`DELAY_MAX`].
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    within(text, DELAY_MAX)
}

/// Reads how long a state is kept: written as a delay, up to [`LIFETIME_MAX`].
pub(crate) fn parse_lifetime(text: &str) -> Result<Duration, String> {
    within(text, LIFETIME_MAX)
}

fn within(text: &str, max: Duration) -> Result<Duration, String> {
    let delay = seconds(text).map(Duration::from_secs).ok_or_else(|| {
        format!("{text:?} is not a delay, expected whole numbers with units, such as \"5s\", \"2m\", \"6h\" or \"1h30m\"")
    })?;
    if (DELAY_MIN..=max).contains(&delay) {
        Ok(delay)
    } else {
        Err(format!(
            "{text:?} is out of range, expected a delay from 1s to {}",
            format(max)
        ))
    }
}

fn seconds(text: &str) -> Option<u64> {
    let mut total = 0u64;
    let mut rest = text;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].chars().next()?;
        let (_, seconds) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.checked_mul(*seconds)?)?;
        rest = &rest[digits + unit.len_utf8()..];
    }
    (!text.is_empty()).then_some(total)
}

/// Writes a delay as [`parse`] reads it; parts of a second are left out.
pub(crate) fn format(delay: Duration) -> String {
    let mut rest = delay.as_secs();
    let mut text = String::new();
    for (unit, seconds) in UNITS {
        if rest >= seconds {
            text.push_str(&(rest / seconds).to_string());
            text.push(unit);
            rest %= seconds;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Duration>, D::Error> {
    Vec::<String>::deserialize(deserializer)?
        .iter()
        .map(|text| parse(text).map_err(de::Error::custom))
        .collect()
}

pub(crate) fn serialize<S: Serializer>(delays: &[Duration], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(delays.iter().map(|delay| format(*delay)))
}

/// A lifetime that may be left out.
pub(crate) mod optional_lifetime {
    use super::{Deserialize, Deserializer, Duration, Serializer, de, format, parse_lifetime};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let written = Option::<String>::deserialize(deserializer)?;
        let read = written.map(|text| parse_lifetime(&text).map_err(de::Error::custom));
        read.transpose()
    }

    pub(crate) fn serialize<S: Serializer>(
        lifetime: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match lifetime {
            Some(lifetime) => serializer.serialize_some(&format(*lifetime)),
            None => serializer.serialize_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_read_and_written_alike() {
        for (text, seconds) in [
            ("1s", 1),
            ("90s", 90),
            ("2m", 120),
            ("1h30m", 5_400),
            ("6h", 21_600),
            ("7d", 604_800),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
            assert_eq!(
                parse(&format(Duration::from_secs(seconds))),
                Ok(Duration::from_secs(seconds))
            );
        }
        assert_eq!(format(Duration::from_secs(90)), "1m30s");
    }

    #[test]
    fn what_is_not_a_delay_is_refused() {
        for text in [
            "",
            "5",
            "s",
            "5 s",
            "-5s",
            "5ms",
            "1.5h",
            "5S",
            "1m1h",
            "1s1s",
            "5s ",
            "99999999999999999999d",
            "9999999999999999d",
        ] {
            assert!(
                parse(text).is_err_and(|fault| fault.contains("is not a delay")),
                "{text:?}"
            );
        }
        for text in ["0s", "0h0m", "8d", "604801s"] {
            assert!(
                parse(text).is_err_and(|fault| fault.contains("from 1s to 7d")),
                "{text:?}"
            );
        }
    }
}
