//! The brokers that other tests stand on.
#![allow(clippy::unwrap_used)]

use crossdock_testkit::{PrivateBroker, TestBroker};

#[tokio::test]
async fn every_test_has_its_vhost_and_leaves_nothing_behind() {
    let (one, other) = (TestBroker::vhost().await, TestBroker::vhost().await);
    assert_ne!(one.name, other.name);
    let management = other.management();
    let user = one.unique("user");
    one.management().put_user(&user, "password", &[]).await.unwrap();
    assert!(management.vhosts().await.unwrap().contains(&one.name));

    let name = one.name.clone();
    drop(one);
    assert!(!management.vhosts().await.unwrap().contains(&name));
    assert!(
        !management
            .users()
            .await
            .unwrap()
            .iter()
            .any(|known| known.name == user)
    );
}

#[tokio::test]
async fn a_private_broker_can_be_stopped_started_and_killed() {
    let mut broker = PrivateBroker::start().await;
    let vhost = broker.vhost().await;
    let management = vhost.management();

    broker.stop().await;
    assert!(management.vhosts().await.is_err());
    broker.start_again().await;
    assert!(management.vhosts().await.unwrap().contains(&vhost.name));

    broker.kill().await;
    assert!(management.vhosts().await.is_err());
    broker.wait_until_running().await;
    assert!(management.vhosts().await.unwrap().contains(&vhost.name));
}
