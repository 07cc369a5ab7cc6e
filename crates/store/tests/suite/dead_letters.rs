//! Finding what failed for good.

use crossdock_store::OutcomeKind::{Dead, Done, HandedOver, Rejected};
use crossdock_store::{DeadLetter, DeadLetterCursor, Outcome, Store};

use super::{Database, accepted, at, batch, event, order, word};

fn dead(adapter: &str, id: &str, second: i64) -> Outcome {
    Outcome {
        attempt: Some(1),
        detail: Some(format!("no {id}")),
        at: at(second),
        ..word(adapter, id, Dead)
    }
}

async fn all(store: &Store, adapter: Option<&str>, page: usize) -> Vec<DeadLetter> {
    let mut found: Vec<DeadLetter> = Vec::new();
    loop {
        let after = found.last().map(|last| DeadLetterCursor {
            failed: last.failed,
            event_offset: last.event_offset,
            adapter: last.adapter.clone(),
        });
        let mut next = store.dead_letters(adapter, after, page).await.unwrap();
        if next.is_empty() {
            return found;
        }
        assert!(next.len() <= page);
        found.append(&mut next);
    }
}

pub async fn they_come_latest_first_page_by_page(database: &impl Database) {
    let store = database.open().await;
    let mut events: Vec<_> = ["a", "b", "c"]
        .map(|id| accepted(order(id), &["erp", "wms"]))
        .into();
    events.push(accepted(event("/shop", "fine", "order.placed.v1"), &["erp"]));
    store.record(batch(events)).await.unwrap();
    let words = [
        dead("erp", "a", 5),
        dead("wms", "a", 5),
        dead("erp", "b", 9),
        dead("erp", "c", 7),
        word("erp", "fine", Done),
    ];
    store.settle(&words).await.unwrap();
    let named = |found: &[DeadLetter]| -> Vec<String> {
        found
            .iter()
            .map(|dead| format!("{} {}", dead.event.id, dead.adapter))
            .collect()
    };
    for page in 1..=5 {
        let found = all(&store, None, page).await;
        assert_eq!(named(&found), ["b erp", "c erp", "a wms", "a erp"], "{page}");
        assert_eq!(named(&all(&store, Some("wms"), page).await), ["a wms"]);
    }
    let found = all(&store, Some("erp"), 10).await;
    assert_eq!((found[0].failed, found[0].attempts), (at(9), 1));
    assert_eq!(found[0].detail.as_deref(), Some("no b"));
    let stored = store.event_at(found[0].event_offset).await.unwrap().unwrap();
    assert_eq!((stored.event.id.as_str(), stored.deliveries.len()), ("b", 2));
    assert!(store.event_at(1_000).await.unwrap().is_none());
}

pub async fn one_that_is_handed_over_is_none(database: &impl Database) {
    let store = database.open().await;
    store
        .record(batch([accepted(order("a"), &["erp"])]))
        .await
        .unwrap();
    store.settle(&[dead("erp", "a", 5)]).await.unwrap();
    let again = Outcome {
        attempt: Some(2),
        ..word("erp", "a", HandedOver)
    };
    store.settle(&[again]).await.unwrap();
    assert!(all(&store, None, 10).await.is_empty());
    let failed = Outcome {
        attempt: Some(2),
        at: at(20),
        ..word("erp", "a", Rejected)
    };
    store.settle(&[failed]).await.unwrap();
    let found = all(&store, None, 10).await;
    assert_eq!((found.len(), found[0].attempts, found[0].failed), (1, 2, at(20)));
}
