//! Reason Strings on the wire.

use super::*;

fn refusals(said: &str) -> [(Outgoing, &'static [u8]); 4] {
    let (id, reason) = (1, Reason::NotAuthorized);
    let said = Some(ReasonString::of(&said));
    let granted = vec![Err(reason)];
    [
        (
            Outgoing::ConnAck(Box::new(ConnAck::bare(reason, said.clone()))),
            b"\x20\x08\x00\x87\x05\x1f\x00\x02no",
        ),
        (
            Outgoing::PubAck {
                id,
                reason,
                said: said.clone(),
            },
            b"\x40\x09\x00\x01\x87\x05\x1f\x00\x02no",
        ),
        (
            Outgoing::SubAck {
                id,
                granted,
                said: said.clone(),
            },
            b"\x90\x09\x00\x01\x05\x1f\x00\x02no\x87",
        ),
        (
            Outgoing::Disconnect { reason, said },
            b"\xe0\x07\x87\x05\x1f\x00\x02no",
        ),
    ]
}

fn sent(takes: Takes, packet: &Outgoing) -> Vec<u8> {
    let mut buffer = BytesMut::from(&b"before"[..]);
    let count = encode_for(takes, packet, &mut buffer).unwrap();
    assert_eq!(count, buffer.len() - 6);
    buffer.split_off(6).to_vec()
}

const ALL: Takes = Takes {
    version: Version::V5,
    max_packet_bytes: usize::MAX,
    problems: true,
};

#[test]
fn a_sentence_goes_with_a_refusal_where_it_is_wanted_and_fits() {
    for (packet, bytes) in refusals("no") {
        assert_eq!(sent(ALL, &packet), bytes, "{packet:?}");
        let always = matches!(packet, Outgoing::ConnAck(_) | Outgoing::Disconnect { .. });
        let terse = Takes {
            problems: false,
            ..ALL
        };
        assert_eq!(sent(terse, &packet) == bytes, always, "{packet:?}");
        let max_packet_bytes = bytes.len();
        let just = Takes {
            max_packet_bytes,
            ..ALL
        };
        assert_eq!(sent(just, &packet), bytes, "{packet:?}");
        let small = Takes {
            max_packet_bytes: max_packet_bytes - 1,
            ..ALL
        };
        let bare = sent(small, &packet);
        assert_eq!(bare.len(), bytes.len() - 5, "{packet:?} {bare:02x?}");
        let old = written(Version::V4, &packet);
        assert!(!old.windows(2).any(|two| two == b"no"), "{packet:?}");
    }
}

/// Lengths of two bytes.
#[test]
fn the_longest_sentence_is_framed_as_it_is_long() {
    for (packet, _) in refusals(&"x".repeat(1_000)) {
        let bytes = sent(ALL, &packet);
        let length = usize::from(bytes[1] & 0x7F) + usize::from(bytes[2]) * 128;
        assert_eq!(length, bytes.len() - 3, "{packet:?}");
        let properties = REASON_STRING_BYTES_MAX + 3;
        let [low, high] =
            [properties % 128 + 128, properties / 128].map(|digit| u8::try_from(digit).unwrap());
        let head = [low, high, 0x1f, 1, 0];
        assert!(bytes.windows(5).any(|five| five == head), "{packet:?}");
    }
}

#[test]
fn a_sentence_is_bounded_and_readable() {
    assert_eq!(
        ReasonString::of(&"a\u{0}b\nc\u{85}d\u{e9}").as_str(),
        "a?b?c?d\u{e9}"
    );
    let long = "\u{e9}".repeat(REASON_STRING_BYTES_MAX);
    let cut = ReasonString::of(&long);
    assert!(cut.as_str().len() <= REASON_STRING_BYTES_MAX);
    assert!(cut.as_str().ends_with("\u{e9}\u{2026}"));
    let just = "x".repeat(REASON_STRING_BYTES_MAX);
    assert_eq!(ReasonString::of(&just).as_str(), just);
    assert_eq!(Name(&long).to_string().len(), 2 + 79);
}
