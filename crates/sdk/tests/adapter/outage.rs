//! The broker goes away and comes back; nobody restarts the adapter.

use crossdock_sdk::{Adapter, Answer};
use crossdock_testkit::PrivateBroker;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::hall::{Hall, order};

#[tokio::test]
async fn work_that_an_outage_interrupts_is_done_after_it() {
    static GO: Semaphore = Semaphore::const_new(0);
    let mut broker = PrivateBroker::start().await;
    let mut hall = Hall::on(broker.vhost().await).await;
    let adapter = Adapter::new(&hall.adapter, &hall.adapter_url, "/erp").unwrap();
    let running = tokio::spawn(adapter.run(|order| async move {
        GO.acquire().await.expect("it is never closed").forget();
        let numbered = json!({"order": order.subject(), "number": "4711"});
        Ok(vec![Answer::new("order.numbered.v1", &numbered)?])
    }));
    hall.deliver(&order("1"), 1).await;
    hall.has_consumers(1).await;

    broker.stop().await;
    // Once for the attempt whose ack comes too late, once for the repeat.
    GO.add_permits(2);
    broker.start_again().await;
    hall.reopen().await;

    let (first, second) = (hall.published().await, hall.published().await);
    assert_eq!(first.id, second.id, "the hub can tell that it is a repeat");
    assert_eq!(hall.receipt().await["outcome"], "done");
    assert_eq!(hall.receipt().await["outcome"], "done");
    GO.add_permits(1);
    hall.deliver(&order("2"), 1).await;
    assert_eq!(hall.receipt().await["event"], "2");
    assert!(!running.is_finished());
    // The receipt goes before the ack: an adapter that is cut off between them would rightly get the order again.
    assert_eq!(hall.waiting().await, [""; 0]);
    running.abort();
    let _ = running.await;
    hall.has_consumers(0).await;
    assert_eq!(hall.waiting().await, [""; 0], "the order was acked");
}
