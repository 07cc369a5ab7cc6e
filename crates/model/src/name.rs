//! Names and identifiers that more than one crate makes or checks.

use uuid::{NoContext, Timestamp, Uuid};

use crate::clock::Clock;

/// The longest adapter name, so that the queue and user names made from it stay within AMQP's 255
/// bytes.
pub const ADAPTER_NAME_MAX_BYTES: usize = 64;

/// Whether `name` can name an adapter: 1 to 64 lower-case letters, digits and hyphens.
pub fn is_adapter_name(name: &str) -> bool {
    (1..=ADAPTER_NAME_MAX_BYTES).contains(&name.len())
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// A new identifier: a UUID version 7 (RFC 9562), so that identifiers sort by the time they were
/// made, to the millisecond.
pub fn new_id(clock: &dyn Clock) -> String {
    let now = clock.now();
    let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
    let timestamp = Timestamp::from_unix(NoContext, seconds, now.timestamp_subsec_nanos());
    Uuid::new_v7(timestamp).to_string()
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;
    use crate::clock::FixedClock;

    #[test]
    fn adapter_names() {
        for name in ["erp", "erp-2", "7", "-"] {
            assert!(is_adapter_name(name), "{name}");
        }
        let long = "a".repeat(ADAPTER_NAME_MAX_BYTES + 1);
        for name in ["", "ERP", "a.b", "a_b", "é", "a b", long.as_str()] {
            assert!(!is_adapter_name(name), "{name}");
        }
    }

    #[test]
    fn identifiers_differ_and_sort_by_time() {
        let clock =
            FixedClock::at(DateTime::from_timestamp_micros(1_700_000_000_000_000).unwrap_or_default());
        let first = new_id(&clock);
        assert_ne!(first, new_id(&clock));
        clock.advance(TimeDelta::milliseconds(1));
        assert!(first < new_id(&clock));
    }
}
