//! What the shop remembers of its latest orders: what was ordered, and what the other systems have said of it since.

use std::collections::VecDeque;

use crate::day::Order;

/// Older orders are forgotten.
const ORDERS_MAX: usize = 1_000;

/// The latest orders.
#[derive(Default)]
pub(crate) struct OrderBook {
    orders: VecDeque<Entry>,
}

struct Entry {
    order: Order,
    number: Option<String>,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Open,
    Rejected,
    Shipped,
    Cancelled,
}

/// An order that its customer took back.
pub(crate) struct Cancellation {
    pub(crate) order: Order,
    pub(crate) reason: &'static str,
}

impl OrderBook {
    /// A customer has bought.
    pub(crate) fn placed(&mut self, order: Order) {
        if self.orders.len() == ORDERS_MAX {
            self.orders.pop_front();
        }
        self.orders.push_back(Entry {
            order,
            number: None,
            state: State::Open,
        });
    }

    /// The system of record gave it a number.
    pub(crate) fn numbered(&mut self, reference: &str, number: String) {
        if let Some(entry) = self.entry(reference) {
            entry.number = Some(number);
        }
    }

    /// It will not be fulfilled. The order whose goods are free again; the same for a repeat.
    pub(crate) fn rejected(&mut self, reference: &str) -> Option<Order> {
        let entry = self.entry(reference)?;
        if entry.state == State::Cancelled {
            return None;
        }
        entry.state = State::Rejected;
        Some(entry.order.clone())
    }

    /// It is on its way. The number it has in the system of record, where that is known.
    pub(crate) fn shipped(&mut self, reference: &str) -> Option<&str> {
        let entry = self.entry(reference)?;
        entry.state = State::Shipped;
        entry.number.as_deref()
    }

    /// The customer takes it back; what was rejected, taken back before or forgotten cannot be.
    pub(crate) fn cancel(&mut self, reference: &str) -> Option<Cancellation> {
        let entry = self.entry(reference)?;
        let reason = match entry.state {
            State::Open => "changed_mind",
            State::Shipped => "returned",
            State::Rejected | State::Cancelled => return None,
        };
        entry.state = State::Cancelled;
        Some(Cancellation {
            order: entry.order.clone(),
            reason,
        })
    }

    fn entry(&mut self, reference: &str) -> Option<&mut Entry> {
        self.orders
            .iter_mut()
            .rev()
            .find(|entry| entry.order.reference == reference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::customers::somebody;

    fn book(orders: usize) -> OrderBook {
        let mut book = OrderBook::default();
        for number in 0..orders {
            book.placed(Order {
                reference: number.to_string(),
                channel: "web",
                customer: somebody(&mut rand::rng()),
                lines: Vec::new(),
            });
        }
        book
    }

    fn reason(book: &mut OrderBook, reference: &str) -> Option<&'static str> {
        book.cancel(reference).map(|cancellation| cancellation.reason)
    }

    #[test]
    fn goods_come_back_once() {
        let mut book = book(3);
        assert_eq!(reason(&mut book, "0"), Some("changed_mind"));
        assert_eq!(reason(&mut book, "0"), None);
        assert!(book.rejected("0").is_none(), "its goods are back already");

        assert!(book.rejected("1").is_some());
        assert!(book.rejected("1").is_some(), "a repeat gets the same answer");
        assert_eq!(reason(&mut book, "1"), None);
    }

    #[test]
    fn what_has_left_is_returned() {
        let mut book = book(1);
        assert_eq!(book.shipped("0"), None);
        book.numbered("0", "SO-1".to_owned());
        assert_eq!(book.shipped("0"), Some("SO-1"));
        assert_eq!(reason(&mut book, "0"), Some("returned"));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut book = book(ORDERS_MAX + 1);
        assert_eq!(book.orders.len(), ORDERS_MAX);
        assert_eq!(reason(&mut book, "0"), None);
        assert_eq!(reason(&mut book, "1"), Some("changed_mind"));
    }
}
