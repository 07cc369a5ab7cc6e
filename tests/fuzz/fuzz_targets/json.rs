//! The strict JSON check against the parser that reads the same text afterwards.
#![no_main]

use crossdock_fuzz::assert_refused;
use crossdock_model::event::check_json;
use crossdock_model::fault::Faults;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|text: &[u8]| {
    let parsed: Result<Value, _> = serde_json::from_slice(text);
    match check_json(text, "/data").map_err(Faults) {
        Ok(()) => {
            let again = serde_json::to_vec(&parsed.expect("what passes can be read")).unwrap();
            assert_eq!(check_json(&again, ""), Ok(()), "what was read can be written and passes");
        }
        Err(faults) => {
            assert_refused(&faults);
            assert!(faults.0.iter().all(|fault| fault.pointer.starts_with("/data")));
            // What a lenient parser reads is refused for what it does not look at.
            let ours = ["stands twice", "nests deeper", "more than 100 keys"];
            let only_ours = faults.0.iter().all(|fault| ours.iter().any(|words| fault.message.contains(words)));
            assert!(parsed.is_err() || only_ours, "{faults:?}");
        }
    }
});
