//! The shop's happenings as events: their data as the hub's schemas want it, and what they are about.

use crossdock_sdk::{Answer, SdkError};
use serde::Serialize;
use serde_json::json;

use crate::{
    day::{Cart, Line, Order},
    orders::{Cancellation, Goods},
};

/// The warehouse that the shop sells from.
const LOCATION: &str = "LDN1";
const SHIPPING_PENCE: u32 = 395;
/// From so much on, shipping is free.
const FREE_SHIPPING_PENCE: u32 = 5_000;
/// Of the price, of which a fifth of the rest is value added tax.
const TAX_PART: u32 = 6;

#[derive(Serialize)]
struct Money {
    amount: u32,
    currency: &'static str,
}

fn pence(amount: u32) -> Money {
    Money {
        amount,
        currency: "GBP",
    }
}

/// What is in a cart now.
pub(crate) fn cart_updated(cart: &Cart) -> Result<Answer, SdkError> {
    let data = json!({
        "cart": cart.reference,
        "lines": lines(&cart.lines),
        "total": pence(total(&cart.lines)),
        "customer": {"id": cart.customer.id},
    });
    Ok(Answer::new("cart.updated.v1", &data)?
        .about(&cart.reference)
        .correlated(format!("cart-{}", cart.reference)))
}

/// The order, its print files to be checked, and its goods gone from the shelves.
pub(crate) fn order_placed(order: &Order) -> Result<Vec<Answer>, SdkError> {
    let goods = total(&order.lines);
    let shipping = if goods < FREE_SHIPPING_PENCE {
        SHIPPING_PENCE
    } else {
        0
    };
    let total = goods + shipping;
    let customer = &order.customer;
    let data = json!({
        "order": order.reference,
        "lines": lines(&order.lines),
        "total": pence(total),
        "shipping": pence(shipping),
        "tax": pence((total + TAX_PART / 2) / TAX_PART),
        "channel": order.channel,
        "customer": {"id": customer.id, "name": customer.name, "email": customer.email},
        "ship_to": {
            "name": customer.name,
            "lines": [customer.street],
            "city": customer.city,
            "postcode": customer.postcode,
            "country": "GB",
        },
    });
    let placed = Answer::new("order.placed.v1", &data)?
        .about(&order.reference)
        .correlated(process(&order.reference))
        .also_known_as(&[format!("shop:{}", order.reference)]);
    let mut events = vec![placed];
    for line in &order.lines {
        events.extend(preflight_requested(order, line)?);
    }
    events.extend(goods_moved(&order.reference, &Goods::of(order), -1, "sale")?);
    Ok(events)
}

/// The cancellation, and the goods back.
pub(crate) fn order_cancelled(cancellation: &Cancellation) -> Result<Vec<Answer>, SdkError> {
    let order = &cancellation.order;
    let data = json!({
        "order": order.reference,
        "reason": cancellation.reason,
        "lines": lines(&order.lines),
        "total": pence(total(&order.lines)),
    });
    let cancelled = Answer::new("order.cancelled.v1", &data)?
        .about(&order.reference)
        .correlated(process(&order.reference));
    let mut events = vec![cancelled];
    events.extend(goods_back(&order.reference, &Goods::of(order))?);
    Ok(events)
}

/// The goods of an order that will not be fulfilled, for sale again.
pub(crate) fn goods_back(order: &str, goods: &[Goods]) -> Result<Vec<Answer>, SdkError> {
    goods_moved(order, goods, 1, "return")
}

fn preflight_requested(order: &Order, line: &Line) -> Result<Option<Answer>, SdkError> {
    let (Some(print), Some(file)) = (&line.product.print, &line.file) else {
        return Ok(None);
    };
    let data = json!({
        "file": file.key,
        "sku": line.product.sku,
        "order": order.reference,
        "expected": {
            "width_mm": print.width_mm,
            "height_mm": print.height_mm,
            "bleed_mm": print.bleed_mm,
            "pages": print.pages,
        },
        "bytes": file.bytes,
    });
    let requested = Answer::new("preflight.requested.v1", &data)?
        .about(&file.key)
        .correlated(process(&order.reference));
    Ok(Some(requested))
}

/// `sign`: 1 to the shelves, -1 away from them.
fn goods_moved(order: &str, goods: &[Goods], sign: i64, reason: &str) -> Result<Vec<Answer>, SdkError> {
    let moved = |Goods { sku, quantity }: &Goods| {
        let data = json!({
            "sku": sku,
            "location": LOCATION,
            "delta": sign * i64::from(*quantity),
            "reason": reason,
            "order": order,
        });
        Ok(Answer::new("stock.adjusted.v1", &data)?
            .about(format!("{LOCATION}/{sku}"))
            .correlated(process(order)))
    };
    goods.iter().map(moved).collect()
}

fn process(order: &str) -> String {
    format!("order-{order}")
}

fn lines(lines: &[Line]) -> Vec<serde_json::Value> {
    let line = |line: &Line| {
        let mut data = json!({
            "sku": line.product.sku,
            "description": line.product.description,
            "quantity": line.quantity,
            "price": pence(line.product.price_pence),
        });
        if let Some(file) = &line.file {
            data["file"] = file.key.as_str().into();
        }
        data
    };
    lines.iter().map(line).collect()
}

fn total(lines: &[Line]) -> u32 {
    lines
        .iter()
        .map(|line| line.product.price_pence * line.quantity)
        .sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashMap;

    use crossdock_sdk::Schemas;
    use rand::{SeedableRng, rngs::StdRng};
    use serde_json::Value;

    use super::*;
    use crate::{
        day::{Day, Happening},
        orders::OrderBook,
    };

    /// All events of a long day in which nobody else says anything.
    fn events() -> Vec<Answer> {
        let mut rng = StdRng::seed_from_u64(42);
        let now = "2026-03-02T09:00:00Z".parse().unwrap();
        let (mut day, mut book) = (Day::open(now, &mut rng), OrderBook::default());
        let happening = |_| match day.next(now, &mut rng) {
            Happening::CartUpdated(cart) => vec![cart_updated(&cart).unwrap()],
            Happening::OrderPlaced(order) => {
                book.placed(order.clone());
                order_placed(&order).unwrap()
            }
            Happening::OrderRegretted(order) => order_cancelled(&book.cancel(&order).unwrap()).unwrap(),
        };
        (0..3_000).flat_map(happening).collect()
    }

    #[test]
    fn every_event_is_one_that_the_hub_takes() {
        let schemas = Schemas::shipped();
        let mut types = HashMap::<_, usize>::new();
        for event in events() {
            schemas.check(&event).unwrap();
            assert!(event.subject().is_some());
            *types.entry(event.event_type().to_owned()).or_default() += 1;
        }
        assert_eq!(types.len(), 5, "{types:?}");
        let orders = types["order.placed.v1"] as f64;
        assert!((0.01..0.1).contains(&(types["order.cancelled.v1"] as f64 / orders)));
        assert!(types["cart.updated.v1"] as f64 > 3.0 * orders);
    }

    #[test]
    fn a_customer_pays_for_the_goods_and_their_shipping() {
        let orders = events()
            .into_iter()
            .filter(|event| event.event_type() == "order.placed.v1");
        for order in orders {
            let data: Value = order.data().unwrap();
            let amount = |money: &Value| money["amount"].as_u64().unwrap();
            let lines = data["lines"].as_array().unwrap();
            let goods: u64 = lines
                .iter()
                .map(|line| amount(&line["price"]) * line["quantity"].as_u64().unwrap())
                .sum();
            assert_eq!(amount(&data["total"]), goods + amount(&data["shipping"]));
            assert_eq!(goods < 5_000, amount(&data["shipping"]) > 0);
            let net = amount(&data["total"]) - amount(&data["tax"]);
            assert!((net as f64 * 0.2 - amount(&data["tax"]) as f64).abs() < 1.0);
        }
    }

    #[test]
    fn what_is_sold_and_not_returned_is_gone() {
        let mut sold = HashMap::<String, i64>::new();
        for event in events() {
            let data: Value = event.data().unwrap();
            let order = data["order"].as_str().unwrap_or_default().to_owned();
            let pieces = |data: &Value| -> i64 {
                let lines = data["lines"].as_array().unwrap();
                lines.iter().map(|line| line["quantity"].as_i64().unwrap()).sum()
            };
            *sold.entry(order).or_default() += match event.event_type() {
                "order.placed.v1" => pieces(&data),
                "order.cancelled.v1" => -pieces(&data),
                "stock.adjusted.v1" => data["delta"].as_i64().unwrap(),
                _ => 0,
            };
        }
        assert!(sold.values().all(|pieces| *pieces == 0));
    }
}
