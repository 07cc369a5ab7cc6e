//! Sessions by themselves, without connections: who is woken, what is let go where there is no room.

use std::sync::atomic::AtomicUsize;
use std::task::{Wake, Waker};

use super::super::session::{Manner, Standing};
use super::super::sessions::Taken;
use super::*;
use crate::session::Terms;
use crate::wire::{Message, QoS, Version};

fn terms() -> Terms {
    Terms {
        version: Version::V5,
        session_expiry_s: 60,
        will: None,
        in_flight: IN_FLIGHT_MAX,
    }
}

/// As a connection does, with rights under this filter.
fn take(sessions: &Sessions, client_id: &str, filter: &str) -> Taken {
    let rights = Under {
        user: "me".to_owned(),
        filters: vec![TopicFilter::new(filter).unwrap()],
        ends_ms: None,
        revoked: Arc::default(),
    };
    let key = super::super::session::Key {
        principal: "me".into(),
        client_id: client_id.into(),
    };
    let now_ms = Clock::new().now_ms();
    sessions
        .take(key, false, terms(), Arc::new(rights), now_ms)
        .unwrap()
}

fn push(sessions: &Sessions, session: &Session, message: &Arc<Message>) {
    let manner = Manner {
        qos: QoS::AtLeastOnce,
        retain: false,
        subscription_ids: Vec::new(),
        is_state: true,
    };
    let now_ms = Clock::new().now_ms();
    session.push(message, manner, &Counters::default(), &sessions.pressure, now_ms);
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
fn fill(sessions: &Sessions, session: &Session, epoch: u64) -> Standing {
    let (counters, now_ms) = (Counters::default(), Clock::new().now_ms());
    let buffer = &mut bytes::BytesMut::new();
    session.fill(epoch, buffer, usize::MAX, &counters, &sessions.pressure, now_ms)
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
    let first = take(&sessions, "x", "a");
    let second = take(&sessions, "x", "a");
    let session = &second.session;
    let (old, new) = (Arc::<Woken>::default(), Arc::<Woken>::default());
    assert!(session.register(second.epoch, &Waker::from(new.clone())));
    assert!(session.has_news());
    assert!(!session.register(first.epoch, &Waker::from(old.clone())));
    push(&sessions, session, &message("a", 1));
    assert_eq!((old.0.load(Relaxed), new.0.load(Relaxed)), (0, 1));
    assert!(session.register(second.epoch, &Waker::from(new.clone())));
    assert!(session.has_news(), "the old connection looks first");
    assert_eq!(
        fill(&sessions, session, first.epoch),
        Standing::Ended(Reason::SessionTakenOver)
    );
    assert_eq!(new.0.load(Relaxed), 2);
    assert!(session.has_news());
    assert_eq!(fill(&sessions, session, second.epoch), Standing::Holds);
}
