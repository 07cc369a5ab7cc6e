//! CloudEvents in JSON: one event, or a batch.
#![no_main]

use crossdock_fuzz::{assert_goes_round, assert_refused};
use crossdock_model::event::Event;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|json: &[u8]| {
    match Event::from_structured(json) {
        Ok(event) => assert_goes_round(&event),
        Err(faults) => assert_refused(&faults),
    }
    match Event::batch_from_json(json) {
        Ok(events) => events.iter().for_each(assert_goes_round),
        // Of a batch each member's faults are bounded, so the batch's are not by the same number.
        Err(faults) => assert!(!faults.0.is_empty()),
    }
});
