//! The figures.

use crossdock_store::{Accepted, AdapterTotals, Outcome, OutcomeKind};

use super::{Database, accepted, at, batch, order, word};

pub async fn each_delivery_counts_in_one_state(database: &impl Database) {
    let store = database.open().await;
    assert!(store.totals().await.unwrap().balanced());
    let events = (0..6).map(|n| Accepted {
        published: at(10 + n),
        ..accepted(
            order(&n.to_string()),
            if n < 4 { &["erp", "warehouse"] } else { &["erp"] },
        )
    });
    store.record(batch(events)).await.unwrap();
    let words = [
        word("erp", "0", OutcomeKind::Done),
        word("erp", "1", OutcomeKind::Done),
        word("erp", "2", OutcomeKind::Dead),
        word("warehouse", "0", OutcomeKind::Rejected),
    ];
    store.settle(&words).await.unwrap();
    let expected = [
        AdapterTotals {
            adapter: "erp".into(),
            matched: 6,
            confirmed: 2,
            parked: 1,
            pending: 3,
            sends_receipts: true,
            receipts_since: Some(at(2)),
            oldest_pending: Some(at(13)),
            last_settled: Some(at(2)),
            ..AdapterTotals::default()
        },
        AdapterTotals {
            adapter: "warehouse".into(),
            matched: 4,
            parked: 1,
            pending: 3,
            sends_receipts: false,
            oldest_pending: Some(at(11)),
            last_settled: Some(at(2)),
            ..AdapterTotals::default()
        },
    ];
    assert_eq!(store.per_adapter().await.unwrap(), expected);
}

pub async fn pending_deliveries_come_oldest_first(database: &impl Database) {
    let store = database.open().await;
    let published = [("a", 5), ("b", 3), ("c", 4), ("d", 9), ("e", 3)];
    let events = published.map(|(id, s)| Accepted {
        published: at(s),
        ..accepted(order(id), &["erp"])
    });
    store.record(batch(events)).await.unwrap();
    store
        .settle(&[word("erp", "c", OutcomeKind::Done)])
        .await
        .unwrap();
    let pending = async |before, limit| {
        let found = store.pending("erp", at(before), limit).await.unwrap();
        found
            .iter()
            .map(|pending| pending.event_id.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(pending(9, 10).await, "b e a");
    assert_eq!(pending(10, 2).await, "b e");
    assert_eq!(pending(3, 10).await, "");
    for (before, count) in [(9, 3), (10, 4), (3, 0)] {
        assert_eq!(store.pending_count("erp", at(before)).await.unwrap(), count);
    }
    let oldest = store.pending("erp", at(4), 1).await.unwrap().remove(0);
    assert_eq!(
        (oldest.source.as_str(), oldest.event_type.as_str()),
        ("/shop", "order.placed.v1")
    );
    assert_eq!(oldest.published, at(3));
    assert!(store.pending("warehouse", at(10), 10).await.unwrap().is_empty());
}

pub async fn a_place_among_them_is_found(database: &impl Database) {
    let store = database.open().await;
    let published = [("a", 5), ("b", 3), ("c", 4), ("d", 9)];
    let events = published.map(|(id, s)| Accepted {
        published: at(s),
        ..accepted(order(id), &["erp"])
    });
    store.record(batch(events)).await.unwrap();
    store
        .settle(&[word("erp", "c", OutcomeKind::Done)])
        .await
        .unwrap();
    for (younger, second) in [
        (0, Some(9)),
        (1, Some(5)),
        (2, Some(3)),
        (3, None),
        (u64::MAX, None),
    ] {
        let found = store.pending_before("erp", younger).await.unwrap();
        assert_eq!(found, second.map(at), "{younger} younger");
    }
    assert_eq!(store.pending_before("warehouse", 0).await.unwrap(), None);
}

pub async fn activity_is_remembered(database: &impl Database) {
    let store = database.open().await;
    let steps = [
        (10, OutcomeKind::Rejected, None),
        (20, OutcomeKind::Retry, Some(at(20))),
        (15, OutcomeKind::Done, Some(at(20))),
        (50, OutcomeKind::DeliveryLimit, Some(at(20))),
    ];
    for (second, kind, receipts_since) in steps {
        store
            .settle(&[Outcome {
                at: at(second),
                ..word("erp", "unknown", kind)
            }])
            .await
            .unwrap();
        let totals = store.per_adapter().await.unwrap().remove(0);
        assert_eq!(
            (totals.receipts_since, totals.sends_receipts),
            (receipts_since, receipts_since.is_some())
        );
    }
    let totals = store.per_adapter().await.unwrap().remove(0);
    assert_eq!((totals.matched, totals.last_settled), (0, Some(at(50))));
}
