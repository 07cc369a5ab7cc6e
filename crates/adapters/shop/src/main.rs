//! The online shop of the demo. It lets customers fill carts, buy print products and change their minds, says so in
//! events, and remembers what becomes of their orders. `SHOP_EVENTS_PER_SECOND` sets how busy it is (default 2.5).

mod catalogue;
mod customers;
mod day;
mod events;
mod orders;
mod pace;
mod references;

use std::{
    convert::Infallible,
    env,
    future::ready,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use chrono::Utc;
use crossdock_sdk::{Adapter, Answer, Failure, Incoming, SdkError, Sender, log_to_stderr};
use rand::{SeedableRng, rngs::StdRng};
use serde::Deserialize;

use crate::{
    day::{Day, Happening},
    orders::{Goods, OrderBook},
    pace::Pace,
};

type Orders = Arc<Mutex<OrderBook>>;

#[tokio::main]
async fn main() -> Result<(), SdkError> {
    log_to_stderr();
    let pace = Pace::new(env::var("SHOP_EVENTS_PER_SECOND").ok().as_deref(), Instant::now())?;
    let adapter = Adapter::from_env("/shop")?;
    let orders = Orders::default();
    let trade = trade(adapter.sender(), pace, Arc::clone(&orders));
    let listen = adapter.run(move |said| ready(hear(&orders, &said)));
    tokio::select! {
        stopped = listen => stopped,
        Err(error) = trade => Err(error),
    }
}

/// Lets one thing happen after the other, for ever.
async fn trade(sender: Sender, mut pace: Pace, orders: Orders) -> Result<Infallible, SdkError> {
    let mut rng = StdRng::from_os_rng();
    let mut day = Day::open(Utc::now(), &mut rng);
    loop {
        let events = match day.next(Utc::now(), &mut rng) {
            Happening::CartUpdated(cart) => vec![events::cart_updated(&cart)?],
            Happening::OrderPlaced(order) => {
                let events = events::order_placed(&order)?;
                // Before anybody can answer.
                lock(&orders).placed(order);
                events
            }
            Happening::OrderRegretted(reference) => match lock(&orders).cancel(&reference) {
                Some(cancellation) => events::order_cancelled(&cancellation)?,
                None => continue,
            },
        };
        let number = events.len();
        for event in events {
            sender.send(event).await?;
            tokio::time::sleep(pace.breath()).await;
        }
        tokio::time::sleep_until(pace.next(number, Instant::now(), &mut rng).into()).await;
    }
}

/// What the other systems say about an order.
#[derive(Deserialize)]
struct Word {
    order: String,
    number: Option<String>,
}

/// Goods left the shelf for an order at the shop's page, or came back.
#[derive(Deserialize)]
struct Moved {
    order: String,
    sku: String,
    delta: i64,
}

fn hear(orders: &Orders, said: &Incoming) -> Result<Vec<Answer>, Failure> {
    if said.event_type() == "stock.adjusted.v1" {
        let Moved { order, sku, delta } = said.data()?;
        if let Ok(quantity @ 1..) = u32::try_from(delta.saturating_neg()) {
            lock(orders).took(order, Goods { sku, quantity });
        }
        return Ok(Vec::new());
    }
    let Word { order, number } = said.data()?;
    let mut orders = lock(orders);
    match said.event_type() {
        "order.numbered.v1" => {
            if let Some(number) = number {
                orders.numbered(&order, number);
            }
        }
        "order.shipped.v1" => {
            let number = orders.shipped(&order);
            tracing::info!(order, number, "an order is on its way");
        }
        "order.rejected.v1" => {
            tracing::info!(order, "an order was rejected");
            let goods = orders.rejected(&order, said.id());
            return Ok(events::goods_back(&order, &goods)?);
        }
        other => return Err(Failure::Dead(format!("the shop knows no {other}"))),
    }
    Ok(Vec::new())
}

/// What was remembered stays true when somebody panicked over it.
fn lock(orders: &Orders) -> MutexGuard<'_, OrderBook> {
    orders.lock().unwrap_or_else(PoisonError::into_inner)
}
