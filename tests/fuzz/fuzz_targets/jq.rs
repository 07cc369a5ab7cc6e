//! A mapping and its input, with a NUL between them. It ends by itself, within its bounds.
#![no_main]

use crossdock_model::jq::{Mapping, OUTPUT_MAX_BYTES, OUTPUT_MAX_VALUES};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let Some(Ok(source)) = parts.next().map(std::str::from_utf8) else { return };
    let input = parts.next().unwrap_or(b"null");
    match Mapping::compile(source) {
        Err(fault) => {
            let line = source.split('\n').nth(fault.line - 1).expect("the line is there");
            assert!((1..=line.chars().count() + 1).contains(&fault.column), "{fault}");
            assert!(!fault.message.is_empty());
        }
        Ok(mapping) => {
            let outputs = mapping.run_json(input);
            assert_eq!(mapping.run_json(input), outputs, "the same input gives the same result");
            if let Ok(outputs) = outputs {
                assert!(outputs.len() <= OUTPUT_MAX_VALUES);
                assert!(outputs.iter().map(String::len).sum::<usize>() <= OUTPUT_MAX_BYTES);
            }
        }
    }
});
