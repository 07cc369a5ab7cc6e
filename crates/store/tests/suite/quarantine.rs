//! Quarantined messages.

use bytes::Bytes;
use crossdock_model::fault::Fault;
use crossdock_store::{Batch, NewQuarantined, Store, StoreError, Totals};
use serde_json::json;

use super::{Database, at};

pub fn message(body: &str) -> NewQuarantined {
    NewQuarantined {
        received: at(0),
        producer: Some("shop".into()),
        reasons: vec![
            Fault::new("/data", "is missing"),
            Fault::new("/type", "is not published by shop"),
        ],
        headers: json!({"cloudEvents_id": "1", "x-delivery-count": 1}),
        content_type: Some("application/json".into()),
        body: Bytes::copy_from_slice(body.as_bytes()),
        routing_key: "order/1".into(),
        redelivered: false,
    }
}

async fn quarantine(store: &Store, messages: impl Into<Vec<NewQuarantined>>) {
    store
        .record(Batch {
            quarantined: messages.into(),
            ..Batch::default()
        })
        .await
        .unwrap();
}

pub async fn a_message_is_kept_whole_and_once(database: &impl Database) {
    let store = database.open().await;
    let binary = NewQuarantined {
        body: Bytes::from_static(b"\0\xff"),
        ..message("")
    };
    let nameless = NewQuarantined {
        producer: None,
        content_type: None,
        ..message("")
    };
    quarantine(&store, [binary.clone(), nameless]).await;
    let page = store.quarantine_page(None, 10).await.unwrap();
    let whole = store.quarantined(page[1].id).await.unwrap().unwrap();
    assert_eq!(whole.summary, page[1]);
    assert_eq!(
        (&whole.body, &whole.headers, &whole.summary.reasons),
        (&binary.body, &binary.headers, &binary.reasons)
    );
    assert_eq!(
        (
            whole.summary.producer.as_deref(),
            whole.summary.routing_key.as_str()
        ),
        (Some("shop"), "order/1")
    );
    assert_eq!(
        (page[0].producer.as_deref(), page[0].content_type.as_deref()),
        (None, None)
    );
    assert!(store.quarantined(page[0].id + 1).await.unwrap().is_none());

    let counted_up = json!({"x-delivery-count": 2, "cloudEvents_id": "1"});
    let redelivered = NewQuarantined {
        headers: counted_up,
        redelivered: true,
        ..binary.clone()
    };
    let differently = NewQuarantined {
        headers: json!({"cloudEvents_id": "2"}),
        ..binary.clone()
    };
    quarantine(&store, [redelivered, binary, differently]).await;
    let totals = store.totals().await.unwrap();
    let expected = Totals {
        received: 4,
        duplicates: 1,
        redelivered: 1,
        quarantined: 3,
        accepted: 0,
        ..Totals::default()
    };
    assert_eq!(totals, expected);
    assert!(totals.balanced());
}

pub async fn a_message_that_comes_back_waits_again(database: &impl Database) {
    let store = database.open().await;
    quarantine(&store, [message("one"), message("two")]).await;
    let id = store.quarantine_page(None, 1).await.unwrap()[0].id;
    store.mark_resent(id, at(5)).await.unwrap();
    assert_eq!(
        store.quarantined(id).await.unwrap().unwrap().summary.resent,
        Some(at(5))
    );
    let reasons = vec![Fault::new("/time", "is no time")];
    quarantine(
        &store,
        [NewQuarantined {
            reasons: reasons.clone(),
            ..message("two")
        }],
    )
    .await;
    let back = store.quarantined(id).await.unwrap().unwrap().summary;
    assert_eq!((back.resent, back.reasons), (None, reasons));
    assert_eq!(store.mark_resent(id + 1, at(5)).await, Err(StoreError::NotFound));
}

pub async fn pages_go_back(database: &impl Database) {
    let store = database.open().await;
    quarantine(
        &store,
        (0..5).map(|n| message(&n.to_string())).collect::<Vec<_>>(),
    )
    .await;
    let first = store.quarantine_page(None, 3).await.unwrap();
    let second = store.quarantine_page(Some(first[2].id), 3).await.unwrap();
    let ids: Vec<_> = first.iter().chain(&second).map(|summary| summary.id).collect();
    assert!(ids.len() == 5 && ids.is_sorted_by(|one, next| one > next));
    assert_eq!(first[0].body_bytes, 1);
}
