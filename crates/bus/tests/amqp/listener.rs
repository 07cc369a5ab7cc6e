//! What is fanned out: everybody gets it, nobody waits for who does not take it.

use crossdock_bus::listener::{Listener, Room};
use crossdock_bus::{BusError, Outgoing, Topology, names};
use crossdock_testkit::TestBroker;
use tokio::time::timeout;

use crate::support::{DEADLINE, broker, number, numbered, publisher};

const ROOM: Room = Room {
    messages: 5,
    prefetch: 2,
};

fn fanned_out(number: u64) -> Outgoing {
    Outgoing {
        exchange: names::REALTIME.into(),
        mandatory: false,
        ..numbered("", number)
    }
}

async fn next(listener: &mut Listener) -> (u64, u64) {
    let delivery = timeout(DEADLINE, listener.next()).await.unwrap().unwrap();
    (number(&delivery), delivery.tag)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_has_a_copy_and_the_oldest_of_too_many_are_dropped() {
    let vhost = TestBroker::vhost().await;
    let broker = broker(&vhost.broker_url);
    Topology::hub(1, &[])
        .assert(&broker, &vhost.management())
        .await
        .unwrap();
    let publisher = publisher(&vhost.broker_url).publisher;
    // Nobody listens, and nobody minds.
    publisher.publish(fanned_out(0)).await.unwrap();
    let open = async |queue| Listener::open(&broker, names::REALTIME, queue, ROOM, "test").await;
    let mut quick = open("crossdock.realtime.quick").await.unwrap();
    let mut slow = open("crossdock.realtime.slow").await.unwrap();
    for n in 1..=20 {
        publisher.publish(fanned_out(n)).await.unwrap();
        let (number, tag) = next(&mut quick).await;
        assert_eq!(number, n);
        quick.done_up_to(tag).await.unwrap();
    }
    let mut taken = Vec::new();
    while taken.last() != Some(&20) {
        let (number, tag) = next(&mut slow).await;
        taken.push(number);
        slow.done_up_to(tag).await.unwrap();
    }
    assert_eq!(taken, [1, 2, 16, 17, 18, 19, 20]);

    let taken = open("crossdock.realtime.quick").await.err().unwrap();
    assert!(matches!(taken, BusError::Refused { code: 405, .. }), "{taken}");
    drop((quick, slow));
    timeout(DEADLINE, async {
        while vhost
            .management()
            .queue("crossdock.realtime.quick")
            .await
            .unwrap()
            .is_some()
        {}
    })
    .await
    .unwrap();
}
