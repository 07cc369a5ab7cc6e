//! The hub's stream of events as `event tail` reads it, cut anywhere.
#![no_main]

#[allow(dead_code, unreachable_pub)]
#[path = "../../../crates/crossdock/src/client/sse.rs"]
mod sse;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((piece, bytes)) = bytes.split_first() else { return };
    let whole = messages(bytes, bytes.len().max(1));
    assert_eq!(messages(bytes, usize::from(*piece).max(1)), whole, "wherever the bytes are cut");
});

fn messages(bytes: &[u8], piece: usize) -> Vec<sse::Message> {
    let mut parser = sse::Parser::default();
    bytes.chunks(piece).flat_map(|piece| parser.push(piece).expect("it is not that long")).collect()
}
