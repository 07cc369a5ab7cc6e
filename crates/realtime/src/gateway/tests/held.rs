//! Sessions by themselves, without connections: who is woken, what is let go where there is no room.

use std::sync::atomic::AtomicUsize;
use std::task::{Wake, Waker};

use bytes::BytesMut;

use futures::FutureExt;

use super::super::session::{Key, Manner};
use super::super::sessions::Taken;
use super::*;
use crate::session::Terms;
use crate::why::Why;
use crate::wire::{Incoming, Message, QoS, RetainHandling, SubscribeFilter, Version};

const NOW_MS: u64 = 1_000;

fn terms() -> Terms {
    Terms {
        version: Version::V5,
        session_expiry_s: 60,
        will: None,
        in_flight: IN_FLIGHT_MAX,
    }
}

/// As a connection does.
fn take(sessions: &Sessions, client_id: &str) -> Taken {
    let rights = Under {
        user: "me".to_owned(),
        filters: vec![TopicFilter::new("#").unwrap()],
        ends_ms: None,
        revoked: Arc::default(),
    };
    let key = Key {
        principal: "me".into(),
        client_id: client_id.into(),
    };
    sessions
        .take(key, false, terms(), Arc::new(rights), NOW_MS)
        .unwrap()
}

fn push(sessions: &Sessions, session: &Session, message: &Arc<Message>) {
    let manner = Manner {
        qos: QoS::AtLeastOnce,
        retain: false,
        subscription_ids: Vec::new(),
        is_state: true,
    };
    session.push(message, manner, &Counters::default(), &sessions.pressure, NOW_MS);
}

fn message(topic: &str, bytes: usize) -> Arc<Message> {
    Arc::new(Message {
        topic: TopicName::new(topic).unwrap(),
        payload: Bytes::from(vec![b'x'; bytes]),
        qos: QoS::AtLeastOnce,
        retain: true,
        properties: MessageProperties::default(),
    })
}

/// Writes what waits; gives how the connection stands.
fn fill(sessions: &Sessions, session: &Session, epoch: u64) -> Result<(), Why> {
    let (counters, buffer) = (Counters::default(), &mut BytesMut::new());
    session.fill(epoch, buffer, usize::MAX, &counters, &sessions.pressure, NOW_MS)
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
fn who_lost_a_session_neither_stands_before_who_has_it_nor_takes_its_news() {
    let sessions = Sessions::default();
    let (first, second) = (take(&sessions, "x"), take(&sessions, "x"));
    let session = &second.session;
    let (old, new) = (Arc::<Woken>::default(), Arc::<Woken>::default());
    assert!(session.register(second.epoch, &Waker::from(new.clone())));
    assert!(session.has_news());
    assert!(!session.register(first.epoch, &Waker::from(old.clone())));
    push(&sessions, session, &message("a", 1));
    assert_eq!((old.0.load(Relaxed), new.0.load(Relaxed)), (0, 1));
    assert!(session.register(second.epoch, &Waker::from(new.clone())));
    assert!(session.has_news(), "the old connection looks first");
    assert_eq!(fill(&sessions, session, first.epoch), Err(Why::TakenOver));
    assert_eq!(new.0.load(Relaxed), 2);
    assert!(session.has_news());
    assert_eq!(fill(&sessions, session, second.epoch), Ok(()));
}

/// Takes a session for each that is named, and puts almost 4 MiB to each, which is what it may have.
fn loaded(sessions: &Sessions, names: &str, count: usize) -> Vec<Taken> {
    let large: Vec<_> = (0..15)
        .map(|number| message(&format!("big/{number}"), PACKET_BYTES_MAX))
        .collect();
    let taken = (0..count).map(|number| take(sessions, &format!("{names}-{number}")));
    let loaded = taken.inspect(|taken| {
        for message in &large {
            push(sessions, &taken.session, message);
        }
    });
    loaded.collect()
}

/// Its client subscribes and is gone.
fn left(sessions: &Sessions, taken: &Taken) {
    let filter = SubscribeFilter {
        text: "#".to_owned(),
        qos: QoS::AtLeastOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::Never,
    };
    let subscribe = Incoming::Subscribe {
        id: 1,
        filters: vec![filter],
        subscription_id: None,
    };
    let session = &taken.session;
    session.handle(taken.epoch, subscribe, NOW_MS).unwrap();
    session
        .leave(taken.epoch, None, &sessions.pressure, NOW_MS)
        .unwrap();
}

#[test]
fn who_is_away_loses_what_makes_room_and_nothing_where_it_would_make_none() {
    for (reading, away, lost) in [(40, 30, 19), (60, 10, 10), (70, 10, 0)] {
        let sessions = Sessions::default();
        let reading = loaded(&sessions, "reading", reading);
        let away = loaded(&sessions, "away", away);
        let empty = take(&sessions, "empty");
        for taken in away.iter().chain([&empty]) {
            left(&sessions, taken);
        }
        assert!(sessions.pressure.is_full());
        sessions.unload(&Counters::default(), NOW_MS, |keeps_up| !keeps_up);
        let is_empty = |taken: &&Taken| taken.session.load(NOW_MS).1 == 0;
        assert_eq!(away.iter().filter(is_empty).count(), lost);
        assert_eq!(reading.iter().filter(is_empty).count(), 0);
        let rereads = |name: &str| take(&sessions, name).reread.len();
        let again = (0..away.len()).map(|number| rereads(&format!("away-{number}")));
        assert_eq!(again.sum::<usize>(), lost);
        assert_eq!(rereads("empty"), 0, "nothing went past it");
    }
}

/// Not for a moment: it is asked once, and has to be ready.
#[tokio::test]
async fn nobody_waits_for_those_who_do_not_read_though_all_together_hold_too_much() {
    let sessions = Arc::<Sessions>::default();
    let _deaf = loaded(&sessions, "deaf", 35);
    for taken in loaded(&sessions, "away", 35) {
        left(&sessions, &taken);
    }
    assert!(sessions.pressure.is_full());
    let fan_out = FanOut {
        sessions: sessions.clone(),
        retained: Arc::default(),
        counters: Arc::default(),
        clock: Clock::new(),
        versions: Versions::default(),
    };
    assert_eq!(fan_out.wait_for_room().now_or_never(), Some(()));
    assert!(sessions.pressure.has_room());
}
