//! What is said about deliveries, by whom it counts, and what makes no sense.

use crossdock_engine::Hub;
use serde_json::json;

use crate::support::{Adapter, Hall, becomes, decoded, event, eventually, key, recorded};

/// A hub with two adapters that get everything, and some events for them.
async fn delivered(hall: &Hall, ids: &[&str]) -> (Hub, Adapter, Adapter) {
    let files = vec![
        hall.manifest("erp", &[], &["thing.made.v1"]),
        hall.manifest("wms", &[], &["thing.made.v1"]),
    ];
    let hub = hall.hub(files).await;
    let events = ids
        .iter()
        .map(|id| event("/import", "thing.made.v1", id, json!({})))
        .collect();
    hub.accept(&key("import"), events).await.unwrap();
    for id in ids {
        recorded(&hub, id).await;
    }
    (hub, hall.adapter("erp").await, hall.adapter("wms").await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reject_is_parked_with_what_the_receipt_said() {
    let hall = Hall::new().await;
    let (hub, mut erp, wms) = delivered(&hall, &["1"]).await;
    let delivery = erp.next().await;
    erp.say(json!({ "event": "1", "outcome": "dead", "detail": "no such sku" }).to_string())
        .await;
    erp.consumer().await.reject(delivery.tag).await.unwrap();

    let view = eventually("both words are heard", async || {
        let view = hub.event("1", None).await.ok()?;
        let at_erp = view.deliveries.iter().find(|row| row.adapter == erp.name)?;
        (at_erp.tries.len() == 2).then(|| at_erp.clone())
    })
    .await;
    assert_eq!(
        (view.state.as_str(), view.detail.as_deref()),
        ("parked", Some("no such sku"))
    );
    let outcomes: Vec<_> = view
        .tries
        .iter()
        .map(|attempt| attempt.outcome.as_str())
        .collect();
    assert_eq!(outcomes, ["dead", "rejected"], "the receipt is read first");
    assert_eq!(
        hub.journey("1").await.unwrap().verdict,
        format!("thing.made.v1 failed at {} and is parked: no such sku", erp.name)
    );
    let status = hub.status().await;
    assert_eq!(status.parked, Some(1));
    assert!(
        status
            .attention
            .iter()
            .any(|sentence| sentence.starts_with(&format!("{}: 1 delivery has failed for good", erp.name))),
        "{:?}",
        status.attention
    );
    assert_eq!(
        hub.adapter(&wms.name).await.unwrap().ledger.parked,
        0,
        "one adapter's reject is not another's"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_settles_anothers_delivery() {
    let hall = Hall::new().await;
    let (hub, erp, wms) = delivered(&hall, &["1", "2"]).await;
    wms.say_done("1").await;
    wms.say_done("2").await;
    becomes(&hub, "1", &wms.name, "confirmed").await;
    becomes(&hub, "2", &wms.name, "confirmed").await;
    becomes(&hub, "1", &erp.name, "pending").await;

    // A receipt in another's name does not get past RabbitMQ.
    let mut forged = crate::support::message(&event("/x", "thing.made.v1", "x", json!({})), Some(&erp.user));
    forged.exchange = "crossdock.receipts".into();
    forged.routing_key = String::new();
    forged.body = br#"{"event":"1","outcome":"done"}"#.as_slice().into();
    let error = wms.publish(forged).await.unwrap_err();
    assert!(error.to_string().contains("PRECONDITION"), "{error}");
    erp.say_done("2").await;
    becomes(&hub, "2", &erp.name, "confirmed").await;
    becomes(&hub, "1", &erp.name, "pending").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_receipts_are_kept_and_hold_up_nothing() {
    let hall = Hall::new().await;
    let (hub, erp, _) = delivered(&hall, &["1", "2", "3"]).await;
    erp.say("no json").await;
    erp.say(r#"{"event":"1"}"#).await;
    erp.say(r#"[{"event":"1","outcome":"done"},{"event":"2","outcome":"perhaps"}]"#)
        .await;
    erp.say(r#"{"event":"never heard of","outcome":"done"}"#).await;
    erp.say_done("3").await;
    becomes(&hub, "3", &erp.name, "confirmed").await;
    becomes(&hub, "1", &erp.name, "confirmed").await;
    becomes(&hub, "2", &erp.name, "pending").await;

    let kept = hub.quarantined(None, 10).await.unwrap();
    let pointers: Vec<_> = kept
        .iter()
        .map(|message| message.reasons[0].pointer.as_str())
        .collect();
    assert_eq!(pointers, ["/1/outcome", "/outcome", ""]);
    assert!(
        kept.iter()
            .all(|message| message.producer.as_deref() == Some(erp.name.as_str()))
    );
    let again = hub.resend(kept[0].id, &key("operator")).await;
    assert!(matches!(again, Err(crossdock_engine::EngineError::Conflict(_))));
    let ledger = hub.ledger().await.unwrap();
    assert!(ledger.balanced, "{ledger:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_over_which_an_adapter_crashes_again_and_again_is_put_off() {
    let hall = Hall::new().await;
    let (hub, mut erp, _) = delivered(&hall, &["poison"]).await;
    for _ in 0..21 {
        let delivery = erp.next().await;
        assert_eq!(decoded(&delivery).id, "poison");
        erp.crash();
    }
    let view = becomes(&hub, "poison", &erp.name, "retrying").await;
    let at_erp = view
        .deliveries
        .iter()
        .find(|row| row.adapter == erp.name)
        .unwrap();
    let outcomes: Vec<_> = at_erp
        .tries
        .iter()
        .map(|attempt| attempt.outcome.as_str())
        .collect();
    assert_eq!(outcomes, ["delivery_limit"]);
    let delivery = erp.next().await;
    assert_eq!(delivery.properties.headers["crossdock-crashes"].as_int(), Some(1));
    erp.say_done("poison").await;
    erp.ack(&delivery).await;
    becomes(&hub, "poison", &erp.name, "confirmed").await;
}
