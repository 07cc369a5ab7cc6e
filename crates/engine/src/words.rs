//! How the hub's sentences say numbers and spans.

/// A number of things: `1 event`, `2 events`.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Seconds as people say them: `4 m 12 s`.
pub(crate) fn duration(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} m {} s", s / 60, s % 60),
        s @ 3600..86_400 => format!("{} h {} m", s / 3600, s % 3600 / 60),
        s => format!("{} d {} h", s / 86_400, s % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_said_as_people_say_them() {
        for (seconds, said) in [
            (-5, "0 s"),
            (59, "59 s"),
            (60, "1 m 0 s"),
            (252, "4 m 12 s"),
            (3_600, "1 h 0 m"),
            (86_399, "23 h 59 m"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(duration(seconds), said);
        }
    }

    #[test]
    fn one_is_one() {
        let said = [0, 1, 2].map(|number| counted(number, "event waits", "events wait"));
        assert_eq!(said, ["0 events wait", "1 event waits", "2 events wait"]);
    }
}
