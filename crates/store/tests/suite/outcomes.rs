//! What words make of deliveries.

use crossdock_store::{
    Accepted, DeliveryKey, DeliveryState,
    DeliveryState::{Confirmed, Parked, Pending, Retrying},
    EventKey, Outcome, OutcomeKind,
    OutcomeKind::{Dead, DeliveryLimit, Done, HandedOver, Rejected, Retry, Undelivered},
    SettleSummary, Store,
};

use super::{Database, accepted, at, batch, delivery, event, order, word};

fn applied(applied: u64) -> SettleSummary {
    SettleSummary {
        applied,
        ..SettleSummary::default()
    }
}

async fn state(store: &Store, id: &str, adapter: &str) -> DeliveryState {
    delivery(store, id, adapter).await.state
}

pub async fn receipts_settle_only_their_senders_deliveries(database: &impl Database) {
    let store = database.open().await;
    store
        .record(batch([
            accepted(order("a"), &["erp", "warehouse"]),
            accepted(order("b"), &["erp"]),
        ]))
        .await
        .unwrap();
    let receipt = Outcome {
        detail: Some("posted".into()),
        duration_ms: Some(12),
        ..word("erp", "a", Done)
    };
    assert_eq!(
        store.settle(std::slice::from_ref(&receipt)).await.unwrap(),
        applied(1)
    );
    let other = [word("warehouse", "b", Done), word("stranger", "a", Dead)];
    assert_eq!(
        store.settle(&other).await.unwrap(),
        SettleSummary {
            early: 2,
            ..SettleSummary::default()
        }
    );

    let settled = delivery(&store, "a", "erp").await;
    assert_eq!(
        (settled.state, settled.attempts, settled.settled),
        (Confirmed, 1, Some(at(2)))
    );
    assert_eq!(settled.detail.as_deref(), Some("posted"));
    let tried = &settled.tries[0];
    assert_eq!(
        (tried.number, tried.outcome, tried.at, tried.duration_ms),
        (1, Done, at(2), Some(12))
    );
    assert_eq!(state(&store, "a", "warehouse").await, Pending);
    assert_eq!(state(&store, "b", "erp").await, Pending);
}

pub async fn saying_it_again_changes_nothing(database: &impl Database) {
    let store = database.open().await;
    let all = ["a", "b", "c", "d", "e"];
    store
        .record(batch(all.map(|id| accepted(order(id), &["erp"]))))
        .await
        .unwrap();
    let words: Vec<_> = all
        .iter()
        .zip([Done, Retry, Dead, Rejected, DeliveryLimit])
        .map(|(id, kind)| word("erp", id, kind))
        .collect();
    assert_eq!(store.settle(&words).await.unwrap(), applied(5));
    let totals = store.per_adapter().await.unwrap();
    let again: Vec<_> = words
        .iter()
        .map(|word| Outcome {
            at: at(60),
            ..word.clone()
        })
        .collect();
    let repeated = SettleSummary {
        repeated: 5,
        ..SettleSummary::default()
    };
    assert_eq!(store.settle(&words).await.unwrap(), repeated);
    assert_eq!(store.settle(&again).await.unwrap(), repeated);
    for id in all {
        let row = delivery(&store, id, "erp").await;
        let settled = (row.state != Pending).then_some(at(2));
        assert_eq!((row.settled, row.tries.len()), (settled, 1), "{id}");
    }
    let after = store.per_adapter().await.unwrap();
    assert_eq!(
        (after[0].confirmed, after[0].parked),
        (totals[0].confirmed, totals[0].parked)
    );
}

pub async fn done_stands_whatever_else_is_said(database: &impl Database) {
    let store = database.open().await;
    for (n, failure) in [Retry, Dead, Rejected, DeliveryLimit, Undelivered]
        .into_iter()
        .enumerate()
    {
        for (order_of_words, name) in [
            ([failure, Done], "failure first"),
            ([Done, failure], "done first"),
        ] {
            let id = format!("{n} {name}");
            store
                .record(batch([accepted(order(&id), &["erp"])]))
                .await
                .unwrap();
            for kind in order_of_words {
                store.settle(&[word("erp", &id, kind)]).await.unwrap();
            }
            let row = delivery(&store, &id, "erp").await;
            assert_eq!((row.state, row.tries.len()), (Confirmed, 2), "{id}");
        }
    }
}

pub async fn failures_are_parked_with_their_attempts(database: &impl Database) {
    let store = database.open().await;
    store
        .record(batch([accepted(order("a"), &["erp"])]))
        .await
        .unwrap();
    let attempt = |number, kind, detail: Option<&str>| Outcome {
        attempt: Some(number),
        detail: detail.map(str::to_owned),
        at: at(number.into()),
        ..word("erp", "a", kind)
    };
    let words = [
        Outcome {
            retry_after_s: Some(30),
            ..attempt(1, Retry, Some("busy"))
        },
        attempt(1, Rejected, None),
        attempt(2, DeliveryLimit, None),
    ];
    assert_eq!(store.settle(&words).await.unwrap(), applied(3));
    let row = delivery(&store, "a", "erp").await;
    assert_eq!((row.state, row.attempts, row.settled), (Parked, 2, Some(at(1))));
    assert_eq!(row.detail.as_deref(), Some("busy"));
    let tries: Vec<_> = row
        .tries
        .iter()
        .map(|tried| (tried.number, tried.outcome))
        .collect();
    assert_eq!(tries, [(1, Rejected), (1, Retry), (2, DeliveryLimit)]);
}

pub async fn a_word_before_its_event_waits_for_it(database: &impl Database) {
    let store = database.open().await;
    let named = Outcome {
        source: Some("/shop".into()),
        ..word("erp", "named", Dead)
    };
    let misnamed = Outcome {
        source: Some("/crm".into()),
        ..word("erp", "misnamed", Done)
    };
    let early = [
        word("erp", "bare", Done),
        word("erp", "bare", Done),
        named,
        misnamed,
    ];
    assert_eq!(
        store.settle(&early).await.unwrap(),
        SettleSummary {
            early: 4,
            ..SettleSummary::default()
        }
    );
    drop(store);

    let store = database.open().await;
    let events = ["bare", "named", "misnamed"].map(|id| accepted(order(id), &["erp", "warehouse"]));
    store.record(batch(events)).await.unwrap();
    assert_eq!(state(&store, "bare", "erp").await, Confirmed);
    assert_eq!(delivery(&store, "bare", "erp").await.tries.len(), 1);
    assert_eq!(state(&store, "named", "erp").await, Parked);
    assert_eq!(state(&store, "misnamed", "erp").await, Pending);
    assert_eq!(state(&store, "bare", "warehouse").await, Pending);
}

pub async fn words_for_one_id_of_two_sources_find_both(database: &impl Database) {
    let of = |source: &str, id: &str| accepted(event(source, id, "order.placed.v1"), &["erp"]);
    let confirmed = async |store: &Store, id: &str| {
        let events = store.event(id, None).await.unwrap();
        events
            .iter()
            .filter(|stored| stored.deliveries[0].state == Confirmed)
            .count()
    };
    let store = database.open().await;

    store
        .record(batch([of("/a", "after"), of("/b", "after")]))
        .await
        .unwrap();
    let receipts = |id| [word("erp", id, Done), word("erp", id, Done)];
    store.settle(&receipts("after")).await.unwrap();
    assert_eq!(confirmed(&store, "after").await, 2);

    store.settle(&receipts("before")).await.unwrap();
    store.record(batch([of("/a", "before")])).await.unwrap();
    store.record(batch([of("/b", "before")])).await.unwrap();
    assert_eq!(confirmed(&store, "before").await, 2);

    store.record(batch([of("/a", "between")])).await.unwrap();
    store.settle(&receipts("between")).await.unwrap();
    store.record(batch([of("/b", "between")])).await.unwrap();
    assert_eq!(confirmed(&store, "between").await, 2);

    store.record(batch([of("/a", "long ago")])).await.unwrap();
    store.settle(&receipts("long ago")).await.unwrap();
    store
        .record(batch([Accepted {
            published: at(3_600),
            ..of("/b", "long ago")
        }]))
        .await
        .unwrap();
    assert_eq!(confirmed(&store, "long ago").await, 1);
}

/// A step of the case below: the record of the event, or a word about it.
type Step = Option<OutcomeKind>;

fn orders_of(steps: &[Step]) -> Vec<Vec<Step>> {
    if steps.is_empty() {
        return vec![Vec::new()];
    }
    let first_then_rest = |first: usize| {
        let mut rest = steps.to_vec();
        let first = rest.remove(first);
        orders_of(&rest)
            .into_iter()
            .map(move |rest| [vec![first], rest].concat())
    };
    (0..steps.len()).flat_map(first_then_rest).collect()
}

pub async fn the_order_of_words_and_record_does_not_matter(database: &impl Database) {
    let store = database.open().await;
    for (group, words) in [
        [Some(Retry), Some(Rejected), Some(Done)],
        [Some(Retry), Some(Dead), Some(Retry)],
    ]
    .into_iter()
    .enumerate()
    {
        let steps = [&[None], words.as_slice()].concat();
        for (n, order_of_steps) in orders_of(&steps).into_iter().enumerate() {
            let id = format!("{group}/{n}");
            for step in &order_of_steps {
                match step {
                    None => store
                        .record(batch([accepted(order(&id), &["erp"])]))
                        .await
                        .unwrap(),
                    Some(kind) => drop(store.settle(&[word("erp", &id, *kind)]).await.unwrap()),
                }
            }
            let row = delivery(&store, &id, "erp").await;
            let expected = if group == 0 { (Confirmed, 3) } else { (Parked, 2) };
            assert_eq!((row.state, row.tries.len()), expected, "{order_of_steps:?}");
        }
    }
}

pub async fn invented_ids_push_out_only_their_own(database: &impl Database) {
    let store = database.open().await;
    store
        .settle(&[word("erp", "real", Done), word("mischief", "first", Done)])
        .await
        .unwrap();
    let invented: Vec<_> = (0..10_000)
        .map(|n| word("mischief", &format!("no-{n}"), Done))
        .collect();
    store.settle(&invented).await.unwrap();
    let events = ["real", "first", "no-0", "no-9999"].map(|id| accepted(order(id), &["erp", "mischief"]));
    store.record(batch(events)).await.unwrap();
    assert_eq!(state(&store, "real", "erp").await, Confirmed);
    assert_eq!(state(&store, "first", "mischief").await, Pending);
    assert_eq!(state(&store, "no-0", "mischief").await, Confirmed);
    assert_eq!(state(&store, "no-9999", "mischief").await, Confirmed);
}

pub async fn impossible_ids_are_refused(database: &impl Database) {
    let store = database.open().await;
    let long = "x".repeat(300);
    let words = ["", "nul\0", &long, "line\n"].map(|id| word("erp", id, Done));
    assert_eq!(
        store.settle(&words).await.unwrap(),
        SettleSummary {
            refused: 4,
            ..SettleSummary::default()
        }
    );
    assert_eq!(store.settle(&[]).await.unwrap(), SettleSummary::default());
    store
        .record(batch([accepted(order("a"), &["erp"])]))
        .await
        .unwrap();
    let detail = Some(format!("\0{}", "é".repeat(5_000)));
    store
        .settle(&[Outcome {
            detail,
            ..word("erp", "a", Dead)
        }])
        .await
        .unwrap();
    let kept = delivery(&store, "a", "erp").await.detail.unwrap();
    assert!(kept.len() <= crossdock_store::DETAIL_MAX_BYTES && !kept.contains('\0'));
}

pub async fn a_failure_is_tried_again_and_handed_over(database: &impl Database) {
    let store = database.open().await;
    store
        .record(batch([accepted(order("a"), &["erp"])]))
        .await
        .unwrap();
    let attempt = |number, kind| Outcome {
        attempt: Some(number),
        at: at(number.into()),
        ..word("erp", "a", kind)
    };
    let failed = Outcome {
        due: Some(at(30)),
        detail: Some("busy".into()),
        ..attempt(1, Rejected)
    };
    store.settle(&[word("erp", "a", Retry), failed]).await.unwrap();
    let row = delivery(&store, "a", "erp").await;
    assert_eq!((row.state, row.attempts, row.due), (Retrying, 1, Some(at(30))));
    assert_eq!((row.settled, row.detail.as_deref()), (Some(at(1)), Some("busy")));
    let totals = store.per_adapter().await.unwrap().remove(0);
    assert_eq!((totals.retrying, totals.pending, totals.parked), (1, 0, 0));

    store.settle(&[attempt(2, HandedOver)]).await.unwrap();
    let row = delivery(&store, "a", "erp").await;
    assert_eq!((row.state, row.attempts, row.due), (Pending, 2, None));
    assert_eq!((row.published, row.settled, row.detail), (at(2), None, None));

    store.settle(&[word("erp", "a", Done)]).await.unwrap();
    let row = delivery(&store, "a", "erp").await;
    assert_eq!(
        (row.state, row.tries.last().map(|tried| tried.number)),
        (Confirmed, Some(2))
    );
}

pub async fn standings_tell_what_is_known(database: &impl Database) {
    let store = database.open().await;
    let key = |source: &str, id: &str, adapter: &str| DeliveryKey {
        adapter: adapter.into(),
        event: EventKey {
            source: source.into(),
            id: id.into(),
        },
    };
    store
        .record(batch([accepted(order("a"), &["erp", "warehouse"])]))
        .await
        .unwrap();
    let busy = Outcome {
        detail: Some("busy".into()),
        retry_after_s: Some(7),
        ..word("erp", "a", Retry)
    };
    let early = Outcome {
        source: Some("/shop".into()),
        attempt: Some(3),
        ..word("erp", "early", Dead)
    };
    store
        .settle(&[busy, early, word("erp", "early", Retry)])
        .await
        .unwrap();
    let keys = [
        key("/shop", "a", "erp"),
        key("/shop", "a", "warehouse"),
        key("/shop", "early", "erp"),
        key("/other", "early", "erp"),
        key("/shop", "unheard of", "erp"),
    ];
    let standings = store.standings(&keys).await.unwrap();
    let said = |key: &DeliveryKey| {
        let standing = &standings[key];
        let mut words: Vec<_> = standing
            .words
            .iter()
            .map(|word| (word.attempt, word.kind))
            .collect();
        words.sort_unstable();
        (standing.state, words)
    };
    assert_eq!(said(&keys[0]), (Pending, vec![(1, Retry)]));
    let word = &standings[&keys[0]].words[0];
    assert_eq!(
        (word.detail.as_deref(), word.retry_after_s),
        (Some("busy"), Some(7))
    );
    assert_eq!(said(&keys[1]), (Pending, vec![]));
    assert_eq!(said(&keys[2]), (Pending, vec![(1, Retry), (3, Dead)]));
    assert_eq!(said(&keys[3]), (Pending, vec![(1, Retry)]));
    assert!(!standings.contains_key(&keys[4]));
    assert!(store.standings(&[]).await.unwrap().is_empty());
}

pub async fn of_a_queue_that_takes_nothing_the_first_and_the_latest_attempt_are_kept(
    database: &impl Database,
) {
    let store = database.open().await;
    store
        .record(batch([accepted(order("a"), &["erp"])]))
        .await
        .unwrap();
    let said = |attempt: u32, kind| Outcome {
        at: at(30 * i64::from(attempt)),
        attempt: Some(attempt),
        due: (kind == OutcomeKind::Undelivered).then(|| at(30 * i64::from(attempt + 1))),
        detail: Some("its queue did not take it".into()),
        ..word("erp", "a", kind)
    };
    let kept = async || {
        let [stored] = &store.event("a", None).await.unwrap()[..] else {
            panic!("one event");
        };
        let delivery = &stored.deliveries[0];
        let tries: Vec<_> = delivery
            .tries
            .iter()
            .map(|one| (one.number, one.outcome))
            .collect();
        (delivery.state, delivery.attempts, tries)
    };
    store.settle(&[said(1, OutcomeKind::Undelivered)]).await.unwrap();
    for attempt in 2..50 {
        // In one go, as words that waited for a database come, or one by one.
        let words = [
            said(attempt, OutcomeKind::HandedOver),
            said(attempt, OutcomeKind::Undelivered),
        ];
        if attempt % 3 == 0 {
            store.settle(&words).await.unwrap();
        } else {
            for word in words {
                store.settle(&[word]).await.unwrap();
            }
        }
    }
    let run = [
        (1, OutcomeKind::Undelivered),
        (49, OutcomeKind::HandedOver),
        (49, OutcomeKind::Undelivered),
    ];
    assert_eq!(kept().await, (DeliveryState::Retrying, 49, run.to_vec()));
    // What is something else stays: the queue took it, and the adapter failed.
    for (attempt, kind) in [
        (50, OutcomeKind::HandedOver),
        (50, OutcomeKind::Rejected),
        (51, OutcomeKind::HandedOver),
        (51, OutcomeKind::Undelivered),
        (52, OutcomeKind::HandedOver),
        (52, OutcomeKind::Undelivered),
    ] {
        store.settle(&[said(attempt, kind)]).await.unwrap();
    }
    let (_, _, tries) = kept().await;
    let numbers: Vec<u32> = tries.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [1, 49, 49, 50, 50, 51, 51, 52, 52]);
}
