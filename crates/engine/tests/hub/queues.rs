//! Adapter queues that are not as they were left.

use reqwest::Method;
use serde_json::json;

use crate::support::{Hall, becomes, event, eventually, insist, key, recorded};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_only_queue_was_deleted_is_delivered_all_the_same() {
    let hall = Hall::new().await;
    let hub = hall.hub(vec![hall.manifest("erp", &[], &["thing.*.v1"])]).await;
    let path = format!("queues/{{vhost}}/{}", hall.queue("erp"));
    hall.manage(Method::DELETE, &path, None).await;
    insist(
        &hub,
        &key("import"),
        &[event("/import", "thing.made.v1", "1", json!({}))],
    )
    .await;
    let view = recorded(&hub, "1").await;
    assert_eq!(
        view.deliveries[0].state, "pending",
        "{:?}",
        view.deliveries[0].detail
    );
    assert_eq!(hall.adapter("erp").await.take().await.id, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_while_one_of_several_queues_was_away_is_put_into_it_again() {
    let hall = Hall::new().await;
    let files = vec![
        hall.manifest("erp", &[], &["thing.*.v1"]),
        hall.manifest("wms", &[], &["thing.*.v1"]),
    ];
    let hub = hall.hub(files).await;
    let (mut erp, mut wms) = (hall.adapter("erp").await, hall.adapter("wms").await);
    let made = |n: usize| event("/import", "thing.made.v1", &n.to_string(), json!({}));
    let path = format!("queues/{{vhost}}/{}", hall.queue("erp"));
    hall.manage(Method::DELETE, &path, None).await;
    for n in 0..20 {
        insist(&hub, &key("import"), &[made(n)]).await;
    }
    for _ in 0..20 {
        wms.take().await;
    }
    let mut missing: std::collections::BTreeSet<String> = (0..20).map(|n| n.to_string()).collect();
    while !missing.is_empty() {
        missing.remove(&erp.take().await.id);
    }
    let ledger = hub.ledger().await.unwrap();
    assert!(ledger.balanced, "{ledger:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_that_was_deleted_costs_nothing_either() {
    let hall = Hall::new().await;
    let files = vec![
        hall.manifest("erp", &[], &["thing.*.v1"]),
        hall.manifest("wms", &[], &["thing.*.v1"]),
    ];
    let hub = hall.hub(files).await;
    let (mut erp, mut wms) = (hall.adapter("erp").await, hall.adapter("wms").await);
    let queue = hall.queue("erp");
    let binding = format!("bindings/{{vhost}}/e/crossdock.deliver/q/{queue}/{queue}");
    hall.manage(Method::DELETE, &binding, None).await;
    insist(
        &hub,
        &key("import"),
        &[event("/import", "thing.made.v1", "1", json!({}))],
    )
    .await;
    assert_eq!(wms.take().await.id, "1");
    assert_eq!(erp.take().await.id, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_full_costs_the_others_nothing_and_its_event_is_tried_again() {
    let hall = Hall::new().await;
    let files = vec![
        hall.manifest("erp", &[], &["thing.*.v1"]),
        hall.manifest("wms", &[], &["thing.*.v1"]),
    ];
    let hub = hall.hub(files).await;
    let queue = hall.queue("erp");
    let policy = json!({
        "pattern": format!("^{}$", queue.replace('.', "\\.")), "apply-to": "queues",
        "definition": { "max-length": 1 },
    });
    hall.manage(Method::PUT, "policies/{vhost}/narrow", Some(policy))
        .await;
    let mut wms = hall.adapter("wms").await;
    let erp = hall.name("erp");
    let mut sent = 0;
    let put_off = eventually("the queue is full and refuses one", async || {
        let id = sent.to_string();
        sent += 1;
        insist(
            &hub,
            &key("import"),
            &[event("/import", "thing.made.v1", &id, json!({}))],
        )
        .await;
        wms.take().await;
        let view = recorded(&hub, &id).await;
        let at_erp = view.deliveries.iter().find(|row| row.adapter == erp)?;
        (at_erp.state == "retrying").then_some((id, at_erp.clone()))
    })
    .await;
    let (id, delivery) = put_off;
    assert!(delivery.due > delivery.settled);
    assert!(delivery.detail.as_deref().unwrap().contains("refused"));
    assert_eq!(delivery.tries[0].outcome, "undelivered");
    becomes(&hub, &id, &hall.name("wms"), "pending").await;
    let ledger = hub.ledger().await.unwrap();
    assert!(ledger.balanced, "{ledger:?}");
    let line = ledger.adapters.iter().find(|line| line.adapter == erp).unwrap();
    assert_eq!(line.receipts_since, None, "the hub's own word is no receipt");
    eventually("the operator is told what is wrong with the queue", async || {
        let attention = hub.status().await.attention;
        attention
            .iter()
            .any(|sentence| sentence.contains(&queue))
            .then_some(())
    })
    .await;
}
