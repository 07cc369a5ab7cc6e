use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use serde::Deserialize;

mod said;

use super::*;
use crossdock_model::topic::TopicName;

const V4_CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x0a\x00\x01p";
const V5_CONNECT: &[u8] = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x0a\x00\x00\x01p";
const LIMIT_BYTES: usize = 1024;

fn connected(version: Version) -> Decoder {
    let mut decoder = Decoder::new(LIMIT_BYTES);
    let connect = if version == Version::V4 {
        V4_CONNECT
    } else {
        V5_CONNECT
    };
    assert!(matches!(
        decoder.decode(&mut connect.into()),
        Ok(Some(Incoming::Connect(_)))
    ));
    assert_eq!(decoder.version(), Some(version));
    decoder
}

fn one(version: Version, bytes: &[u8]) -> Result<Option<Incoming>, WireError> {
    connected(version).decode(&mut bytes.into())
}

fn written(version: Version, packet: &Outgoing) -> Vec<u8> {
    let mut buffer = BytesMut::new();
    let count = encode(version, packet, &mut buffer).unwrap();
    assert_eq!(count, buffer.len());
    buffer.to_vec()
}

fn message(user: Vec<(String, String)>) -> Arc<Message> {
    Arc::new(Message {
        topic: TopicName::new("a/b").unwrap(),
        payload: Bytes::from_static(b"hi"),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: MessageProperties {
            user,
            ..MessageProperties::default()
        },
    })
}

fn out(message: Arc<Message>, qos: QoS, id: u16) -> Outgoing {
    let (dup, retain, expiry_s) = (false, false, None);
    Outgoing::Publish(PublishOut {
        message,
        id,
        dup,
        qos,
        retain,
        expiry_s,
        subscription_ids: Vec::new(),
    })
}

#[test]
fn a_connect_says_all_it_has() {
    let bytes = b"\x10\x33\x00\x04MQTT\x05\xee\x00\x1e\x08\x11\x00\x00\x00\x3c\x21\x00\x07\x00\x01c\
        \x05\x18\x00\x00\x00\x05\x00\x03w/t\x00\x02by\x00\x01u\x00\x01p";
    let mut bytes = bytes.to_vec();
    bytes[1] = u8::try_from(bytes.len() - 2).unwrap();
    let mut decoder = Decoder::new(LIMIT_BYTES);
    let Ok(Some(Incoming::Connect(connect))) = decoder.decode(&mut bytes[..].into()) else {
        panic!("no CONNECT")
    };
    assert_eq!(
        (
            connect.keep_alive_s,
            connect.session_expiry_s,
            connect.receive_maximum
        ),
        (30, 60, 7)
    );
    assert!(connect.clean_start);
    let will = connect.will.as_ref().unwrap();
    assert_eq!(
        (will.delay_s, will.message.topic.as_str(), will.message.retain),
        (5, "w/t", true)
    );
    assert_eq!(will.message.qos, QoS::AtLeastOnce);
    let login = connect.login.as_ref().unwrap();
    assert_eq!((login.user.as_str(), login.password.as_str()), ("u", "p"));
    assert_eq!(format!("{login:?}"), "Login { user: \"u\", .. }");
}

#[test]
fn a_connect_of_3_1_1_has_its_expiry_from_the_clean_flag() {
    for (flags, expiry_s) in [(0x02, 0), (0x00, u32::MAX)] {
        let mut bytes = V4_CONNECT.to_vec();
        bytes[9] = flags;
        let read = Decoder::new(LIMIT_BYTES).decode(&mut bytes[..].into());
        let Ok(Some(Incoming::Connect(connect))) = read else {
            panic!("{read:?}")
        };
        assert_eq!(connect.session_expiry_s, expiry_s);
    }
}

#[test]
fn a_connect_comes_first_and_once() {
    assert!(matches!(
        Decoder::new(9).decode(&mut b"\xc0\x00"[..].into()),
        Err(WireError::Protocol(_))
    ));
    assert!(matches!(
        one(Version::V4, V4_CONNECT),
        Err(WireError::Protocol(_))
    ));
    let old = b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x0a\x00\x01p";
    assert_eq!(
        Decoder::new(99).decode(&mut old[..].into()),
        Err(WireError::Version(3))
    );
}

#[test]
fn what_only_a_server_sends_is_refused_at_its_first_byte() {
    for kind in [0_u8, 2, 9, 11, 13, 15] {
        for version in [Version::V4, Version::V5] {
            assert!(
                matches!(one(version, &[kind << 4]), Err(WireError::Protocol(_))),
                "{kind}"
            );
        }
    }
}

#[test]
fn a_size_is_judged_when_it_is_announced() {
    let too_large = Err(WireError::TooLarge {
        bytes: 1026,
        limit: LIMIT_BYTES,
    });
    assert_eq!(one(Version::V4, &[0x30, 0xff, 0x07]), too_large);
    assert_eq!(one(Version::V4, &[0x30, 0xfd, 0x07]), Ok(None));
    let unknown = Decoder::new(usize::MAX).decode(&mut b"\x10\xff\xff\xff\x7f"[..].into());
    assert!(matches!(
        unknown,
        Err(WireError::TooLarge {
            limit: MAX_CONNECT_BYTES,
            ..
        })
    ));
    assert!(matches!(
        one(Version::V4, &[0x30, 0xff, 0xff, 0xff, 0xff]),
        Err(WireError::Malformed { .. })
    ));
}

#[test]
fn packets_are_taken_one_by_one_as_they_become_whole() {
    let mut decoder = connected(Version::V4);
    let mut buffer = BytesMut::new();
    let bytes = b"\x32\x09\x00\x03a/b\x00\x07hi\xc0\x00";
    let mut packets = Vec::new();
    for byte in bytes {
        buffer.extend_from_slice(&[*byte]);
        packets.extend(decoder.decode(&mut buffer).unwrap());
    }
    let [Incoming::Publish(publish), Incoming::PingReq] = &packets[..] else {
        panic!("{packets:?}")
    };
    assert_eq!(
        (publish.id, publish.qos, &publish.payload[..]),
        (7, QoS::AtLeastOnce, &b"hi"[..])
    );
}

#[test]
fn what_the_codec_would_let_pass_is_refused() {
    let cases: &[(Version, &[u8])] = &[
        (Version::V4, b"\xa2\x02\x00\x01"),
        (Version::V4, b"\x82\x06\x00\x01\x00\x01a\x04"),
        (Version::V4, b"\x80\x06\x00\x01\x00\x01a\x00"),
        (Version::V4, b"\x40\x02\x00\x00"),
        (Version::V4, b"\x50\x03\x00\x01\x00"),
        (Version::V4, b"\x30\x04\x00\x02\xff\xff"),
        (Version::V4, b"\x30\x05\x00\x03a/+"),
        (Version::V4, b"\x38\x03\x00\x01a"),
        (Version::V4, b"\x30\x02\x00\x00"),
        (Version::V5, b"\x30\x03\x00\x00\x00"),
        (Version::V5, b"\x30\x0a\x00\x01a\x06\x23\x00\x01\x23\x00\x01"),
        (Version::V5, b"\x30\x07\x00\x01a\x03\x23\x00\x00"),
        (Version::V5, b"\x30\x06\x00\x01a\x02\x0b\x01"),
        (Version::V5, b"\x30\x06\x00\x01a\x02\x01\x02"),
        (Version::V5, b"\xc0\x01\x00"),
    ];
    for (version, bytes) in cases {
        assert!(one(*version, bytes).is_err(), "{version:?} {bytes:02x?}");
    }
}

#[test]
fn user_properties_are_bounded_in_number_and_size() {
    // Longer than a length of one byte: 64 properties take more than 127.
    let publish = |pairs: usize, value_bytes: u8| {
        let mut pair = vec![0x26, 0, 1, b'k', 0, value_bytes];
        pair.extend(vec![b'v'; value_bytes.into()]);
        let properties = pair.repeat(pairs);
        let length =
            |bytes: usize| [bytes % 128 + 128, bytes / 128].map(|digit| u8::try_from(digit).unwrap());
        let body = [b"\x00\x01a", &length(properties.len())[..], &properties].concat();
        [&[0x30][..], &length(body.len()), &body].concat()
    };
    let taken = |bytes: Vec<u8>| {
        let mut decoder = Decoder::new(8 * LIMIT_BYTES);
        decoder.decode(&mut V5_CONNECT.into()).unwrap();
        decoder.decode(&mut bytes[..].into())
    };
    let Ok(Some(Incoming::Publish(most))) = taken(publish(64, 59)) else {
        panic!("64 of 64 bytes are taken")
    };
    assert_eq!(most.properties.user.len(), 64);
    for beyond in [publish(65, 0), publish(64, 60)] {
        let refused = taken(beyond).unwrap_err();
        assert_eq!(refused, WireError::UserProperties);
        assert_eq!(refused.reason(), Reason::QuotaExceeded);
    }
}

/// What is kept is no part of the buffer that it was read into: nothing else would free that.
#[test]
fn what_is_kept_is_a_copy() {
    let mut decoder = connected(Version::V5);
    let mut buffer = BytesMut::from(&b"\x30\x09\x00\x01a\x05\x09\x00\x02idx"[..]);
    let read = buffer.as_ptr() as usize..buffer.as_ptr() as usize + buffer.len();
    let Ok(Some(Incoming::Publish(publish))) = decoder.decode(&mut buffer) else {
        panic!("no PUBLISH")
    };
    let correlation = publish.properties.correlation.unwrap();
    assert_eq!(&correlation[..], b"id");
    assert!(!read.contains(&(correlation.as_ptr() as usize)));
}

#[test]
fn a_disconnect_may_have_a_reason_alone() {
    let plain = Incoming::Disconnect {
        with_will: false,
        session_expiry_s: None,
    };
    let with_will = Incoming::Disconnect {
        with_will: true,
        session_expiry_s: None,
    };
    assert_eq!(one(Version::V5, b"\xe0\x00"), Ok(Some(plain.clone())));
    assert_eq!(one(Version::V5, b"\xe0\x01\x00"), Ok(Some(plain)));
    assert_eq!(one(Version::V5, b"\xe0\x01\x04"), Ok(Some(with_will)));
}

#[test]
fn a_publish_is_written_for_each_version() {
    let user = vec![("k".to_owned(), "v".to_owned())];
    let plain = b"\x32\x09\x00\x03a/b\x00\x07hi";
    assert_eq!(
        written(Version::V4, &out(message(user.clone()), QoS::AtLeastOnce, 7)),
        plain
    );
    let bare = b"\x30\x08\x00\x03a/b\x00hi";
    assert_eq!(
        written(Version::V5, &out(message(Vec::new()), QoS::AtMostOnce, 7)),
        bare
    );
    let told = b"\x32\x11\x00\x03a/b\x00\x07\x07\x26\x00\x01k\x00\x01vhi";
    assert_eq!(
        written(Version::V5, &out(message(user), QoS::AtLeastOnce, 7)),
        told
    );
}

#[test]
fn refusals_are_written_as_a_version_has_them() {
    let disconnect = Outgoing::Disconnect {
        reason: Reason::SessionTakenOver,
        said: None,
    };
    assert_eq!(written(Version::V5, &disconnect), b"\xe0\x02\x8e\x00");
    assert_eq!(written(Version::V4, &disconnect), b"");
    let refused = |reason| Outgoing::ConnAck(Box::new(ConnAck::bare(reason, None)));
    assert_eq!(
        written(Version::V4, &refused(Reason::NotAuthorized)),
        b"\x20\x02\x00\x05"
    );
    assert_eq!(written(Version::V4, &refused(Reason::MalformedPacket)), b"");
    assert_eq!(
        written(Version::V5, &refused(Reason::NotAuthorized)),
        b"\x20\x03\x00\x87\x00"
    );
    let granted = vec![Ok(QoS::AtLeastOnce), Err(Reason::NotAuthorized)];
    let suback = Outgoing::SubAck {
        id: 1,
        granted,
        said: None,
    };
    assert_eq!(written(Version::V4, &suback), b"\x90\x04\x00\x01\x01\x80");
    assert_eq!(written(Version::V5, &suback), b"\x90\x05\x00\x01\x00\x01\x87");
}

/// Every reason in every packet: the writer has paths that panic.
#[test]
fn no_reason_panics_the_writer() {
    let reasons = [
        Reason::Success,
        Reason::NoSubscriptionExisted,
        Reason::UnspecifiedError,
        Reason::ServerShuttingDown,
        Reason::KeepAliveTimeout,
        Reason::PacketIdNotFound,
        Reason::PacketTooLarge,
        Reason::SharedSubscriptionsNotSupported,
        Reason::QuotaExceeded,
        Reason::ConnectionRateExceeded,
    ];
    let said = Some(ReasonString::of(&"it is so"));
    for (reason, said) in reasons
        .iter()
        .flat_map(|reason| [(*reason, &None), (*reason, &said)])
    {
        for version in [Version::V4, Version::V5] {
            for packet in [
                Outgoing::ConnAck(Box::new(ConnAck::bare(reason, said.clone()))),
                Outgoing::PubAck {
                    id: 1,
                    reason,
                    said: said.clone(),
                },
                Outgoing::PubRec {
                    id: 1,
                    reason,
                    said: said.clone(),
                },
                Outgoing::PubRel { id: 1, reason },
                Outgoing::PubComp { id: 1, reason },
                Outgoing::SubAck {
                    id: 1,
                    granted: vec![Err(reason)],
                    said: said.clone(),
                },
                Outgoing::UnsubAck {
                    id: 1,
                    reasons: vec![reason],
                },
                Outgoing::Disconnect {
                    reason,
                    said: said.clone(),
                },
            ] {
                let bytes = written(version, &packet);
                assert!(
                    bytes.is_empty() || usize::from(bytes[1]) == bytes.len() - 2,
                    "{packet:?} {bytes:02x?}"
                );
            }
        }
    }
}

fn drain(mut decoder: Decoder, bytes: &[u8]) -> (Vec<Incoming>, Option<WireError>) {
    let mut buffer = BytesMut::from(bytes);
    let mut packets = Vec::new();
    loop {
        match decoder.decode(&mut buffer) {
            Ok(Some(packet)) => packets.push(packet),
            Ok(None) => return (packets, None),
            Err(error) => return (packets, Some(error)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        drain(Decoder::new(LIMIT_BYTES), &bytes);
        drain(connected(Version::V4), &bytes);
        drain(connected(Version::V5), &bytes);
    }

    /// Frames that are whole, of every kind: these get past the measuring.
    #[test]
    fn no_body_panics(first in any::<u8>(), body in prop::collection::vec(0_u8..48, 0..40), v5 in any::<bool>()) {
        let mut bytes = vec![first, u8::try_from(body.len()).unwrap()];
        bytes.extend(body);
        let (_, error) = drain(connected(if v5 { Version::V5 } else { Version::V4 }), &bytes);
        if let Some(WireError::Malformed { what, .. }) = error {
            prop_assert_ne!(what, "the codec gave up");
        }
    }

    #[test]
    fn a_connect_with_changed_bytes_does_not_panic(at in 0_usize..16, byte in any::<u8>(), v5 in any::<bool>()) {
        let mut bytes = if v5 { V5_CONNECT } else { V4_CONNECT }.to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        drain(Decoder::new(LIMIT_BYTES), &bytes);
    }
}

#[derive(Deserialize)]
struct Group {
    group: String,
    tests: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    connect: Option<bool>,
    expect_disconnect: Option<bool>,
    msgs: Vec<Sent>,
}

#[derive(Deserialize)]
struct Sent {
    r#type: String,
    payload: Option<String>,
}

/// The packet vectors of others, where they are at hand: none panics, and what a server has to answer
/// without ending the connection is read without an error. What a session refuses is not judged here.
#[test]
fn published_vectors_are_read() {
    let data = std::env::var_os("CROSSDOCK_TEST_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let Ok(files) = std::fs::read_dir(data.join("conformance/mqtt-packet-vectors")) else {
        // Past the harness, which keeps the output of a test that passes to itself.
        let mut out = std::io::stderr();
        writeln!(
            out,
            "SKIPPED: no MQTT packet vectors in {}; CROSSDOCK_TEST_DATA names the folder",
            data.display()
        )
        .unwrap();
        return;
    };
    let (mut count, mut refused_wrongly) = (0, Vec::new());
    for file in files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
    {
        let groups: Vec<Group> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        for (group, vector) in groups
            .iter()
            .flat_map(|group| group.tests.iter().map(move |test| (group, test)))
        {
            let version = if group.group.starts_with("v5") {
                Version::V5
            } else {
                Version::V4
            };
            let fresh = vector.connect == Some(false);
            let decoder = if fresh {
                Decoder::new(usize::MAX)
            } else {
                connected(version)
            };
            let sent = vector.msgs.iter().filter(|message| message.r#type == "send");
            let hex: String = sent.filter_map(|message| message.payload.as_deref()).collect();
            let hex: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
            let bytes: Vec<u8> = hex
                .chunks_exact(2)
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect();
            count += 1;
            let (_, error) = drain(decoder, &bytes);
            let old = group.group.starts_with("v3.1 ") || matches!(error, Some(WireError::Version(_)));
            // MQTT-3.3.4-6 forbids a client what these eight let it do.
            let forbidden =
                vector.name.starts_with("subscription-identifier=") && group.group.contains("PUBLISH");
            if let Some(error) =
                error.filter(|_| vector.expect_disconnect == Some(false) && !old && !forbidden)
            {
                refused_wrongly.push(format!("{} / {}: {error}", group.group, vector.name));
            }
        }
    }
    assert!(count > 100, "{count} vectors");
    eprintln!("{count} vectors read");
    assert_eq!(refused_wrongly, Vec::<String>::new());
}
