use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::wire::{Message, MessageProperties, Outgoing, QoS, Reason};
use crossdock_model::topic::{TopicFilter, TopicName};

const LIMITS: Limits = Limits {
    messages: 3,
    bytes: 10_000,
    in_flight: 2,
};

fn waiting(topic: &str, payload: &str, qos: QoS) -> Waiting {
    let message = Message {
        topic: TopicName::new(topic).unwrap(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        qos,
        retain: false,
        properties: MessageProperties::default(),
    };
    let is_state = topic.starts_with("state/");
    Waiting {
        message: Arc::new(message),
        qos,
        retain: false,
        subscription_ids: Vec::new(),
        is_state,
    }
}

fn payloads(outbox: &mut Outbox) -> Vec<String> {
    let popped = std::iter::from_fn(|| outbox.pop(0));
    popped
        .map(|publish| String::from_utf8(publish.message.payload.to_vec()).unwrap())
        .collect()
}

#[test]
fn qos_0_drops_its_oldest() {
    let mut outbox = Outbox::new(LIMITS);
    for payload in ["1", "2", "3"] {
        assert_eq!(
            outbox.push(waiting("a", payload, QoS::AtMostOnce), 0),
            Pushed::Waits
        );
    }
    assert_eq!(outbox.push(waiting("a", "4", QoS::AtMostOnce), 0), Pushed::Waits);
    assert_eq!(outbox.lost(), 1);
    assert_eq!(payloads(&mut outbox), ["2", "3", "4"]);
    assert_eq!(outbox.bytes(), 0);
}

#[test]
fn there_is_room_where_little_waits_or_all_before_is_sent() {
    let text = "x".repeat(2_000);
    let mut outbox = Outbox::new(LIMITS);
    let state = |name: &str| waiting(&format!("state/{name}"), &text, QoS::AtMostOnce);
    assert!(outbox.has_room(outbox.end()));
    outbox.push(state("a"), 0);
    assert!(outbox.has_room(outbox.end()), "a quarter");
    outbox.push(state("b"), 0);
    let end = outbox.end();
    assert!(!outbox.has_room(end));
    outbox.pop(0);
    outbox.push(state("c"), 0);
    assert!(!outbox.has_room(end));
    outbox.pop(0);
    outbox.push(state("d"), 0);
    assert!(outbox.has_room(end), "whatever came meanwhile");
    outbox.push(state("e"), 0);
    assert!(!outbox.has_room(end), "it is too much");
    outbox.push(waiting("lost", "x", QoS::AtMostOnce), 0);
    assert!(!outbox.has_room(end), "a little that can be lost is no room");
}

/// What is sent and not acknowledged takes room too.
#[test]
fn there_is_no_room_while_more_than_half_is_on_its_way() {
    let text = "x".repeat(2_000);
    let mut outbox = Outbox::new(LIMITS);
    for name in ["a", "b", "c"] {
        outbox.push(waiting(&format!("state/{name}"), &text, QoS::AtLeastOnce), 0);
    }
    let end = outbox.end();
    assert_eq!(payloads(&mut outbox).len(), 2);
    outbox.acknowledged(1, QoS::AtLeastOnce);
    assert_eq!(payloads(&mut outbox).len(), 1);
    assert!(outbox.has_room(end), "two are on their way");
    outbox.push(waiting("state/d", &text, QoS::AtLeastOnce), 0);
    assert!(!outbox.has_room(end));
}

#[test]
fn qos_1_is_refused_past_the_bound_and_keeps_what_waits() {
    let mut outbox = Outbox::new(LIMITS);
    for payload in ["1", "2", "3"] {
        outbox.push(waiting("a", payload, QoS::AtLeastOnce), 0);
    }
    assert_eq!(outbox.push(waiting("a", "4", QoS::AtLeastOnce), 0), Pushed::Full);
    assert_eq!(
        outbox.push(waiting("a", "5", QoS::AtMostOnce), 0),
        Pushed::Dropped
    );
    assert_eq!(payloads(&mut outbox), ["1", "2"]);
    assert!(outbox.acknowledged(1, QoS::AtLeastOnce));
    assert_eq!(payloads(&mut outbox), ["3"]);
}

#[test]
fn a_state_keeps_its_place_and_its_latest_value() {
    let mut outbox = Outbox::new(LIMITS);
    outbox.push(waiting("state/a", "1", QoS::AtLeastOnce), 0);
    outbox.push(waiting("b", "2", QoS::AtMostOnce), 0);
    outbox.push(waiting("c", "3", QoS::AtMostOnce), 0);
    assert_eq!(
        outbox.push(waiting("state/a", "4", QoS::AtLeastOnce), 0),
        Pushed::Replaced
    );
    assert_eq!(payloads(&mut outbox), ["4", "2", "3"]);
}

/// A reader that keeps an old state for the latest is worse off than one that has to come back.
#[test]
fn a_state_is_never_lost_silently() {
    // Enough for three of these.
    let mut outbox = Outbox::new(Limits { bytes: 420, ..LIMITS });
    for topic in ["state/a", "b", "state/c"] {
        outbox.push(waiting(topic, topic, QoS::AtMostOnce), 0);
    }
    assert_eq!(outbox.push(waiting("d", "d", QoS::AtMostOnce), 0), Pushed::Waits);
    assert_eq!(
        outbox.push(waiting("state/e", "e", QoS::AtMostOnce), 0),
        Pushed::Waits
    );
    assert_eq!(
        outbox.push(waiting("f", "f", QoS::AtMostOnce), 0),
        Pushed::Dropped
    );
    assert_eq!(
        outbox.push(waiting("state/g", "g", QoS::AtMostOnce), 0),
        Pushed::Full
    );
    assert_eq!(outbox.lost(), 4);
    assert_eq!(payloads(&mut outbox), ["state/a", "state/c", "e"]);
}

#[test]
fn qos_0_passes_a_closed_window() {
    let mut outbox = Outbox::new(Limits {
        in_flight: 1,
        ..LIMITS
    });
    for (payload, qos) in [
        ("1", QoS::AtLeastOnce),
        ("2", QoS::AtLeastOnce),
        ("3", QoS::AtMostOnce),
    ] {
        outbox.push(waiting("a", payload, qos), 0);
    }
    assert_eq!(payloads(&mut outbox), ["1", "3"]);
}

#[test]
fn an_acknowledgement_of_nothing_changes_nothing() {
    let mut outbox = Outbox::new(LIMITS);
    outbox.push(waiting("a", "1", QoS::AtLeastOnce), 0);
    let id = outbox.pop(0).unwrap().id;
    assert!(!outbox.acknowledged(id + 1, QoS::AtLeastOnce));
    assert!(!outbox.acknowledged(id, QoS::ExactlyOnce));
    assert_eq!(
        outbox.received(id),
        Outgoing::PubRel {
            id,
            reason: Reason::PacketIdNotFound
        }
    );
    assert!(outbox.acknowledged(id, QoS::AtLeastOnce));
    assert!(!outbox.acknowledged(id, QoS::AtLeastOnce));
}

#[test]
fn a_resumed_session_sends_again_in_order_what_was_on_its_way() {
    let mut outbox = Outbox::new(LIMITS);
    outbox.push(waiting("a", "1", QoS::ExactlyOnce), 0);
    outbox.push(waiting("a", "2", QoS::AtLeastOnce), 0);
    outbox.push(waiting("a", "3", QoS::AtMostOnce), 0);
    let (first, second) = (outbox.pop(0).unwrap(), outbox.pop(0).unwrap());
    assert_eq!(
        outbox.received(first.id),
        Outgoing::PubRel {
            id: first.id,
            reason: Reason::Success
        }
    );
    outbox.suspend();
    assert!(outbox.is_empty());
    let release = Outgoing::PubRel {
        id: first.id,
        reason: Reason::Success,
    };
    assert_eq!(outbox.resume(2), [release]);
    let publish = outbox.pop(0).unwrap();
    assert_eq!((publish.id, publish.dup), (second.id, true));
    assert!(outbox.pop(0).is_none());
    assert!(outbox.acknowledged(first.id, QoS::ExactlyOnce));
}

#[test]
fn what_is_sent_again_fits_the_window_of_the_new_connection() {
    let mut outbox = Outbox::new(LIMITS);
    for payload in ["1", "2", "3"] {
        outbox.push(waiting("a", payload, QoS::AtLeastOnce), 0);
    }
    assert_eq!(payloads(&mut outbox), ["1", "2"]);
    assert_eq!(outbox.resume(1), []);
    assert_eq!(payloads(&mut outbox), ["1"]);
    assert!(
        outbox.acknowledged(2, QoS::AtLeastOnce),
        "as if the answer had been on its way"
    );
    assert!(outbox.pop(0).is_none());
    assert!(outbox.acknowledged(1, QoS::AtLeastOnce));
    assert_eq!(payloads(&mut outbox), ["3"]);
}

#[test]
fn who_comes_back_with_less_rights_gets_less() {
    let mut outbox = Outbox::new(LIMITS);
    outbox.push(waiting("theirs", "1", QoS::ExactlyOnce), 0);
    outbox.push(waiting("theirs", "2", QoS::AtLeastOnce), 0);
    let first = outbox.pop(0).unwrap();
    outbox.pop(0).unwrap();
    outbox.push(waiting("theirs", "3", QoS::AtLeastOnce), 0);
    outbox.push(waiting("mine", "4", QoS::AtLeastOnce), 0);
    assert!(!outbox.keep_only(|topic| topic.as_str() == "mine"));
    let release = Outgoing::PubRel {
        id: first.id,
        reason: Reason::Success,
    };
    assert_eq!(outbox.resume(2), [release], "its client may know the identifier");
    assert_eq!(payloads(&mut outbox), ["4"]);
}

#[test]
fn a_state_that_goes_is_told_of_wherever_it_is() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        for is_sent in [false, qos != QoS::AtMostOnce] {
            let mut outbox = Outbox::new(LIMITS);
            outbox.push(waiting("state/a", "1", qos), 0);
            assert!(!is_sent || outbox.pop(0).is_some());
            assert!(!outbox.keep_only(|_| true));
            assert!(outbox.keep_only(|_| false), "{qos:?}, sent: {is_sent}");
            assert!(!outbox.keep_only(|_| false), "it is gone");
        }
    }
}

#[test]
fn states_are_as_many_as_their_topics() {
    let mut outbox = Outbox::new(LIMITS);
    for number in 0..20 {
        let topic = format!("state/{number}");
        assert_eq!(
            outbox.push(waiting(&topic, "x", QoS::AtLeastOnce), 0),
            Pushed::Waits
        );
    }
    assert!(!outbox.has_missed());
    let large = "x".repeat(LIMITS.bytes);
    assert_eq!(
        outbox.push(waiting("state/0", &large, QoS::AtLeastOnce), 0),
        Pushed::Full
    );
    assert!(outbox.has_missed());
    assert!(!outbox.has_missed(), "it is asked once");
    outbox.push(waiting("state/a", "x", QoS::AtMostOnce), 0);
    outbox.suspend();
    assert!(outbox.has_missed(), "QoS 0 is not kept");
}

#[test]
fn what_expired_is_not_sent_and_the_rest_says_what_is_left() {
    let mut outbox = Outbox::new(LIMITS);
    for expiry_s in [2, 10] {
        let mut late = waiting("a", "x", QoS::AtMostOnce);
        Arc::get_mut(&mut late.message).unwrap().properties.expiry_s = Some(expiry_s);
        outbox.push(late, 1_000);
    }
    assert_eq!(outbox.pop(4_500).unwrap().expiry_s, Some(7));
    assert!(outbox.pop(4_500).is_none());
}

#[test]
fn a_repeated_qos_2_counts_once() {
    let mut inbox = Inbox::new(2);
    assert_eq!(inbox.publish(1), Received::Fresh);
    assert_eq!(inbox.publish(1), Received::Repeated);
    assert_eq!(inbox.publish(2), Received::Fresh);
    assert_eq!(inbox.publish(3), Received::TooMany);
    assert!(inbox.release(1));
    assert!(!inbox.release(1));
    assert_eq!(inbox.publish(1), Received::Fresh);
}

#[test]
fn silence_has_a_deadline() {
    let mut alive = Alive::new(10, 0);
    assert_eq!(alive.deadline_ms(), Some(15_000));
    alive.heard(14_000);
    assert_eq!(alive.deadline_ms(), Some(29_000));
    assert_eq!(Alive::new(0, 0).deadline_ms(), None);
}

struct Nothing;

impl Rights for Nothing {
    fn principal(&self) -> &'static str {
        "nobody"
    }
}

#[test]
fn who_reads_as_fast_as_it_is_sent_to_keeps_up() {
    let mut outbox = Outbox::new(LIMITS);
    assert!(outbox.keeps_up(200, 1_000));
    outbox.push(waiting("a", "x", QoS::AtMostOnce), 1_000);
    outbox.push(waiting("a", "x", QoS::AtMostOnce), 1_010);
    outbox.push(waiting("a", "x", QoS::AtMostOnce), 1_020);
    assert!(outbox.keeps_up(200, 1_050));
    assert!(!outbox.keeps_up(200, 1_051), "nothing was taken");
    outbox.pop(1_160);
    assert!(outbox.keeps_up(200, 1_200));
    outbox.pop(1_201);
    assert!(!outbox.keeps_up(200, 1_201), "it was not empty for too long");
    outbox.pop(1_300);
    assert!(outbox.keeps_up(200, 9_000));
}

#[test]
fn what_nobody_granted_is_denied() {
    let (name, filter) = (TopicName::new("a").unwrap(), TopicFilter::new("a").unwrap());
    for action in [
        Action::Publish(&name),
        Action::Subscribe(&filter),
        Action::Receive(&name),
    ] {
        assert!(!Nothing.may(action, 0));
    }
}

proptest! {
    /// Whatever comes, the bounds hold, identifiers are never in use twice and nothing is left behind.
    #[test]
    fn the_bounds_hold(steps in prop::collection::vec((0_u8..7, 0_usize..400, 0_u8..3), 0..200)) {
        let limits = Limits { messages: 5, bytes: 1_500, in_flight: 3 };
        let mut outbox = Outbox::new(limits);
        let mut open: Vec<(u16, QoS)> = Vec::new();
        for (step, size, qos) in steps {
            let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(qos)];
            match step {
                0..3 => {
                    let topic = ["a", "state/a", "state/b"][usize::from(step)];
                    outbox.push(waiting(topic, &"x".repeat(size), qos), 0);
                }
                3 => if let Some(publish) = outbox.pop(0) && publish.qos != QoS::AtMostOnce {
                    prop_assert!(open.iter().all(|(id, _)| *id != publish.id));
                    open.push((publish.id, publish.qos));
                },
                4 => if let Some((id, qos)) = open.pop() {
                    prop_assert!(outbox.acknowledged(id, qos));
                },
                5 => outbox.suspend(),
                _ => {
                    outbox.suspend();
                    prop_assert!(outbox.resume(limits.in_flight).is_empty());
                    for (id, _) in &open {
                        let again = outbox.pop(0).unwrap();
                        prop_assert!((again.id, again.dup) == (*id, true));
                    }
                }
            }
            prop_assert!(outbox.len() <= limits.messages + 2 && outbox.bytes() <= limits.bytes);
            prop_assert!(open.len() <= usize::from(limits.in_flight));
        }
        for (id, qos) in open { prop_assert!(outbox.acknowledged(id, qos)); }
        while let Some(publish) = outbox.pop(0) { outbox.acknowledged(publish.id, publish.qos); }
        prop_assert_eq!((outbox.len(), outbox.bytes()), (0, 0));
    }
}
