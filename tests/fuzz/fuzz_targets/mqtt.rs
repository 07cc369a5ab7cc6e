//! What a client sends, from its first byte: packets of MQTT 3.1.1 or 5, cut anywhere. What is taken can be written
//! on, in either version; what is refused says why, to the person and on the wire.
#![no_main]

use std::sync::Arc;

use bytes::BytesMut;
use crossdock_realtime::wire::{Decoder, Incoming, Message, Outgoing, Publish, PublishOut, Version, encode};
use libfuzzer_sys::fuzz_target;

const PACKET_BYTES_MAX: usize = 4 * 1024;

fuzz_target!(|bytes: &[u8]| {
    let Some((piece, bytes)) = bytes.split_first() else { return };
    let whole = packets(bytes, bytes.len().max(1));
    assert_eq!(packets(bytes, usize::from(*piece).max(1)), whole, "wherever the bytes are cut");
    for packet in whole.0 {
        if let Incoming::Publish(publish) = packet {
            pass_on(publish);
        }
    }
});

/// The packets, and the refusal that ended it.
fn packets(bytes: &[u8], piece: usize) -> (Vec<Incoming>, Option<String>) {
    let (mut decoder, mut buffer, mut packets) = (Decoder::new(PACKET_BYTES_MAX), BytesMut::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(error) => {
                    assert!(error.reason().is_error());
                    let said = error.to_string();
                    assert!(!said.is_empty());
                    return (packets, Some(said));
                }
            }
        }
        assert!(buffer.len() <= PACKET_BYTES_MAX + piece.len(), "{} bytes wait", buffer.len());
    }
    (packets, None)
}

fn pass_on(publish: Publish) {
    let Some(topic) = publish.topic else { return };
    let message = Message {
        topic,
        payload: publish.payload,
        qos: publish.qos,
        retain: publish.retain,
        properties: publish.properties,
    };
    let out = PublishOut {
        id: publish.id,
        dup: publish.dup,
        qos: publish.qos,
        retain: publish.retain,
        expiry_s: message.properties.expiry_s,
        subscription_ids: vec![1, 268_435_455],
        message: Arc::new(message),
    };
    for version in [Version::V4, Version::V5] {
        let mut buffer = BytesMut::new();
        let written = encode(version, &Outgoing::Publish(out.clone()), &mut buffer);
        assert_eq!(written, Ok(buffer.len()));
        let length = buffer[1..].iter().position(|byte| byte & 0x80 == 0).expect("it has a length") + 1;
        let announced = buffer[1..=length].iter().rev().fold(0, |all, byte| all << 7 | usize::from(byte & 0x7F));
        assert_eq!(announced, buffer.len() - length - 1, "the packet is as long as it says");
    }
}
