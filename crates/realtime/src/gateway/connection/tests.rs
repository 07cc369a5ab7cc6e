use futures::task::noop_waker_ref;
use tokio::io::{AsyncReadExt, DuplexStream, ReadBuf};

use super::super::tests::{Door, open};
use super::super::{Gateway, SESSION_LIMITS, session::Key};
use super::*;
use crate::session::Client;
use crate::wire::Reason;

/// What fits between the two ends.
const PIPE_BYTES: usize = 64;

struct Nobody;

impl Rights for Nobody {
    fn principal(&self) -> &'static str {
        "nobody"
    }
}

/// One that has more to write than its client has taken, and the client's end.
fn writing(gateway: &Gateway) -> (Connection<'_, DuplexStream>, DuplexStream) {
    let (near, far) = tokio::io::duplex(PIPE_BYTES);
    let mut wire = Wire::over(near);
    wire.unwritten.extend_from_slice(&[b'x'; 10 * PIPE_BYTES]);
    (connected(gateway, wire), far)
}

fn connected<S>(gateway: &Gateway, wire: Wire<S>) -> Connection<'_, S> {
    let terms = crate::session::Terms {
        version: Version::V5,
        session_expiry_s: 0,
        will: None,
        in_flight: 1,
    };
    let key = Key {
        principal: "nobody".into(),
        client_id: "x".into(),
    };
    let rights = Arc::new(Nobody);
    let client = Client::new(terms, 1, SESSION_LIMITS);
    Connection {
        shared: &gateway.0,
        session: Arc::new(Session::new(1, key, client, rights.clone())),
        epoch: 0,
        takes: Takes {
            version: Version::V5,
            max_packet_bytes: usize::MAX,
            problems: true,
        },
        alive: Alive::new(60, gateway.0.clock.now_ms()),
        rights,
        places: OwnPlaces::default(),
        reads: OwnReads::default(),
        packet_since_ms: None,
        stuck_since_ms: None,
        unread: Default::default(),
        wire,
    }
}

/// A client that sends PINGREQ without a pause and takes every answer, until so many bytes are sent.
struct Torrent(usize);

impl AsyncRead for Torrent {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let bytes = space.remaining().min(self.0);
        space.put_slice(&[0xc0, 0x00].repeat(bytes / 2));
        self.0 -= bytes;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Torrent {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// After its CONNECT.
fn torrent(bytes: usize) -> Wire<Torrent> {
    let mut wire = Wire::over(Torrent(bytes));
    wire.unread
        .extend_from_slice(b"\x10\x0d\0\x04MQTT\x05\x02\0\x3c\0\0\0");
    assert!(matches!(wire.decode(), Ok(Some(Incoming::Connect(_)))));
    wire
}

#[tokio::test]
async fn who_sends_without_a_pause_lets_the_others_in_between() {
    const TURNS: usize = 10;
    let (gateway, _) = open(Door::default());
    let mut connection = connected(&gateway, torrent(TURNS * TURN_BYTES));
    let mut others_turns = 0;
    tokio::select! {
        biased;
        over = connection.work() => assert!(matches!(over, Err(Over::Lost))),
        () = async {
            loop {
                others_turns += 1;
                tokio::task::yield_now().await;
            }
        } => {}
    }
    assert!(others_turns >= TURNS, "{others_turns}");
}

#[tokio::test]
async fn who_sends_without_a_pause_is_ended_when_its_token_is() {
    struct Ended;

    impl Rights for Ended {
        fn principal(&self) -> &'static str {
            "nobody"
        }

        fn ends_ms(&self) -> Option<u64> {
            Some(0)
        }
    }

    let (gateway, _) = open(Door::default());
    let mut connection = connected(&gateway, torrent(10 * TURN_BYTES));
    connection.rights = Arc::new(Ended);
    assert!(matches!(connection.work().await, Err(Over::Ended(Why::Expired))));
}

#[tokio::test]
async fn who_takes_a_little_is_not_stuck_and_who_takes_nothing_is() {
    let (gateway, _) = open(Door::default());
    let (mut connection, mut far) = writing(&gateway);
    let mut due = Box::pin(tokio::time::sleep(Duration::ZERO));
    let mut poll = |connection: &mut Connection<'_, _>| {
        connection.poll(&mut Context::from_waker(noop_waker_ref()), due.as_mut())
    };
    assert!(poll(&mut connection).is_pending());
    assert!(connection.stuck_since_ms.is_some());
    for _ in 0..3 {
        // Since long ago.
        connection.stuck_since_ms = Some(0);
        far.read_exact(&mut [0; PIPE_BYTES / 2]).await.unwrap();
        assert!(poll(&mut connection).is_pending());
    }
    connection.stuck_since_ms = Some(0);
    assert!(matches!(
        poll(&mut connection),
        Poll::Ready(Err(Over::Ended(Why::Stuck)))
    ));
}

#[tokio::test]
async fn who_takes_nothing_is_told_codes_alone() {
    let (gateway, _) = open(Door::default());
    let (mut connection, _far) = writing(&gateway);
    let refusal = Outgoing::PubAck {
        id: 1,
        reason: Reason::NotAuthorized,
        said: Some(ReasonString::of(&"no")),
    };
    let mut queued = |waits: usize| {
        connection.wire.unwritten.resize(waits, 0);
        connection.wire.queue(connection.takes, &refusal);
        connection.wire.unwritten.len() - waits
    };
    assert_eq!([queued(UNWRITTEN_MAX - 1), queued(UNWRITTEN_MAX)], [11, 6]);
}

#[tokio::test]
async fn only_who_is_slow_is_counted_as_slow() {
    let (gateway, _) = open(Door::default());
    let (connection, _far) = writing(&gateway);
    for (over, expected) in [
        (Over::Ended(Why::Slow), [1, 0, 0]),
        (Over::Ended(Why::TooMuchUnread), [1, 1, 0]),
        (Over::Ended(Why::Wire(WireError::UserProperties)), [1, 1, 1]),
    ] {
        assert_eq!(connection.judge(over).0.reason(), Reason::QuotaExceeded);
        let ended = gateway.figures().ended;
        assert_eq!(
            ended.into_iter().map(|(_, count)| count).collect::<Vec<_>>(),
            expected
        );
    }
}
