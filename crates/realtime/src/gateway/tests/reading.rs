//! Reading states for clients that take them slowly, or not at all.

use std::collections::HashSet;

use super::*;

const STATES: usize = 2_000;

/// Twice of what may wait for one client.
fn keep_many(states: &Memory) {
    for number in 0..STATES {
        let large = State {
            payload: Bytes::from(vec![b'x'; 4 * 1024]),
            ..state(&format!("big/{number}"), 1)
        };
        states.keep(&large);
    }
}

/// Others read their first state, each in a step of its own, which comes after all that was asked for before.
async fn others_read(gateway: &Gateway, states: &Memory, rounds: usize) {
    for number in 0..rounds {
        let topic = format!("small/{number}");
        states.keep(&state(&topic, 1));
        let mut other = connected(gateway, &format!("@other-{number} #"), "x").await;
        other.subscribe(&topic, QoS::AtLeastOnce).await;
        assert_eq!(other.message().await.unwrap().1, "v1");
    }
}

fn ended(gateway: &Gateway) -> u64 {
    gateway.figures().ended.iter().map(|(_, count)| count).sum()
}

#[tokio::test]
async fn who_takes_nothing_keeps_no_worker_and_is_read_no_more_than_it_has_room_for() {
    let (gateway, states) = open(Door::default());
    keep_many(&states);
    let mut deaf = Vec::new();
    for principal in ["@one #", "@two #"] {
        for number in 0..4 {
            let mut client = connected(&gateway, principal, &number.to_string()).await;
            client.subscribe("big/#", QoS::AtMostOnce).await;
            deaf.push(client);
        }
    }
    others_read(&gateway, &states, 50).await;
    assert_eq!(ended(&gateway), 0, "{:?}", gateway.figures());
    let waiting = gateway.figures().queue_bytes;
    assert!(
        waiting <= deaf.len() as u64 * SESSION_LIMITS.bytes as u64 / 2,
        "{waiting}"
    );
    assert!(states.reads.load(Relaxed) < 50 + 8 * 4, "it waits for room");
}

#[tokio::test]
async fn who_takes_little_by_little_gets_every_state() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let (gateway, states) = open(Door::default());
        keep_many(&states);
        let mut slow = connected(&gateway, "#", "slow").await;
        slow.subscribe("none/#", qos).await;
        slow.subscribe("big/#", qos).await;
        let mut due: HashSet<_> = (0..STATES).map(|number| format!("big/{number}")).collect();
        while !due.is_empty() {
            if due.len().is_multiple_of(100) {
                others_read(&gateway, &states, 5).await;
            }
            let (topic, _) = slow.message().await.expect("it is not ended");
            assert!(due.remove(&topic), "{topic} comes once");
        }
        assert_eq!(ended(&gateway), 0);
        all_is_read(&gateway).await;
    }
}

#[tokio::test]
async fn what_was_read_in_part_is_read_anew_for_who_comes_back() {
    let (gateway, states) = open(Door::default());
    keep_many(&states);
    let back = client::Hello {
        expiry_s: 60,
        clean_start: false,
        ..hello("#", "x")
    };
    let (mut client, _) = Client::connect(&gateway, back.clone()).await;
    client.subscribe("big/#", QoS::AtMostOnce).await;
    assert!(client.message().await.is_some());
    drop(client);
    until(|| gateway.figures().clients == 0).await;
    let (mut client, answer) = Client::connect(&gateway, back).await;
    assert!(answer.0);
    let mut due: HashSet<_> = (0..STATES).map(|number| format!("big/{number}")).collect();
    while !due.is_empty() {
        due.remove(&client.message().await.unwrap().0);
    }
}

#[tokio::test]
async fn what_cannot_be_read_keeps_no_worker_from_what_can() {
    let (gateway, states) = open(Door::default());
    let mut waiting = Vec::new();
    for principal in ["@one #", "@two #"] {
        for number in 0..4 {
            let mut client = connected(&gateway, principal, &number.to_string()).await;
            client.subscribe("broken/#", QoS::AtMostOnce).await;
            waiting.push(client);
        }
    }
    others_read(&gateway, &states, 3).await;
    assert_eq!(ended(&gateway), 0);
}

#[tokio::test]
async fn what_was_missed_is_read_to_the_end() {
    // More than one subscription reads.
    const MANY: usize = 10_200;
    let (gateway, states) = open(Door::default());
    let mut reader = connected(&gateway, "#", "reader").await;
    reader.subscribe("all/#", QoS::AtMostOnce).await;
    for number in 0..MANY {
        states.keep(&state(&format!("all/{number}"), 1));
    }
    gateway.states_missed().await;
    let mut due: HashSet<_> = (0..MANY).map(|number| format!("all/{number}")).collect();
    while !due.is_empty() {
        due.remove(&reader.message().await.unwrap().0);
    }
}

#[tokio::test]
async fn what_waits_for_room_is_read_no_more_once_it_is_unsubscribed() {
    let (gateway, states) = open(Door::default());
    keep_many(&states);
    let mut client = connected(&gateway, "#", "x").await;
    client.subscribe("big/#", QoS::AtMostOnce).await;
    until(|| gateway.figures().messages_in == 2 * PAGE as u64).await;
    // Once this is answered no step is under way.
    client.unsubscribe("none/#").await;
    client.unsubscribe("big/#").await;
    all_is_read(&gateway).await;
    assert_eq!(states.reads.load(Relaxed), 2);
}

/// Nor is what waits for its turn: whoever subscribes and unsubscribes again and again leaves nothing behind.
#[tokio::test]
async fn what_is_under_way_is_read_no_further_once_it_is_unsubscribed() {
    let (gateway, states) = open(Door::default());
    keep_many(&states);
    states.is_away.store(true, Relaxed);
    let mut client = connected(&gateway, "#", "x").await;
    client.subscribe("big/#", QoS::AtMostOnce).await;
    for number in 0..20 {
        let topic = format!("small/{number}");
        client.subscribe(&topic, QoS::AtMostOnce).await;
        client.unsubscribe(&topic).await;
    }
    client.unsubscribe("big/#").await;
    states.is_away.store(false, Relaxed);
    all_is_read(&gateway).await;
    assert_eq!(states.reads.load(Relaxed), 1, "the step that was under way");
}

#[tokio::test]
async fn what_is_subscribed_again_while_its_old_step_is_under_way_is_read_once_from_the_beginning() {
    for unsubscribes in [false, true] {
        let (gateway, states) = open(Door::default());
        keep_many(&states);
        states.is_away.store(true, Relaxed);
        let mut client = connected(&gateway, "#", "x").await;
        client.subscribe("big/#", QoS::AtMostOnce).await;
        if unsubscribes {
            client.unsubscribe("big/#").await;
        }
        client.subscribe("big/#", QoS::AtMostOnce).await;
        states.is_away.store(false, Relaxed);
        let mut due: HashSet<_> = (0..STATES).map(|number| format!("big/{number}")).collect();
        while !due.is_empty() {
            due.remove(&client.message().await.expect("it is not ended").0);
        }
        all_is_read(&gateway).await;
        assert_eq!(states.reads.load(Relaxed), 1 + (STATES / PAGE) as u64);
    }
}
