//! Text that not every database takes as it is: U+0000, characters that Unicode sets aside, orders of a language.

use bytes::Bytes;
use crossdock_model::fault::Fault;
use crossdock_store::{
    ApiKey, Batch, EventKey, EventQuery, HubBeat, NewQuarantined, NewRevision, OutcomeKind,
};
use serde_json::json;

use super::{Database, accepted, at, batch, delivery, ids, order, with_extension, word};

const ODD: &str = "\0 a\0\u{fdd0}0 \u{ffff} é\u{1} \u{10ffff}";

pub async fn it_is_kept_to_the_letter(database: &impl Database) {
    let store = database.open().await;
    let message = NewQuarantined {
        received: at(0),
        producer: Some(ODD.into()),
        reasons: vec![Fault::new(format!("/{ODD}"), ODD)],
        headers: json!({ ODD: [ODD, { "bytes": [0, 255] }] }),
        content_type: Some(ODD.into()),
        body: Bytes::from_static(b"\0\xff"),
        routing_key: ODD.into(),
        redelivered: false,
    };
    let quarantined = Batch {
        quarantined: vec![message.clone()],
        ..Batch::default()
    };
    store.record(quarantined).await.unwrap();
    let id = store.quarantine_page(None, 1).await.unwrap()[0].id;
    let kept = store.quarantined(id).await.unwrap().unwrap();
    assert_eq!(
        (kept.headers, kept.body, kept.summary.reasons),
        (message.headers, message.body, message.reasons)
    );
    assert_eq!(kept.summary.producer.as_deref(), Some(ODD));
    assert_eq!(kept.summary.content_type.as_deref(), Some(ODD));
    assert_eq!(kept.summary.routing_key, ODD);

    let key = ApiKey {
        id: "id".into(),
        name: ODD.into(),
        hash: [1; 32],
        scopes: vec![ODD.into()],
        topics: vec![ODD.into()],
        adapter: None,
        created: at(0),
        expires: None,
        revoked: None,
        last_used: None,
    };
    store.add_api_key(key.clone()).await.unwrap();
    assert_eq!(store.api_key("id").await.unwrap(), Some(key));
    let revision = NewRevision {
        created: at(0),
        author: ODD.into(),
        note: Some(ODD.into()),
        digest: "digest".into(),
        files: Vec::new(),
    };
    store.append_revision(None, revision).await.unwrap();
    let kept = store.current_revision().await.unwrap().unwrap().summary;
    assert_eq!((kept.author.as_str(), kept.note.as_deref()), (ODD, Some(ODD)));
    let beat = HubBeat {
        hub_id: "hub".into(),
        host: ODD.into(),
        version: "0".into(),
        config_digest: "digest".into(),
        revision: None,
        at: at(0),
    };
    store.heartbeat(beat.clone()).await.unwrap();
    assert_eq!(store.hubs(at(0)).await.unwrap(), [beat]);
}

pub async fn nothing_bears_such_a_name(database: &impl Database) {
    let store = database.open().await;
    store
        .record(batch([accepted(order("a"), &["erp"])]))
        .await
        .unwrap();
    assert!(store.event(ODD, None).await.unwrap().is_empty());
    assert!(store.event("a", Some(ODD)).await.unwrap().is_empty());
    assert!(store.journey(ODD).await.unwrap().is_empty());
    let odd = Some(ODD.to_owned());
    let none = EventQuery::default;
    for query in [
        EventQuery {
            source: odd.clone(),
            ..none()
        },
        EventQuery {
            subject: odd.clone(),
            ..none()
        },
        EventQuery {
            correlation: odd.clone(),
            ..none()
        },
        EventQuery {
            adapter: odd.clone(),
            ..none()
        },
        EventQuery {
            source: odd,
            subject: Some("x".into()),
            ..none()
        },
    ] {
        let query = EventQuery { limit: 10, ..query };
        assert!(store.find(query).await.unwrap().is_empty());
    }
    let key = EventKey {
        source: ODD.into(),
        id: ODD.into(),
    };
    assert!(store.recorded(&[key]).await.unwrap().is_empty());
    assert!(store.chain_lengths(&[ODD.into()]).await.unwrap().is_empty());
    assert_eq!(store.api_key(ODD).await.unwrap(), None);
    assert!(store.adapter_credentials(Some(ODD)).await.unwrap().is_empty());
    assert_eq!(store.pending_count(ODD, at(100)).await.unwrap(), 0);
    assert!(store.pending(ODD, at(100), 10).await.unwrap().is_empty());
    store.touch_api_keys(&[(ODD.into(), at(0))]).await.unwrap();
    store.remove_hub(ODD).await.unwrap();
}

pub async fn it_settles_nothing_and_stops_nothing(database: &impl Database) {
    let store = database.open().await;
    let mut of_an_odd_source = word("erp", "a", OutcomeKind::Done);
    of_an_odd_source.source = Some(ODD.into());
    let mut odd_detail = word("erp", "a", OutcomeKind::Dead);
    odd_detail.detail = Some(ODD.into());
    store.settle(&[of_an_odd_source, odd_detail]).await.unwrap();
    store
        .record(batch([accepted(order("a"), &["erp"])]))
        .await
        .unwrap();
    let row = delivery(&store, "a", "erp").await;
    assert_eq!(row.tries.len(), 1);
    assert_eq!(row.detail, Some(ODD.replace('\0', "\u{fffd}")));
}

pub async fn order_is_that_of_bytes(database: &impl Database) {
    let store = database.open().await;
    // A language would put a before B, and é beside e.
    let adapters = ["B", "a", "b", "é", "e-1", "e.1"];
    let named = with_extension(order("one"), "aliases", "x:B x:a");
    store
        .record(batch([accepted(named, &adapters), accepted(order("ONE"), &[])]))
        .await
        .unwrap();
    let expected = ["B", "a", "b", "e-1", "e.1", "é"];
    let stored = super::only(&store, "one").await;
    let names: Vec<_> = stored
        .deliveries
        .iter()
        .map(|delivery| delivery.adapter.as_str())
        .collect();
    assert_eq!(names, expected);
    let totals = store.per_adapter().await.unwrap();
    let names: Vec<_> = totals.iter().map(|totals| totals.adapter.as_str()).collect();
    assert_eq!(names, expected);
    assert_eq!(ids(&store.event("ONE", None).await.unwrap()), ["ONE"]);
}
