//! What lies on the warehouse's shelves. A shelf is full until something moves; one that runs low is
//! filled again by a delivery, some time later. Time comes from outside; nothing is known here of events.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use chrono::{DateTime, Utc};

/// Pieces on a full shelf.
pub(crate) const FULL: i64 = 40;
/// With fewer pieces than this a shelf is low.
pub(crate) const THRESHOLD: i64 = 10;
/// From the order to the supplier until the shelf is full again.
const DELIVERY_TAKES: Duration = Duration::from_secs(30);
/// What the shop sells; other products get a shelf when they are first heard of.
pub(crate) const PRODUCTS: [&str; 12] = [
    "CARD-85X55",
    "FLYER-A6",
    "POSTER-A2",
    "POSTCARD-A6",
    "BROCHURE-A4",
    "STICKER-50",
    "CANVAS-60X40",
    "MUG-330",
    "TOTE-COTTON",
    "TSHIRT-WHITE",
    "FRAME-A2",
    "SAMPLES-PAPER",
];
const SHELVES_MAX: usize = 10_000;
/// Movements that are recognised when they come again: more than RabbitMQ hands over at once.
const REMEMBERED_MAX: usize = 100;

/// All shelves.
#[derive(Default)]
pub(crate) struct Stock {
    shelves: HashMap<String, Shelf>,
    counted: VecDeque<String>,
}

struct Shelf {
    on_hand: i64,
    delivery: Option<DateTime<Utc>>,
}

/// How a movement left a shelf.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Counted {
    /// A delivery had come before the movement: how many there were then.
    pub(crate) filled: Option<i64>,
    /// How many there are; negative: promised to customers and not there.
    pub(crate) on_hand: i64,
    /// The shelf has just become low.
    pub(crate) became_low: bool,
}

/// There is no place for yet another product.
#[derive(Debug, PartialEq)]
pub(crate) struct NoShelf;

impl Stock {
    /// Counts a movement, once however often it comes. `movement`: its own id. `delta`: pieces that came, or went
    /// if negative.
    pub(crate) fn moved(
        &mut self,
        movement: &str,
        sku: &str,
        delta: i64,
        now: DateTime<Utc>,
    ) -> Result<Counted, NoShelf> {
        if !self.shelves.contains_key(sku) && self.shelves.len() == SHELVES_MAX {
            return Err(NoShelf);
        }
        let is_new = self.remember(movement);
        let shelf = self.shelves.entry(sku.to_owned()).or_insert(Shelf {
            on_hand: FULL,
            delivery: None,
        });
        let filled = shelf.take_delivery(now);
        if is_new {
            shelf.on_hand = shelf.on_hand.saturating_add(delta);
        }
        Ok(Counted {
            filled,
            on_hand: shelf.on_hand,
            became_low: shelf.order_if_low(now),
        })
    }

    fn remember(&mut self, movement: &str) -> bool {
        if self.counted.iter().any(|counted| counted == movement) {
            return false;
        }
        if self.counted.len() == REMEMBERED_MAX {
            self.counted.pop_front();
        }
        self.counted.push_back(movement.to_owned());
        true
    }
}

impl Shelf {
    fn take_delivery(&mut self, now: DateTime<Utc>) -> Option<i64> {
        self.delivery.take_if(|arrives| *arrives <= now)?;
        self.on_hand = self.on_hand.max(FULL);
        Some(self.on_hand)
    }

    fn order_if_low(&mut self, now: DateTime<Utc>) -> bool {
        let becomes_low = self.on_hand < THRESHOLD && self.delivery.is_none();
        if becomes_low {
            self.delivery = Some(now + DELIVERY_TAKES);
        }
        becomes_low
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn noon() -> DateTime<Utc> {
        "2026-03-02T12:00:00Z".parse().unwrap()
    }

    fn left(on_hand: i64) -> Counted {
        Counted {
            on_hand,
            ..Counted::default()
        }
    }

    #[test]
    fn a_low_shelf_is_said_once_and_filled_later() {
        let mut stock = Stock::default();
        let low = Counted {
            became_low: true,
            ..left(9)
        };
        assert_eq!(stock.moved("1", "MUG", -30, noon()), Ok(left(10)));
        assert_eq!(stock.moved("2", "MUG", -1, noon()), Ok(low));
        let before = noon() + DELIVERY_TAKES - Duration::from_millis(1);
        assert_eq!(stock.moved("3", "MUG", -12, before), Ok(left(-3)));
        let filled = Counted {
            filled: Some(40),
            ..left(38)
        };
        let arrived = noon() + DELIVERY_TAKES;
        assert_eq!(stock.moved("4", "MUG", -2, arrived), Ok(filled));
        assert_eq!(stock.moved("5", "MUG", 3, arrived), Ok(left(41)));
        assert_eq!(stock.moved("6", "TOTE", -1, arrived), Ok(left(39)));
    }

    #[test]
    fn a_movement_that_comes_again_is_counted_once() {
        let mut stock = Stock::default();
        for _ in 0..2 {
            assert_eq!(stock.moved("1", "MUG", -4, noon()), Ok(left(36)));
        }
        assert_eq!(stock.moved("2", "MUG", -4, noon()), Ok(left(32)));
    }

    #[test]
    fn it_is_bounded() {
        let mut stock = Stock::default();
        for number in 0..SHELVES_MAX {
            stock
                .moved(&number.to_string(), &number.to_string(), -1, noon())
                .unwrap();
        }
        assert_eq!(stock.moved("x", "one more", -1, noon()), Err(NoShelf));
        assert_eq!(stock.moved("y", "0", -1, noon()), Ok(left(38)));
        assert_eq!(stock.counted.len(), REMEMBERED_MAX);
    }
}
