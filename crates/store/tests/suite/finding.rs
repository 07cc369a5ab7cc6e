//! Search, paging and journeys.

use bytes::Bytes;
use crossdock_model::event::Event;
use crossdock_store::{Accepted, EventQuery, JOURNEY_DATA_MAX_BYTES, JOURNEY_MAX, Store};

use super::{Database, accepted, at, batch, event, ids, order, with_extension};

async fn found(store: &Store, query: EventQuery) -> Vec<String> {
    let found = store.find(EventQuery { limit: 100, ..query }).await.unwrap();
    found.into_iter().map(|stored| stored.event.id).collect()
}

pub async fn each_condition_selects(database: &impl Database) {
    let store = database.open().await;
    let subject = |mut event: Event, subject: &str| {
        event.subject = Some(subject.into());
        event
    };
    let named = |event, correlation| with_extension(event, "correlationid", correlation);
    let all = [
        accepted(subject(named(order("a"), "c1"), "order/1"), &["erp", "warehouse"]),
        accepted(
            subject(event("/erp", "b", "order.numbered.v1"), "order/1"),
            &["warehouse"],
        ),
        accepted(with_extension(order("c"), "aliases", "erp:9 c1"), &["erp"]),
        accepted(event("/erp", "d", "stock.level.v1"), &[]),
    ];
    let seconds = [3, 1, 2, 4];
    store
        .record(batch(all.into_iter().zip(seconds).map(|(accepted, s)| {
            Accepted {
                received: at(s),
                ..accepted
            }
        })))
        .await
        .unwrap();

    let none = EventQuery::default;
    let pattern = |text: &str| Some(text.parse().unwrap());
    let cases = [
        (none(), "a b c d"),
        (
            EventQuery {
                event_type: pattern("order.placed.v1"),
                ..none()
            },
            "a c",
        ),
        (
            EventQuery {
                source: Some("/erp".into()),
                ..none()
            },
            "b d",
        ),
        (
            EventQuery {
                subject: Some("order/1".into()),
                ..none()
            },
            "a b",
        ),
        (
            EventQuery {
                correlation: Some("c1".into()),
                ..none()
            },
            "a c",
        ),
        (
            EventQuery {
                adapter: Some("warehouse".into()),
                ..none()
            },
            "a b",
        ),
        (
            EventQuery {
                since: Some(at(2)),
                ..none()
            },
            "a c d",
        ),
        (
            EventQuery {
                until: Some(at(3)),
                ..none()
            },
            "b c",
        ),
        (
            EventQuery {
                since: Some(at(2)),
                until: Some(at(4)),
                newest_first: true,
                ..none()
            },
            "c a",
        ),
        (
            EventQuery {
                correlation: Some("c1".into()),
                adapter: Some("warehouse".into()),
                ..none()
            },
            "a",
        ),
        (
            EventQuery {
                subject: Some("order/1".into()),
                source: Some("/shop".into()),
                ..none()
            },
            "a",
        ),
        (
            EventQuery {
                event_type: pattern("order.*.v1"),
                adapter: Some("erp".into()),
                ..none()
            },
            "a c",
        ),
        (
            EventQuery {
                adapter: Some("erp".into()),
                since: Some(at(3)),
                ..none()
            },
            "a",
        ),
        (
            EventQuery {
                source: Some("/erp".into()),
                event_type: pattern("*.level.v1"),
                ..none()
            },
            "d",
        ),
        (
            EventQuery {
                source: Some("/crm".into()),
                ..none()
            },
            "",
        ),
        (
            EventQuery {
                event_type: pattern("cart.*.v1"),
                ..none()
            },
            "",
        ),
    ];
    for (query, expected) in cases {
        assert_eq!(
            found(&store, query.clone()).await.join(" "),
            expected,
            "{query:?}"
        );
    }
}

pub async fn pages_follow_each_other_both_ways(database: &impl Database) {
    let store = database.open().await;
    let numbers: Vec<_> = (10..35).map(|n| n.to_string()).collect();
    for chunk in numbers.chunks(7) {
        store
            .record(batch(chunk.iter().map(|id| accepted(order(id), &["erp"]))))
            .await
            .unwrap();
    }
    let conditions = [
        EventQuery::default(),
        EventQuery {
            adapter: Some("erp".into()),
            ..EventQuery::default()
        },
        EventQuery {
            event_type: Some("order.*.v1".parse().unwrap()),
            ..EventQuery::default()
        },
        EventQuery {
            until: Some(at(9)),
            ..EventQuery::default()
        },
    ];
    for condition in conditions {
        for newest_first in [false, true] {
            let mut seen = Vec::new();
            let mut query = EventQuery {
                newest_first,
                limit: 4,
                ..condition.clone()
            };
            loop {
                let page = store.find(query.clone()).await.unwrap();
                let Some(last) = page.last() else { break };
                let last = Some(last.offset);
                (query.before_offset, query.after_offset) =
                    if newest_first { (last, None) } else { (None, last) };
                seen.extend(page.into_iter().map(|stored| stored.event.id));
            }
            if newest_first {
                seen.reverse();
            }
            assert_eq!(seen, numbers, "{condition:?}");
        }
    }
}

pub async fn patterns_match_whole_segments(database: &impl Database) {
    let store = database.open().await;
    let types = [
        "order.placed.v1",
        "order.placed.v2",
        "orders.placed.v1",
        "stock.placed.v1",
        "order.a.b.v1",
    ];
    store
        .record(batch(types.map(|name| accepted(event("/shop", name, name), &[]))))
        .await
        .unwrap();
    for (pattern, expected) in [
        ("order.*.v1", "order.placed.v1"),
        ("order.*.*", "order.placed.v1 order.placed.v2"),
        ("*.placed.v1", "order.placed.v1 orders.placed.v1 stock.placed.v1"),
    ] {
        let query = EventQuery {
            event_type: Some(pattern.parse().unwrap()),
            ..EventQuery::default()
        };
        assert_eq!(found(&store, query).await.join(" "), expected, "{pattern}");
    }
}

pub async fn a_journey_follows_names_as_far_as_they_lead(database: &impl Database) {
    let store = database.open().await;
    let named = |id: &str, correlation: &str, aliases: &str| {
        let event = with_extension(order(id), "correlationid", correlation);
        accepted(
            if aliases.is_empty() {
                event
            } else {
                with_extension(event, "aliases", aliases)
            },
            &["erp"],
        )
    };
    let events = [
        accepted(order("first"), &[]),
        named("second", "first", "erp:7 shop:1"),
        named("third", "parcel-9", "erp:7"),
        named("fourth", "parcel-9", ""),
        named("alone", "other", "erp:8"),
    ];
    store.record(batch(events)).await.unwrap();
    for key in ["first", "erp:7", "shop:1", "parcel-9", "second", "fourth"] {
        let journey = store.journey(key).await.unwrap();
        assert_eq!(
            ids(&journey),
            ["first", "second", "third", "fourth"],
            "from {key}"
        );
        assert_eq!(journey[3].deliveries.len(), 1);
    }
    assert_eq!(ids(&store.journey("erp:8").await.unwrap()), ["alone"]);
    assert!(store.journey("nobody").await.unwrap().is_empty());
}

pub async fn a_number_is_found_whatever_system_it_is_of(database: &impl Database) {
    let store = database.open().await;
    let events = ["erp:7 shop:7 shop:70", "shop:7", "odd:a:7"].map(|aliases| {
        let id = aliases.replace([' ', ':'], "-");
        accepted(with_extension(order(&id), "aliases", aliases), &[])
    });
    store.record(batch(events)).await.unwrap();
    for (number, names) in [
        ("7", vec!["erp:7", "shop:7"]),
        ("70", vec!["shop:70"]),
        ("a:7", vec!["odd:a:7"]),
        ("erp:7", vec![]),
        ("%", vec![]),
        ("", vec![]),
    ] {
        assert_eq!(store.names_with_number(number).await.unwrap(), names, "{number}");
    }
}

pub async fn a_journey_is_bounded(database: &impl Database) {
    let store = database.open().await;
    let events = (0..JOURNEY_MAX + 50).map(|n| {
        let event = with_extension(order(&n.to_string()), "correlationid", "everything");
        accepted(
            with_extension(event, "aliases", &format!("a:{n} a:{}", n / 10)),
            &[],
        )
    });
    store.record(batch(events)).await.unwrap();
    assert_eq!(store.journey("everything").await.unwrap().len(), JOURNEY_MAX);
    assert_eq!(store.journey("a:3").await.unwrap().len(), JOURNEY_MAX);
}

/// An event of this journey with so many bytes of data.
fn large(id: &str, bytes: usize) -> Accepted {
    let mut event = with_extension(order(id), "correlationid", "large");
    event.data = Some(Bytes::from(format!("\"{}\"", "x".repeat(bytes - 2))));
    accepted(event, &["erp"])
}

pub async fn a_page_ends_with_its_bytes(database: &impl Database) {
    let store = database.open().await;
    let events = (0..6).map(|n| large(&n.to_string(), 1_000));
    store.record(batch(events)).await.unwrap();
    let of = |bytes| EventQuery {
        data_max_bytes: Some(bytes),
        ..EventQuery::default()
    };
    assert_eq!(found(&store, of(0)).await, ["0"], "a page has one at least");
    assert_eq!(found(&store, of(1_001)).await, ["0", "1"]);
    assert_eq!(found(&store, of(6_001)).await.len(), 6);
    let back = EventQuery {
        newest_first: true,
        ..of(2_000)
    };
    assert_eq!(found(&store, back).await, ["5", "4"]);
}

pub async fn a_journey_leaves_out_large_data(database: &impl Database) {
    let store = database.open().await;
    let max = usize::try_from(JOURNEY_DATA_MAX_BYTES).unwrap();
    store
        .record(batch([large("fits", max), large("large", max + 1)]))
        .await
        .unwrap();
    let shown: Vec<_> = store
        .journey("large")
        .await
        .unwrap()
        .into_iter()
        .map(|stored| (stored.event.data.map(|data| data.len()), stored.data_left_out))
        .collect();
    assert_eq!(
        shown,
        [(Some(max), None), (None, Some(JOURNEY_DATA_MAX_BYTES + 1))]
    );
    let whole = super::only(&store, "large").await;
    assert_eq!(
        (whole.event.data.unwrap().len(), whole.data_left_out),
        (max + 1, None)
    );
}
