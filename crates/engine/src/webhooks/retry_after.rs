//! `Retry-After` (RFC 9110, section 10.2.3) as an endpoint sends it. Knows nothing of what is tried again.

use chrono::{DateTime, Utc};

/// The longest wait that an endpoint is granted for one event.
pub(super) const MAX_S: u32 = 24 * 60 * 60;

/// How many seconds from `now` the header asks for: it has seconds or a date. What is neither
/// counts as not said, and so does no time at all: a schedule that is run through at once is none.
pub(super) fn seconds(text: &str, now: DateTime<Utc>) -> Option<u32> {
    let text = text.trim();
    let seconds = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().unwrap_or(u64::MAX)
    } else {
        let date: DateTime<Utc> = httpdate::parse_http_date(text).ok()?.into();
        u64::try_from((date - now).num_seconds()).unwrap_or(0)
    };
    u32::try_from(seconds.min(MAX_S.into()))
        .ok()
        .filter(|seconds| *seconds > 0)
}
