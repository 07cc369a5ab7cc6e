//! A day in the shop without end: customers come, fill carts, buy or leave, and some change their minds. It decides
//! what happens next and says it in the shop's own terms; nothing is known here of events or of the hub.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use rand::{Rng, seq::IndexedRandom};

use crate::{
    catalogue::{PRODUCTS, Product},
    customers::{Customer, somebody},
    references::References,
};

/// Customers in the shop at any time.
const VISITORS: usize = 6;
/// Changes a customer makes to the cart before buying or leaving.
const CHANGES_MAX: u32 = 5;
/// A change concerns what lies in the cart already, instead of something new.
const SECOND_THOUGHT: f64 = 0.25;
const BUYS: f64 = 0.4;
const BY_APP: f64 = 0.3;
const REGRETS: f64 = 1.0 / 25.0;
/// After so many further happenings a regretted order is cancelled.
const REGRET_AFTER: std::ops::Range<u64> = 3..40;

/// Something that has just happened.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A customer changed the cart, which is now like this.
    CartUpdated(Cart),
    /// A customer bought.
    OrderPlaced(Order),
    /// A customer no longer wants the order of this reference.
    OrderRegretted(String),
}

/// A customer's cart.
#[derive(Clone, Debug)]
pub(crate) struct Cart {
    pub(crate) reference: String,
    pub(crate) customer: Customer,
    pub(crate) lines: Vec<Line>,
}

/// Something in a cart or an order.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) product: &'static Product,
    pub(crate) quantity: u32,
    /// What the customer uploaded for it.
    pub(crate) file: Option<PrintFile>,
}

/// An uploaded print file.
#[derive(Clone, Debug)]
pub(crate) struct PrintFile {
    pub(crate) key: String,
    pub(crate) bytes: u32,
}

/// What a customer bought.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) reference: String,
    pub(crate) channel: &'static str,
    pub(crate) customer: Customer,
    pub(crate) lines: Vec<Line>,
}

/// Who is in the shop, and who will want their money back.
pub(crate) struct Day {
    visits: Vec<Visit>,
    /// The oldest first; bounded by [`REGRET_AFTER`].
    regrets: VecDeque<Regret>,
    happened: u64,
    references: References,
}

struct Visit {
    cart: Cart,
    changes_left: u32,
    buys: bool,
}

struct Regret {
    order: String,
    at: u64,
}

impl Day {
    /// The shop opens, and the first customers waited for that: they know what they want, and buy.
    pub(crate) fn open(now: DateTime<Utc>, rng: &mut impl Rng) -> Self {
        let mut day = Self {
            visits: Vec::with_capacity(VISITORS),
            regrets: VecDeque::new(),
            happened: 0,
            references: References::default(),
        };
        while day.visits.len() < VISITORS {
            day.enter(now, rng);
        }
        for visit in day.visits.iter_mut().take(VISITORS / 2) {
            (visit.changes_left, visit.buys) = (1, true);
        }
        day
    }

    /// What happens next.
    pub(crate) fn next(&mut self, now: DateTime<Utc>, rng: &mut impl Rng) -> Happening {
        self.happened += 1;
        if let Some(regret) = self.regrets.pop_front_if(|regret| regret.at == self.happened) {
            return Happening::OrderRegretted(regret.order);
        }
        loop {
            let chosen = rng.random_range(0..self.visits.len());
            let visit = &mut self.visits[chosen];
            if visit.changes_left > 0 {
                visit.changes_left -= 1;
                visit.cart.change(rng);
                return Happening::CartUpdated(visit.cart.clone());
            }
            let visit = self.visits.swap_remove(chosen);
            self.enter(now, rng);
            if visit.buys {
                return Happening::OrderPlaced(self.check_out(visit.cart, now, rng));
            }
        }
    }

    /// Everybody who comes changes something, so that [`next`](Self::next) always finds something to say.
    fn enter(&mut self, now: DateTime<Utc>, rng: &mut impl Rng) {
        let cart = Cart {
            reference: format!("c-{}", self.references.next(now)),
            customer: somebody(rng),
            lines: Vec::new(),
        };
        self.visits.push(Visit {
            cart,
            changes_left: rng.random_range(1..=CHANGES_MAX),
            buys: rng.random_bool(BUYS),
        });
    }

    fn check_out(&mut self, cart: Cart, now: DateTime<Utc>, rng: &mut impl Rng) -> Order {
        let order = Order {
            reference: self.references.next(now),
            channel: if rng.random_bool(BY_APP) { "app" } else { "web" },
            customer: cart.customer,
            lines: cart.lines,
        };
        if rng.random_bool(REGRETS) {
            self.regret(order.reference.clone(), rng.random_range(REGRET_AFTER));
        }
        order
    }

    fn regret(&mut self, order: String, after: u64) {
        // One happening, one regret: each comes after the last.
        let earliest = self.regrets.back().map_or(0, |last| last.at + 1);
        let at = (self.happened + after).max(earliest);
        self.regrets.push_back(Regret { order, at });
    }
}

impl Cart {
    /// More or fewer of something that is in it, or something new.
    fn change(&mut self, rng: &mut impl Rng) {
        let new: Vec<_> = PRODUCTS
            .iter()
            .filter(|product| self.lines.iter().all(|line| line.product != *product))
            .collect();
        let second_thought = !self.lines.is_empty() && rng.random_bool(SECOND_THOUGHT);
        let changeable: Vec<_> = (0..self.lines.len())
            .filter(|place| self.lines[*place].product.quantity_max > 1)
            .collect();
        match changeable.choose(rng) {
            Some(place) if second_thought => self.lines[*place].change_quantity(rng),
            _ => {
                let product = new
                    .choose_weighted(rng, |product| product.popularity)
                    .expect("a cart is changed fewer times than there are products");
                self.lines.push(Line::new(product, rng));
            }
        }
    }
}

impl Line {
    fn new(product: &'static Product, rng: &mut impl Rng) -> Self {
        let file = product.print.as_ref().map(|print| PrintFile {
            key: format!("f-{:010x}", rng.random_range(0..1_u64 << 40)),
            bytes: print.pages * rng.random_range(180_000..6_500_000),
        });
        let most = product.quantity_max;
        // Most take one.
        let quantity = rng.random_range(1..=most).min(rng.random_range(1..=most));
        Self {
            product,
            quantity,
            file,
        }
    }

    fn change_quantity(&mut self, rng: &mut impl Rng) {
        let other = rng.random_range(1..self.product.quantity_max);
        self.quantity = if other < self.quantity { other } else { other + 1 };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn happenings(seed: u64) -> impl Iterator<Item = Happening> {
        let mut rng = StdRng::seed_from_u64(seed);
        let now = "2026-03-02T09:00:00Z".parse().unwrap();
        let mut day = Day::open(now, &mut rng);
        std::iter::from_fn(move || Some(day.next(now, &mut rng)))
    }

    #[test]
    fn one_seed_makes_one_day() {
        let told = |seed| format!("{:?}", happenings(seed).take(200).collect::<Vec<_>>());
        assert_eq!(told(7), told(7));
        assert_ne!(told(7), told(8));
    }

    #[test]
    fn an_order_is_what_lay_in_the_cart() {
        let mut carts = HashMap::new();
        for happening in happenings(1).take(2_000) {
            match happening {
                Happening::CartUpdated(cart) => {
                    carts.insert(cart.reference, format!("{:?}", cart.lines));
                }
                Happening::OrderPlaced(order) => {
                    let files = order
                        .lines
                        .iter()
                        .all(|line| line.file.is_some() == line.product.print.is_some());
                    assert!(files && !order.lines.is_empty());
                    assert!(carts.values().any(|lines| *lines == format!("{:?}", order.lines)));
                }
                Happening::OrderRegretted(_) => {}
            }
        }
    }

    #[test]
    fn every_change_leaves_another_cart() {
        let mut last = HashMap::new();
        for happening in happenings(2).take(5_000) {
            let Happening::CartUpdated(cart) = happening else {
                continue;
            };
            let skus: HashSet<_> = cart.lines.iter().map(|line| line.product.sku).collect();
            assert_eq!(skus.len(), cart.lines.len(), "a product lies in one line");
            for line in &cart.lines {
                assert!((1..=line.product.quantity_max).contains(&line.quantity));
            }
            let lines = format!("{:?}", cart.lines);
            assert_ne!(last.insert(cart.reference, lines.clone()), Some(lines));
        }
    }

    #[test]
    fn some_buy_soon_and_few_regret_it_once() {
        let (mut placed, mut regretted) = (HashSet::new(), HashSet::new());
        for (number, happening) in happenings(3).take(20_000).enumerate() {
            match happening {
                Happening::OrderPlaced(order) => assert!(placed.insert(order.reference)),
                Happening::OrderRegretted(order) => {
                    assert!(placed.contains(&order), "only what was bought is regretted");
                    assert!(regretted.insert(order));
                }
                Happening::CartUpdated(_) => {}
            }
            assert!(number < 20 || !placed.is_empty(), "nobody buys at the beginning");
        }
        assert!((1_500..4_000).contains(&placed.len()), "{} orders", placed.len());
        assert!(
            (30..200).contains(&regretted.len()),
            "{} regrets",
            regretted.len()
        );
    }
}
