//! The warehouse of the demo: packs and ships accepted orders, and keeps count of its shelves. The count lives as
//! long as the process, which begins by telling it.

mod answers;
mod packing;
mod stock;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::Utc;
use crossdock_sdk::{Adapter, Answer, Failure, Incoming, SdkError, Sender, log_to_stderr};

use crate::{
    answers::{Accepted, Adjusted, LOCATION},
    packing::Packing,
    stock::Stock,
};

/// What refilling the label printer takes.
const REFILL: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), SdkError> {
    log_to_stderr();
    let stock = Arc::<Mutex<Stock>>::default();
    let adapter = Adapter::from_env("/warehouse")?;
    open(&adapter.sender()).await?;
    adapter.run(move |event| handle(event, Arc::clone(&stock))).await
}

/// Says what there is. Nothing moves before that is said, for the latest that is said of a shelf holds.
async fn open(sender: &Sender) -> Result<(), SdkError> {
    for sku in stock::PRODUCTS {
        sender.send(answers::level(sku, stock::FULL)?).await?;
    }
    Ok(())
}

async fn handle(event: Incoming, stock: Arc<Mutex<Stock>>) -> Result<Vec<Answer>, Failure> {
    match event.event_type() {
        "order.accepted.v1" => ship(event).await,
        "stock.adjusted.v1" => count(&event, &stock),
        other => Err(Failure::Dead(format!("the warehouse knows no {other}"))),
    }
}

async fn ship(event: Incoming) -> Result<Vec<Answer>, Failure> {
    let accepted: Accepted = event.data()?;
    if accepted
        .location
        .as_deref()
        .is_some_and(|location| location != LOCATION)
    {
        return Ok(Vec::new());
    }
    if accepted.lines.is_empty() {
        return Err(Failure::Dead("the order does not say what to pick".to_owned()));
    }
    let packing = Packing::of(event.id());
    tokio::time::sleep(remaining(&event, packing.work)).await;
    if packing.jams && event.attempt() == 1 {
        let reason = "the label printer is out of paper".to_owned();
        return Err(Failure::Retry(reason, Some(REFILL)));
    }
    Ok(vec![answers::shipped(&accepted, &packing)?])
}

fn count(event: &Incoming, stock: &Mutex<Stock>) -> Result<Vec<Answer>, Failure> {
    let adjusted: Adjusted = event.data()?;
    if adjusted.location != LOCATION {
        return Ok(Vec::new());
    }
    // What was counted stays true when somebody panicked over it.
    let counted = stock.lock().unwrap_or_else(PoisonError::into_inner).moved(
        event.id(),
        &adjusted.sku,
        adjusted.delta,
        Utc::now(),
    );
    let counted = counted
        .map_err(|stock::NoShelf| Failure::Dead("there is no shelf left for another product".to_owned()))?;
    Ok(answers::counted(&adjusted.sku, &counted)?)
}

/// What is left of the work's time, which began when the order was accepted: orders that had to wait for their turn
/// leave at once, so that orders never come faster than they leave.
fn remaining(event: &Incoming, work: Duration) -> Duration {
    let waited = event
        .time()
        .and_then(|accepted| (Utc::now() - accepted).to_std().ok());
    work.saturating_sub(waited.unwrap_or_default())
}
