//! What the gate refuses of what adapters publish, and sending it again when the cause is mended.

use crossdock_bus::{Outgoing, Properties};
use crossdock_engine::{EngineError, QuarantinedView};
use serde_json::json;

use crate::support::{Hall, event, eventually, key, message, recorded};

async fn one_more(hub: &crossdock_engine::Hub, before: usize) -> QuarantinedView {
    eventually("one more message is in quarantine", async || {
        let kept = hub.quarantined(None, 50).await.ok()?;
        (kept.len() == before + 1).then(|| kept[0].clone())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_an_adapter_may_not_do_is_kept_and_delivered_to_nobody() {
    let hall = Hall::new().await;
    let files = vec![
        hall.manifest("shop", &["thing.sent.v1"], &[]),
        hall.manifest("erp", &["thing.seen.v1"], &["thing.*.v1", "order.*.v1"]),
    ];
    let hub = hall.hub(files).await;
    let (shop, mut erp) = (hall.adapter("shop").await, hall.adapter("erp").await);
    let user = Some(shop.user.as_str());
    let sent = |id: &str| event("/shop", "thing.sent.v1", id, json!({}));
    let with_header = |mut message: Outgoing, name: &str| {
        message
            .properties
            .headers
            .insert(name.into(), erp.name.as_str().into());
        message
    };
    let structured = Outgoing {
        properties: Properties {
            content_type: Some("application/cloudevents+json".into()),
            user_id: Some(shop.user.clone()),
            ..Properties::default()
        },
        body: br#"{"specversion":"1.0","id":"no-type","source":"/shop"}"#.as_slice().into(),
        ..message(&sent("x"), user)
    };
    let cases = [
        (message(&sent("nobody"), None), None, ""),
        (
            with_header(message(&sent("forged"), user), "crossdock-producer"),
            Some(&shop.name),
            "",
        ),
        (
            with_header(message(&sent("attempt"), user), "crossdock-attempt"),
            Some(&shop.name),
            "",
        ),
        (
            message(&event("/erp", "thing.sent.v1", "source", json!({})), user),
            Some(&shop.name),
            "/source",
        ),
        (
            message(&event("/shop", "thing.seen.v1", "type", json!({})), user),
            Some(&shop.name),
            "/type",
        ),
        (structured, Some(&shop.name), "/type"),
    ];
    for (count, (case, producer, pointer)) in cases.into_iter().enumerate() {
        shop.publish(case).await.unwrap();
        let kept = one_more(&hub, count).await;
        assert_eq!(kept.producer.as_ref(), producer, "{:?}", kept.reasons);
        assert_eq!(kept.reasons[0].pointer, pointer, "{:?}", kept.reasons);
    }
    let forged = message(&sent("other user"), Some(&erp.user));
    let error = shop.publish(forged).await.unwrap_err();
    assert!(error.to_string().contains("PRECONDITION"), "{error}");

    eventually("the adapter's link is there again", async || {
        shop.publisher.publish(message(&sent("good"), user)).await.ok()
    })
    .await;
    assert_eq!(erp.take().await.id, "good", "nothing else was delivered");
    let whole = hub
        .quarantined_one(hub.quarantined(None, 1).await.unwrap()[0].id)
        .await
        .unwrap();
    assert!(whole.body_base64.is_some());
    assert!(
        hub.status()
            .await
            .attention
            .iter()
            .any(|sentence| sentence.starts_with("6 messages are in quarantine"))
    );
    assert!(hub.ledger().await.unwrap().balanced);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_event_is_sent_again_when_its_cause_is_mended() {
    let hall = Hall::new().await;
    let erp_file = hall.manifest("erp", &[], &["thing.*.v1"]);
    let files = vec![hall.manifest("shop", &["thing.sent.v1"], &[]), erp_file.clone()];
    let hub = hall.hub(files).await;
    let (shop, mut erp) = (hall.adapter("shop").await, hall.adapter("erp").await);
    let new_type = event("/shop", "thing.packed.v1", "1", json!({ "comexampleextra": 7 }));
    shop.send(&new_type).await;
    let refused = one_more(&hub, 0).await;
    assert_eq!(refused.reasons[0].pointer, "/type");

    // Too early: it comes back, for itself.
    hub.resend(refused.id, &key("operator")).await.unwrap();
    let back = one_more(&hub, 1).await;
    assert_eq!(back.producer.as_deref(), Some(shop.name.as_str()));
    assert_eq!(back.reasons, refused.reasons);
    let first = hub.quarantined_one(refused.id).await.unwrap();
    assert!(first.resent.is_some() && back.resent.is_none());

    let mended = vec![
        hall.manifest("shop", &["thing.sent.v1", "thing.packed.v1"], &[]),
        erp_file,
    ];
    hub.apply(mended, "operator", None, false).await.unwrap();
    hub.resend(back.id, &key("operator")).await.unwrap();
    assert_eq!(erp.take().await, new_type);
    assert_eq!(recorded(&hub, "1").await.producer, shop.name);
    let ledger = hub.ledger().await.unwrap();
    assert_eq!((ledger.accepted, ledger.quarantined), (1, 2));
    assert!(ledger.balanced);
    assert_eq!(hub.status().await.quarantined, Some(0), "none waits any more");
    assert!(matches!(
        hub.resend(4711, &key("operator")).await,
        Err(EngineError::NotFound(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn adapters_that_answer_each_other_in_a_circle_are_stopped() {
    let hall = Hall::new().await;
    let files = vec![
        hall.manifest("ping", &["ball.pinged.v1"], &["ball.ponged.v1"]),
        hall.manifest("pong", &["ball.ponged.v1"], &["ball.pinged.v1"]),
    ];
    let hub = hall.hub(files).await;
    let (mut ping, mut pong) = (hall.adapter("ping").await, hall.adapter("pong").await);
    ping.send(&event("/ping", "ball.pinged.v1", "0", json!({}))).await;
    for n in 1..=33_u32 {
        let (from, source, event_type) = if n % 2 == 1 {
            (&mut pong, "/pong", "ball.ponged.v1")
        } else {
            (&mut ping, "/ping", "ball.pinged.v1")
        };
        let cause = from.take().await.id;
        let answer = event(
            source,
            event_type,
            &n.to_string(),
            json!({ "causationid": cause }),
        );
        from.send(&answer).await;
    }
    let refused = one_more(&hub, 0).await;
    assert_eq!(refused.reasons[0].pointer, "/causationid");
    let ledger = hub.ledger().await.unwrap();
    assert_eq!(ledger.accepted, 33, "one cause and 32 events after it");
}
