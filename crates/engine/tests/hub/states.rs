//! Live state on its way from events to whoever watches: what rules make, what is late or comes again, what crashes and
//! outages leave of it.

use std::time::Duration;

use crossdock_bus::names;
use crossdock_config::SourceFile;
use crossdock_engine::{EngineError, Hub, LiveState, State};
use crossdock_model::{
    event::Event,
    topic::{TopicFilter, TopicName},
};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};

use crate::support::{DEADLINE, Hall, event, eventually, insist, key, message, ready, recorded};

const RULES: &str = r#"
[[state]]
types = ["stock.level.v1"]
topic = "stock/{.data.location}/{.data.sku}"
data = '{ on_hand: .data.on_hand }'

[[state]]
types = ["thing.*.v1"]
topic = "state/thing/{.subject}"
data = '.data'
merge = true
expires_after = "1h"
"#;

fn rules(text: &str) -> SourceFile {
    SourceFile {
        path: "state.toml".into(),
        text: text.into(),
    }
}

fn at(second: u32) -> String {
    format!("2026-01-01T00:00:{second:02}Z")
}

fn level(id: &str, second: u32, on_hand: i64) -> Event {
    let data = json!({ "sku": "MUG-330", "location": "LDN1", "on_hand": on_hand });
    event(
        "/warehouse",
        "stock.level.v1",
        id,
        json!({ "time": at(second), "datacontenttype": "application/json", "data": data }),
    )
}

fn thing(id: &str, second: u32, data: Value) -> Event {
    let changes =
        json!({ "subject": "7", "time": at(second), "datacontenttype": "application/json", "data": data });
    event("/shop", "thing.made.v1", id, changes)
}

fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

async fn send(hub: &Hub, events: &[Event]) {
    insist(hub, &key("import"), events).await;
}

fn payload(state: &State) -> Value {
    serde_json::from_slice(&state.payload).unwrap()
}

/// Waits until the topic has this data, and gives its version.
async fn has(hub: &Hub, name: &str, data: Value) -> u64 {
    eventually(&format!("{name} is {data}"), async || {
        let state = hub.state(&topic(name)).await.ok()?;
        (payload(&state)["data"] == data).then_some(state.version)
    })
    .await
}

/// The next that is heard.
async fn heard(changes: &mut mpsc::Receiver<LiveState>) -> LiveState {
    timeout(DEADLINE, changes.recv())
        .await
        .expect("a change")
        .unwrap()
}

const MUG: &str = "stock/LDN1/MUG-330";

#[tokio::test(flavor = "multi_thread")]
async fn an_event_becomes_a_state_and_everybody_hears_of_it() {
    let hall = Hall::new().await;
    let hub = hall.hub(vec![rules(RULES)]).await;
    let mut changes = hub.live_states();
    assert_eq!(heard(&mut changes).await, LiveState::Missed);
    send(&hub, &[level("a", 1, 9)]).await;
    let LiveState::Changed(state) = heard(&mut changes).await else {
        panic!("nothing was missed")
    };
    assert_eq!(
        (state.topic.as_str(), state.version, state.expires_ms),
        (MUG, 1, None)
    );
    let expected = json!({ "topic": MUG, "version": 1, "time": at(1), "data": { "on_hand": 9 } });
    assert_eq!(payload(&state), expected);
    assert_eq!(hub.state(&topic(MUG)).await.unwrap(), state);

    // What comes late or again changes nothing, in the database as in what is heard.
    send(&hub, &[level("late", 0, 10), level("b", 2, 8)]).await;
    let LiveState::Changed(state) = heard(&mut changes).await else {
        panic!("nothing was missed")
    };
    assert_eq!(
        (state.version, payload(&state)["data"]["on_hand"].as_i64()),
        (2, Some(8))
    );

    // An adapter that wants none of it has no part in it, and the account none either.
    assert!(recorded(&hub, "a").await.deliveries.is_empty());
    assert!(hub.ledger().await.unwrap().balanced);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn states_are_found_by_filter_and_are_over_in_time() {
    let hall = Hall::new().await;
    let hub = hall.hub(vec![rules(RULES)]).await;
    send(
        &hub,
        &[
            thing("n", 2, json!({ "number": 5, "name": null })),
            thing("p", 1, json!({ "number": 4, "name": "Ada" })),
            level("a", 1, 9),
        ],
    )
    .await;
    let version = has(&hub, "state/thing/7", json!({ "number": 5, "name": "Ada" })).await;
    assert_eq!(version, 2);
    has(&hub, MUG, json!({ "on_hand": 9 })).await;
    let found = async |filter: &str| {
        let page = hub
            .latest_page(&TopicFilter::new(filter).unwrap(), None)
            .await
            .unwrap();
        assert_eq!(page.next, None);
        page.states
            .iter()
            .map(|state| state.topic.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(found("#").await, ["state/thing/7", MUG]);
    assert_eq!(found("state/thing/#").await, ["state/thing/7"]);
    assert_eq!(found("state/thing/7/#").await, ["state/thing/7"]);
    assert_eq!(found("+/LDN1/+").await, [MUG]);
    assert_eq!(found(MUG).await, [MUG]);
    assert!(found("state/+").await.is_empty());

    let expires = hub
        .state(&topic("state/thing/7"))
        .await
        .unwrap()
        .expires_ms
        .unwrap();
    assert!(expires > 0);
    hall.clock.advance(chrono::TimeDelta::minutes(61));
    assert_eq!(found("#").await, [MUG]);
    let gone = hub.state(&topic("state/thing/7")).await;
    assert!(matches!(gone, Err(EngineError::NotFound(_))));
    let late = thing("late", 0, json!({ "number": 0 }));
    send(&hub, &[late, thing("x", 3, json!({ "number": 1 }))]).await;
    assert_eq!(has(&hub, "state/thing/7", json!({ "number": 1 })).await, 3);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_fails_is_said_and_holds_nothing_up() {
    let hall = Hall::new().await;
    let hub = hall.hub(vec![rules(RULES)]).await;
    let odd = event(
        "/shop",
        "thing.made.v1",
        "odd",
        json!({ "subject": "a/b", "datacontenttype": "application/json", "data": {} }),
    );
    send(&hub, &[odd, thing("fine", 1, json!({ "n": 1 }))]).await;
    has(&hub, "state/thing/7", json!({ "n": 1 })).await;
    let sentence = eventually("the failure is said", async || {
        let status = hub.status().await;
        status
            .attention
            .into_iter()
            .find(|sentence| sentence.contains("state rule 2"))
    })
    .await;
    assert_eq!(
        sentence,
        "state rule 2 (state/thing/{.subject}) made nothing of 1 event, of \"odd\" from \"/shop\" last: its topic: \
         .subject holds a /, which would make another level"
    );
    // Other rules, other news.
    let mended = RULES.replace("{.subject}", "x");
    let applied = hub
        .apply(vec![rules(&mended)], "test", None, false)
        .await
        .unwrap();
    assert_eq!(applied.changes, ["other rules of live state: 2 rules"]);
    send(&hub, &[thing("more", 2, json!({ "n": 2 }))]).await;
    has(&hub, "state/thing/x", json!({ "n": 2 })).await;
    let status = hub.status().await;
    assert!(
        !status
            .attention
            .iter()
            .any(|sentence| sentence.contains("state rule"))
    );
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_without_a_time_counts_from_when_it_came() {
    let hall = Hall::new().await;
    let hub = hall.hub(vec![rules(RULES)]).await;
    let untimed = |id: &str, n: i64| {
        let data = json!({ "sku": "MUG-330", "location": "LDN1", "on_hand": n });
        event(
            "/w",
            "stock.level.v1",
            id,
            json!({ "datacontenttype": "application/json", "data": data }),
        )
    };
    send(&hub, &[untimed("a", 1)]).await;
    has(&hub, MUG, json!({ "on_hand": 1 })).await;
    send(&hub, &[untimed("b", 2)]).await;
    has(&hub, MUG, json!({ "on_hand": 2 })).await;
    let view = recorded(&hub, "b").await;
    let state = hub.state(&topic(MUG)).await.unwrap();
    assert_eq!(payload(&state)["time"], json!(view.received));
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hubs_tell_each_other_and_one_carries_on_for_the_other() {
    let hall = Hall::new().await;
    let one = hall.hub(vec![rules(RULES)]).await;
    let other = hall.hub(vec![rules(RULES)]).await;
    let (mut by_one, mut by_other) = (one.live_states(), other.live_states());
    assert_eq!(heard(&mut by_one).await, LiveState::Missed);
    assert_eq!(heard(&mut by_other).await, LiveState::Missed);
    send(&one, &[level("a", 1, 9)]).await;
    let told = heard(&mut by_one).await;
    assert!(matches!(&told, LiveState::Changed(state) if state.version == 1));
    assert_eq!(heard(&mut by_other).await, told);

    one.stop().await;
    send(&other, &[level("b", 2, 8)]).await;
    let LiveState::Changed(state) = heard(&mut by_other).await else {
        panic!("nothing was missed")
    };
    assert_eq!(state.version, 2);
    assert_eq!(other.state(&topic(MUG)).await.unwrap(), state);
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_whose_connection_ends_is_told_to_read_anew() {
    let hall = Hall::new().await;
    let hub = hall.hub(vec![rules(RULES)]).await;
    let mut changes = hub.live_states();
    assert_eq!(heard(&mut changes).await, LiveState::Missed);
    eventually("the connection is closed", async || {
        let open = hall
            .manage(reqwest::Method::GET, "vhosts/{vhost}/connections", None)
            .await;
        let mut open = open.as_array()?.iter();
        let own = open.find(|connection| {
            let name = connection["client_properties"]["connection_name"].as_str();
            name.is_some_and(|name| name.starts_with("crossdock-changed-states"))
        })?;
        let name = own["name"].as_str()?.replace(' ', "%20").replace('>', "%3E");
        hall.manage(reqwest::Method::DELETE, &format!("connections/{name}"), None)
            .await;
        Some(())
    })
    .await;
    assert_eq!(heard(&mut changes).await, LiveState::Missed);
    send(&hub, &[level("a", 1, 9)]).await;
    assert!(matches!(heard(&mut changes).await, LiveState::Changed(_)));

    // Who asks anew takes the place of who asked before.
    let mut anew = hub.live_states();
    assert_eq!(heard(&mut anew).await, LiveState::Missed);
    assert_eq!(timeout(DEADLINE, changes.recv()).await.unwrap(), None);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_listen_holds_up_nobody_and_learns_that_something_is_missing() {
    const CHANGES: i64 = 200;
    let hall = Hall::new().await;
    let hub = hall.hub(vec![rules(RULES)]).await;
    let changes = hub.live_states();
    for n in 0..CHANGES {
        send(&hub, &[level(&n.to_string(), 1, n)]).await;
    }
    has(&hub, MUG, json!({ "on_hand": CHANGES - 1 })).await;
    drop(changes);
    let mut anew = hub.live_states();
    assert_eq!(heard(&mut anew).await, LiveState::Missed);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_no_event_is_kept_aside() {
    let hall = Hall::new().await;
    let hub = hall.hub(vec![rules(RULES)]).await;
    let mut stray = message(&level("stray", 1, 1), None);
    (stray.exchange, stray.routing_key) = (String::new(), names::STATE.into());
    stray.properties.headers.clear();
    let publisher = crossdock_bus::Publisher::spawn(
        crossdock_bus::Broker::new(&hall.vhost.broker_url).unwrap(),
        "test",
        &tokio_util::task::TaskTracker::new(),
        tokio_util::sync::CancellationToken::new(),
    );
    eventually("it is published", async || {
        publisher.publish(stray.clone()).await.ok()
    })
    .await;
    eventually("it is in quarantine", async || {
        let kept = hub.quarantined(None, 10).await.ok()?;
        (kept.len() == 1).then_some(())
    })
    .await;
    send(&hub, &[level("a", 1, 9)]).await;
    has(&hub, MUG, json!({ "on_hand": 9 })).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_projected_by_the_next_hub() {
    let hall = Hall::new().await;
    let hub = hall.hub(vec![rules(RULES)]).await;
    send(&hub, &[level("a", 1, 9)]).await;
    has(&hub, MUG, json!({ "on_hand": 9 })).await;
    // Many, so that some are under way when the hub is dropped.
    let events: Vec<_> = (0..300)
        .map(|n| thing(&format!("e{n}"), 2, json!({ format!("m{n}"): n })))
        .collect();
    send(&hub, &events).await;
    drop(hub);
    let next = Hub::start(hall.options(vec![rules(RULES)])).await.unwrap();
    ready(&next).await;
    let members = eventually("all members are there", async || {
        let state = next.state(&topic("state/thing/7")).await.ok()?;
        let members = payload(&state)["data"].as_object()?.len();
        (members == 300).then_some(members)
    })
    .await;
    assert_eq!(members, 300);
    tokio::time::timeout(Duration::from_secs(60), next.stop())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_somebody_deletes_is_made_again_with_what_it_missed() {
    let hall = Hall::new().await;
    let hub = hall
        .hub(vec![hall.manifest("wms", &[], &["stock.level.v1"]), rules(RULES)])
        .await;
    send(&hub, &[level("a", 1, 9)]).await;
    has(&hub, MUG, json!({ "on_hand": 9 })).await;
    hall.manage(reqwest::Method::DELETE, "queues/{vhost}/crossdock.state", None)
        .await;
    // The adapter's copy is confirmed, so nothing tells the gate.
    send(&hub, &[level("b", 2, 8)]).await;
    has(&hub, MUG, json!({ "on_hand": 8 })).await;
    hub.stop().await;
}
