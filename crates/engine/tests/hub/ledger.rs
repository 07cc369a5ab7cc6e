//! What the ledger can know: who lost what, and who was taken at its word.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use crossdock_bus::names;
use crossdock_engine::{AdapterLedger, Hub};
use reqwest::Method;
use serde_json::json;

use crate::support::{Hall, becomes, event, eventually, insist, key, recorded};

async fn line(hub: &Hub, adapter: &str) -> Option<AdapterLedger> {
    let ledger = hub.ledger().await.ok()?;
    ledger.adapters.into_iter().find(|line| line.adapter == adapter)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_is_named_event_by_event() {
    let hall = Hall::new().await;
    let hub = hall.hub(vec![hall.manifest("depot", &[], &["thing.*.v1"])]).await;
    let mut depot = hall.adapter("depot").await;
    let made = |id: String| event("/import", "thing.made.v1", &id, json!({}));
    for n in 0..20 {
        insist(&hub, &key("import"), &[made(format!("before-{n}"))]).await;
        let event = depot.take().await;
        depot.say_done(&event.id).await;
    }
    becomes(&hub, "before-19", &depot.name, "confirmed").await;
    depot.crash();

    let lost: Vec<_> = (0..100).map(|n| made(format!("lost-{n}"))).collect();
    insist(&hub, &key("import"), &lost).await;
    eventually("they wait in the queue", async || {
        (hall.depth("depot").await == Some(100)).then_some(())
    })
    .await;
    let path = format!("queues/{{vhost}}/{}/contents", hall.queue("depot"));
    hall.manage(Method::DELETE, &path, None).await;
    eventually("they are gone", async || {
        (hall.depth("depot").await == Some(0)).then_some(())
    })
    .await;
    for n in 0..20 {
        insist(&hub, &key("import"), &[made(format!("after-{n}"))]).await;
        let event = depot.take().await;
        depot.say_done(&event.id).await;
    }
    becomes(&hub, "after-19", &depot.name, "confirmed").await;
    let young = line(&hub, &depot.name).await.unwrap();
    assert_eq!((young.unaccounted, young.in_flight), (0, 100), "too early to say");

    hall.clock.advance(TimeDelta::seconds(20));
    let line = eventually("the loss is certain", async || {
        let line = line(&hub, &depot.name).await?;
        (line.unaccounted > 0).then_some(line)
    })
    .await;
    assert_eq!(
        (
            line.matched,
            line.confirmed,
            line.unaccounted,
            line.taken,
            line.in_flight
        ),
        (140, 40, 100, 0, 0)
    );
    let named: BTreeSet<_> = line.missing.iter().map(|missing| missing.id.clone()).collect();
    let purged: BTreeSet<_> = lost.iter().map(|event| event.id.clone()).collect();
    assert_eq!(named, purged);
    assert!(!hub.ledger().await.unwrap().balanced);
    assert!(
        hub.status()
            .await
            .attention
            .iter()
            .any(|sentence| sentence.contains("100 events left its queue without a receipt"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_that_sends_no_receipts_is_taken_at_its_word() {
    let hall = Hall::new().await;
    let hub = hall
        .hub(vec![hall.manifest("office", &[], &["thing.*.v1"])])
        .await;
    let mut office = hall.adapter("office").await;
    let events: Vec<_> = (0..5)
        .map(|n| {
            event(
                "/import",
                "thing.made.v1",
                &n.to_string(),
                json!({ "correlationid": "c" }),
            )
        })
        .collect();
    insist(&hub, &key("import"), &events).await;
    recorded(&hub, "4").await;
    let waits = hub.journey("c").await.unwrap();
    assert_eq!(waits.events[0].deliveries[0].state, "pending");
    assert!(
        waits
            .verdict
            .starts_with(&format!("thing.made.v1 waits at {} for ", office.name)),
        "{}",
        waits.verdict
    );

    for _ in 0..5 {
        office.take().await;
    }
    hall.clock.advance(TimeDelta::seconds(20));
    let line = eventually("all are taken", async || {
        let line = line(&hub, &office.name).await?;
        (line.taken == 5).then_some(line)
    })
    .await;
    assert_eq!(
        (line.matched, line.in_flight, line.unaccounted, line.confirmed),
        (5, 0, 0, 0)
    );
    let journey = hub.journey("c").await.unwrap();
    let states: BTreeSet<_> = journey
        .events
        .iter()
        .map(|view| view.deliveries[0].state.as_str())
        .collect();
    assert_eq!(states, BTreeSet::from(["taken"]));
    assert_eq!(
        journey.verdict,
        format!(
            "Nothing waits; {} took it without a receipt; the last event was thing.made.v1",
            office.name
        )
    );
    let ledger = hub.ledger().await.unwrap();
    assert!(ledger.balanced && !ledger.settling, "{ledger:?}");

    // The oldest of what waits now comes after those that were taken.
    let view = hub.adapter(&office.name).await.unwrap();
    assert_eq!((view.oldest_pending, view.recent.done), (None, None));
    insist(
        &hub,
        &key("import"),
        &[event("/import", "thing.made.v1", "later", json!({}))],
    )
    .await;
    let later = recorded(&hub, "later").await.deliveries.remove(0);
    office.crash();
    let queue = eventually("it is counted", async || {
        let queues = hub.queues().await.ok()?;
        let queue = queues
            .into_iter()
            .find(|queue| queue.adapter.as_ref() == Some(&office.name))?;
        (queue.ready + queue.unacked == 1).then_some(queue)
    })
    .await;
    assert_eq!(queue.oldest, Some(later.published));
    assert_eq!(hub.overview().await.numbers.oldest_waiting, Some(later.published));
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_who_consumes_and_what_waits() {
    let hall = Hall::new().await;
    let hub = hall.hub(vec![hall.manifest("erp", &[], &["thing.*.v1"])]).await;
    let mut erp = hall.adapter("erp").await;
    assert_eq!(hub.adapter(&erp.name).await.unwrap().state, "idle");
    insist(
        &hub,
        &key("import"),
        &[event("/import", "thing.made.v1", "1", json!({}))],
    )
    .await;
    let name = erp.name.clone();
    eventually("it waits", async || {
        let view = hub.adapter(&name).await.ok()?;
        let told = hub.status().await.attention;
        let sentence = format!("{name} has no consumer; 1 event waits");
        (view.state == "waiting" && told.contains(&sentence)).then_some(())
    })
    .await;
    hall.clock.advance(TimeDelta::seconds(90));
    let told = hub.status().await.attention;
    assert!(
        told.iter().any(|sentence| sentence.starts_with(&format!(
            "{name} has no consumer; 1 event waits, the oldest for 1 m"
        ))),
        "{told:?}"
    );
    erp.take().await;
    eventually("it is consumed", async || {
        let view = hub.adapter(&name).await.ok()?;
        let told = hub.status().await.attention;
        (view.state == "live" && !told.iter().any(|s| s.contains("no consumer"))).then_some(())
    })
    .await;
    let queues: Vec<_> = hub
        .queues()
        .await
        .unwrap()
        .into_iter()
        .map(|queue| queue.name)
        .collect();
    assert!(queues.contains(&hall.queue("erp")) && queues.is_sorted());
    assert_eq!(
        queues.len(),
        usize::from(names::PARTITIONS) + 5 + names::DELAYS_S.len(),
        "{queues:?}"
    );
}
