//! What `record` keeps, and what repeating it leaves alone.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use chrono::{TimeDelta, Timelike};
use crossdock_model::event::AttributeValue;
use crossdock_store::{Accepted, Batch, DeliveryState, Duplicate, EventKey, EventQuery, OutcomeKind, Totals};

use super::quarantine::message;
use super::{Database, accepted, at, batch, delivery, event, ids, only, order, with_extension, word};

pub async fn an_event_is_kept_to_the_letter(database: &impl Database) {
    let store = database.open().await;
    let mut event = with_extension(order("Größe 7"), "correlationid", "order-1");
    event.subject = Some("order/1".into());
    event.time = at(0).with_nanosecond(123_456_789);
    event.data_schema = Some("https://example.com/schema".into());
    event.data_content_type = Some("application/octet-stream".into());
    event.data = Some(Bytes::from_static(b"\0\xff not text"));
    event
        .extensions
        .insert("urgent".into(), AttributeValue::Boolean(true));
    event
        .extensions
        .insert("rank".into(), AttributeValue::Integer(-7));
    let received = at(0) + TimeDelta::microseconds(5);
    let given = Accepted {
        received,
        chain: 3,
        ..accepted(event.clone(), &["warehouse", "erp"])
    };
    let mut bare = order("bare");
    (bare.data, bare.data_content_type) = (None, None);
    store
        .record(batch([given, accepted(bare.clone(), &[])]))
        .await
        .unwrap();

    let stored = only(&store, "Größe 7").await;
    assert!(stored.event == event);
    assert_eq!(
        (stored.producer.as_str(), stored.received, stored.chain),
        ("shop", received, 3)
    );
    let deliveries: Vec<_> = stored
        .deliveries
        .iter()
        .map(|delivery| {
            (
                delivery.adapter.as_str(),
                delivery.state,
                delivery.attempts,
                delivery.published,
            )
        })
        .collect();
    assert_eq!(
        deliveries,
        [
            ("erp", DeliveryState::Pending, 0, at(1)),
            ("warehouse", DeliveryState::Pending, 0, at(1))
        ]
    );
    let stored = only(&store, "bare").await;
    assert!(stored.event == bare && stored.deliveries.is_empty());
    assert_eq!(store.latest_offset().await.unwrap(), stored.offset);
}

pub async fn a_batch_of_any_size_is_kept(database: &impl Database) {
    let store = database.open().await;
    store.record(Batch::default()).await.unwrap();
    for size in [1, 2, 100, 101, 333] {
        let events = (0..size).map(|n| accepted(order(&format!("{size}-{n}")), &["erp", "warehouse", "erp"]));
        store.record(batch(events)).await.unwrap();
    }
    let all = store
        .find(EventQuery {
            limit: 1_000,
            ..EventQuery::default()
        })
        .await
        .unwrap();
    assert_eq!(all.len(), 537);
    assert!(all.iter().all(|stored| stored.deliveries.len() == 2));
    assert!(all.is_sorted_by(|one, next| one.offset < next.offset));
}

pub async fn a_repeated_batch_adds_only_to_counters(database: &impl Database) {
    let store = database.open().await;
    let duplicate = |id: &str, redelivered| Duplicate {
        key: EventKey {
            source: "/shop".into(),
            id: id.into(),
        },
        producer: "shop".into(),
        received: at(0),
        redelivered,
    };
    let given = Batch {
        accepted: ["a", "b", "c"].map(|id| accepted(order(id), &["erp"])).to_vec(),
        duplicates: vec![duplicate("a", false), duplicate("b", true)],
        quarantined: vec![message("one"), message("two")],
        outcomes: vec![word("erp", "c", OutcomeKind::Undelivered)],
    };
    store.record(given.clone()).await.unwrap();
    let once = store.totals().await.unwrap();
    assert_eq!(
        once,
        Totals {
            received: 6,
            accepted: 3,
            duplicates: 1,
            redelivered: 1,
            quarantined: 2,
            ..Totals::default()
        }
    );

    let moved = given.accepted.iter().cloned().map(|first| Accepted {
        targets: vec!["crm".into()],
        ..first
    });
    store
        .record(Batch {
            accepted: moved.collect(),
            ..given
        })
        .await
        .unwrap();
    let twice = store.totals().await.unwrap();
    assert_eq!(
        twice,
        Totals {
            received: 12,
            accepted: 3,
            duplicates: 7,
            redelivered: 2,
            quarantined: 2,
            ..Totals::default()
        }
    );
    assert!(once.balanced() && twice.balanced());
    assert_eq!(only(&store, "a").await.deliveries[0].adapter, "erp");
    let adapters = store.per_adapter().await.unwrap();
    assert_eq!(
        (adapters.len(), adapters[0].pending, adapters[0].parked),
        (1, 2, 1)
    );
    assert!(!adapters[0].sends_receipts);
    assert_eq!(delivery(&store, "c", "erp").await.tries.len(), 1);
}

pub async fn a_key_repeated_in_a_batch_counts_once(database: &impl Database) {
    let store = database.open().await;
    let events = [
        accepted(order("a"), &["erp"]),
        accepted(order("a"), &["crm"]),
        accepted(order("b"), &[]),
    ];
    store.record(batch(events)).await.unwrap();
    assert_eq!(only(&store, "a").await.deliveries[0].adapter, "erp");
    let totals = store.totals().await.unwrap();
    assert_eq!((totals.received, totals.accepted, totals.duplicates), (3, 2, 1));
}

pub async fn one_id_of_two_sources_is_two_events(database: &impl Database) {
    let store = database.open().await;
    let events = ["/shop", "/erp"].map(|source| accepted(event(source, "1", "order.placed.v1"), &[]));
    store.record(batch(events)).await.unwrap();
    assert_eq!(ids(&store.event("1", None).await.unwrap()), ["1", "1"]);
    let of_erp = store.event("1", Some("/erp")).await.unwrap();
    assert_eq!(
        of_erp
            .iter()
            .map(|stored| stored.event.source.as_str())
            .collect::<Vec<_>>(),
        ["/erp"]
    );
    assert!(store.event("1", Some("/crm")).await.unwrap().is_empty());
}

pub async fn keys_and_chains_are_looked_up(database: &impl Database) {
    let store = database.open().await;
    let chained = |source: &str, chain| Accepted {
        chain,
        ..accepted(event(source, "1", "a.done.v1"), &[])
    };
    store
        .record(batch([chained("/a", 2), chained("/b", 5)]))
        .await
        .unwrap();
    let key = |source: &str, id: &str| EventKey {
        source: source.into(),
        id: id.into(),
    };
    let asked = [key("/a", "1"), key("/a", "2"), key("/c", "1"), key("/a", "1")];
    assert_eq!(
        store.recorded(&asked).await.unwrap(),
        HashSet::from([key("/a", "1")])
    );
    let chains = store.chain_lengths(&["1".into(), "2".into()]).await.unwrap();
    assert_eq!(chains, HashMap::from([("1".into(), 5)]));
    assert!(store.recorded(&[]).await.unwrap().is_empty());
}

pub async fn two_hubs_record_the_same_events_once(database: &impl Database) {
    let (one, other) = (database.open().await, database.open().await);
    for round in 0..20 {
        let events = (0..20).map(|n| accepted(order(&format!("{round}-{n}")), &["erp"]));
        let events = batch(events);
        let (first, second) = tokio::join!(one.record(events.clone()), other.record(events));
        first.unwrap();
        second.unwrap();
    }
    let totals = one.totals().await.unwrap();
    assert_eq!(
        (totals.received, totals.accepted, totals.duplicates),
        (800, 400, 400)
    );
    assert_eq!(one.per_adapter().await.unwrap()[0].matched, 400);
}

pub async fn a_new_connection_sees_it_all(database: &impl Database) {
    let store = database.open().await;
    store
        .record(batch([accepted(order("a"), &["erp"])]))
        .await
        .unwrap();
    let before = (
        store.totals().await.unwrap(),
        store.latest_offset().await.unwrap(),
    );
    drop(store);
    let store = database.open().await;
    assert_eq!(
        (
            store.totals().await.unwrap(),
            store.latest_offset().await.unwrap()
        ),
        before
    );
    store
        .record(batch([
            accepted(order("a"), &["erp"]),
            accepted(order("b"), &["erp"]),
        ]))
        .await
        .unwrap();
    assert!(only(&store, "b").await.offset > only(&store, "a").await.offset);
    assert!(store.totals().await.unwrap().balanced());
}
