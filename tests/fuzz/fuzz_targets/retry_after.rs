//! The header `Retry-After` of an endpoint's answer.
#![no_main]

#[allow(dead_code, unreachable_pub)]
#[path = "../../../crates/engine/src/webhooks/retry_after.rs"]
mod retry_after;

use chrono::DateTime;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let soon = retry_after::seconds(text, DateTime::UNIX_EPOCH);
    let late = retry_after::seconds(text, DateTime::from_timestamp(4_000_000_000, 0).expect("it is a time"));
    assert!(soon.is_some() || late.is_none(), "a time that was never ahead does not come");
    assert!(soon.is_none_or(|seconds| seconds <= retry_after::MAX_S));
    assert!(late <= soon, "a date comes closer, seconds stay");
});
