//! One event after the other: answers, receipts, acks and rejects.

use std::{collections::HashSet, future::ready, time::Duration};

use crossdock_sdk::{Adapter, Answer, Failure, Incoming};
use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::hall::{Hall, order};

/// An adapter that runs until the test ends.
struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn run<F, Fut>(hall: &Hall, handle: F) -> Running
where
    F: Fn(Incoming) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Vec<Answer>, Failure>> + Send + 'static,
{
    let adapter = Adapter::new(&hall.adapter, &hall.adapter_url, "/erp").unwrap();
    Running(tokio::spawn(async move { adapter.run(handle).await.unwrap() }))
}

fn number(order: &Incoming) -> Result<Vec<Answer>, Failure> {
    let reference = order.subject().unwrap_or_default();
    let numbered = Answer::new(
        "order.numbered.v1",
        &json!({"order": reference, "number": "4711"}),
    )?;
    let moved = Answer::new(
        "stock.level.v1",
        &json!({"sku": "MUG", "location": "LDN1", "on_hand": 3}),
    )?;
    Ok(vec![
        numbered.also_known_as(&["erp:4711".to_owned()]),
        moved.about("LDN1/MUG"),
    ])
}

#[tokio::test]
async fn answers_belong_to_what_they_answer_and_come_before_the_receipt() {
    let mut hall = Hall::open().await;
    let _running = run(&hall, |order| ready(number(&order)));
    hall.deliver(&order("1"), 1).await;

    let receipt = hall.receipt().await;
    assert_eq!(
        (&receipt["event"], &receipt["source"]),
        (&json!("1"), &json!("/shop"))
    );
    assert_eq!(receipt["outcome"], "done");
    assert!(receipt["duration_ms"].is_u64());

    let (numbered, moved) = (hall.published().await, hall.published().await);
    for answer in [&numbered, &moved] {
        assert_eq!(answer.source, "/erp");
        assert_eq!(answer.correlation_id(), Some("order-R-1"));
        assert_eq!(answer.causation_id(), Some("1"));
        assert!(answer.time.is_some());
    }
    assert_eq!(numbered.event_type, "order.numbered.v1");
    assert_eq!(numbered.subject.as_deref(), Some("R-1"));
    assert_eq!(numbered.partition_key(), "key-of-R-1");
    assert!(numbered.aliases().eq(["erp:4711"]));
    assert_eq!(moved.subject.as_deref(), Some("LDN1/MUG"));
    assert_eq!(moved.partition_key(), "LDN1/MUG");
    assert_eq!(hall.waiting().await, [""; 0]);
}

#[tokio::test]
async fn a_repeat_repeats_the_ids_and_another_event_has_others() {
    let mut hall = Hall::open().await;
    let _running = run(&hall, |order| ready(number(&order)));
    let mut ids = Vec::new();
    for id in ["1", "1", "2"] {
        hall.deliver(&order(id), 1).await;
        ids.push([hall.published().await.id, hall.published().await.id]);
    }
    assert_eq!(ids[0], ids[1]);
    let different: HashSet<_> = ids.concat().into_iter().collect();
    assert_eq!(different.len(), 4);
}

#[tokio::test]
async fn what_comes_from_others_reaches_the_handler() {
    let mut hall = Hall::open().await;
    let _running = run(&hall, |order| {
        let aliases: Vec<_> = order.aliases().collect();
        let seen = json!({
            "id": order.id(), "type": order.event_type(), "subject": order.subject(), "aliases": aliases,
            "correlation": order.correlation_id(), "time": order.time(), "attempt": order.attempt(),
        });
        ready(
            Answer::new("test.seen.v1", &seen)
                .map(|answer| vec![answer])
                .map_err(Failure::from),
        )
    });
    hall.deliver(&order("1"), 3).await;
    let seen = json!({
        "id": "1", "type": "order.placed.v1", "subject": "R-1", "aliases": ["shop:R-1", "pos:7"],
        "correlation": "order-R-1", "time": "2026-03-02T08:26:00Z", "attempt": 3,
    });
    assert_eq!(hall.published().await.json().unwrap(), seen);
}

#[derive(Deserialize)]
struct Parcel {
    _weight: u32,
}

/// Fails as the event's id says.
async fn fail(order: Incoming) -> Result<Vec<Answer>, Failure> {
    let refill = Some(Duration::from_secs(30));
    match order.id() {
        "retry" => Err(Failure::Retry("out of paper".to_owned(), refill)),
        "dead" => Err(Failure::Dead("no such customer".to_owned())),
        "panic" => panic!("a bug"),
        "data" => order.data::<Parcel>().map(|_| Vec::new()),
        _ => Ok(vec![Answer::new("test.answered.v1", &())?.about("")]),
    }
}

#[tokio::test]
async fn a_failure_is_said_before_the_event_is_rejected() {
    let mut hall = Hall::open().await;
    let _running = run(&hall, |order| {
        assert!(order.id() != "early panic", "a bug before there is a future");
        fail(order)
    });
    for (id, outcome, detail, retry_after_s) in [
        ("retry", "retry", "out of paper", json!(30)),
        ("dead", "dead", "no such customer", json!(null)),
        ("panic", "retry", "the handler panicked", json!(null)),
        ("early panic", "retry", "the handler panicked", json!(null)),
        (
            "data",
            "dead",
            "the data of order.placed.v1 cannot be read",
            json!(null),
        ),
        ("answer", "dead", "/subject must not be empty", json!(null)),
    ] {
        hall.deliver(&order(id), 1).await;
        let receipt = hall.receipt().await;
        assert_eq!(
            (&receipt["event"], &receipt["outcome"]),
            (&json!(id), &json!(outcome))
        );
        assert!(receipt["detail"].as_str().unwrap().contains(detail), "{receipt}");
        assert_eq!(receipt["retry_after_s"], retry_after_s);
        assert_eq!(hall.rejected().await, id);
    }
    assert_eq!(hall.waiting().await, [""; 0]);
}

#[tokio::test]
async fn an_adapter_speaks_of_its_own_accord() {
    let mut hall = Hall::open().await;
    let adapter = Adapter::new(&hall.adapter, &hall.adapter_url, "/erp").unwrap();
    let sender = adapter.sender();
    let said = |correlation: &str| {
        let answer = Answer::new("cart.updated.v1", &json!({"cart": "c-1", "lines": []})).unwrap();
        answer.about("c-1").correlated(correlation)
    };
    sender.send(said("cart-c-1")).await.unwrap();
    let event = hall.published().await;
    assert_eq!(
        (event.source.as_str(), event.correlation_id()),
        ("/erp", Some("cart-c-1"))
    );
    assert_eq!(event.causation_id(), None);
    assert!(
        sender.send(said("")).await.is_err(),
        "what no hub takes is not sent"
    );
}
