//! The way of an event: in over HTTP and AMQP, through the gate, to an adapter, and the account of it.

use std::sync::LazyLock;

use crossdock_bus::message::HeaderValue;
use crossdock_engine::EventSearch;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::json;

use crate::support::{Hall, becomes, decoded, event, eventually, key, recorded};

/// The process's recorder of metrics.
static METRICS: LazyLock<PrometheusHandle> =
    LazyLock::new(|| PrometheusBuilder::new().install_recorder().unwrap());

#[tokio::test(flavor = "multi_thread")]
async fn an_event_comes_in_over_http_or_amqp_and_reaches_who_subscribed() {
    let hall = Hall::new().await;
    let files = vec![
        hall.manifest("shop", &["thing.sent.v1"], &["thing.seen.v1"]),
        hall.manifest("erp", &["thing.seen.v1"], &["thing.*.v1"]),
    ];
    let hub = hall.hub(files).await;
    let mut erp = hall.adapter("erp").await;
    let shop = hall.adapter("shop").await;

    let over_http = event(
        "/import",
        "thing.made.v1",
        "h-1",
        json!({ "correlationid": "c-1", "comexampleextra": "kept", "datacontenttype": "text/plain", "data": "hello" }),
    );
    assert_eq!(
        hub.accept(&key("import"), vec![over_http.clone()]).await.unwrap(),
        1
    );
    let delivery = erp.next().await;
    assert_eq!(decoded(&delivery), over_http);
    assert_eq!(
        delivery.properties.headers["crossdock-attempt"],
        HeaderValue::Int(1)
    );
    assert_eq!(delivery.properties.user_id, None);
    let others = delivery
        .properties
        .headers
        .keys()
        .filter(|name| !name.starts_with("cloudEvents_") && *name != "crossdock-attempt");
    assert_eq!(others.count(), 0);
    erp.ack(&delivery).await;

    let over_amqp = event("/shop", "thing.sent.v1", "a-1", json!({ "correlationid": "c-1" }));
    shop.send(&over_amqp).await;
    assert_eq!(erp.take().await, over_amqp);

    erp.say_done("h-1").await;
    let view = becomes(&hub, "h-1", &erp.name, "confirmed").await;
    assert_eq!(view.producer, "key:import");
    assert_eq!(view.parsed()["data"], "hello");
    assert_eq!(view.deliveries.len(), 1, "thing.made.v1 concerns erp only");
    assert_eq!(view.deliveries[0].tries[0].duration_ms, Some(3));
    assert_eq!(recorded(&hub, "a-1").await.producer, shop.name);

    let journey = hub.journey("c-1").await.unwrap();
    let ids: Vec<_> = journey
        .events
        .iter()
        .map(|view| view.attribute("id").unwrap())
        .collect();
    assert_eq!(ids, ["h-1", "a-1"]);
    erp.say_done("a-1").await;
    becomes(&hub, "a-1", &erp.name, "confirmed").await;
    assert_eq!(
        hub.journey("c-1").await.unwrap().verdict,
        "All is done; the last event was thing.sent.v1"
    );
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_counted_and_not_delivered() {
    let hall = Hall::new().await;
    let files = vec![
        hall.manifest("shop", &["thing.sent.v1"], &[]),
        hall.manifest("erp", &[], &["thing.sent.v1"]),
    ];
    let hub = hall.hub(files).await;
    let (shop, mut erp) = (hall.adapter("shop").await, hall.adapter("erp").await);
    let once = event("/shop", "thing.sent.v1", "1", json!({}));
    let as_shop = hub
        .authenticate(&hall.environment("shop")["CROSSDOCK_API_KEY"])
        .await
        .unwrap();

    shop.send(&once).await;
    recorded(&hub, "1").await;
    shop.send(&once).await;
    hub.accept(&as_shop, vec![once.clone(), once.clone()])
        .await
        .unwrap();
    // The same id of another source is another event.
    let other = event("/other", "thing.sent.v1", "1", json!({}));
    hub.accept(&key("other"), vec![other.clone()]).await.unwrap();
    let last = event("/shop", "thing.sent.v1", "last", json!({ "subject": "1" }));
    shop.send(&last).await;

    assert_eq!(erp.take().await, once);
    assert_eq!(erp.take().await, other);
    assert_eq!(erp.take().await, last);
    let ledger = eventually("all are counted", async || {
        let ledger = hub.ledger().await.ok()?;
        (ledger.received == 6).then_some(ledger)
    })
    .await;
    assert_eq!(
        (
            ledger.accepted,
            ledger.duplicates,
            ledger.redelivered,
            ledger.quarantined
        ),
        (3, 3, 0, 0)
    );
    assert!(ledger.balanced);
    assert!(matches!(
        hub.event("1", None).await,
        Err(crossdock_engine::EngineError::Ambiguous(sources)) if sources.len() == 2
    ));
    assert!(hub.event("1", Some("/other")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_recorded_is_found_and_followed() {
    let hall = Hall::new().await;
    let hub = hall.hub(vec![hall.manifest("erp", &[], &["order.*.v1"])]).await;
    let mut news = hub.recorded();
    let start = *news.borrow_and_update();
    let events: Vec<_> = (0..5)
        .map(|n| {
            event(
                "/import",
                "thing.made.v1",
                &format!("{n}"),
                json!({ "subject": "s" }),
            )
        })
        .collect();
    hub.accept(&key("import"), events).await.unwrap();
    eventually("the news of all five come", async || {
        news.changed().await.unwrap();
        (*news.borrow_and_update() == start + 5).then_some(())
    })
    .await;
    let after = hub.events_after(start + 2, None, 10).await.unwrap();
    let offsets: Vec<_> = after.iter().map(|view| view.offset - start).collect();
    assert_eq!(offsets, [3, 4, 5]);

    let search = |cursor: Option<String>, event_type: &str| EventSearch {
        event_type: Some(event_type.into()),
        cursor,
        limit: 3,
        ..EventSearch::default()
    };
    let first = hub.find(search(None, "thing.*.v1")).await.unwrap();
    let second = hub.find(search(first.next.clone(), "thing.*.v1")).await.unwrap();
    assert_eq!((first.events.len(), second.events.len()), (3, 2));
    assert_eq!(second.next, None);
    assert!(
        hub.find(search(None, "order.*.v1"))
            .await
            .unwrap()
            .events
            .is_empty()
    );
    for wrong in [search(Some("x".into()), "a.b.v1"), search(None, "")] {
        assert!(matches!(
            hub.find(wrong).await,
            Err(crossdock_engine::EngineError::Invalid(_))
        ));
    }
    let journey = hub.journey("3").await.unwrap();
    assert_eq!(journey.verdict, "All is done; the last event was thing.made.v1");
    assert!(hub.journey("nobody").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_measured() {
    let metrics = METRICS.clone();
    let hall = Hall::new().await;
    let files = vec![
        hall.manifest("shop", &["thing.sent.v1"], &[]),
        hall.manifest("erp", &[], &["thing.sent.v1"]),
    ];
    let hub = hall.hub(files).await;
    let (shop, mut erp) = (hall.adapter("shop").await, hall.adapter("erp").await);
    shop.send(&event("/shop", "thing.sent.v1", "1", json!({}))).await;
    shop.send(&event("/shop", "thing.other.v1", "2", json!({}))).await;
    erp.take().await;
    erp.say_done("1").await;
    let name = erp.name.clone();
    let expected = [
        format!("crossdock_deliveries_total{{adapter=\"{name}\"}} 1"),
        format!("crossdock_outcomes_total{{adapter=\"{name}\",outcome=\"done\"}} 1"),
        "crossdock_events_total{outcome=\"accepted\"}".to_owned(),
        "crossdock_events_total{outcome=\"quarantined\"}".to_owned(),
        "crossdock_gate_batch_seconds_count".to_owned(),
    ];
    eventually("everything is counted", async || {
        let text = metrics.render();
        expected
            .iter()
            .all(|line| text.contains(line.as_str()))
            .then_some(())
    })
    .await;
    hub.stop().await;
}
