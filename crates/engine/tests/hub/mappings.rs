//! Filters and transforms on their way through a real hub: who gets what, in which order, and what becomes of a
//! mapping that fails or holds everybody up.

use std::collections::BTreeMap;

use crossdock_config::SourceFile;
use crossdock_engine::{AcceptError, Hub};
use crossdock_model::event::Event;
use serde_json::{Value, json};

use crate::support::{Hall, becomes, event, eventually, insist, key, recorded};

/// A manifest whose one subscription has mappings.
fn mapped(hall: &Hall, name: &str, mappings: &str) -> SourceFile {
    let mut manifest = hall.manifest(name, &[], &["thing.made.v1"]);
    manifest.text.push_str(mappings);
    manifest
}

fn made(id: &str, changes: Value) -> Event {
    let mut all = json!({ "datacontenttype": "application/json" });
    for (name, value) in changes.as_object().unwrap() {
        all[name] = value.clone();
    }
    event("/import", "thing.made.v1", id, all)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_adapter_gets_what_its_mappings_say() {
    let hall = Hall::new().await;
    let hub = hall
        .hub(vec![
            mapped(&hall, "large", "filter = '.data.n >= 10'\n"),
            mapped(
                &hall,
                "brief",
                "transform = '{ number: .data.n, of: .subject }'\n",
            ),
            mapped(
                &hall,
                "broken",
                "filter = 'if .data.n == 7 then error(.data.name) else true end'\n",
            ),
            mapped(&hall, "whole", ""),
        ])
        .await;
    let (small, large) = (
        made("7", json!({ "data": { "n": 7, "name": "Ada" } })),
        made(
            "12",
            json!({ "data": { "n": 12 }, "dataschema": "https://example.com/thing" }),
        ),
    );
    insist(&hub, &key("import"), &[small.clone(), large.clone()]).await;

    let mut whole = hall.adapter("whole").await;
    assert_eq!(
        [whole.take().await, whole.take().await],
        [small.clone(), large.clone()]
    );
    assert_eq!(hall.adapter("large").await.take().await, large);
    assert_eq!(hall.adapter("broken").await.take().await, large);
    let mut brief = hall.adapter("brief").await;
    for (original, number) in [(&small, 7), (&large, 12)] {
        let got = brief.take().await;
        assert_eq!(
            got.json().unwrap(),
            json!({ "number": number, "of": original.id })
        );
        let expected = Event {
            data: got.data.clone(),
            data_schema: None,
            ..original.clone()
        };
        assert_eq!(got, expected);
    }

    // The record holds the event as it came in, with everybody who wants it.
    let view = becomes(&hub, "7", &hall.name("broken"), "parked").await;
    assert_eq!(view.parsed()["data"]["name"], "Ada");
    let states: BTreeMap<_, _> = view
        .deliveries
        .iter()
        .map(|delivery| (delivery.adapter.clone(), delivery.state.clone()))
        .collect();
    let expected = [("brief", "pending"), ("broken", "parked"), ("whole", "pending")];
    let expected = expected.map(|(name, state)| (hall.name(name), state.to_owned()));
    assert_eq!(states, BTreeMap::from(expected));
    let parked = view
        .deliveries
        .iter()
        .find(|delivery| delivery.state == "parked")
        .unwrap();
    assert_eq!(
        parked.detail.as_deref(),
        Some("the filter of its subscription 1: the mapping raised an error: Ada")
    );
    assert_eq!(recorded(&hub, "12").await.deliveries.len(), 4);
    assert!(hub.ledger().await.unwrap().balanced);
}

#[tokio::test(flavor = "multi_thread")]
async fn order_per_key_holds_with_a_transform() {
    const KEYS: usize = 7;
    const EACH: usize = 60;
    let hall = Hall::new().await;
    let hub = hall
        .hub(vec![
            mapped(&hall, "erp", "filter = '.data.n != 30'\ntransform = '.data.n'\n"),
            mapped(&hall, "whole", ""),
        ])
        .await;
    for number in 0..EACH {
        let events: Vec<_> = (0..KEYS)
            .map(|of| {
                let changes = json!({ "subject": format!("key-{of}"), "data": { "n": number } });
                made(&format!("{of}-{number}"), changes)
            })
            .collect();
        insist(&hub, &key("import"), &events).await;
    }
    let mut erp = hall.adapter("erp").await;
    let mut seen: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for _ in 0..KEYS * (EACH - 1) {
        let event = erp.take().await;
        let number = event.json().unwrap().as_u64().unwrap();
        seen.entry(event.subject.unwrap()).or_default().push(number);
    }
    let expected: Vec<u64> = (0..EACH as u64).filter(|number| *number != 30).collect();
    assert_eq!(seen.len(), KEYS);
    assert!(seen.values().all(|numbers| *numbers == expected), "{seen:?}");
}

async fn attention(hub: &Hub, part: &str) -> Option<String> {
    let attention = hub.status().await.attention;
    attention.into_iter().find(|sentence| sentence.contains(part))
}

/// The alerts of one type that the hub has sent.
async fn alerts(hub: &Hub, event_type: &str) -> Vec<Value> {
    let search = crossdock_engine::EventSearch {
        event_type: Some(event_type.to_owned()),
        limit: 10,
        ..Default::default()
    };
    let page = hub.find(search).await.unwrap();
    page.events
        .into_iter()
        .map(|view| {
            assert_eq!(view.producer, "hub:here");
            assert_eq!(view.parsed()["source"], "/crossdock");
            view.parsed()["data"].clone()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heavy_mapping_is_parked_and_said_and_costs_nobody_else_anything() {
    let hall = Hall::new().await;
    let heavy = "filter = 'reduce range(1000000) as $n (0; . + $n) | . >= 0'\n";
    let watcher = hall.manifest("watcher", &[], &["hub.*.v1"]);
    let files = |heavy: &str| {
        vec![
            mapped(&hall, "heavy", heavy),
            mapped(&hall, "whole", ""),
            watcher.clone(),
        ]
    };
    let hub = hall.hub(files(heavy)).await;
    let events: Vec<_> = (0..20)
        .map(|n| made(&format!("e-{n}"), json!({ "data": n })))
        .collect();
    insist(&hub, &key("import"), &events).await;

    let mut whole = hall.adapter("whole").await;
    for event in &events {
        assert_eq!(whole.take().await, *event);
    }
    let adapter = hall.name("heavy");
    let sentence = eventually("status says so", async || {
        attention(&hub, "is parked, and so are").await
    })
    .await;
    assert!(
        sentence.contains(&format!("the filter of {adapter}'s subscription 1")),
        "{sentence}"
    );
    let first = becomes(&hub, "e-0", &adapter, "parked").await;
    assert!(
        first
            .deliveries
            .iter()
            .any(|one| one.detail.as_deref().is_some_and(|why| why.contains("bounds")))
    );
    let last = becomes(&hub, "e-19", &adapter, "parked").await;
    assert!(last.deliveries.iter().any(|one| {
        one.detail
            .as_deref()
            .is_some_and(|why| why.contains("it is parked"))
    }));

    let mut watcher = hall.adapter("watcher").await;
    let raised = watcher.take().await;
    assert_eq!(raised.event_type, "hub.alert_raised.v1");
    let alert = raised.json().unwrap();
    assert_eq!(alert["alert"], format!("slow-mapping/{adapter}/1/filter"));
    assert_eq!(alert["adapter"], adapter);

    // More of the same events change nothing about it.
    insist(&hub, &key("import"), &[made("late", json!({ "data": 1 }))]).await;
    becomes(&hub, "late", &adapter, "parked").await;
    let applied = hub
        .apply(files("filter = 'true'\n"), "operator", None, false)
        .await
        .unwrap();
    assert_eq!(applied.number, 2);
    let cleared = watcher.take().await;
    assert_eq!(cleared.event_type, "hub.alert_cleared.v1");
    assert_eq!(cleared.json().unwrap()["alert"], alert["alert"]);
    assert_eq!(attention(&hub, "is parked, and so are").await, None);
    insist(&hub, &key("import"), &[made("again", json!({ "data": 1 }))]).await;
    assert_eq!(hall.adapter("heavy").await.take().await.id, "again");
    for event_type in ["hub.alert_raised.v1", "hub.alert_cleared.v1"] {
        assert_eq!(alerts(&hub, event_type).await.len(), 1, "{event_type}");
    }
    assert!(hub.ledger().await.unwrap().balanced);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_speaks_for_the_hub() {
    let hall = Hall::new().await;
    let shop = hall.manifest("shop", &["hub.alert_raised.v1"], &[]);
    let hub = hall.hub(vec![shop]).await;
    let data = json!({ "alert": "a", "severity": "info", "summary": "s" });
    let forged = |id: &str| {
        let changes = json!({ "datacontenttype": "application/json", "data": data });
        event("/crossdock", "hub.alert_raised.v1", id, changes)
    };
    match hub.accept(&key("import"), vec![forged("1")]).await {
        Err(AcceptError::Forbidden(faults)) => assert_eq!(faults[0].pointer, "/0/source"),
        other => panic!("{other:?}"),
    }
    hall.adapter("shop").await.send(&forged("2")).await;
    let refused = eventually("it is in quarantine", async || {
        hub.quarantined(None, 10).await.unwrap().into_iter().next()
    })
    .await;
    assert_eq!(refused.reasons[0].pointer, "/source");
    let claimed = SourceFile {
        path: "adapters/claims.toml".into(),
        text: "name = \"claims\"\nsource = \"/crossdock\"\n".into(),
    };
    assert!(hub.apply(vec![claimed], "operator", None, true).await.is_err());
}
