//! How an order is packed: how long it takes, what its parcel is called, who carries it, whether the label printer
//! plays along. All of it follows from the id of the event that accepted the order, so that a repeat packs the same
//! parcel.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

/// Letters and digits that nobody takes for one another (Crockford's base 32).
const SYMBOLS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Enough that two parcels hardly ever get the same name though nobody counts.
const SHIPMENT_SYMBOLS: usize = 9;
const WORK_MS: std::ops::RangeInclusive<u64> = 1_000..=4_000;
/// Of so many first attempts one finds the label printer empty.
const JAMMED_ONE_IN: u32 = 150;
/// Name and the first letters of its tracking numbers.
const CARRIERS: [(&str, &str); 3] = [("royal-mail", "RM"), ("parcel-pigeon", "PP"), ("northline", "NL")];

/// A parcel.
#[derive(Debug, PartialEq)]
pub(crate) struct Packing {
    /// How long after the order it leaves.
    pub(crate) work: Duration,
    /// The warehouse's own name for it, such as `4KQ7Z2M9X`.
    pub(crate) shipment: String,
    pub(crate) carrier: &'static str,
    /// The carrier's name for it, such as `RM123456789GB`.
    pub(crate) tracking: String,
    /// The first attempt finds no label to print on.
    pub(crate) jams: bool,
}

impl Packing {
    /// Of the order that the event with this id accepted.
    pub(crate) fn of(event_id: &str) -> Self {
        let mut rng = StdRng::from_seed(seed(event_id));
        let symbols = (0..SHIPMENT_SYMBOLS).map(|_| char::from(SYMBOLS[rng.random_range(0..SYMBOLS.len())]));
        let shipment = symbols.collect();
        let (carrier, letters) = *CARRIERS.choose(&mut rng).expect("there are carriers");
        Self {
            work: Duration::from_millis(rng.random_range(WORK_MS)),
            shipment,
            carrier,
            tracking: format!("{letters}{:09}GB", rng.random_range(0..1_000_000_000)),
            jams: rng.random_ratio(1, JAMMED_ONE_IN),
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

    fn packings() -> impl Iterator<Item = Packing> {
        (0..15_000).map(|number| Packing::of(&format!("6ba7b810-9dad-51d1-80b4-{number:012}")))
    }

    #[test]
    fn an_order_that_comes_again_gets_the_same_parcel() {
        assert!(packings().eq(packings()));
    }

    #[test]
    fn parcels_can_be_told_apart_and_few_jam() {
        let shipments: HashSet<_> = packings().map(|packing| packing.shipment).collect();
        assert_eq!(shipments.len(), 15_000);
        let jams = packings().filter(|packing| packing.jams).count();
        assert!((60..150).contains(&jams), "{jams}");
        assert!(packings().all(|packing| packing.work <= Duration::from_millis(*WORK_MS.end())));
    }
}
