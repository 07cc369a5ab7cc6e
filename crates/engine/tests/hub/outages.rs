//! A broker that is away at the start, comes, goes and comes again.

use crossdock_engine::{AcceptError, Hub};
use crossdock_testkit::PrivateBroker;
use serde_json::json;

use crate::support::{Hall, event, eventually, insist, key, ready};

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_starts_without_its_broker_and_carries_on_when_it_comes() {
    let mut broker = PrivateBroker::start().await;
    let hall = Hall::on(broker.vhost().await).await;
    broker.stop().await;

    let hub = Hub::start(hall.options(vec![hall.manifest("erp", &[], &["thing.*.v1"])]))
        .await
        .unwrap();
    let made = |id: &str| event("/import", "thing.made.v1", id, json!({}));
    match hub.accept(&key("import"), vec![made("early")]).await {
        Err(AcceptError::Unavailable { retry_after_s, .. }) => assert!(retry_after_s > 0),
        other => panic!("{other:?}"),
    }
    let not_ready: Vec<_> = hub
        .readiness()
        .await
        .into_iter()
        .filter(|check| !check.ok)
        .map(|check| check.name)
        .collect();
    assert_eq!(not_ready, ["rabbitmq", "topology"]);
    let status = hub.status().await;
    assert!(status.broker.is_none());
    assert!(
        status.attention[0].starts_with("RabbitMQ is unreachable"),
        "{:?}",
        status.attention
    );
    let overview = hub.overview().await;
    assert_eq!(overview.attention[0].sentence, status.attention[0]);
    assert_eq!(overview.flow.hub.waiting, None, "what was never known is not 0");
    assert_eq!(overview.numbers.dead_letters, Some(0));
    assert_eq!(status.adapters.unwrap()[0].state, "unknown");
    assert!(hub.ledger().await.unwrap().settling);

    broker.start_again().await;
    ready(&hub).await;
    let mut erp = hall.adapter("erp").await;
    insist(&hub, &key("import"), &[made("1")]).await;
    assert_eq!(erp.take().await.id, "1");

    // And again, with work under way.
    let before: Vec<_> = (0..100).map(|n| made(&format!("before-{n}"))).collect();
    insist(&hub, &key("import"), &before).await;
    broker.kill().await;
    broker.wait_until_running().await;
    insist(&hub, &key("import"), &[made("after")]).await;
    let mut missing: std::collections::BTreeSet<String> =
        before.iter().map(|event| event.id.clone()).collect();
    missing.insert("after".into());
    eventually("everything accepted arrives", async || {
        let next = erp.consumer().await.next().await;
        let Ok(delivery) = next else {
            erp.crash();
            return None;
        };
        if erp.consumer().await.ack(delivery.tag).await.is_err() {
            erp.crash();
        }
        missing.remove(&crate::support::decoded(&delivery).id);
        missing.is_empty().then_some(())
    })
    .await;
    eventually("it says that it is ready again", async || {
        hub.readiness().await.iter().all(|check| check.ok).then_some(())
    })
    .await;
    hub.stop().await;
}
