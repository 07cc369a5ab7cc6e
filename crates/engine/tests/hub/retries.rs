//! What failed comes back when its time has come, and is a dead letter when the schedule is used up.

use chrono::{DateTime, Utc};
use crossdock_bus::{Delivery, message::HeaderValue};
use crossdock_engine::{DeadLetterView, EngineError, Hub};
use serde_json::json;

use crate::support::{Adapter, Hall, becomes, decoded, event, eventually, key, recorded};

/// A hub with one adapter on this schedule, and one event for it.
async fn delivered(hall: &Hall, schedule: &str) -> (Hub, Adapter) {
    let retry = format!("retry = {{ schedule = {schedule} }}");
    let file = hall.manifest_with("erp", &[], &["thing.made.v1"], &retry);
    let hub = hall.hub(vec![file]).await;
    let made = event("/import", "thing.made.v1", "1", json!({}));
    hub.accept(&key("import"), vec![made]).await.unwrap();
    recorded(&hub, "1").await;
    (hub, hall.adapter("erp").await)
}

fn attempt(delivery: &Delivery) -> Option<i64> {
    delivery.properties.headers["crossdock-attempt"].as_int()
}

async fn reject(adapter: &mut Adapter) -> Delivery {
    let delivery = adapter.next().await;
    adapter.consumer().await.reject(delivery.tag).await.unwrap();
    delivery
}

async fn dead_letter(hub: &Hub) -> DeadLetterView {
    eventually("there is a dead letter", async || {
        hub.dead_letters(None, None, 10).await.unwrap().dead_letters.pop()
    })
    .await
}

/// What was said about the delivery: attempt, word, time.
async fn words(hub: &Hub) -> Vec<(u32, String, DateTime<Utc>)> {
    let view = hub.event("1", None).await.unwrap();
    let tries = &view.deliveries[0].tries;
    tries
        .iter()
        .map(|word| (word.number, word.outcome.clone(), word.at))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schedule_is_kept_and_then_it_is_a_dead_letter_that_can_be_redriven() {
    let hall = Hall::new().await;
    let (hub, mut erp) = delivered(&hall, r#"["1s", "2s"]"#).await;
    for expected in 1..=3 {
        let delivery = reject(&mut erp).await;
        assert_eq!(attempt(&delivery), Some(expected));
        assert_eq!(decoded(&delivery).id, "1");
        let foreign = |name: &&String| !name.starts_with("cloudEvents_") && !name.starts_with("crossdock-");
        assert_eq!(delivery.properties.headers.keys().find(foreign), None);
    }
    let letter = dead_letter(&hub).await;
    assert_eq!((letter.adapter.as_str(), letter.attempts), (erp.name.as_str(), 3));
    let said = words(&hub).await;
    let order: Vec<_> = said
        .iter()
        .map(|(number, word, _)| (*number, word.as_str()))
        .collect();
    assert_eq!(
        order,
        [
            (1, "rejected"),
            (2, "handed_over"),
            (2, "rejected"),
            (3, "handed_over"),
            (3, "rejected")
        ]
    );
    for (pair, (least, most)) in [((0, 1), (900, 3_000)), ((2, 3), (1_900, 5_000))] {
        let waited = (said[pair.1].2 - said[pair.0].2).num_milliseconds();
        assert!((least..=most).contains(&waited), "{waited} ms");
    }

    let redriven = hub.redrive(&letter.id).await.unwrap();
    assert_eq!(redriven.attempt, 4);
    let delivery = reject(&mut erp).await;
    assert_eq!(attempt(&delivery), Some(4));
    let delivery = erp.next().await;
    assert_eq!(attempt(&delivery), Some(5), "the schedule begins anew");
    erp.say_done("1").await;
    erp.ack(&delivery).await;
    becomes(&hub, "1", &erp.name, "confirmed").await;
    assert!(
        hub.dead_letters(None, None, 10)
            .await
            .unwrap()
            .dead_letters
            .is_empty()
    );
    assert!(matches!(
        hub.redrive(&letter.id).await,
        Err(EngineError::Conflict(_))
    ));
    assert!(hub.ledger().await.unwrap().balanced);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_says_when_and_whether() {
    let hall = Hall::new().await;
    let (hub, mut erp) = delivered(&hall, r#"["1h", "1h"]"#).await;
    let delivery = erp.next().await;
    let later = json!({ "event": "1", "outcome": "retry", "detail": "busy", "retry_after_s": 2 });
    erp.say(later.to_string()).await;
    erp.consumer().await.reject(delivery.tag).await.unwrap();
    let view = becomes(&hub, "1", &erp.name, "retrying").await;
    let row = &view.deliveries[0];
    assert_eq!(row.detail.as_deref(), Some("busy"));
    let wait = (row.due.unwrap() - row.settled.unwrap()).num_milliseconds();
    assert_eq!(wait, 2_000, "exactly as asked for");
    let verdict = hub.journey("1").await.unwrap().verdict;
    assert!(
        verdict.contains("is tried again in") && verdict.ends_with(": busy"),
        "{verdict}"
    );

    let delivery = erp.next().await;
    assert_eq!(attempt(&delivery), Some(2));
    becomes(&hub, "1", &erp.name, "pending").await;
    erp.say(json!({ "event": "1", "outcome": "dead", "detail": "no such sku" }).to_string())
        .await;
    erp.consumer().await.reject(delivery.tag).await.unwrap();
    let letter = dead_letter(&hub).await;
    assert_eq!(
        (letter.attempts, letter.detail.as_deref()),
        (2, Some("no such sku"))
    );
    let detail = hub.dead_letter(&letter.id).await.unwrap();
    assert_eq!(detail.event["id"], "1");
    assert_eq!(detail.tries.last().map(|word| word.number), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_dead_letter_redriven_twice_is_handed_over_once() {
    let hall = Hall::new().await;
    let (hub, mut erp) = delivered(&hall, "[]").await;
    reject(&mut erp).await;
    let letter = dead_letter(&hub).await;
    let (one, other) = tokio::join!(hub.redrive(&letter.id), hub.redrive(&letter.id));
    assert!(one.is_ok() || other.is_ok());
    let delivery = erp.next().await;
    assert_eq!(attempt(&delivery), Some(2));
    erp.say_done("1").await;
    erp.ack(&delivery).await;
    becomes(&hub, "1", &erp.name, "confirmed").await;
    let queues = eventually("nothing is on its way any more", async || {
        let queues = hub.queues().await.ok()?;
        queues
            .iter()
            .filter(|queue| queue.name == "crossdock.due" || queue.name.starts_with("crossdock.adapter."))
            .all(|queue| queue.ready + queue.unacked == 0)
            .then_some(queues)
    })
    .await;
    assert!(queues.iter().any(|queue| queue.name == "crossdock.due"));
    let handed_over = words(&hub)
        .await
        .into_iter()
        .filter(|(_, word, _)| word == "handed_over");
    assert_eq!(handed_over.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_an_adapter_that_is_gone_becomes_a_dead_letter() {
    let hall = Hall::new().await;
    let (hub, mut erp) = delivered(&hall, r#"["2s"]"#).await;
    reject(&mut erp).await;
    becomes(&hub, "1", &erp.name, "retrying").await;
    hub.apply(vec![hall.manifest("wms", &[], &[])], "operator", None, false)
        .await
        .unwrap();
    let letter = dead_letter(&hub).await;
    assert!(
        letter
            .detail
            .as_deref()
            .is_some_and(|why| why.contains("no adapter")),
        "{letter:?}"
    );
    match hub.redrive(&letter.id).await {
        Err(EngineError::Conflict(why)) => assert!(why.contains("no adapter"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hub_may_end_while_a_delivery_waits() {
    let hall = Hall::new().await;
    let (hub, mut erp) = delivered(&hall, r#"["3s"]"#).await;
    reject(&mut erp).await;
    becomes(&hub, "1", &erp.name, "retrying").await;
    hub.stop().await;
    let hub = hall
        .hub(vec![hall.manifest_with("erp", &[], &["thing.made.v1"], "")])
        .await;
    let delivery = erp.next().await;
    assert_eq!(attempt(&delivery), Some(2));
    assert!(matches!(
        delivery.properties.headers.get("crossdock-step"),
        Some(HeaderValue::Int(1))
    ));
    erp.ack(&delivery).await;
    drop(hub);
}
