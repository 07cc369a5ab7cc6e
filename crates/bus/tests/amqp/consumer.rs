//! An adapter's consumer: done, failed, paused, ended.

use crossdock_bus::{AdapterConsumer, BusError};
use crossdock_testkit::TestBroker;
use lapin::options::QueueDeleteOptions;
use lapin::types::AMQPValue;
use tokio::time::timeout;

use crate::support::{DEADLINE, OwnUser, broker, channel, declare, number, publisher};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rejected_goes_to_the_dead_letters_and_what_is_acked_is_gone() {
    let vhost = TestBroker::vhost().await;
    declare(&vhost.broker_url, "failed", &[]).await;
    let dead_letter = |text: &str| AMQPValue::LongString(text.into());
    let to_failed = [
        ("x-dead-letter-exchange", dead_letter("")),
        ("x-dead-letter-routing-key", dead_letter("failed")),
    ];
    declare(&vhost.broker_url, "work", &to_failed).await;
    publisher(&vhost.broker_url).fill("work", 1..=3).await;

    let broker = broker(&vhost.broker_url);
    let mut work = AdapterConsumer::open(&broker, "work", 10, "test").await.unwrap();
    for expected in 1..=3 {
        let delivery = timeout(DEADLINE, work.next()).await.unwrap().unwrap();
        assert_eq!(number(&delivery), expected);
        match expected {
            1 => work.ack(delivery.tag).await.unwrap(),
            2 => work.reject(delivery.tag).await.unwrap(),
            _ => {}
        }
    }
    let mut failed = AdapterConsumer::open(&broker, "failed", 10, "test")
        .await
        .unwrap();
    assert_eq!(
        number(&timeout(DEADLINE, failed.next()).await.unwrap().unwrap()),
        2
    );
    drop(work);
    let mut again = AdapterConsumer::open(&broker, "work", 10, "test").await.unwrap();
    let unacked = timeout(DEADLINE, again.next()).await.unwrap().unwrap();
    assert_eq!((number(&unacked), unacked.redelivered), (3, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_adapter_is_told_so_and_a_stranger_refused() {
    let vhost = TestBroker::vhost().await;
    declare(&vhost.broker_url, "work", &[]).await;
    let own = OwnUser::of(&vhost).await;
    let mut consumer = AdapterConsumer::open(&broker(&own.url), "work", 10, "test")
        .await
        .unwrap();

    own.may_read(&vhost, "^$").await;
    let ended = own.close_connections_until(&vhost, consumer.next()).await;
    assert!(matches!(ended, Err(BusError::Unavailable(_))), "{ended:?}");
    let paused = AdapterConsumer::open(&broker(&own.url), "work", 10, "test")
        .await
        .err()
        .unwrap();
    assert!(
        matches!(&paused, BusError::Paused { queue, .. } if queue == "work"),
        "{paused}"
    );

    own.may_read(&vhost, ".*").await;
    AdapterConsumer::open(&broker(&own.url), "work", 10, "test")
        .await
        .unwrap();
    vhost.management().delete_user(&own.name).await.unwrap();
    let refused = AdapterConsumer::open(&broker(&own.url), "work", 10, "test")
        .await
        .err()
        .unwrap();
    assert!(
        matches!(refused, BusError::Refused { code: 403, .. }),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_whose_queue_is_deleted_is_over() {
    let vhost = TestBroker::vhost().await;
    declare(&vhost.broker_url, "work", &[]).await;
    let mut consumer = AdapterConsumer::open(&broker(&vhost.broker_url), "work", 10, "test")
        .await
        .unwrap();
    let (_connection, channel) = channel(&vhost.broker_url).await;
    channel
        .queue_delete("work".into(), QueueDeleteOptions::default())
        .await
        .unwrap();
    let over = timeout(DEADLINE, consumer.next()).await.unwrap();
    assert!(matches!(over, Err(BusError::Unavailable(_))), "{over:?}");
    let refused = AdapterConsumer::open(&broker(&vhost.broker_url), "work", 10, "test")
        .await
        .err()
        .unwrap();
    assert!(
        matches!(refused, BusError::Refused { code: 404, .. }),
        "{refused}"
    );
}
