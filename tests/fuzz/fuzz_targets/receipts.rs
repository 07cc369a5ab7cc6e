//! Receipts: one or an array, in JSON.
#![no_main]

use chrono::DateTime;
use crossdock_bus::message::{Delivery, Properties};
use crossdock_bus::names;
use crossdock_engine::read_receipts;
use crossdock_fuzz::assert_sound;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let delivery = Delivery {
        tag: 1,
        exchange: names::RECEIPTS.to_owned(),
        routing_key: String::new(),
        redelivered: false,
        properties: Properties { user_id: Some("erp.1".to_owned()), ..Properties::default() },
        body: body.to_vec().into(),
    };
    let (outcomes, faults) = read_receipts(&delivery, DateTime::UNIX_EPOCH);
    let text: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let is_empty_array = text.is_some_and(|value| value.as_array().is_some_and(Vec::is_empty));
    assert!(!outcomes.is_empty() || !faults.is_empty() || is_empty_array);
    for fault in faults.chunks(1) {
        assert_sound(fault);
    }
    for outcome in outcomes {
        assert_eq!(outcome.adapter, "erp");
        assert!((1..=255).contains(&outcome.event_id.len()));
    }
});
