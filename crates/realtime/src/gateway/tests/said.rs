//! Who is refused something is told why, in words, as far as it wants them and has room for them.

use super::client::Hello;
use super::*;

async fn refused(gateway: &Gateway, hello: Hello) -> (u8, Option<String>) {
    let (client, answer) = Client::connect(gateway, hello).await;
    (answer.1, client.said)
}

#[tokio::test]
async fn a_refused_login_is_told_why() {
    let (gateway, _) = open(Door::default());
    let nobody = hello(" ", "x");
    let expected = (Reason::NotAuthorized.code(), Some("no filter".to_owned()));
    assert_eq!(refused(&gateway, nobody.clone()).await, expected);
    // A CONNACK may say so even to whoever wants no such words in other packets.
    let terse = Hello {
        problems: Some(0),
        ..nobody.clone()
    };
    assert_eq!(refused(&gateway, terse).await, expected);
    let small = Hello {
        max_packet_bytes: Some(10),
        ..nobody
    };
    assert_eq!(refused(&gateway, small).await, (expected.0, None));
    let unreadable = hello("a", "b\u{7}");
    let said = "malformed CONNECT: a name holds a control character, 22 bytes into the packet".to_owned();
    assert_eq!(
        refused(&gateway, unreadable).await,
        (Reason::MalformedPacket.code(), Some(said))
    );
    let long = hello("a", &"x".repeat(257));
    let said = "the client id has 257 bytes, expected at most 256".to_owned();
    assert_eq!(
        refused(&gateway, long).await,
        (Reason::ClientIdNotValid.code(), Some(said))
    );
    let will = LastWill {
        topic: "theirs".into(),
        message: Bytes::new(),
        qos: QoS::AtMostOnce,
        retain: false,
    };
    let elsewhere = Hello {
        will: Some(will),
        ..hello("mine", "x")
    };
    let said = "the will is for \"theirs\", to which this token may not publish".to_owned();
    assert_eq!(
        refused(&gateway, elsewhere).await,
        (Reason::NotAuthorized.code(), Some(said))
    );
}

#[tokio::test]
async fn a_refused_filter_is_named_with_those_that_there_are_to_whoever_wants_to_know() {
    let (gateway, _) = open(Door::default());
    let expected = "\"state/+\" is not within what this token may read: \"state/a\", \"stock/#\"";
    for (problems, max_packet_bytes, said) in [
        (None, None, Some(expected)),
        (Some(1), Some(200), Some(expected)),
        (Some(0), None, None),
        (None, Some(50), None),
    ] {
        let hello = Hello {
            problems,
            max_packet_bytes,
            ..hello("state/a stock/#", "x")
        };
        let (mut client, answer) = Client::connect(&gateway, hello).await;
        assert_eq!(answer.1, Reason::Success.code());
        assert_eq!(
            client.subscribe("state/+", QoS::AtMostOnce).await,
            "NotAuthorized"
        );
        assert_eq!(client.said.as_deref(), said);
    }
}

#[tokio::test]
async fn whoever_is_disconnected_is_told_why() {
    let revoked = Arc::new(AtomicBool::new(false));
    let (gateway, _) = open(Door {
        revoked: revoked.clone(),
        ends_ms: None,
        ..Door::default()
    });
    let mut first = connected(&gateway, "mine", "same").await;
    let mut second = connected(&gateway, "mine", "same").await;
    first.ended().await;
    let said = "another connection with this client id and the same subject took the session over";
    assert_eq!(first.said.as_deref(), Some(said));
    revoked.store(true, Relaxed);
    gateway.recheck();
    second.ended().await;
    assert_eq!(second.said.as_deref(), Some("the token was revoked"));
    let (gateway, _) = open(Door {
        ends_ms: Some(0),
        ..Door::default()
    });
    let mut client = connected(&gateway, "mine", "x").await;
    client.ended().await;
    assert_eq!(client.said.as_deref(), Some("the token has expired"));
}

#[tokio::test]
async fn a_packet_that_is_none_is_shown_its_place() {
    let (gateway, _) = open(Door::default());
    for (bytes, code, expected) in [
        (
            &b"\x82\x07\x00\x01\x00\x00\x01a\x03"[..],
            DisconnectReasonCode::MalformedPacket,
            "malformed SUBSCRIBE: subscription options 0x03, 9 bytes into the packet",
        ),
        (
            b"\x30\x80\x80\x20",
            DisconnectReasonCode::PacketTooLarge,
            "a packet of 524292 bytes, expected at most 262144",
        ),
    ] {
        let mut client = connected(&gateway, "mine", "x").await;
        client.send_bytes(bytes).await;
        assert_eq!(client.ended().await, Some(code));
        assert_eq!(client.said.as_deref(), Some(expected));
    }
}
