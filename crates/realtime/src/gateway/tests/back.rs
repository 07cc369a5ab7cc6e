//! Who goes and comes back, and what others have to do with it: what waits, what was missed, what it costs.

use std::collections::HashSet;

use super::*;
use crate::gateway::tests::client::Hello;

/// With a session that is kept for a minute.
fn staying(user: &str, client_id: &str) -> Hello {
    Hello {
        expiry_s: 60,
        clean_start: false,
        ..hello(user, client_id)
    }
}

/// Its connection is cut, and the gateway has seen it.
async fn gone(gateway: &Gateway, client: Client, clients_left: u64) {
    drop(client);
    until(|| gateway.figures().clients == clients_left).await;
}

#[tokio::test]
async fn with_less_rights_it_gets_less() {
    let (gateway, _) = open(Door::default());
    let (mut client, _) = Client::connect(&gateway, staying("@me a b", "x")).await;
    client.subscribe("a", QoS::AtLeastOnce).await;
    client.subscribe("b", QoS::AtLeastOnce).await;
    gone(&gateway, client, 0).await;
    for topic in ["a", "b"] {
        gateway.state_changed(state(topic, 1)).await;
    }
    until(|| gateway.figures().queue_bytes > 0 && gateway.figures().messages_in == 2).await;
    let (mut client, answer) = Client::connect(&gateway, staying("@me b end", "x")).await;
    assert!(answer.0);
    assert_eq!(client.message().await, Some(("b".to_owned(), "v1".to_owned())));
    client.subscribe("end", QoS::AtLeastOnce).await;
    let mut writer = connected(&gateway, "end", "writer").await;
    writer.publish("end", "end", false).await;
    assert_eq!(client.messages_until_end().await, []);
}

#[tokio::test]
async fn what_went_with_its_rights_is_read_anew_once_it_has_them_again() {
    let (gateway, states) = open(Door::default());
    let (mut client, _) = Client::connect(&gateway, staying("@me a b", "x")).await;
    client.subscribe("b", QoS::AtLeastOnce).await;
    until(|| states.reads.load(Relaxed) == 1).await;
    gone(&gateway, client, 0).await;
    states.keep(&state("b", 1));
    gateway.state_changed(state("b", 1)).await;
    until(|| gateway.figures().queue_bytes > 0).await;
    let (client, answer) = Client::connect(&gateway, staying("@me a", "x")).await;
    assert!(answer.0);
    gone(&gateway, client, 0).await;
    assert_eq!(states.reads.load(Relaxed), 1, "with less it need not read");
    let (mut client, answer) = Client::connect(&gateway, staying("@me a b", "x")).await;
    assert!(answer.0);
    assert_eq!(client.message().await, Some(("b".to_owned(), "v1".to_owned())));
}

#[tokio::test]
async fn what_it_missed_is_read_anew() {
    let (gateway, states) = open(Door::default());
    let (mut client, _) = Client::connect(&gateway, staying("state/#", "x")).await;
    client.subscribe("state/#", QoS::AtMostOnce).await;
    gone(&gateway, client, 0).await;
    states.keep(&state("state/a", 1));
    gateway.state_changed(state("state/a", 1)).await;
    until(|| gateway.figures().messages_in == 1).await;
    let (mut client, answer) = Client::connect(&gateway, staying("state/#", "x")).await;
    assert!(answer.0);
    assert_eq!(client.message().await.unwrap().1, "v1");
}

#[tokio::test]
async fn a_read_that_was_not_done_is_done_for_who_comes_back() {
    let (gateway, states) = open(Door::default());
    states.keep(&state("state/a", 1));
    states.is_away.store(true, Relaxed);
    let (mut client, _) = Client::connect(&gateway, staying("state/#", "x")).await;
    for _ in 0..2 {
        client.subscribe("state/#", QoS::AtLeastOnce).await;
    }
    gone(&gateway, client, 0).await;
    states.is_away.store(false, Relaxed);
    let (mut client, _) = Client::connect(&gateway, staying("state/#", "x")).await;
    assert_eq!(client.message().await.unwrap().1, "v1");
}

/// What is under way, and what still waits for its turn goes with the connection.
#[tokio::test]
async fn what_was_to_be_read_is_read_for_who_takes_over() {
    let (gateway, states) = open(Door::default());
    states.is_away.store(true, Relaxed);
    let (mut first, _) = Client::connect(&gateway, staying("state/#", "x")).await;
    let mut due: HashSet<_> = (0..10).map(|number| format!("state/{number}")).collect();
    for topic in &due {
        states.keep(&state(topic, 1));
        first.subscribe(topic, QoS::AtLeastOnce).await;
    }
    let (mut second, answer) = Client::connect(&gateway, staying("state/#", "x")).await;
    assert!(answer.0);
    states.is_away.store(false, Relaxed);
    while !due.is_empty() {
        due.remove(&second.message().await.unwrap().0);
    }
    assert_eq!(first.ended().await, Some(DisconnectReasonCode::SessionTakenOver));
}

#[tokio::test]
async fn who_takes_over_where_nothing_is_due_reads_nothing() {
    let (gateway, states) = open(Door::default());
    states.keep(&state("state/a", 1));
    let (mut first, _) = Client::connect(&gateway, staying("state/#", "x")).await;
    first.subscribe("state/a", QoS::AtLeastOnce).await;
    assert_eq!(first.message().await.unwrap().1, "v1");
    all_is_read(&gateway).await;
    let (mut second, _) = Client::connect(&gateway, staying("state/#", "x")).await;
    states.keep(&state("state/b", 1));
    second.subscribe("state/b", QoS::AtLeastOnce).await;
    while second.message().await.unwrap().0 != "state/b" {}
    assert_eq!(states.reads.load(Relaxed), 2);
}

#[tokio::test]
async fn while_states_cannot_be_read_clients_are_heard_and_revoked() {
    let revoked = Arc::new(AtomicBool::new(false));
    let (gateway, states) = open(Door {
        revoked: revoked.clone(),
        ends_ms: None,
        ..Door::default()
    });
    states.is_away.store(true, Relaxed);
    let mut client = connected(&gateway, "state/#", "x").await;
    for number in 0..20 {
        let topic = format!("state/{number}");
        assert_eq!(client.subscribe(&topic, QoS::AtLeastOnce).await, "QoS1");
    }
    gateway.state_changed(state("state/7", 1)).await;
    assert_eq!(client.message().await.unwrap().1, "v1");
    revoked.store(true, Relaxed);
    gateway.recheck();
    assert_eq!(client.ended().await, Some(DisconnectReasonCode::NotAuthorized));
}

#[tokio::test]
async fn what_waits_for_those_who_are_away_takes_nothing_from_those_who_are_there() {
    const AWAY: usize = 70;
    const STATES: usize = 1_000;
    let (gateway, states) = open(Door::default());
    for number in 0..AWAY {
        let (mut client, _) = Client::connect(&gateway, staying("@greedy big/#", &number.to_string())).await;
        client.subscribe("big/#", QoS::AtLeastOnce).await;
        gone(&gateway, client, 0).await;
    }
    for number in 0..STATES {
        let large = State {
            payload: Bytes::from(vec![b'x'; 4 * 1024]),
            ..state(&format!("big/{number}"), number as u64 + 1)
        };
        gateway.state_changed(large).await;
    }
    let small = 50;
    for number in 0..small {
        states.keep(&state(&format!("small/{number}"), 1));
    }
    let mut client = connected(&gateway, "small/#", "x").await;
    client.subscribe("small/#", QoS::AtLeastOnce).await;
    for _ in 0..small {
        assert_eq!(client.message().await.unwrap().1, "v1");
    }
    assert!(gateway.figures().queue_bytes <= 256 * 1024 * 1024);
}

#[tokio::test]
async fn a_principal_keeps_a_hundred_sessions_and_makes_room_at_its_own_expense() {
    let (gateway, _) = open(Door::default());
    let (client, _) = Client::connect(&gateway, staying("honest", "x")).await;
    gone(&gateway, client, 0).await;
    for number in 0..150 {
        let (client, _) = Client::connect(&gateway, staying("@greedy a", &number.to_string())).await;
        gone(&gateway, client, 0).await;
    }
    until(|| gateway.figures().sessions == 101).await;
    let (_client, answer) = Client::connect(&gateway, staying("honest", "x")).await;
    assert!(answer.0);
}

#[tokio::test]
async fn a_flood_does_not_hold_up_the_stop() {
    let stop = CancellationToken::new();
    let capacity = Capacity { connections: 100 };
    let states = Arc::new(Memory::default());
    let gateway = Gateway::start(Arc::new(Door::default()), states, capacity, stop.clone());
    let mut writer = connected(&gateway, "#", "writer").await;
    let mut reader = connected(&gateway, "#", "reader").await;
    reader.subscribe("a", QoS::AtMostOnce).await;
    let text = "x".repeat(30_000);
    let flooding = async {
        for _ in 0..500 {
            writer.publish("a", &text, false).await;
        }
    };
    let stopping = async {
        until(|| gateway.figures().messages_in > 20).await;
        stop.cancel();
        until(|| gateway.0.seats.taken() == 0).await;
    };
    tokio::join!(flooding, stopping);
}
