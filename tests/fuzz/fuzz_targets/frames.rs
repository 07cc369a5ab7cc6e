//! What RabbitMQ sends, on its way to the AMQP client: bytes of the network, cut anywhere.
#![no_main]

#[allow(dead_code, unreachable_pub)]
#[path = "../../../crates/bus/src/frames.rs"]
mod frames;

use amq_protocol::frame::parse_frame;
use frames::InboundFrames;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((piece, bytes)) = bytes.split_first() else { return };
    let Some(mended) = through(bytes, usize::from(*piece).max(1)) else { return };
    assert_eq!(through(bytes, bytes.len().max(1)).as_ref(), Some(&mended), "wherever the bytes are cut");
    assert!(mended.len() <= bytes.len());
    // The client parses by recursion: what passes must not end the process.
    let mut rest: &[u8] = &mended;
    while let Ok((after, _)) = parse_frame(rest) {
        rest = after;
    }
});

/// All that comes out, or `None` once a frame is too large.
fn through(bytes: &[u8], piece: usize) -> Option<Vec<u8>> {
    let mut inbound = InboundFrames::default();
    let mut out = Vec::new();
    for piece in bytes.chunks(piece) {
        inbound.take(piece).ok()?;
        let mut target = [0; 64];
        loop {
            match inbound.give(&mut target) {
                0 => break,
                count => out.extend_from_slice(&target[..count]),
            }
        }
    }
    Some(out)
}
