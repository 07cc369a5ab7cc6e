//! However a lane ends, the next consumer of its queue begins with the first delivery unacked.

use std::time::Duration;

use crossdock_bus::Lane;
use crossdock_testkit::TestBroker;
use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use tokio::time::timeout;

use crate::support::{DEADLINE, TlsEnd, broker, channel, declare, number, numbered, publisher};

const QUEUE: &str = "fenced";
const MESSAGES: u64 = 200;
const PREFETCH: u16 = 100;
const TAKEN: u64 = 30;
const ACKED: u64 = 10;

async fn take(lane: &mut Lane, count: usize) -> Vec<(u64, u64)> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let batch = timeout(DEADLINE, lane.next_batch(count - taken.len(), Duration::ZERO))
            .await
            .unwrap()
            .unwrap();
        taken.extend(batch.iter().map(|delivery| (delivery.tag, number(delivery))));
    }
    taken
}

/// Lets a lane take `TAKEN` messages and ack the first of them, ends it with `end`, and looks at
/// what the lane that waited behind it gets.
async fn succeed<F: Future<Output = ()>>(
    url: &str,
    plain_url: &str,
    end: impl FnOnce(Lane) -> F,
) -> Vec<u64> {
    declare(plain_url, QUEUE, &[]).await;
    publisher(plain_url).fill(QUEUE, 1..=MESSAGES).await;
    let mut holder = Lane::open(&broker(url), QUEUE, PREFETCH, "holder").await.unwrap();
    let taken = take(&mut holder, TAKEN as usize).await;
    let tags: Vec<u64> = taken.iter().map(|(tag, _)| *tag).take(ACKED as usize).collect();
    let mut successor = Lane::open(&broker(url), QUEUE, PREFETCH, "successor")
        .await
        .unwrap();
    holder.ack(&tags).await.unwrap();
    end(holder).await;

    let mut seen: Vec<u64> = Vec::new();
    while seen.last() != Some(&MESSAGES) {
        for (tag, number) in take(&mut successor, 1).await {
            seen.push(number);
            successor.ack(&[tag]).await.unwrap();
        }
    }
    seen
}

/// Acks sent just before the end may be lost, so what they were for may come again.
fn nothing_is_passed_over(seen: &[u64]) {
    let first = seen[0];
    assert!(first <= ACKED + 1, "begins with {first}");
    assert!(seen.iter().copied().eq(first..=MESSAGES), "{seen:?}");
}

async fn dropped(lane: Lane) {
    drop(lane);
}

async fn panicking(lane: Lane) {
    let working = tokio::spawn(async move {
        let _ = lane.publish_all(vec![numbered("nowhere", 0)]).await;
        panic!("stumbles on purpose");
    });
    assert!(working.await.unwrap_err().is_panic());
}

async fn aborted(lane: Lane) {
    let waiting = tokio::spawn(async move {
        let mut lane = lane;
        loop {
            let _ = lane.next_batch(1, Duration::ZERO).await;
        }
    });
    tokio::task::yield_now().await;
    waiting.abort();
    let _ = waiting.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_steps_down_is_succeeded_in_order() {
    let vhost = TestBroker::vhost().await;
    let seen = succeed(&vhost.broker_url, &vhost.broker_url, Lane::step_down).await;
    assert!(seen.iter().copied().eq(ACKED + 1..=MESSAGES), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_is_dropped_is_succeeded_in_order() {
    let vhost = TestBroker::vhost().await;
    nothing_is_passed_over(&succeed(&vhost.broker_url, &vhost.broker_url, dropped).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_whose_holder_panics_is_succeeded_in_order() {
    let vhost = TestBroker::vhost().await;
    nothing_is_passed_over(&succeed(&vhost.broker_url, &vhost.broker_url, panicking).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_whose_task_is_aborted_is_succeeded_in_order() {
    let vhost = TestBroker::vhost().await;
    nothing_is_passed_over(&succeed(&vhost.broker_url, &vhost.broker_url, aborted).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_over_tls_that_steps_down_is_succeeded_in_order() {
    let vhost = TestBroker::vhost().await;
    let tls = TlsEnd::before(&vhost.broker_url).await;
    let seen = succeed(&tls.url(&vhost.broker_url), &vhost.broker_url, Lane::step_down).await;
    assert!(seen.iter().copied().eq(ACKED + 1..=MESSAGES), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_over_tls_that_is_dropped_is_succeeded_in_order() {
    let vhost = TestBroker::vhost().await;
    let tls = TlsEnd::before(&vhost.broker_url).await;
    nothing_is_passed_over(&succeed(&tls.url(&vhost.broker_url), &vhost.broker_url, dropped).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_over_tls_whose_holder_panics_is_succeeded_in_order() {
    let vhost = TestBroker::vhost().await;
    let tls = TlsEnd::before(&vhost.broker_url).await;
    nothing_is_passed_over(&succeed(&tls.url(&vhost.broker_url), &vhost.broker_url, panicking).await);
}

/// The reason for all this, and the proof that the tests above would notice.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_merely_dropped_is_overtaken() {
    let vhost = TestBroker::vhost().await;
    declare(&vhost.broker_url, QUEUE, &[]).await;
    publisher(&vhost.broker_url).fill(QUEUE, 1..=MESSAGES).await;
    let (connection, holder) = channel(&vhost.broker_url).await;
    holder
        .basic_qos(PREFETCH, BasicQosOptions::default())
        .await
        .unwrap();
    let mut consumer = holder
        .basic_consume(
            QUEUE.into(),
            "holder".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    for _ in 0..TAKEN {
        timeout(DEADLINE, consumer.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
    let mut successor = Lane::open(&broker(&vhost.broker_url), QUEUE, PREFETCH, "successor")
        .await
        .unwrap();
    drop((consumer, holder));
    let first = take(&mut successor, 1).await[0].1;
    assert_ne!(first, 1);
    drop(connection);
}
