//! Numbers for carts and orders that were never given before, across restarts as well: they count the milliseconds
//! of a clock that never goes back.

use chrono::{DateTime, Utc};

/// 1 January 2026, in milliseconds since 1970.
const BEGINNING_MS: i64 = 1_767_225_600_000;

/// Gives references.
#[derive(Default)]
pub(crate) struct References {
    last: i64,
}

impl References {
    /// A new one, such as `2819-0249123`. More than a thousand a second run ahead of the clock.
    pub(crate) fn next(&mut self, now: DateTime<Utc>) -> String {
        self.last = (now.timestamp_millis() - BEGINNING_MS).max(self.last + 1);
        format!("{:04}-{:07}", self.last / 10_000_000, self.last % 10_000_000)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn references_grow_even_while_the_clock_stands_still() {
        let now = "2026-11-23T07:20:24.912Z".parse().unwrap();
        let mut references = References::default();
        assert_eq!(references.next(now), "2819-2824912");
        assert_eq!(references.next(now), "2819-2824913");
    }
}
