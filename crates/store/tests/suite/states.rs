//! The latest state of topics.

use crossdock_model::topic::TopicName;
use crossdock_store::{EventKey, STATES_PAGE_MAX, StateChange, StateOrder, StateVerdict, Store};
use serde_json::{Value, json};

use super::{Database, at};

fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

/// A change by the event `id`, which happened at `second`.
fn change(name: &str, id: &str, second: i64, data: Value) -> StateChange {
    StateChange {
        topic: topic(name),
        event: EventKey {
            source: "/shop".into(),
            id: id.into(),
        },
        part: 0,
        time: at(second),
        order: StateOrder::Time(at(second)),
        data: data.to_string(),
        merge: false,
        at: at(0),
        expires: None,
    }
}

fn merged(name: &str, id: &str, second: i64, data: Value) -> StateChange {
    StateChange {
        merge: true,
        ..change(name, id, second, data)
    }
}

/// Version and data.
async fn latest(store: &Store, name: &str) -> Option<(u64, Value)> {
    let state = store.state(&topic(name), at(0)).await.unwrap()?;
    Some((state.version, serde_json::from_str(&state.data).unwrap()))
}

use StateVerdict::{Changed, Known, Late};

pub async fn the_latest_stands_and_nothing_goes_back(database: &impl Database) {
    let store = database.open().await;
    let name = "stock/LDN1/MUG 330";
    assert_eq!(latest(&store, name).await, None);
    let second = change(name, "b", 2, json!({ "on_hand": 8 }));
    let projected = store
        .project(&[change(name, "a", 1, json!({ "on_hand": 9 })), second.clone()])
        .await
        .unwrap();
    assert_eq!(projected.verdicts, [Changed, Changed]);
    let state = &projected.states[0];
    assert_eq!(
        (state.topic.as_str(), state.version, state.time),
        (name, 2, at(2))
    );

    for changes in [
        vec![second.clone()],
        vec![change(name, "a", 1, json!({ "on_hand": 9 })), second],
        vec![change(name, "c", 0, json!({ "on_hand": 10 }))],
    ] {
        let projected = store.project(&changes).await.unwrap();
        assert!(
            projected
                .verdicts
                .iter()
                .all(|verdict| matches!(verdict, Known | Late))
        );
        assert_eq!(projected.states[0].version, 2);
    }
    let anew = database.open().await;
    assert_eq!(latest(&anew, name).await, Some((2, json!({ "on_hand": 8 }))));
    assert_eq!(anew.project(&[]).await.unwrap().states, []);
}

pub async fn what_events_say_is_put_together(database: &impl Database) {
    let store = database.open().await;
    let name = "state/order/7";
    let placed = merged(name, "p", 1, json!({ "status": "placed", "number": null }));
    let shipped = merged(name, "s", 3, json!({ "status": "shipped" }));
    let numbered = merged(name, "n", 2, json!({ "number": "1001", "status": "numbered" }));
    // Each by itself, as they would come to hubs that are started again in between.
    let mut verdicts = Vec::new();
    for one in [&placed, &shipped, &numbered, &placed, &numbered, &shipped] {
        let store = database.open().await;
        verdicts.extend(store.project(std::slice::from_ref(one)).await.unwrap().verdicts);
    }
    assert_eq!(verdicts, [Changed, Changed, Changed, Late, Late, Known]);
    assert_eq!(
        latest(&store, name).await,
        Some((3, json!({ "number": "1001", "status": "shipped" })))
    );
}

pub async fn an_event_changes_a_topic_by_each_of_its_rules_once(database: &impl Database) {
    let name = "state/order/7";
    let of = |part, data| StateChange {
        part,
        ..merged(name, "e", 1, data)
    };
    let (first, second) = (of(0, json!({ "a": 1 })), of(1, json!({ "b": 2 })));
    // Each by itself, as after a crash in between.
    let mut verdicts = Vec::new();
    for one in [&first, &second, &first, &second] {
        let store = database.open().await;
        verdicts.extend(store.project(std::slice::from_ref(one)).await.unwrap().verdicts);
    }
    assert_eq!(verdicts, [Changed, Changed, Known, Known]);
    let store = database.open().await;
    assert_eq!(latest(&store, name).await, Some((2, json!({ "a": 1, "b": 2 }))));
}

pub async fn versions_grow_even_when_topics_are_forgotten(database: &impl Database) {
    let store = database.open().await;
    let short = |id: &str, second: i64, now: i64| StateChange {
        at: at(now),
        expires: Some(at(now + 10)),
        ..merged("state/a", id, second, json!({ id: 1 }))
    };
    store
        .project(&[
            short("x", 1, 0),
            short("y", 2, 0),
            change("state/b", "z", 1, json!(1)),
        ])
        .await
        .unwrap();
    let seen = async |second| store.state(&topic("state/a"), at(second)).await.unwrap();
    assert_eq!(seen(9).await.unwrap().version, 2);
    assert_eq!(seen(9).await.unwrap().expires, Some(at(10)));
    assert_eq!(seen(10).await, None);
    assert_eq!(
        store
            .states("state/", None, at(10), 10)
            .await
            .unwrap()
            .states
            .len(),
        1
    );

    // What is late is so until the topic is forgotten, and then no longer. Its version grows either way.
    let late = store.project(&[short("u", 1, 10)]).await.unwrap();
    assert_eq!((late.verdicts, late.states), (vec![Late], Vec::new()));
    let again = store.project(&[short("v", 3, 10)]).await.unwrap();
    assert_eq!(
        (again.states[0].version, again.states[0].data.as_str()),
        (3, r#"{"v":1}"#)
    );
    assert_eq!(store.forget_states(at(19), 10).await.unwrap(), 0);
    assert_eq!(store.forget_states(at(20), 10).await.unwrap(), 1);
    assert_eq!(store.forget_states(at(20), 10).await.unwrap(), 0);
    let again = store.project(&[short("w", 1, 30)]).await.unwrap();
    assert_eq!(
        (again.states[0].version, again.states[0].data.as_str()),
        (4, r#"{"w":1}"#)
    );
    assert_eq!(latest(&store, "state/b").await.unwrap().0, 1);
}

pub async fn a_step_of_forgetting_is_bounded(database: &impl Database) {
    let store = database.open().await;
    let changes: Vec<_> = (0..5)
        .map(|n| StateChange {
            expires: Some(at(n)),
            ..change(&format!("state/{n}"), "e", 1, json!(n))
        })
        .collect();
    store.project(&changes).await.unwrap();
    for forgotten in [2, 2, 1, 0] {
        assert_eq!(store.forget_states(at(9), 2).await.unwrap(), forgotten);
    }
}

pub async fn topics_that_begin_alike_come_page_by_page(database: &impl Database) {
    let store = database.open().await;
    let names = [
        "state/a",
        "state/a/1",
        "state/a/é",
        "state/a0",
        "state/a-b",
        "stock/a/1",
        "state/A/1",
    ];
    let changes: Vec<_> = names
        .iter()
        .map(|name| change(name, "e", 1, json!(name)))
        .collect();
    store.project(&changes).await.unwrap();
    let page = async |prefix: &str, after: Option<&str>, limit| {
        let after = after.map(topic);
        let found = store.states(prefix, after.as_ref(), at(0), limit).await.unwrap();
        found
            .states
            .into_iter()
            .map(|state| state.topic.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(page("state/a/", None, 9).await, ["state/a/1", "state/a/é"]);
    let mut all = names.map(str::to_owned);
    all.sort();
    assert_eq!(page("", None, 9).await, all);
    assert_eq!(
        page("state/a/", Some("state/a"), 9).await,
        ["state/a/1", "state/a/é"]
    );
    let mut walked = Vec::new();
    loop {
        let next = page("", walked.last().map(String::as_str), 2).await;
        if next.is_empty() {
            break;
        }
        walked.extend(next);
    }
    assert_eq!(walked, all);

    let many: Vec<_> = (0..STATES_PAGE_MAX + 10)
        .map(|n| change(&format!("state/many/{n}"), "e", 1, json!(n)))
        .collect();
    store.project(&many).await.unwrap();
    assert_eq!(page("state/many/", None, usize::MAX).await.len(), STATES_PAGE_MAX);
}

pub async fn a_page_looks_at_no_more_than_it_may(database: &impl Database) {
    let store = database.open().await;
    let changes = (0..6).map(|n| StateChange {
        expires: (n < 4).then(|| at(5)),
        ..change(&format!("state/{n}"), "e", 1, json!(n))
    });
    store.project(&changes.collect::<Vec<_>>()).await.unwrap();
    let page = async |after: Option<&str>| {
        let after = after.map(topic);
        let page = store.states("state/", after.as_ref(), at(5), 3).await.unwrap();
        let found: Vec<_> = page.states.iter().map(|state| state.topic.to_string()).collect();
        (found, page.next.map(|topic| topic.to_string()))
    };
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(page(None).await, (vec![], Some("state/2".to_owned())));
    let second = page(Some("state/2")).await;
    assert_eq!(
        second,
        (named(&["state/4", "state/5"]), Some("state/5".to_owned()))
    );
    assert_eq!(page(Some("state/5")).await, (vec![], None));
}

pub async fn order_values_are_kept_whatever_they_are(database: &impl Database) {
    let store = database.open().await;
    let exact = "2026-01-02T03:04:05.123456789Z".parse().unwrap();
    for (n, order) in [
        StateOrder::Number(i64::MAX),
        StateOrder::Time(exact),
        StateOrder::Text("\0\u{fdd0}é\"".into()),
    ]
    .into_iter()
    .enumerate()
    {
        let mut odd = change(&format!("state/{n}"), "e", 1, json!("\0 \u{fdd0}"));
        odd.event.source = "/\u{e9}\"".into();
        odd.order = order;
        odd.time = exact;
        assert_eq!(store.project(&[odd.clone()]).await.unwrap().verdicts, [Changed]);
        let projected = store.project(&[odd.clone()]).await.unwrap();
        assert_eq!(projected.verdicts, [Known]);
        let state = &projected.states[0];
        assert_eq!((state.time, &state.data), (exact, &odd.data));
    }
}

pub async fn many_hubs_project_the_same(database: &impl Database) {
    const EVENTS: i64 = 40;
    let (one, other) = (database.open().await, database.open().await);
    let of = |n: i64| change(&format!("state/{}", n % 3), &n.to_string(), n, json!(n));
    let project = async |store: Store, numbers: Vec<i64>| {
        for numbers in numbers.chunks(7) {
            let changes: Vec<_> = numbers.iter().map(|n| of(*n)).collect();
            let before = store.project(&changes).await.unwrap();
            assert!(before.states.iter().all(|state| state.version > 0));
        }
    };
    let sweep = async {
        let store = database.open().await;
        for _ in 0..10 {
            store.forget_states(at(1_000), 10).await.unwrap();
        }
    };
    tokio::join!(
        project(one.clone(), (0..EVENTS).collect()),
        project(other, (0..EVENTS).rev().collect()),
        sweep
    );
    for n in 0..3 {
        let (_, data) = latest(&one, &format!("state/{n}")).await.unwrap();
        let last = (0..EVENTS).rfind(|number| number % 3 == n).unwrap();
        assert_eq!(data, json!(last));
    }
}
