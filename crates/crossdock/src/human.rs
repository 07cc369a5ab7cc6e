//! How people write and read times, spans, counts and sizes. Pure: the present moment is a parameter.

use std::borrow::Cow;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};

/// A count with a comma between groups of three digits.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 event`, `2 events`.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// How long something took: `120 ms`, `1.9 s`, `42 s`, `3 min`, `5 h`, `2 d`.
pub(crate) fn span(span: TimeDelta) -> String {
    let milliseconds = span.num_milliseconds().abs();
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        1_000..10_000 => format!("{}.{} s", milliseconds / 1_000, milliseconds % 1_000 / 100),
        _ => whole(span),
    }
}

/// A span in its largest whole unit.
fn whole(span: TimeDelta) -> String {
    match span.num_seconds().abs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// When something was, seen from `now`: `8 s ago`, `in 3 min`, `now`.
pub(crate) fn relative(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let passed = now - time;
    match passed.num_seconds() {
        0 => "now".to_owned(),
        1.. => format!("{} ago", whole(passed)),
        _ => format!("in {}", whole(passed - TimeDelta::milliseconds(999))),
    }
}

/// [`relative`], or a dash where there is no time.
pub(crate) fn relative_or_dash(time: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    time.map_or_else(|| "–".to_owned(), |time| relative(time, now))
}

/// The time of day in UTC, `12:04:31.207Z`.
pub(crate) fn clock_time(time: DateTime<Utc>) -> String {
    time.format("%H:%M:%S%.3fZ").to_string()
}

/// Text from outside made safe for a terminal: what could move the cursor, change colours or turn the
/// direction of writing becomes `\u{fffd}`; line ends and tabs become spaces.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
            other if steers_a_terminal(other) => '\u{fffd}',
            other => other,
        })
        .collect()
}

/// JSON as it goes to a terminal too: what [`printable`] replaces is written as an escape, so that the
/// values stay what they are.
pub(crate) fn printable_json(json: &str) -> Cow<'_, str> {
    let is_raw = |character: char| character != '\n' && steers_a_terminal(character);
    if !json.contains(is_raw) {
        return Cow::Borrowed(json);
    }
    let mut text = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if is_raw(character) {
            text += &format!("\\u{:04x}", u32::from(character));
        } else {
            text.push(character);
        }
    }
    Cow::Owned(text)
}

/// Control characters, those above ASCII too, and the ones by which text seems to read otherwise than it
/// does (<https://trojansource.codes>).
fn steers_a_terminal(character: char) -> bool {
    character.is_control() || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The longest span that counts from now: a thousand years, far within the calendar.
const SPAN_MAX: TimeDelta = TimeDelta::days(365_250);

/// A moment as a person gives it: a span such as `90s`, `15m`, `2h`, `3d`, counted from now, or an exact
/// date or time in UTC, `2026-03-01` or `2026-03-01T08:00:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// A span away from now; the option says in which direction.
    Away(TimeDelta),
    /// This very time.
    Exact(DateTime<Utc>),
}

impl Moment {
    /// The time meant when spans count backwards.
    pub(crate) fn before(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::Away(span) => now - span,
            Self::Exact(time) => time,
        }
    }

    /// The time meant when spans count forwards.
    pub(crate) fn after(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::Away(span) => now + span,
            Self::Exact(time) => time,
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(span) = parse_span(text) {
            return Ok(Self::Away(span));
        }
        if let Ok(day) = NaiveDate::from_str(text) {
            return Ok(Self::Exact(day.and_time(NaiveTime::MIN).and_utc()));
        }
        DateTime::parse_from_rfc3339(text).map(|time| Self::Exact(time.to_utc())).map_err(|_| {
            "expected a span such as 15m, 2h or 3d, or a date or time in UTC such as 2026-03-01 or 2026-03-01T08:00:00Z"
                .to_owned()
        })
    }
}

fn parse_span(text: &str) -> Option<TimeDelta> {
    let unit = text.chars().last()?;
    let seconds_per_unit = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let number: u32 = text[..text.len() - unit.len_utf8()].parse().ok()?;
    Some(TimeDelta::seconds(i64::from(number) * seconds_per_unit)).filter(|span| *span <= SPAN_MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped() {
        let written = [0, 7, 999, 1_000, 87_743_672].map(count);
        assert_eq!(written, ["0", "7", "999", "1,000", "87,743,672"]);
        assert_eq!(counted(1, "event", "events"), "1 event");
        assert_eq!(counted(1_200, "event", "events"), "1,200 events");
    }

    #[test]
    fn times_are_relative_in_both_directions() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let cases = [
            (0, "now"),
            (8, "8 s ago"),
            (119, "119 s ago"),
            (600, "10 min ago"),
            (7_200, "2 h ago"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(relative(now - TimeDelta::seconds(seconds), now), expected);
        }
        assert_eq!(relative(now + TimeDelta::days(3), now), "in 3 d");
        assert_eq!(
            relative(now + TimeDelta::days(3), now + TimeDelta::milliseconds(20)),
            "in 3 d"
        );
        let spans = [120, 1_950, 9_999, 42_000, 600_000]
            .map(|milliseconds| span(TimeDelta::milliseconds(milliseconds)));
        assert_eq!(spans, ["120 ms", "1.9 s", "9.9 s", "42 s", "10 min"]);
    }

    #[test]
    fn nothing_from_outside_steers_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\nc\u{9b}d"), "a\u{fffd}[31mb c\u{fffd}d");
        assert_eq!(
            printable("paid\u{202e}diap\u{2066}x"),
            "paid\u{fffd}diap\u{fffd}x"
        );
        assert_eq!(printable("Zoë, 名刺, שלום"), "Zoë, 名刺, שלום");
    }

    #[test]
    fn json_on_a_terminal_says_the_same_and_steers_nothing() {
        let value = serde_json::json!({ "a": "\u{9b}31m\u{7f}\u{202e}é", "b": [1] });
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        let safe = printable_json(&pretty);
        assert!(
            safe.chars()
                .all(|character| character == '\n' || !steers_a_terminal(character))
        );
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
        assert!(matches!(printable_json("{\n}"), Cow::Borrowed(_)));
    }

    #[test]
    fn moments() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let hours: Moment = "2h".parse().unwrap();
        assert_eq!(hours.before(now), now - TimeDelta::hours(2));
        assert_eq!(hours.after(now), now + TimeDelta::hours(2));
        let day: Moment = "2023-11-14".parse().unwrap();
        assert_eq!(day.before(now).to_rfc3339(), "2023-11-14T00:00:00+00:00");
        let exact: Moment = "2023-11-14T23:13:20+01:00".parse().unwrap();
        assert_eq!(exact, Moment::Exact(now));
        for wrong in [
            "",
            "h",
            "-3h",
            "3w",
            "yesterday",
            "2023-13-01",
            "3ｈ",
            "4294967295d",
        ] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong:?}");
        }
    }
}
