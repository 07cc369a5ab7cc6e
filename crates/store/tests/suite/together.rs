//! Several hubs on one record at once.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossdock_store::{DeliveryState, EventQuery, Outcome, OutcomeKind, Store};

use super::{Database, accepted, at, batch, order, word};

/// Follows the record by offset until `writers` have ended and nothing is left to read.
async fn follow(store: &Store, writers: &AtomicUsize) -> Vec<String> {
    let mut seen = Vec::new();
    let mut after_offset = 0;
    loop {
        let all_written = writers.load(Ordering::Acquire) == 0;
        let query = EventQuery {
            after_offset: Some(after_offset),
            limit: 50,
            ..EventQuery::default()
        };
        let page = store.find(query).await.unwrap();
        if page.is_empty() && all_written {
            return seen;
        }
        for stored in page {
            assert!(stored.offset > after_offset);
            after_offset = stored.offset;
            seen.push(stored.event.id);
        }
    }
}

pub async fn who_follows_the_record_misses_nothing(database: &impl Database) {
    const BATCHES: usize = 60;
    const HUBS: usize = 2;
    let (one, other) = (database.open().await, database.open().await);
    let reader = database.open().await;
    let writing = AtomicUsize::new(HUBS);
    let write = async |hub: usize, store: Store| {
        for number in 0..BATCHES {
            // Large and small batches take their offsets at nearly the same time, and commit in any order.
            let size = if (number + hub).is_multiple_of(2) { 1 } else { 80 };
            let events = (0..size).map(|n| accepted(order(&format!("{hub}-{number}-{n}")), &["erp"]));
            store.record(batch(events)).await.unwrap();
        }
        writing.fetch_sub(1, Ordering::Release);
    };
    let (_, _, seen) = tokio::join!(write(0, one), write(1, other), follow(&reader, &writing));
    let recorded = reader.totals().await.unwrap().accepted;
    assert_eq!(recorded, (HUBS * BATCHES / 2 * 81) as u64);
    assert_eq!(
        seen.len() as u64,
        recorded,
        "whoever pages by offset has missed events"
    );
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), seen.len());
}

pub async fn a_record_and_a_word_about_it_find_each_other(database: &impl Database) {
    const ROUNDS: usize = 60;
    let (gate, outcomes) = (database.open().await, database.open().await);
    let id = |round, n| format!("{round}-{n}");
    for round in 0..ROUNDS {
        let events = (0..10).map(|n| accepted(order(&id(round, n)), &["erp", "warehouse"]));
        let words: Vec<_> = (0..10)
            .flat_map(|n| ["erp", "warehouse"].map(|adapter| word(adapter, &id(round, n), OutcomeKind::Done)))
            .collect();
        let (recorded, settled) = tokio::join!(gate.record(batch(events)), outcomes.settle(&words));
        recorded.unwrap();
        settled.unwrap();
    }
    for adapter in gate.per_adapter().await.unwrap() {
        assert_eq!(
            (adapter.confirmed, adapter.pending),
            (10 * ROUNDS as u64, 0),
            "{}",
            adapter.adapter
        );
    }
}

pub async fn hubs_that_settle_the_same_do_not_block_each_other(database: &impl Database) {
    let (one, other) = (database.open().await, database.open().await);
    let ids: Vec<_> = (0..40).map(|n| n.to_string()).collect();
    let events = ids.iter().map(|id| accepted(order(id), &["erp", "warehouse"]));
    one.record(batch(events)).await.unwrap();
    let words = |attempt: u32| -> Vec<_> {
        let of = |id: &String, adapter| Outcome {
            attempt: Some(attempt),
            at: at(attempt.into()),
            ..word(adapter, id, OutcomeKind::Rejected)
        };
        ids.iter()
            .flat_map(|id| ["erp", "warehouse"].map(|adapter| of(id, adapter)))
            .collect()
    };
    for attempt in 1..=10 {
        let forwards = words(attempt);
        let mut backwards = forwards.clone();
        backwards.reverse();
        let more = batch((0..5).map(|n| accepted(order(&format!("more-{attempt}-{n}")), &["erp"])));
        let (first, second, third) = tokio::join!(
            one.settle(&forwards),
            other.settle(&backwards),
            other.record(more)
        );
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_eq!(
            (first.applied + second.applied, first.repeated + second.repeated),
            (80, 80)
        );
        third.unwrap();
    }
    let stored = super::only(&one, "0").await;
    for delivery in stored.deliveries {
        assert_eq!(
            (delivery.state, delivery.tries.len()),
            (DeliveryState::Parked, 10)
        );
    }
    assert!(one.totals().await.unwrap().balanced());
}

pub async fn many_open_a_new_database_at_once(database: &impl Database) {
    let open = || crossdock_store::open(database.url());
    let opened = tokio::join!(open(), open(), open(), open(), open(), open());
    for opened in <[_; 6]>::from(opened) {
        opened.unwrap();
    }
}
