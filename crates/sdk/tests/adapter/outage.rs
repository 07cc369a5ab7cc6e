//! The broker goes away and comes back; nobody restarts the adapter.

use std::time::Duration;

use crossdock_sdk::{Adapter, Answer};
use crossdock_testkit::PrivateBroker;
use serde_json::json;
use tokio::{sync::Semaphore, time::timeout};

use crate::hall::{DEADLINE, Hall, order};

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
    running.abort();
    let _ = timeout(DEADLINE, running).await;
    assert!(
        timeout(Duration::from_secs(DEADLINE.as_secs()), hall.waiting())
            .await
            .unwrap()
            .is_empty()
    );
}
