//! What the shop remembers of its latest orders: what was ordered, and what the other systems have said of it since.

use std::collections::VecDeque;

use crate::day::{Line, Order};

/// Older orders are forgotten.
const ORDERS_MAX: usize = 1_000;

/// The latest orders.
#[derive(Default)]
pub(crate) struct OrderBook {
    orders: VecDeque<Entry>,
    /// What orders at the shop's page took: nothing else is known of them here.
    taken: VecDeque<Taken>,
}

/// Pieces of a product.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Goods {
    pub(crate) sku: String,
    pub(crate) quantity: u32,
}

impl Goods {
    /// What an order takes from the shelves.
    pub(crate) fn of(order: &Order) -> Vec<Self> {
        let goods = |line: &Line| Self {
            sku: line.product.sku.to_owned(),
            quantity: line.quantity,
        };
        order.lines.iter().map(goods).collect()
    }
}

struct Taken {
    order: String,
    goods: Goods,
    /// The event for which they came back.
    back_for: Option<String>,
}

struct Entry {
    order: Order,
    number: Option<String>,
    state: State,
}

enum State {
    Open,
    /// By this event.
    Rejected(String),
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

    /// An order at the shop's page took these from the shelf; it takes a product once, however often that is said.
    pub(crate) fn took(&mut self, order: String, goods: Goods) {
        let is_known = |taken: &Taken| taken.order == order && taken.goods.sku == goods.sku;
        if self.taken.iter().any(is_known) {
            return;
        }
        if self.taken.len() == ORDERS_MAX {
            self.taken.pop_front();
        }
        self.taken.push_back(Taken {
            order,
            goods,
            back_for: None,
        });
    }

    /// It will not be fulfilled, as this event says. Its goods, which are free again; the same for a repeat of the event, and
    /// none for another that says so too.
    pub(crate) fn rejected(&mut self, reference: &str, event: &str) -> Vec<Goods> {
        let Some(entry) = self.entry(reference) else {
            let taken = self.taken.iter_mut().filter(|taken| taken.order == reference);
            let comes_back = |taken: &mut Taken| {
                let back_for = taken.back_for.get_or_insert_with(|| event.to_owned());
                (back_for == event).then(|| taken.goods.clone())
            };
            return taken.filter_map(comes_back).collect();
        };
        match &entry.state {
            State::Cancelled => return Vec::new(),
            State::Rejected(first) if first != event => return Vec::new(),
            State::Rejected(_) | State::Open | State::Shipped => {}
        }
        entry.state = State::Rejected(event.to_owned());
        Goods::of(&entry.order)
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
            State::Rejected(_) | State::Cancelled => return None,
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
    use crate::{catalogue::PRODUCTS, customers::somebody};

    fn book(orders: usize) -> OrderBook {
        let mut book = OrderBook::default();
        for number in 0..orders {
            book.placed(Order {
                reference: number.to_string(),
                channel: "web",
                customer: somebody(&mut rand::rng()),
                lines: vec![Line {
                    product: &PRODUCTS[0],
                    quantity: 2,
                    file: None,
                }],
            });
        }
        book
    }

    fn goods(sku: &str, quantity: u32) -> Vec<Goods> {
        let sku = sku.to_owned();
        vec![Goods { sku, quantity }]
    }

    fn reason(book: &mut OrderBook, reference: &str) -> Option<&'static str> {
        book.cancel(reference).map(|cancellation| cancellation.reason)
    }

    #[test]
    fn goods_come_back_once() {
        let mut book = book(3);
        assert_eq!(reason(&mut book, "0"), Some("changed_mind"));
        assert_eq!(reason(&mut book, "0"), None);
        assert_eq!(book.rejected("0", "event"), [], "its goods are back already");

        for _ in 0..2 {
            let back = book.rejected("1", "event");
            assert_eq!(back, goods(PRODUCTS[0].sku, 2), "a repeat gets the same answer");
            assert_eq!(book.rejected("1", "another"), [], "somebody else says so too");
        }
        assert_eq!(reason(&mut book, "1"), None);
    }

    #[test]
    fn what_was_ordered_at_the_page_comes_back_too() {
        let mut book = book(0);
        for _ in 0..2 {
            book.took("WEB-1-01".to_owned(), goods("MUG-330", 3).remove(0));
        }
        book.took("WEB-1-02".to_owned(), goods("MUG-330", 1).remove(0));
        for _ in 0..2 {
            let back = book.rejected("WEB-1-01", "event");
            assert_eq!(back, goods("MUG-330", 3), "a repeat gets the same answer");
            assert_eq!(
                book.rejected("WEB-1-01", "another"),
                [],
                "somebody else says so too"
            );
        }
        assert_eq!(book.rejected("WEB-1-03", "event"), [], "it took nothing");
        for number in 0..ORDERS_MAX {
            book.took(number.to_string(), goods("MUG-330", 1).remove(0));
        }
        assert_eq!(book.taken.len(), ORDERS_MAX);
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
