//! The two functions that vendors' files need and jq does not have: money as whole minor units and
//! local times as UTC. Neither ever goes through floating-point.

use chrono::{DateTime, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, TimeZone, Utc};
use chrono_tz::Tz;

/// The most decimal places that a currency has.
pub(super) const MINOR_DIGITS_MAX: i64 = 6;

/// `amount`, a decimal such as `-12.50` or `1e3`, in units of 10^-`digits`, exactly.
///
/// # Errors
/// What is wrong, without the amount: not a decimal, more decimal places than `digits` that are not
/// zero, or beyond 64 bits.
pub(super) fn minor_units(amount: &str, digits: i64) -> Result<i64, &'static str> {
    const NOT_DECIMAL: &str = "minor_units expects a decimal such as 12.50, without separators or currency";
    const TOO_FINE: &str = "minor_units was given more decimal places than it was asked for";
    const TOO_LARGE: &str = "minor_units was given an amount beyond 64 bits";
    let amount = amount.trim();
    let (mantissa, exponent) = match amount.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| NOT_DECIMAL)?),
        None => (amount, 0),
    };
    let unsigned = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let all_digits = whole
        .bytes()
        .chain(fraction.bytes())
        .all(|byte| byte.is_ascii_digit());
    if !all_digits || whole.is_empty() || unsigned.ends_with('.') {
        return Err(NOT_DECIMAL);
    }
    let shift = i64::from(exponent) + digits - fraction.len() as i64;
    let all = [whole, fraction].concat();
    let significant = all.trim_start_matches('0');
    if significant.is_empty() {
        return Ok(0);
    }
    let kept = if shift >= 0 {
        let zeros = usize::try_from(shift.min(20)).unwrap_or_default();
        significant.to_owned() + &"0".repeat(zeros)
    } else {
        let cut = usize::try_from(-shift).unwrap_or(usize::MAX);
        let (kept, rest) = significant.split_at(significant.len().saturating_sub(cut));
        if cut > significant.len() || rest.bytes().any(|digit| digit != b'0') {
            return Err(TOO_FINE);
        }
        kept.to_owned()
    };
    let sign = if mantissa.starts_with('-') { "-" } else { "" };
    format!("{sign}{kept}").parse().map_err(|_| TOO_LARGE)
}

/// The time zone of that name in the IANA database.
pub(super) fn zone(name: &str) -> Option<Tz> {
    name.parse().ok()
}

const LOCAL_FORMATS: [&str; 4] = [
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M",
];

/// A local time of `zone` in RFC 3339 UTC. `2010-12-01 08:26:00`, with `T`, without seconds, with
/// fractions, and a date alone (its midnight) are understood; a time that says its own offset is
/// taken at its word. When clocks went back, the earlier of the two moments is meant.
///
/// # Errors
/// What is wrong, without the time: no such form, or an hour that clocks skipped.
pub(super) fn utc(local: &str, zone: Tz) -> Result<String, &'static str> {
    let local = local.trim();
    let time = match DateTime::parse_from_rfc3339(local) {
        Ok(time) => time.to_utc(),
        Err(_) => resolve(parse_local(local)?, zone)?,
    };
    Ok(time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

fn parse_local(local: &str) -> Result<NaiveDateTime, &'static str> {
    LOCAL_FORMATS
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(local, format).ok())
        .or_else(|| {
            Some(
                NaiveDate::parse_from_str(local, "%Y-%m-%d")
                    .ok()?
                    .and_time(NaiveTime::MIN),
            )
        })
        .ok_or("utc expects a local time such as 2010-12-01 08:26:00")
}

fn resolve(local: NaiveDateTime, zone: Tz) -> Result<DateTime<Utc>, &'static str> {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => Ok(time.to_utc()),
        LocalResult::None => Err("utc was given a time that the clocks of the zone skipped"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_exact() {
        for (amount, digits, expected) in [
            ("12.50", 2, 1250),
            ("12.5", 2, 1250),
            ("-0.01", 2, -1),
            (" 7 ", 2, 700),
            ("1.150", 2, 115),
            ("0.000", 2, 0),
            ("-0.00", 2, 0),
            ("+3.10", 2, 310),
            ("1e3", 2, 100_000),
            ("12345e-2", 2, 12_345),
            ("1200", 0, 1200),
            ("8.165", 3, 8165),
            ("92233720368547758.07", 2, i64::MAX),
            ("-92233720368547758.08", 2, i64::MIN),
            ("4.35", 2, 435),
            ("0e999999999", 2, 0),
        ] {
            assert_eq!(minor_units(amount, digits), Ok(expected), "{amount}");
        }
        for amount in [
            "",
            "-",
            ".",
            "1.",
            ".5",
            "1,50",
            "£1",
            "1.2.3",
            "0x10",
            "1e",
            "NaN",
            "0.001",
            "1.005",
            "1e-9",
            "92233720368547758.08",
            "1e99",
            "1e99999999999",
            "--1",
            "٣",
        ] {
            assert!(minor_units(amount, 2).is_err(), "{amount}");
        }
    }

    #[test]
    fn local_times_become_utc() {
        let london = Tz::Europe__London;
        for (local, expected) in [
            ("2010-12-01 08:26:00", "2010-12-01T08:26:00Z"),
            ("2011-06-01 08:26:00", "2011-06-01T07:26:00Z"),
            ("2011-06-01T08:26", "2011-06-01T07:26:00Z"),
            ("2011-06-01 08:26", "2011-06-01T07:26:00Z"),
            ("2011-06-01T08:26:00.250", "2011-06-01T07:26:00.250Z"),
            ("2011-06-01", "2011-05-31T23:00:00Z"),
            ("2011-06-01T08:26:00+02:00", "2011-06-01T06:26:00Z"),
            ("2011-10-30 01:30:00", "2011-10-30T00:30:00Z"),
        ] {
            assert_eq!(utc(local, london).as_deref(), Ok(expected), "{local}");
        }
        for local in ["", "yesterday", "2011-13-01", "01/02/2011", "2011-03-27 01:30:00"] {
            assert!(utc(local, london).is_err(), "{local}");
        }
    }
}
