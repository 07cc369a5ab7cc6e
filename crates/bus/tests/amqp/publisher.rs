//! A publisher: every message gets its own answer, within its time.

use std::time::{Duration, Instant};

use bytes::Bytes;
use crossdock_bus::message::HEADERS_MAX_BYTES;
use crossdock_bus::publisher::{CONFIRM_DEADLINE, WINDOW};
use crossdock_bus::{Headers, LinkState, Outgoing, PublishError};
use crossdock_testkit::TestBroker;
use futures::future::join_all;
use lapin::types::AMQPValue;
use tokio::time::timeout;

use crate::support::{DEADLINE, TlsEnd, Turnpike, by_port, declare, numbered, publisher, with_headers};

#[tokio::test(flavor = "multi_thread")]
async fn every_returned_message_is_found_among_thousands_confirmed() {
    let vhost = TestBroker::vhost().await;
    declare(&vhost.broker_url, "there", &[]).await;
    let published = publisher(&vhost.broker_url);
    let queue = |number: u64| {
        if number.wrapping_mul(0x9E37_79B9) % 7 < 3 {
            "gone"
        } else {
            "there"
        }
    };
    let outcomes = join_all((0..6_000).map(|number| {
        let publisher = published.publisher.clone();
        tokio::spawn(async move { publisher.publish(numbered(queue(number), number)).await })
    }))
    .await;
    for (number, outcome) in (0..).zip(outcomes) {
        match outcome.unwrap() {
            Ok(()) => assert_eq!(queue(number), "there", "{number}"),
            Err(PublishError::Returned { code: 312, .. }) => assert_eq!(queue(number), "gone", "{number}"),
            Err(error) => panic!("{number}: {error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_message_reaches_many_queues() {
    let vhost = TestBroker::vhost().await;
    let queues: Vec<String> = (0..5).map(|n| format!("target-{n}")).collect();
    for queue in &queues {
        declare(&vhost.broker_url, queue, &[]).await;
    }
    let published = publisher(&vhost.broker_url);
    let message = Outgoing {
        bcc: queues.clone(),
        ..numbered("", 7)
    };
    published.publisher.publish(message).await.unwrap();
    for queue in &queues {
        let broker = crate::support::broker(&vhost.broker_url);
        let mut lane = crossdock_bus::Lane::open(&broker, queue, 1, "test")
            .await
            .unwrap();
        let delivery = timeout(DEADLINE, lane.next_batch(1, Duration::ZERO))
            .await
            .unwrap()
            .unwrap()
            .remove(0);
        assert_eq!(crate::support::number(&delivery), 7);
        assert!(!delivery.properties.headers.contains_key("BCC"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_nacks() {
    let vhost = TestBroker::vhost().await;
    let full = [
        ("x-max-length", AMQPValue::LongInt(1)),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
    ];
    declare(&vhost.broker_url, "full", &full).await;
    let published = publisher(&vhost.broker_url);
    let outcome = timeout(DEADLINE, async {
        loop {
            published.publisher.publish(numbered("full", 1)).await?;
        }
    });
    let outcome: Result<(), PublishError> = outcome.await.unwrap();
    assert_eq!(outcome, Err(PublishError::Nacked));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_and_the_connection_stays() {
    let vhost = TestBroker::vhost().await;
    declare(&vhost.broker_url, "there", &[]).await;
    let published = publisher(&vhost.broker_url);
    published.fill("there", 1..=1).await;
    let mut changes = published.publisher.watch();
    changes.mark_unchanged();
    let large = |bytes: usize| {
        with_headers(
            numbered("there", 2),
            Headers::from([("h".into(), "x".repeat(bytes).into())]),
        )
    };
    let refused = published.publisher.publish(large(140_000)).await;
    assert!(
        matches!(
            refused,
            Err(PublishError::TooLarge {
                limit: HEADERS_MAX_BYTES,
                ..
            })
        ),
        "{refused:?}"
    );
    published
        .publisher
        .publish(large(HEADERS_MAX_BYTES - 100))
        .await
        .unwrap();
    let largest = Outgoing {
        body: Bytes::from(vec![b'1'; 1_500_000]),
        ..numbered("there", 3)
    };
    published.publisher.publish(largest).await.unwrap();
    assert!(!changes.has_changed().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_broker_costs_a_deadline_and_no_more_than_the_window() {
    let vhost = TestBroker::vhost().await;
    declare(&vhost.broker_url, "there", &[]).await;
    let turnpike = Turnpike::before(&vhost.broker_url).await;
    let published = publisher(&by_port(&vhost.broker_url, turnpike.port));
    published.fill("there", 1..=1).await;
    turnpike.close();
    let started = Instant::now();
    let outcomes = join_all((0..WINDOW as u64 + 500).map(|number| {
        let publisher = published.publisher.clone();
        tokio::spawn(async move { publisher.publish(numbered("there", number)).await })
    }))
    .await;
    let elapsed = started.elapsed();
    assert!(
        outcomes
            .into_iter()
            .all(|outcome| outcome.unwrap() == Err(PublishError::Timeout))
    );
    assert!(
        elapsed >= CONFIRM_DEADLINE && elapsed < CONFIRM_DEADLINE + Duration::from_secs(4),
        "{elapsed:?}"
    );
    turnpike.open();
    published.insist(numbered("there", 2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_stops_when_all_is_answered() {
    let vhost = TestBroker::vhost().await;
    declare(&vhost.broker_url, "there", &[]).await;
    let published = publisher(&vhost.broker_url);
    published.fill("there", 1..=1).await;
    let under_way: Vec<_> = (0..200)
        .map(|number| {
            let publisher = published.publisher.clone();
            tokio::spawn(async move { publisher.publish(numbered("there", number)).await })
        })
        .collect();
    tokio::task::yield_now().await;
    published.stop.cancel();
    published.tracker.close();
    timeout(DEADLINE, published.tracker.wait()).await.unwrap();
    for outcome in join_all(under_way).await {
        assert!(matches!(
            outcome.unwrap(),
            Ok(()) | Err(PublishError::Unavailable(_))
        ));
    }
    assert!(matches!(published.publisher.state(), LinkState::Down { .. }));
    assert!(matches!(
        published.publisher.publish(numbered("there", 9)).await,
        Err(PublishError::Unavailable(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_goes_over_tls_with_the_authority_it_was_given() {
    let vhost = TestBroker::vhost().await;
    declare(&vhost.broker_url, "there", &[]).await;
    let tls = TlsEnd::before(&vhost.broker_url).await;
    let published = publisher(&tls.url(&vhost.broker_url));
    published.fill("there", 1..=300).await;

    let without = by_port(&vhost.broker_url, tls.port).replacen("amqp://", "amqps://", 1);
    let stranger = publisher(&without);
    let told =
        |state: &LinkState| matches!(state, LinkState::Down { reason, .. } if reason.contains("certificate"));
    stranger.becomes(told).await;
    let refused = stranger.publisher.publish(numbered("there", 1)).await;
    assert!(
        matches!(refused, Err(PublishError::Unavailable(_))),
        "{refused:?}"
    );
}
