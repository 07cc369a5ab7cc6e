//! What becomes of an order, decided by nothing but the id of the event that placed it: an event that comes twice
//! gets the same answer twice.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

/// Letters and digits that nobody takes for one another (Crockford's base 32).
const SYMBOLS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Enough that two orders hardly ever get the same number though nobody counts.
const NUMBER_SYMBOLS: usize = 9;
const WORK_MS: std::ops::RangeInclusive<u64> = 200..=1_500;
/// Of so many orders one is rejected.
const REJECTED_ONE_IN: u32 = 25;

const OBJECTIONS: [Objection; 4] = [
    Objection {
        reason: "payment_failed",
        detail: "The bank declined the payment.",
    },
    Objection {
        reason: "invalid_address",
        detail: "The carrier does not know the address.",
    },
    Objection {
        reason: "fraud_suspected",
        detail: "Held back by the payment provider's risk check.",
    },
    Objection {
        reason: "out_of_stock",
        detail: "The supplier no longer makes the blank product.",
    },
];

/// What the ERP makes of an order.
#[derive(Debug, PartialEq)]
pub(crate) struct Decision {
    /// The ERP's own number, such as `SO-4KQ7Z2M9X`.
    pub(crate) number: String,
    /// How long after the order it is said.
    pub(crate) work: Duration,
    /// Why the order is rejected; absent: it is accepted.
    pub(crate) objection: Option<&'static Objection>,
}

/// Why an order is rejected.
#[derive(Debug, PartialEq)]
pub(crate) struct Objection {
    /// For programs.
    pub(crate) reason: &'static str,
    /// For people.
    pub(crate) detail: &'static str,
}

impl Decision {
    /// On the order that the event with this id placed.
    pub(crate) fn on(event_id: &str) -> Self {
        let mut rng = StdRng::from_seed(seed(event_id));
        let symbols = (0..NUMBER_SYMBOLS).map(|_| char::from(SYMBOLS[rng.random_range(0..SYMBOLS.len())]));
        let number = format!("SO-{}", symbols.collect::<String>());
        let rejected = rng.random_ratio(1, REJECTED_ONE_IN);
        Self {
            number,
            work: Duration::from_millis(rng.random_range(WORK_MS)),
            objection: OBJECTIONS.choose(&mut rng).filter(|_| rejected),
        }
    }
}

/// All of the id, folded.
fn seed(id: &str) -> [u8; 32] {
    let mut seed = [0; 32];
    for (place, byte) in id.bytes().enumerate() {
        let cell: &mut u8 = &mut seed[place % 32];
        *cell = cell.rotate_left(3) ^ byte;
    }
    seed
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn decisions() -> impl Iterator<Item = Decision> {
        (0..5_000).map(|number| Decision::on(&format!("019cad20-0a40-7000-8000-{number:012}")))
    }

    #[test]
    fn an_event_that_comes_again_gets_the_same_answer() {
        assert!(decisions().eq(decisions()));
    }

    #[test]
    fn no_two_orders_share_a_number() {
        let numbers: HashSet<_> = decisions().map(|decision| decision.number).collect();
        assert_eq!(numbers.len(), 5_000);
    }

    #[test]
    fn few_are_rejected_for_every_reason_and_nobody_waits_long() {
        let rejected: Vec<_> = decisions().filter_map(|decision| decision.objection).collect();
        assert!((150..250).contains(&rejected.len()), "{}", rejected.len());
        let reasons: HashSet<_> = rejected.iter().map(|objection| objection.reason).collect();
        assert_eq!(reasons.len(), OBJECTIONS.len());
        assert!(decisions().all(|decision| decision.work <= Duration::from_millis(*WORK_MS.end())));
    }
}
