//! What a publisher survives: restarts, closed connections and channels, a blocked connection.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crossdock_bus::node::{Node, NodeOptions};
use crossdock_bus::{Lane, LinkState, Outgoing, PublishError};
use crossdock_testkit::{PrivateBroker, TestBroker};
use tokio::time::{sleep, timeout};

use crate::support::{DEADLINE, OwnUser, Published, broker, declare, number, numbered, publisher};

/// Every number published so far is in the queue, in whatever order and however often.
async fn all_there(url: &str, queue: &str, numbers: std::ops::RangeInclusive<u64>) {
    let mut missing: std::collections::BTreeSet<u64> = numbers.collect();
    let mut lane = Lane::open(&broker(url), queue, 500, "test").await.unwrap();
    while !missing.is_empty() {
        let batch = timeout(DEADLINE, lane.next_batch(500, Duration::ZERO)).await;
        let batch = batch.unwrap_or_else(|_| panic!("lost: {missing:?}")).unwrap();
        for delivery in &batch {
            missing.remove(&number(delivery));
        }
        lane.ack(&batch.iter().map(|delivery| delivery.tag).collect::<Vec<_>>())
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_waited_for_and_loses_nothing() {
    let mut private = PrivateBroker::start().await;
    let vhost = private.vhost().await;
    declare(&vhost.broker_url, "kept", &[]).await;
    let published = publisher(&vhost.broker_url);
    published.fill("kept", 1..=100).await;

    private.stop().await;
    published
        .becomes(|state| matches!(state, LinkState::Down { .. }))
        .await;
    let early = publisher(&vhost.broker_url);
    let started = Instant::now();
    let refused = published.publisher.publish(numbered("kept", 0)).await;
    assert!(
        matches!(refused, Err(PublishError::Unavailable(_))),
        "{refused:?}"
    );
    assert!(started.elapsed() < Duration::from_secs(3));

    private.start_again().await;
    published.becomes(|state| *state == LinkState::Connected).await;
    early.becomes(|state| *state == LinkState::Connected).await;
    for number in 101..=200 {
        published.insist(numbered("kept", number)).await;
    }
    private.kill().await;
    for number in 201..=300 {
        early.insist(numbered("kept", number)).await;
    }
    private.wait_until_running().await;
    all_there(&vhost.broker_url, "kept", 1..=300).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_closed_by_an_operator_is_made_again() {
    let vhost = TestBroker::vhost().await;
    let own = OwnUser::of(&vhost).await;
    declare(&vhost.broker_url, "kept", &[]).await;
    let published = publisher(&own.url);
    let mut last = 0;
    let publishing = async {
        loop {
            published.insist(numbered("kept", last + 1)).await;
            last += 1;
        }
    };
    let closing = async {
        for _ in 0..3 {
            published.becomes(|state| *state == LinkState::Connected).await;
            let down = published.becomes(|state| matches!(state, LinkState::Down { .. }));
            own.close_connections_until(&vhost, down).await;
        }
    };
    tokio::select! {
        () = publishing => {}
        () = closing => {}
    }
    published.insist(numbered("kept", last + 1)).await;
    all_there(&vhost.broker_url, "kept", 1..=last + 1).await;
}

async fn channel_closing(published: &Published, message: Outgoing, code: &str) {
    let closed = published.publisher.publish(message).await;
    assert!(
        matches!(&closed, Err(PublishError::Unavailable(reason)) if reason.contains(code)),
        "{closed:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_closed_by_rabbitmq_is_opened_again() {
    let vhost = TestBroker::vhost().await;
    declare(&vhost.broker_url, "kept", &[]).await;
    let published = publisher(&vhost.broker_url);
    published.fill("kept", 1..=1).await;
    let to_nowhere = Outgoing {
        exchange: "no-such-exchange".into(),
        ..numbered("kept", 0)
    };
    channel_closing(&published, to_nowhere, "NOT_FOUND").await;
    published.insist(numbered("kept", 2)).await;
    let mut forged = numbered("kept", 0);
    forged.properties.user_id = Some("somebody-else".into());
    channel_closing(&published, forged, "PRECONDITION_FAILED").await;
    published.insist(numbered("kept", 3)).await;
    all_there(&vhost.broker_url, "kept", 1..=3).await;
}

/// `rabbitmqctl` for the node, whose environment it needs.
fn control(node: &Node, arguments: &[&str]) {
    let environ = std::fs::read(format!("/proc/{}/environ", node.pid().unwrap())).unwrap();
    let variables = environ.split(|byte| *byte == 0).filter_map(|variable| {
        let (name, value) = std::str::from_utf8(variable).ok()?.split_once('=')?;
        let needed = name.starts_with("RABBITMQ_")
            || name.starts_with("ERL_EPMD")
            || ["HOME", "PATH", "LANG"].contains(&name);
        needed.then(|| (name.to_owned(), value.to_owned()))
    });
    let status = Command::new(control_program())
        .args(arguments)
        .env_clear()
        .envs(variables)
        .output()
        .unwrap();
    assert!(
        status.status.success(),
        "{}",
        String::from_utf8_lossy(&status.stderr)
    );
}

fn control_program() -> PathBuf {
    let lib = std::fs::read_dir("/usr/lib/rabbitmq/lib").unwrap();
    lib.flatten()
        .map(|entry| entry.path().join("sbin/rabbitmqctl"))
        .find(|path| path.exists())
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_connection_says_so_and_carries_on_when_it_is_unblocked() {
    let folder = tempfile::TempDir::new().unwrap();
    let node = Node::start(NodeOptions::new(folder.path())).await.unwrap();
    let url = node.broker_url().to_owned();
    declare(&url, "kept", &[]).await;
    let published = publisher(&url);
    published.fill("kept", 1..=10).await;

    control(&node, &["set_vm_memory_high_watermark", "0.00001"]);
    // RabbitMQ blocks a connection when it publishes.
    let blocked = async {
        loop {
            let outcome = published.publisher.publish(numbered("kept", 11)).await;
            if let Err(PublishError::Blocked(_)) = outcome {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(DEADLINE, blocked).await.unwrap();
    assert!(matches!(published.publisher.state(), LinkState::Blocked { .. }));
    let started = Instant::now();
    let refused = published.publisher.publish(numbered("kept", 11)).await;
    assert!(matches!(refused, Err(PublishError::Blocked(_))), "{refused:?}");
    assert!(started.elapsed() < Duration::from_secs(1));

    control(&node, &["set_vm_memory_high_watermark", "0.6"]);
    published.becomes(|state| *state == LinkState::Connected).await;
    published.insist(numbered("kept", 11)).await;
    all_there(&url, "kept", 1..=11).await;
    node.stop().await;
}
