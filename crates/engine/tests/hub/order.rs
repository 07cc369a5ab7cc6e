//! Order per key, whatever happens to the hub.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crossdock_bus::names;
use crossdock_engine::Hub;
use serde_json::json;
use tokio::time::timeout;

use crate::support::{Adapter, DEADLINE, Hall, decoded, event, insist, key};

const KEYS: usize = 40;
const EACH: usize = 25;

/// Sends `EACH` events of every key, in batches that mix the keys.
async fn send_all(hub: &Hub) {
    for number in 0..EACH {
        let events: Vec<_> = (0..KEYS)
            .map(|of| {
                let (id, subject) = (format!("{of}-{number}"), format!("key-{of}"));
                event(
                    "/import",
                    "thing.made.v1",
                    &id,
                    json!({ "subject": subject, "sequence": number }),
                )
            })
            .collect();
        insist(hub, &key("import"), &events).await;
    }
}

/// Takes events until every one has come, and checks that no key's were seen in another order for the first time.
async fn take_all(adapter: &mut Adapter) -> usize {
    let mut seen: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    let mut repeats = 0;
    let taking = async {
        while ids.len() < KEYS * EACH {
            let delivery = adapter.next().await;
            let event = decoded(&delivery);
            adapter.ack(&delivery).await;
            if !ids.insert(event.id.clone()) {
                repeats += 1;
                continue;
            }
            let (of, number) = event.id.split_once('-').unwrap();
            seen.entry(of.to_owned())
                .or_default()
                .push(number.parse().unwrap());
        }
    };
    let taken = timeout(2 * DEADLINE, taking).await;
    assert!(taken.is_ok(), "{} of {} came", ids.len(), KEYS * EACH);
    for (of, numbers) in seen {
        assert!(numbers.is_sorted(), "key {of}: {numbers:?}");
    }
    repeats
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_key_keep_their_order_within_a_batch() {
    let hall = Hall::new().await;
    let hub = hall.hub(vec![hall.manifest("erp", &[], &["thing.*.v1"])]).await;
    let mut erp = hall.adapter("erp").await;
    let batch: Vec<_> = (0..KEYS * EACH)
        .map(|number| {
            let (of, number) = (number % 3, number / 3);
            let subject = json!({ "subject": format!("key-{of}") });
            event("/import", "thing.made.v1", &format!("{of}-{number}"), subject)
        })
        .collect();
    let who = key("import");
    let ((), repeats) = tokio::join!(insist(&hub, &who, &batch), take_all(&mut erp));
    assert_eq!(repeats, 0);
}

async fn partitions_used(hall: &Hall) -> usize {
    let ingress = hall.vhost.management().bindings().await.unwrap();
    ingress
        .iter()
        .filter(|binding| binding.source == "crossdock.ingress")
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_key_keep_their_order_over_all_partitions() {
    let hall = Hall::new().await;
    let hub = hall.hub(vec![hall.manifest("erp", &[], &["thing.*.v1"])]).await;
    assert_eq!(partitions_used(&hall).await, usize::from(names::PARTITIONS));
    let mut erp = hall.adapter("erp").await;
    let ((), repeats) = tokio::join!(send_all(&hub), take_all(&mut erp));
    assert_eq!(repeats, 0);
    let ledger = hub.ledger().await.unwrap();
    assert_eq!(ledger.accepted, (KEYS * EACH) as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_steps_down_in_mid_flow_loses_nothing_and_keeps_the_order() {
    let hall = Hall::new().await;
    let files = || vec![hall.manifest("erp", &[], &["thing.*.v1"])];
    let hub = hall.hub(files()).await;
    let mut erp = hall.adapter("erp").await;
    // A hub of its own for the producer: the one that steps down takes nothing in any more.
    let edge = hall.hub(files()).await;
    let stepping = async {
        let mut hub = hub;
        for _ in 0..4 {
            let mut news = hub.recorded();
            let _ = timeout(Duration::from_secs(5), news.changed()).await;
            hub.stop().await;
            hub = hall.hub(files()).await;
        }
        hub
    };
    let ((), repeats, _hub) = tokio::join!(send_all(&edge), take_all(&mut erp), stepping);
    assert_eq!(repeats, 0, "a step-down finishes what it has begun");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_dies_in_mid_flow_loses_nothing_and_keeps_the_order() {
    let hall = Hall::new().await;
    let files = || vec![hall.manifest("erp", &[], &["thing.*.v1"])];
    let edge = hall.hub(files()).await;
    let mut erp = hall.adapter("erp").await;
    let dying = async {
        for _ in 0..4 {
            let life = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            let options = hall.options(files());
            let hub = life.spawn(Hub::start(options)).await.unwrap().unwrap();
            let mut news = hub.recorded();
            let _ = timeout(Duration::from_secs(5), news.changed()).await;
            // Every task ends where it stands, every connection with it.
            life.shutdown_background();
        }
    };
    let ((), _repeats, ()) = tokio::join!(send_all(&edge), take_all(&mut erp), dying);
    let ledger = edge.ledger().await.unwrap();
    assert_eq!(ledger.accepted, (KEYS * EACH) as u64);
    assert!(ledger.balanced, "{ledger:?}");
}
