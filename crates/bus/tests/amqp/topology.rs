//! The hub's topology: it comes to be, stays as it is, and anything else is named.

use std::collections::BTreeMap;
use std::time::Duration;

use crossdock_bus::names::{DEAD, DELIVER, FAILED, INGRESS, RECEIPTS, adapter_queue, ingress_queue};
use crossdock_bus::{AdapterConsumer, AdapterQueue, BusError, Lane, Outgoing, Topology};
use crossdock_testkit::TestBroker;
use lapin::types::AMQPValue;
use tokio::time::timeout;

use crate::support::{DEADLINE, broker, channel, declare, number, numbered, publisher};

fn hub() -> Topology {
    let adapter = |name: &str, single_active_consumer| AdapterQueue {
        name: name.into(),
        single_active_consumer,
    };
    Topology::hub(4, &[adapter("erp", false), adapter("warehouse", true)])
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_asserted_twice_and_routes_as_it_should() {
    let vhost = TestBroker::vhost().await;
    let broker = broker(&vhost.broker_url);
    for _ in 0..2 {
        hub().assert(&broker, &vhost.management()).await.unwrap();
    }
    let publisher = publisher(&vhost.broker_url).publisher;
    for number in 0..400 {
        let event = Outgoing {
            exchange: INGRESS.into(),
            ..numbered(&format!("key-{}", number % 40), number)
        };
        publisher.publish(event).await.unwrap();
    }
    let mut partition_of: BTreeMap<String, u16> = BTreeMap::new();
    let mut numbers = 0;
    for partition in 0..4 {
        let mut lane = Lane::open(&broker, &ingress_queue(partition), 1_000, "test")
            .await
            .unwrap();
        while let Ok(batch) =
            timeout(Duration::from_millis(500), lane.next_batch(1_000, Duration::ZERO)).await
        {
            for delivery in batch.unwrap() {
                numbers += 1;
                let first = partition_of.entry(delivery.routing_key).or_insert(partition);
                assert_eq!(*first, partition);
            }
        }
    }
    assert_eq!((numbers, partition_of.len()), (400, 40));

    let targets = vec![adapter_queue("erp"), adapter_queue("warehouse")];
    publisher
        .publish(Outgoing {
            exchange: DELIVER.into(),
            bcc: targets,
            ..numbered("", 1)
        })
        .await
        .unwrap();
    publisher
        .publish(Outgoing {
            exchange: RECEIPTS.into(),
            ..numbered("", 2)
        })
        .await
        .unwrap();
    let mut adapter = AdapterConsumer::open(&broker, &adapter_queue("warehouse"), 1, "test")
        .await
        .unwrap();
    let delivery = timeout(DEADLINE, adapter.next()).await.unwrap().unwrap();
    adapter.reject(delivery.tag).await.unwrap();
    let mut failed = Lane::open(&broker, FAILED, 10, "test").await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(
            timeout(DEADLINE, failed.next_batch(10, Duration::ZERO))
                .await
                .unwrap()
                .unwrap(),
        );
    }
    let seen: Vec<_> = seen
        .iter()
        .map(|it| (number(it), it.exchange.as_str(), it.routing_key.as_str()))
        .collect();
    assert_eq!(seen, [(2, RECEIPTS, ""), (1, DEAD, "warehouse")]);
}

async fn difference(vhost: &crossdock_testkit::TestVhost) -> String {
    match hub()
        .assert(&broker(&vhost.broker_url), &vhost.management())
        .await
    {
        Err(BusError::Topology(difference)) => difference,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_declared_otherwise_is_named_with_all_its_differences() {
    let vhost = TestBroker::vhost().await;
    let otherwise = [
        ("x-delivery-limit", AMQPValue::LongInt(3)),
        ("x-max-length", AMQPValue::LongInt(1_000)),
    ];
    declare(&vhost.broker_url, &adapter_queue("erp"), &otherwise).await;
    let difference = difference(&vhost).await;
    for part in [
        "crossdock.adapter.erp",
        "x-delivery-limit: expected 20, found 3",
        "x-max-length: expected none",
    ] {
        assert!(difference.contains(part), "{difference}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_of_former_times_is_named() {
    let vhost = TestBroker::vhost().await;
    hub()
        .assert(&broker(&vhost.broker_url), &vhost.management())
        .await
        .unwrap();
    declare(&vhost.broker_url, &ingress_queue(4), &[]).await;
    let (_connection, channel) = channel(&vhost.broker_url).await;
    channel
        .queue_bind(
            ingress_queue(4).into(),
            INGRESS.into(),
            "1".into(),
            Default::default(),
            Default::default(),
        )
        .await
        .unwrap();
    assert!(difference(&vhost).await.contains("crossdock.ingress.4"));
}
