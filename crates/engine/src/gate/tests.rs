#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use crossdock_store::DeliveryState;
use serde_json::json;

use super::{publish::Confirmed, *};
use crate::routing::Failure;
use crate::testing::{self, Moody, accepted, database, event, now, published_by, routing};

fn judged(id: &str, redelivered: bool) -> Judged {
    let mut delivery = published_by(Some("shop.1"), &event(json!({ "id": id })));
    delivery.redelivered = redelivered;
    match judge::judge(&routing(), testing::HUB, delivery, now()) {
        Verdict::Event(judged) => *judged,
        Verdict::Quarantine(refused) => panic!("{:?}", refused.reasons),
    }
}

fn ids(events: &[Judged]) -> Vec<&str> {
    events.iter().map(|judged| judged.event.id.as_str()).collect()
}

#[test]
fn a_batch_has_no_more_bytes_than_can_be_confirmed_in_time() {
    let of = |bytes: usize| Delivery {
        body: Bytes::from(vec![0; bytes]),
        ..published_by(None, &event(json!({})))
    };
    let sizes = |lengths: &[usize]| -> Vec<usize> {
        let deliveries = lengths.iter().map(|bytes| of(*bytes)).collect();
        lanes::by_size(deliveries).iter().map(Vec::len).collect()
    };
    assert!(sizes(&[]).is_empty());
    assert_eq!(sizes(&[1; 200]), [200]);
    assert_eq!(sizes(&[lanes::BATCH_MAX_BYTES - 1, 1, 1]), [2, 1]);
    assert_eq!(sizes(&[1, lanes::BATCH_MAX_BYTES + 1, 1]), [1, 1, 1]);
    assert_eq!(sizes(&[lanes::BATCH_MAX_BYTES / 2; 5]), [2, 2, 1]);
}

#[test]
fn a_repeat_is_told_from_our_own_redelivery() {
    let known = HashSet::from([judged("known", false).key()]);
    let candidates = vec![
        judged("known", false),
        judged("known", true),
        judged("new", true),
        judged("new", false),
        judged("other", false),
    ];
    let mut duplicates = Vec::new();
    let fresh = drop_known(candidates, &known, &mut duplicates);
    assert_eq!(ids(&fresh), ["new", "other"]);
    let redelivered: Vec<_> = duplicates
        .iter()
        .map(|duplicate| (duplicate.key.id.as_str(), duplicate.redelivered))
        .collect();
    assert_eq!(redelivered, [("known", false), ("known", true), ("new", false)]);
}

#[test]
fn a_circle_is_broken_at_its_thirty_third_event() {
    let fresh = vec![judged("a", false), judged("b", false)];
    let mut quarantined = Vec::new();
    let accepted = accept(fresh, vec![32, 33], &mut quarantined);
    assert_eq!(accepted.len(), 1);
    assert_eq!((accepted[0].event.id.as_str(), accepted[0].chain), ("a", 32));
    assert_eq!(quarantined[0].producer.as_deref(), Some("shop"));
    assert_eq!(quarantined[0].reasons[0].pointer, "/causationid");
}

fn routed(failed: Vec<(String, Failure)>) -> Routed {
    Routed {
        accepted: accepted(event(json!({})), &["erp", "wms"]),
        transformed: Vec::new(),
        failed,
        makes_state: false,
        span: Default::default(),
    }
}

#[test]
fn when_the_lane_is_over_only_what_was_published_is_recorded() {
    let confirmed = || Confirmed {
        routed: routed(Vec::new()),
        unreachable: vec![("wms".to_owned(), "refused".to_owned())],
    };
    let later = now() + chrono::TimeDelta::seconds(3);
    let mut batch = Batch::default();
    drop_known(
        vec![judged("x", false), judged("x", false)],
        &HashSet::new(),
        &mut batch.duplicates,
    );
    let whole = Published {
        confirmed: vec![confirmed()],
        ..Published::default()
    };
    assert!(note_published(whole, later, &mut batch).is_none());
    assert_eq!((batch.accepted.len(), batch.duplicates.len()), (1, 1));
    assert_eq!(batch.accepted[0].published, later);
    assert_eq!(
        (batch.outcomes[0].adapter.as_str(), batch.outcomes[0].kind),
        ("wms", OutcomeKind::Undelivered)
    );
    assert_eq!(batch.outcomes[0].due, Some(put_off::due(later)));

    batch.accepted.clear();
    batch.outcomes.clear();
    let broken = Published {
        confirmed: vec![confirmed()],
        lane_over: Some(BusError::Unavailable("gone".into())),
    };
    assert!(note_published(broken, later, &mut batch).is_some());
    assert_eq!((batch.accepted.len(), batch.duplicates.len()), (1, 0));
}

#[test]
fn what_the_hubs_own_queue_does_not_take_is_not_part_of_the_account() {
    let mut routed = routed(vec![(
        names::STATE.to_owned(),
        Failure::of("too large".to_owned()),
    )]);
    routed.makes_state = true;
    let published = Published {
        confirmed: vec![Confirmed {
            routed,
            unreachable: vec![(names::STATE.to_owned(), "refused".to_owned())],
        }],
        ..Published::default()
    };
    let mut batch = Batch::default();
    assert!(note_published(published, now(), &mut batch).is_none());
    assert_eq!(batch.accepted[0].targets, ["erp", "wms"]);
    assert!(batch.outcomes.is_empty());
}

#[test]
fn a_failed_mapping_parks_its_delivery_with_its_reason() {
    let published = Published {
        confirmed: vec![Confirmed {
            routed: routed(vec![(
                "wms".to_owned(),
                Failure {
                    detail: "it said Ada".to_owned(),
                    logged: "it said something".to_owned(),
                },
            )]),
            unreachable: Vec::new(),
        }],
        ..Published::default()
    };
    let (reached, unreachable) = published.targets();
    assert_eq!(reached.into_iter().collect::<Vec<_>>(), ["erp"]);
    assert!(unreachable.is_empty(), "its queue is well");
    let mut batch = Batch::default();
    assert!(note_published(published, now(), &mut batch).is_none());
    assert_eq!(batch.accepted[0].targets, ["erp", "wms"]);
    let [outcome] = &batch.outcomes[..] else {
        panic!("{:?}", batch.outcomes);
    };
    assert_eq!(
        (outcome.adapter.as_str(), outcome.kind, outcome.detail.as_deref()),
        ("wms", OutcomeKind::Undelivered, Some("it said Ada"))
    );
}

/// Manifests of adapters that get `thing.sent.v1`, each with more of its own.
fn routing_with(adapters: &[(&str, &str)]) -> Arc<Routing> {
    let manifests: Vec<_> = adapters
        .iter()
        .map(|(name, more)| {
            let text = format!(
                "name = \"{name}\"\nsource = \"/{name}\"\n[[subscribe]]\ntypes = [\"thing.sent.v1\"]\n{more}\n"
            );
            (*name, text)
        })
        .collect();
    let manifests: Vec<_> = manifests
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    Arc::new(testing::routing_of(&manifests))
}

fn numbered(number: usize) -> Accepted {
    accepted(
        event(json!({ "id": number.to_string(), "data": { "n": number } })),
        &[],
    )
}

#[tokio::test]
async fn events_learn_where_they_go() {
    let routing = routing_with(&[
        ("even", "filter = '.data.n % 2 == 0'"),
        ("label", "transform = '\"no. \\(.data.n)\"'"),
        ("picky", "filter = 'if .data.n == 3 then error else false end'"),
        ("whole", ""),
    ]);
    let (routed, rest) = route::route(&routing, (2..4).map(numbered).collect())
        .await
        .unwrap();
    assert!(rest.is_empty());
    let told: Vec<_> = routed
        .iter()
        .map(|one| {
            (
                one.accepted.targets.join(" "),
                one.plain_targets().collect::<Vec<_>>().join(" "),
                one.transformed[0].1.json().unwrap(),
                one.failed.len(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("even label whole".into(), "even whole".into(), json!("no. 2"), 0),
            ("label picky whole".into(), "whole".into(), json!("no. 3"), 1),
        ]
    );
    route::log_failures(&routed);
}

#[tokio::test]
async fn what_transforms_make_too_large_goes_out_in_parts() {
    let routing = routing_with(&[("large", "transform = '\"x\" * 1000000'")]);
    let mut rest: Vec<_> = (0..20).map(numbered).collect();
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let part;
        (part, rest) = route::route(&routing, rest).await.unwrap();
        parts.push(part.len());
    }
    assert_eq!(parts, [9, 9, 2]);
    let plain = routing_with(&[("whole", "")]);
    let (routed, rest) = route::route(&plain, (0..200).map(numbered).collect())
        .await
        .unwrap();
    assert_eq!((routed.len(), rest.len()), (200, 0));
}

fn batch(ids: &[&str]) -> Batch {
    let mut batch = Batch::default();
    for id in ids {
        let event = event(json!({ "id": id }));
        batch
            .outcomes
            .push(undelivered(&event, "wms", "refused".into(), now()));
        batch.accepted.push(accepted(event, &["erp", "wms"]));
    }
    batch
}

#[tokio::test]
async fn what_the_database_refuses_for_good_does_not_hold_up_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let moody = Moody::store(database(&folder).await, |id| {
        (id == "bad").then(|| StoreError::Corrupt("it does not fit".into()))
    });
    let shared = testing::shared(moody.clone(), &folder);
    let stop = CancellationToken::new();
    let storing = Storing {
        shared: &shared,
        part: "gate 0",
        stop: &stop,
    };
    let recorded = record::record(&storing, &routing(), batch(&["good", "bad", "fine"])).await;
    assert_eq!(recorded, Some(()));

    for id in ["good", "fine"] {
        let [stored] = &shared.store.event(id, None).await.unwrap()[..] else {
            panic!("{id} is not recorded");
        };
        let states: Vec<_> = stored.deliveries.iter().map(|row| row.state).collect();
        assert_eq!(states, [DeliveryState::Pending, DeliveryState::Parked], "{id}");
    }
    let kept = shared.store.quarantine_page(None, 10).await.unwrap();
    assert_eq!(kept.len(), 1);
    assert!(kept[0].reasons[0].message.contains("refuses to record it"));
    assert_eq!(kept[0].producer.as_deref(), Some("shop"));
    assert!(shared.store.totals().await.unwrap().balanced());
    assert!(shared.alarms.sentences().is_empty());
}

#[tokio::test]
async fn a_database_that_is_away_is_waited_for_with_an_alarm() {
    use std::sync::atomic::Ordering;
    let folder = tempfile::tempdir().unwrap();
    let moody = Moody::store(database(&folder).await, |_| None);
    let shared = testing::shared(moody.clone(), &folder);
    let stop = CancellationToken::new();
    let storing = Storing {
        shared: &shared,
        part: "gate 1",
        stop: &stop,
    };
    let stored = storing.persist(|| async {
        if moody.refusals.fetch_add(1, Ordering::SeqCst) < 2 {
            Err(StoreError::Unavailable("locked".into()))
        } else {
            assert_eq!(
                shared.alarms.sentences(),
                ["gate 1 waits for the database: locked"]
            );
            Ok(7)
        }
    });
    assert_eq!(stored.await, Some(Ok(7)));
    assert!(shared.alarms.sentences().is_empty(), "it is over");
}

#[tokio::test]
async fn what_nothing_can_go_on_without_raises_an_alarm_until_it_is_mended_or_the_hub_stops() {
    use std::sync::atomic::Ordering;
    let folder = tempfile::tempdir().unwrap();
    let moody = Moody::store(database(&folder).await, |_| None);
    let shared = testing::shared(moody.clone(), &folder);
    let stop = CancellationToken::new();
    let storing = Storing {
        shared: &shared,
        part: "gate 2",
        stop: &stop,
    };
    let answer = storing.insist(|| async {
        if moody.refusals.fetch_add(1, Ordering::SeqCst) == 2 {
            stop.cancel();
        }
        Err::<(), _>(StoreError::Corrupt("malformed".into()))
    });
    assert_eq!(answer.await, None);
    let sentences = shared.alarms.sentences();
    assert!(
        sentences[0].starts_with("gate 2 stands still") && sentences[0].contains("malformed"),
        "{sentences:?}"
    );
}
