//! What dashboards ask again and again.

use crossdock_store::{
    Accepted, BUCKETS_MAX, HISTOGRAM_EVENTS_MAX, HistogramQuery, Outcome, OutcomeKind, SOURCES_MAX,
    StoreError,
};

use super::{Database, accepted, at, batch, event, order, with_extension, word};

const SECOND_US: i64 = 1_000_000;

/// Everything of the first hundred seconds, in tens.
fn tens() -> HistogramQuery {
    HistogramQuery {
        since: at(0),
        bucket_us: 10 * SECOND_US,
        buckets: 10,
        until: at(100),
        event_type: None,
        source: None,
        subject: None,
        correlation: None,
        adapter: None,
        limit: HISTOGRAM_EVENTS_MAX,
    }
}

fn received(second: i64, accepted: Accepted) -> Accepted {
    Accepted {
        received: at(second),
        ..accepted
    }
}

pub async fn events_are_counted_by_interval(database: &impl Database) {
    let store = database.open().await;
    let mut about = order("c");
    about.subject = Some("order/1".into());
    let all = [
        received(
            0,
            accepted(with_extension(order("a"), "correlationid", "c1"), &["erp", "wms"]),
        ),
        received(9, accepted(event("/erp", "b", "order.numbered.v1"), &["wms"])),
        received(
            10,
            accepted(with_extension(about, "aliases", "erp:9 c1"), &["erp"]),
        ),
        received(99, accepted(event("/erp", "d", "stock.level.v1"), &[])),
        received(100, accepted(order("later"), &["erp"])),
        received(-1, accepted(order("earlier"), &["erp"])),
    ];
    store.record(batch(all)).await.unwrap();

    let pattern = |text: &str| Some(text.parse().unwrap());
    let cases: [(HistogramQuery, [u64; 3]); 9] = [
        (tens(), [2, 1, 1]),
        (
            HistogramQuery {
                source: Some("/erp".into()),
                ..tens()
            },
            [1, 0, 1],
        ),
        (
            HistogramQuery {
                event_type: pattern("order.*.v1"),
                ..tens()
            },
            [2, 1, 0],
        ),
        (
            HistogramQuery {
                event_type: pattern("stock.level.v1"),
                ..tens()
            },
            [0, 0, 1],
        ),
        (
            HistogramQuery {
                adapter: Some("wms".into()),
                ..tens()
            },
            [2, 0, 0],
        ),
        (
            HistogramQuery {
                correlation: Some("c1".into()),
                ..tens()
            },
            [1, 1, 0],
        ),
        (
            HistogramQuery {
                subject: Some("order/1".into()),
                ..tens()
            },
            [0, 1, 0],
        ),
        (
            HistogramQuery {
                correlation: Some("c1".into()),
                subject: Some("order/1".into()),
                source: Some("/shop".into()),
                event_type: pattern("order.placed.v1"),
                adapter: Some("erp".into()),
                ..tens()
            },
            [0, 1, 0],
        ),
        (
            HistogramQuery {
                until: at(10),
                ..tens()
            },
            [2, 0, 0],
        ),
    ];
    for (query, [first, second, last]) in cases {
        let histogram = store.histogram(&query).await.unwrap();
        let mut expected = vec![0; 10];
        (expected[0], expected[1], expected[9]) = (first, second, last);
        assert_eq!(histogram.counts, expected, "{query:?}");
        assert!(!histogram.truncated, "{query:?}");
    }
}

pub async fn a_histogram_is_bounded(database: &impl Database) {
    let store = database.open().await;
    let events = (0..20).map(|n| received(n * 5, accepted(order(&n.to_string()), &["erp"])));
    store.record(batch(events)).await.unwrap();
    let whole = store
        .histogram(&HistogramQuery { limit: 20, ..tens() })
        .await
        .unwrap();
    assert_eq!((whole.counts, whole.truncated), (vec![2; 10], false));
    for query in [
        HistogramQuery { limit: 5, ..tens() },
        // What is looked at counts, not what is found.
        HistogramQuery {
            limit: 5,
            source: Some("/shop".into()),
            ..tens()
        },
    ] {
        let cut = store.histogram(&query).await.unwrap();
        assert!(cut.truncated);
        assert_eq!(
            cut.counts,
            [0, 0, 0, 0, 0, 0, 0, 2, 2, 2],
            "the newest are counted"
        );
    }
    let none = HistogramQuery {
        limit: 5,
        source: Some("/erp".into()),
        ..tens()
    };
    assert!(store.histogram(&none).await.unwrap().truncated);
    for wrong in [
        HistogramQuery { buckets: 0, ..tens() },
        HistogramQuery {
            buckets: BUCKETS_MAX + 1,
            ..tens()
        },
        HistogramQuery {
            bucket_us: 0,
            ..tens()
        },
    ] {
        assert!(matches!(
            store.histogram(&wrong).await,
            Err(StoreError::Invalid(_))
        ));
    }
}

pub async fn sources_are_counted_and_their_last_is_known(database: &impl Database) {
    let store = database.open().await;
    assert!(store.source_figures(at(0)).await.unwrap().sources.is_empty());
    let all = [
        received(1, accepted(event("/erp", "a", "stock.level.v1"), &[])),
        received(40, accepted(order("b"), &[])),
        received(60, accepted(order("c"), &[])),
        received(70, accepted(order("d"), &[])),
    ];
    store.record(batch(all)).await.unwrap();
    let figures = store.source_figures(at(60)).await.unwrap();
    assert_eq!(figures.since, at(60));
    let seen: Vec<_> = figures
        .sources
        .iter()
        .map(|figure| (figure.source.as_str(), figure.events, figure.last))
        .collect();
    assert_eq!(seen, [("/shop", 2, at(70)), ("/erp", 0, at(1))]);
}

pub async fn of_many_sources_those_that_sent_something_last_are_shown(database: &impl Database) {
    let store = database.open().await;
    let surplus = 10;
    // The later its name, the younger its last event.
    let all = (0..SOURCES_MAX + surplus).map(|number| {
        let source = format!("/{number:04}");
        let second = i64::try_from(number).unwrap();
        received(second, accepted(event(&source, "a", "stock.level.v1"), &[]))
    });
    store.record(batch(all)).await.unwrap();
    let figures = store.source_figures(at(200)).await.unwrap();
    let seen: Vec<_> = figures
        .sources
        .iter()
        .map(|figure| figure.source.clone())
        .collect();
    let expected: Vec<_> = (surplus..SOURCES_MAX + surplus)
        .rev()
        .map(|number| format!("/{number:04}"))
        .collect();
    assert_eq!(seen, expected);
    assert_eq!(figures.events, 10);
}

pub async fn attempts_are_counted_once_each(database: &impl Database) {
    let store = database.open().await;
    let events = ["a", "b", "c"].map(|id| accepted(order(id), &["erp", "wms"]));
    store.record(batch(events)).await.unwrap();
    let said = |adapter: &str, id: &str, kind, second, attempt| Outcome {
        at: at(second),
        attempt: Some(attempt),
        due: (kind != OutcomeKind::Done).then(|| at(second + 60)),
        ..word(adapter, id, kind)
    };
    let words = [
        said("erp", "a", OutcomeKind::Done, 5, 1),
        // One failed attempt, of which two things are said.
        said("erp", "b", OutcomeKind::Retry, 50, 1),
        said("erp", "b", OutcomeKind::Rejected, 50, 1),
        said("erp", "b", OutcomeKind::HandedOver, 55, 2),
        said("erp", "b", OutcomeKind::DeliveryLimit, 60, 2),
        said("erp", "c", OutcomeKind::Done, 70, 1),
        said("wms", "a", OutcomeKind::Rejected, 10, 1),
    ];
    for one in words {
        store.settle(&[one]).await.unwrap();
    }
    let adapters = ["wms", "nobody", "erp"].map(str::to_owned);
    let recent = store.recent_attempts(&adapters, at(20)).await.unwrap();
    let seen: Vec<_> = recent
        .iter()
        .map(|recent| {
            (
                recent.adapter.as_str(),
                recent.done,
                recent.failed,
                recent.last_done,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("wms", 0, 0, None),
            ("nobody", 0, 0, None),
            ("erp", 1, 2, Some(at(70)))
        ]
    );
    let all = store.recent_attempts(&adapters[2..], at(0)).await.unwrap();
    assert_eq!((all[0].done, all[0].failed), (2, 2));
    let none = store.recent_attempts(&adapters[2..], at(80)).await.unwrap();
    assert_eq!(
        (none[0].done, none[0].failed, none[0].last_done),
        (0, 0, Some(at(70)))
    );
}

pub async fn what_lies_between_two_offsets_is_counted(database: &impl Database) {
    let store = database.open().await;
    let events = (0..5).map(|n| accepted(order(&n.to_string()), &[]));
    store.record(batch(events)).await.unwrap();
    let newest = store.latest_offset().await.unwrap();
    for (after, before, count) in [
        (newest - 5, newest + 1, 5),
        (newest - 3, newest, 2),
        (newest, newest, 0),
    ] {
        assert_eq!(store.count_between(after, before).await.unwrap(), count);
    }
}
