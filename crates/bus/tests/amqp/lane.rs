//! A lane at work, and how it ends when others end it.

use std::time::{Duration, Instant};

use crossdock_bus::{BusError, Lane, PublishError};
use crossdock_testkit::TestBroker;
use lapin::options::QueueDeleteOptions;
use lapin::types::AMQPValue;
use tokio::time::timeout;

use crate::support::{DEADLINE, OwnUser, broker, channel, declare, number, numbered, publisher};

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_what_is_there_or_comes_soon() {
    let vhost = TestBroker::vhost().await;
    declare(&vhost.broker_url, "work", &[]).await;
    let publisher = publisher(&vhost.broker_url);
    let mut lane = Lane::open(&broker(&vhost.broker_url), "work", 50, "test")
        .await
        .unwrap();

    let nothing = timeout(Duration::from_millis(200), lane.next_batch(10, Duration::ZERO)).await;
    assert!(nothing.is_err(), "a lane waits for the first delivery");

    publisher.fill("work", 1..=5).await;
    let mut seen = Vec::new();
    while seen.len() < 5 {
        let cancelled = timeout(Duration::from_millis(5), lane.next_batch(10, DEADLINE)).await;
        assert!(cancelled.is_err(), "a batch that is not full lingers");
        let batch = lane.next_batch(2, Duration::from_millis(50)).await.unwrap();
        assert!((1..=2).contains(&batch.len()));
        seen.extend(batch.iter().map(number));
    }
    assert_eq!(seen, [1, 2, 3, 4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_in_the_order_of_the_messages() {
    let vhost = TestBroker::vhost().await;
    declare(&vhost.broker_url, "work", &[]).await;
    declare(&vhost.broker_url, "out", &[]).await;
    let lane = Lane::open(&broker(&vhost.broker_url), "work", 50, "test")
        .await
        .unwrap();
    let queue = |number: u64| {
        if number.is_multiple_of(3) {
            "nowhere"
        } else {
            "out"
        }
    };
    let results = lane
        .publish_all((0..2_500).map(|number| numbered(queue(number), number)).collect())
        .await;
    for (number, result) in (0..2_500).zip(results) {
        match result {
            Ok(()) => assert_eq!(queue(number), "out"),
            Err(PublishError::Returned { code: 312, .. }) => assert_eq!(queue(number), "nowhere"),
            Err(error) => panic!("{number}: {error}"),
        }
    }
    let mut out = Lane::open(&broker(&vhost.broker_url), "out", 500, "test")
        .await
        .unwrap();
    let mut expected = (0..2_500).filter(|number| queue(*number) == "out");
    let mut left = expected.clone().count();
    while left > 0 {
        let batch = timeout(DEADLINE, out.next_batch(500, Duration::ZERO))
            .await
            .unwrap()
            .unwrap();
        left -= batch.len();
        let tags: Vec<u64> = batch.iter().map(|delivery| delivery.tag).collect();
        assert!(batch.iter().map(number).eq(expected.by_ref().take(batch.len())));
        out.ack(&tags).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rejected_goes_where_the_queue_says_and_acks_leave_it_alone() {
    let vhost = TestBroker::vhost().await;
    declare(&vhost.broker_url, "failed", &[]).await;
    let dead_letters: [(&str, AMQPValue); 4] = [
        ("x-dead-letter-exchange", AMQPValue::LongString("".into())),
        (
            "x-dead-letter-routing-key",
            AMQPValue::LongString("failed".into()),
        ),
        (
            "x-dead-letter-strategy",
            AMQPValue::LongString("at-least-once".into()),
        ),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
    ];
    declare(&vhost.broker_url, "work", &dead_letters).await;
    publisher(&vhost.broker_url).fill("work", 1..=6).await;
    let mut lane = Lane::open(&broker(&vhost.broker_url), "work", 50, "test")
        .await
        .unwrap();
    let mut tags = Vec::new();
    while tags.len() < 6 {
        let batch = lane.next_batch(6, Duration::ZERO).await.unwrap();
        tags.extend(batch.iter().map(|delivery| delivery.tag));
    }
    let (failed, done) = ([tags[1], tags[4]], [tags[0], tags[2], tags[3]]);
    let (rejected, acked) = tokio::join!(lane.reject(&failed), lane.ack(&done));
    rejected.unwrap();
    acked.unwrap();
    lane.reject(&tags[..5]).await.unwrap();
    lane.step_down().await;

    let mut failed = Lane::open(&broker(&vhost.broker_url), "failed", 50, "test")
        .await
        .unwrap();
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let batch = timeout(DEADLINE, failed.next_batch(10, Duration::ZERO))
            .await
            .unwrap()
            .unwrap();
        seen.extend(batch.iter().map(number));
    }
    seen.sort_unstable();
    assert_eq!(seen, [2, 5], "each once, and none that was acked");
    let mut work = Lane::open(&broker(&vhost.broker_url), "work", 50, "test")
        .await
        .unwrap();
    let left = timeout(DEADLINE, work.next_batch(10, Duration::from_millis(200)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(left.iter().map(number).collect::<Vec<_>>(), [6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_is_over_when_its_queue_or_connection_is() {
    let vhost = TestBroker::vhost().await;
    let own = OwnUser::of(&vhost).await;
    for (queue, by_management) in [("deleted", false), ("closed", true)] {
        declare(&vhost.broker_url, queue, &[]).await;
        let mut lane = Lane::open(&broker(&own.url), queue, 10, "test").await.unwrap();
        let over = if by_management {
            own.close_connections_until(&vhost, lane.next_batch(1, Duration::ZERO))
                .await
        } else {
            let (_connection, channel) = channel(&vhost.broker_url).await;
            channel
                .queue_delete(queue.into(), QueueDeleteOptions::default())
                .await
                .unwrap();
            timeout(DEADLINE, lane.next_batch(1, Duration::ZERO))
                .await
                .unwrap()
        };
        assert!(matches!(over, Err(BusError::Unavailable(_))), "{over:?}");
        let again = timeout(DEADLINE, lane.next_batch(1, Duration::ZERO))
            .await
            .unwrap();
        assert!(again.is_err());
        let started = Instant::now();
        let result = lane.publish_all(vec![numbered("x", 1)]).await.remove(0);
        assert!(matches!(result, Err(PublishError::Unavailable(_))), "{result:?}");
        assert!(started.elapsed() < Duration::from_secs(5));
        assert!(lane.ack(&[1]).await.is_ok(), "there is nothing to ack");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_does_not_exist_is_refused() {
    let vhost = TestBroker::vhost().await;
    let refused = Lane::open(&broker(&vhost.broker_url), "missing", 10, "test")
        .await
        .err()
        .unwrap();
    assert!(
        matches!(refused, BusError::Refused { code: 404, .. }),
        "{refused}"
    );
}
