//! The enterprise resource planning of the demo: gives every order its number, accepts most and rejects some, after
//! the short while that such a system takes.

mod answers;
mod decision;

use std::time::Duration;

use chrono::Utc;
use crossdock_sdk::{Adapter, Answer, Failure, Incoming, SdkError, log_to_stderr};

use crate::{answers::Order, decision::Decision};

#[tokio::main]
async fn main() -> Result<(), SdkError> {
    log_to_stderr();
    Adapter::from_env("/erp")?.run(handle).await
}

async fn handle(event: Incoming) -> Result<Vec<Answer>, Failure> {
    match event.event_type() {
        "order.placed.v1" => decide(event).await,
        "order.cancelled.v1" => {
            tracing::info!(order = event.subject(), "an order was cancelled");
            Ok(Vec::new())
        }
        other => Err(Failure::Dead(format!("the ERP knows no {other}"))),
    }
}

async fn decide(event: Incoming) -> Result<Vec<Answer>, Failure> {
    let order: Order = event.data()?;
    let decision = Decision::on(event.id());
    tokio::time::sleep(remaining(&event, decision.work)).await;
    let aliases = event.aliases().map(str::to_owned);
    Ok(answers::answers(&order, aliases, event.time(), &decision)?)
}

/// What is left of the work's time, which began when the event happened: orders that had to wait for their turn go
/// through at once, so that orders never come faster than they are dealt with.
fn remaining(event: &Incoming, work: Duration) -> Duration {
    let waited = event
        .time()
        .and_then(|happened| (Utc::now() - happened).to_std().ok());
    work.saturating_sub(waited.unwrap_or_default())
}
