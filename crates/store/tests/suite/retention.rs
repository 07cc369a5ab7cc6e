//! What is forgotten, and that the figures go on as if it were there.

use std::collections::BTreeMap;

use crossdock_store::{
    Accepted, AdapterTotals, Batch, DeliveryState, EventQuery, EventsForgotten, ForgetEvents,
    ForgetQuarantined, NewQuarantined, Outcome, OutcomeKind, QuarantineBound, QuarantineCutOff, Store,
    Totals,
};

use super::quarantine::message;
use super::{Database, accepted, at, batch, delivery, ids, order, with_extension, word};

/// The gate received it, and published it, at this second.
fn at_second(second: i64, id: &str, targets: &[&str]) -> Accepted {
    Accepted {
        received: at(second),
        published: at(second),
        ..accepted(with_extension(order(id), "correlationid", "c1"), targets)
    }
}

fn step(received_before: i64, taken_before: &[(&str, i64)]) -> ForgetEvents {
    ForgetEvents {
        after_offset: 0,
        limit: 100,
        received_before: at(received_before),
        taken_before: taken_before
            .iter()
            .map(|(adapter, second)| ((*adapter).to_owned(), at(*second)))
            .collect(),
    }
}

/// A whole pass; gives how many events are gone.
async fn forget(store: &Store, mut step: ForgetEvents) -> u64 {
    let mut gone = 0;
    loop {
        let EventsForgotten { forgotten, next } = store.forget_events(&step).await.unwrap();
        gone += forgotten;
        match next {
            Some(next) => step.after_offset = next,
            None => return gone,
        }
    }
}

async fn remaining(store: &Store) -> Vec<String> {
    let all = EventQuery {
        limit: 1_000,
        ..EventQuery::default()
    };
    let found = store.find(all).await.unwrap();
    found.into_iter().map(|stored| stored.event.id).collect()
}

pub async fn only_what_is_old_and_settled_is_forgotten(database: &impl Database) {
    let store = database.open().await;
    let events = [
        at_second(1, "confirmed", &["erp"]),
        at_second(2, "half confirmed", &["erp", "warehouse"]),
        at_second(3, "parked", &["erp"]),
        at_second(4, "retrying", &["erp"]),
        at_second(5, "for nobody", &[]),
        at_second(6, "taken", &["legacy"]),
        at_second(7, "pending", &["erp"]),
        at_second(20, "young", &["erp"]),
    ];
    store.record(batch(events)).await.unwrap();
    let retrying = Outcome {
        due: Some(at(60)),
        ..word("erp", "retrying", OutcomeKind::Rejected)
    };
    let words = [
        word("erp", "confirmed", OutcomeKind::Done),
        word("erp", "half confirmed", OutcomeKind::Done),
        word("erp", "parked", OutcomeKind::Dead),
        retrying,
        word("erp", "young", OutcomeKind::Done),
    ];
    store
        .settle(&words.map(|word| Outcome { at: at(30), ..word }))
        .await
        .unwrap();

    assert_eq!(forget(&store, step(1, &[])).await, 0);
    assert_eq!(forget(&store, step(10, &[("legacy", 6)])).await, 2);
    let kept = [
        "half confirmed",
        "parked",
        "retrying",
        "taken",
        "pending",
        "young",
    ];
    assert_eq!(remaining(&store).await, kept);
    assert_eq!(
        forget(&store, step(10, &[("legacy", 7), ("warehouse", 2)])).await,
        1
    );
    assert_eq!(forget(&store, step(10, &[("warehouse", 3)])).await, 1);
    assert_eq!(
        remaining(&store).await,
        ["parked", "retrying", "pending", "young"]
    );
    assert_eq!(forget(&store, step(100, &[])).await, 1);

    assert!(store.event("confirmed", None).await.unwrap().is_empty());
    assert_eq!(
        ids(&store.journey("c1").await.unwrap()),
        ["parked", "retrying", "pending"]
    );
    assert_eq!(delivery(&store, "parked", "erp").await.tries.len(), 1);
    store
        .settle(&[word("erp", "retrying", OutcomeKind::Done)])
        .await
        .unwrap();
    assert_eq!(forget(&store, step(100, &[])).await, 1);
}

pub async fn the_ledger_goes_on_as_if_it_were_there(database: &impl Database) {
    let store = database.open().await;
    let events = (0..30).map(|n| at_second(n, &n.to_string(), &["erp", "legacy"]));
    let repeated = at_second(0, "0", &["erp"]);
    let quarantined = (0..5).map(|n| message(&n.to_string()));
    store
        .record(Batch {
            accepted: events.chain([repeated]).collect(),
            quarantined: quarantined.collect(),
            ..Batch::default()
        })
        .await
        .unwrap();
    let words: Vec<_> = (0..25)
        .map(|n| match n {
            0..20 => word("erp", &n.to_string(), OutcomeKind::Done),
            _ => word("erp", &n.to_string(), OutcomeKind::Dead),
        })
        .collect();
    store.settle(&words).await.unwrap();
    let (totals, adapters) = (store.totals().await.unwrap(), store.per_adapter().await.unwrap());
    assert!(totals.balanced());

    // In the middle of those that may go there are some at legacy that were not taken yet.
    assert_eq!(forget(&store, step(28, &[("legacy", 15)])).await, 15);
    let [cut_off] = &store
        .quarantine_cut_offs(&QuarantineBound::Age(at(1_000)))
        .await
        .unwrap()[..]
    else {
        panic!("one producer is expected");
    };
    let first_three = ForgetQuarantined {
        messages: 3,
        ..one_step(cut_off)
    };
    assert_eq!(store.forget_quarantined(&first_three).await.unwrap().forgotten, 3);
    let after = store.totals().await.unwrap();
    let expected = Totals {
        forgotten_events: 15,
        forgotten_quarantined: 3,
        ..totals
    };
    assert_eq!(after, expected);
    assert!(after.balanced());
    let expected: Vec<_> = adapters
        .iter()
        .map(|before| match before.adapter.as_str() {
            "legacy" => AdapterTotals {
                pending: 15,
                taken: 15,
                oldest_pending: Some(at(15)),
                ..before.clone()
            },
            _ => before.clone(),
        })
        .collect();
    assert_eq!(store.per_adapter().await.unwrap(), expected);
    assert_eq!(
        expected.iter().map(|line| line.matched).collect::<Vec<_>>(),
        [30, 30]
    );

    let opened_again = database.open().await;
    assert_eq!(opened_again.totals().await.unwrap(), after);
    assert_eq!(opened_again.per_adapter().await.unwrap(), expected);
}

fn one_step(cut_off: &QuarantineCutOff) -> ForgetQuarantined<'_> {
    ForgetQuarantined {
        cut_off,
        after: 0,
        messages: 1_000,
        bytes: u64::MAX,
    }
}

/// A whole round; gives what each step forgot.
async fn round(store: &Store, bound: QuarantineBound, messages: usize, bytes: u64) -> Vec<u64> {
    let mut steps = Vec::new();
    for cut_off in store.quarantine_cut_offs(&bound).await.unwrap() {
        let mut step = ForgetQuarantined {
            messages,
            bytes,
            ..one_step(&cut_off)
        };
        loop {
            let done = store.forget_quarantined(&step).await.unwrap();
            let Some(next) = done.next else {
                assert_eq!(done.forgotten, 0);
                break;
            };
            assert!(next > step.after && next <= cut_off.up_to);
            step.after = next;
            steps.push(done.forgotten);
        }
    }
    steps
}

pub async fn each_step_is_bounded_and_a_pass_ends(database: &impl Database) {
    let store = database.open().await;
    // Every third one is stuck; a pass must neither stop at these nor look at them for ever.
    let targets = |n: i64| -> &[&str] { if n % 3 == 0 { &["erp"] } else { &[] } };
    let events = (0..100).map(|n| at_second(n, &n.to_string(), targets(n)));
    store.record(batch(events)).await.unwrap();
    let (mut steps, mut step) = (
        0,
        ForgetEvents {
            limit: 7,
            ..step(50, &[])
        },
    );
    let mut gone = 0;
    loop {
        let done = store.forget_events(&step).await.unwrap();
        assert!(done.forgotten <= 7);
        gone += done.forgotten;
        steps += 1;
        let Some(next) = done.next else { break };
        assert!(next > step.after_offset);
        step.after_offset = next;
    }
    assert_eq!(gone, 33);
    // 0 to 49 take seven steps and a bit; the ninth finds nothing old enough.
    assert_eq!(steps, 9);
    assert_eq!(
        forget(
            &store,
            ForgetEvents {
                after_offset: 0,
                ..step
            }
        )
        .await,
        0
    );
    assert_eq!(remaining(&store).await.len(), 67);
}

pub async fn what_is_forgotten_is_new_when_it_comes_again(database: &impl Database) {
    let store = database.open().await;
    store.record(batch([at_second(1, "a", &["erp"])])).await.unwrap();
    store
        .settle(&[word("erp", "a", OutcomeKind::Done)])
        .await
        .unwrap();
    let last = store.latest_offset().await.unwrap();
    assert_eq!(forget(&store, step(10, &[])).await, 1);
    assert_eq!(store.latest_offset().await.unwrap(), 0);

    // A late word about it waits in vain, and harms nothing.
    store
        .settle(&[word("erp", "a", OutcomeKind::Rejected)])
        .await
        .unwrap();
    store
        .record(batch([Accepted {
            published: at(3_600),
            ..at_second(3_600, "a", &["erp"])
        }]))
        .await
        .unwrap();
    let again = super::only(&store, "a").await;
    assert!(again.offset > last, "offsets are never used twice");
    assert_eq!(again.deliveries[0].state, DeliveryState::Pending);
    let totals = store.totals().await.unwrap();
    assert_eq!((totals.received, totals.accepted, totals.duplicates), (2, 2, 0));
    assert!(totals.balanced());
}

pub async fn the_quarantine_is_bounded_by_age_and_by_producer(database: &impl Database) {
    let store = database.open().await;
    let of = |producer: Option<&str>, n: i64, bytes: usize| NewQuarantined {
        producer: producer.map(str::to_owned),
        received: at(n),
        routing_key: n.to_string(),
        ..message(&"x".repeat(bytes))
    };
    let messages = (0..10)
        .map(|n| of(Some("noisy"), n, 10))
        .chain((0..3).map(|n| of(Some("quiet"), n, 10)))
        .chain((0..3).map(|n| of(None, n, 1_000)));
    store
        .record(Batch {
            quarantined: messages.collect(),
            ..Batch::default()
        })
        .await
        .unwrap();
    let kept = async || {
        let mut kept = BTreeMap::<_, Vec<_>>::new();
        for summary in store.quarantine_page(None, 100).await.unwrap() {
            kept.entry(summary.producer)
                .or_default()
                .push(summary.routing_key);
        }
        kept.into_iter()
            .map(|(producer, keys)| format!("{} {}", producer.unwrap_or_default(), keys.join(",")))
            .collect::<Vec<_>>()
    };
    let size = |messages, bytes| QuarantineBound::Size { messages, bytes };
    assert_eq!(round(&store, size(10, u64::MAX), 100, u64::MAX).await, [0; 0]);
    assert_eq!(round(&store, size(4, u64::MAX), 4, u64::MAX).await, [4, 2]);
    assert_eq!(kept().await, [" 2,1,0", "noisy 9,8,7,6", "quiet 2,1,0"]);
    assert_eq!(round(&store, size(4, 2_500), 100, u64::MAX).await, [1]);
    assert_eq!(kept().await, [" 2,1", "noisy 9,8,7,6", "quiet 2,1,0"]);
    assert_eq!(
        round(&store, QuarantineBound::Age(at(2)), 2, u64::MAX).await,
        [2, 1]
    );
    assert_eq!(kept().await, [" 2", "noisy 9,8,7,6", "quiet 2"]);
    let before = QuarantineBound::Age(at(9));
    assert_eq!(
        round(&store, before, 100, 1).await,
        [1, 1, 1, 1, 1],
        "a step ends with its bytes"
    );
    assert_eq!(kept().await, ["noisy 9"]);
    let totals = store.totals().await.unwrap();
    assert_eq!((totals.quarantined, totals.forgotten_quarantined), (16, 15));
    assert!(totals.balanced());
}

pub async fn the_oldest_that_was_not_taken_is_found(database: &impl Database) {
    let store = database.open().await;
    let events = [5, 3, 3, 9].into_iter().enumerate();
    let events = events.map(|(n, second)| at_second(second, &n.to_string(), &["legacy"]));
    store.record(batch(events)).await.unwrap();
    let found = async |older| store.pending_after("legacy", older).await.unwrap();
    for (older, second) in [(0, 3), (1, 3), (2, 5), (3, 9)] {
        assert_eq!(found(older).await, Some(at(second)), "{older}");
    }
    assert_eq!(found(4).await, None);
    assert_eq!(store.pending_after("nobody", 0).await.unwrap(), None);
}
