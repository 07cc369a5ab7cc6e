//! Which bookings the carriers refuse. The order in which parcels come decides, so that the demo has both kinds of
//! failure to show soon after its start. Nothing is known here of events.

use std::collections::VecDeque;

/// Every so many parcels one finds the booking service away.
const AWAY_EVERY: u64 = 5;
/// Every so many parcels one is refused until a person has looked at it.
const REFUSED_EVERY: u64 = 40;
/// The first of those: early, so that nobody waits for it.
const FIRST_REFUSED: u64 = 3;
/// Attempts that the retry schedule of the manifest allows: one, and one after each of its two pauses.
const ATTEMPTS_OF_SCHEDULE: u32 = 3;
/// Refused parcels that are remembered: more than wait for another attempt at one time.
const REMEMBERED_MAX: usize = 100;

/// Why a booking is refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Refusal {
    /// The booking service does not answer; soon it will.
    Away,
    /// The carrier has planned no collection; it will before somebody sends the parcel on its way again.
    NoCollection,
}

/// What was booked since the start.
#[derive(Default)]
pub(crate) struct Bookings {
    parcels: u64,
    refused: VecDeque<(String, Refusal)>,
}

impl Bookings {
    /// Books a parcel. `id` tells it from others, `attempt` counts from 1.
    pub(crate) fn book(&mut self, id: &str, attempt: u32) -> Result<(), Refusal> {
        let known = self.refused.iter().find(|(refused, _)| refused == id);
        let refusal = match known {
            Some((_, refusal)) => Some(*refusal),
            // Nothing is known of a parcel that a process before this one refused: the carrier takes it.
            None if attempt > 1 => None,
            None => self.refusal_of_next(id),
        };
        match refusal {
            Some(Refusal::Away) if attempt == 1 => Err(Refusal::Away),
            Some(Refusal::NoCollection) if attempt <= ATTEMPTS_OF_SCHEDULE => Err(Refusal::NoCollection),
            _ => Ok(()),
        }
    }

    fn refusal_of_next(&mut self, id: &str) -> Option<Refusal> {
        self.parcels += 1;
        let refusal = if self.parcels % REFUSED_EVERY == FIRST_REFUSED {
            Refusal::NoCollection
        } else if self.parcels.is_multiple_of(AWAY_EVERY) {
            Refusal::Away
        } else {
            return None;
        };
        if self.refused.len() == REMEMBERED_MAX {
            self.refused.pop_front();
        }
        self.refused.push_back((id.to_owned(), refusal));
        Some(refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_attempts(bookings: &mut Bookings, parcels: u64) -> Vec<Result<(), Refusal>> {
        (1..=parcels)
            .map(|number| bookings.book(&number.to_string(), 1))
            .collect()
    }

    #[test]
    fn both_failures_come_early_and_few_need_a_person() {
        let answers = first_attempts(&mut Bookings::default(), 400);
        assert_eq!(answers[2], Err(Refusal::NoCollection));
        assert_eq!(answers[4], Err(Refusal::Away));
        let of = |wanted| answers.iter().filter(|answer| **answer == Err(wanted)).count();
        assert_eq!((of(Refusal::NoCollection), of(Refusal::Away)), (10, 80));
    }

    #[test]
    fn one_is_booked_at_its_second_attempt_the_other_when_it_is_sent_again() {
        let mut bookings = Bookings::default();
        first_attempts(&mut bookings, 5);
        assert_eq!(
            bookings.book("5", 1),
            Err(Refusal::Away),
            "the same attempt again"
        );
        assert_eq!(bookings.book("5", 2), Ok(()));
        assert_eq!(bookings.book("3", 2), Err(Refusal::NoCollection));
        assert_eq!(bookings.book("3", 3), Err(Refusal::NoCollection));
        assert_eq!(bookings.book("3", 4), Ok(()));
    }

    #[test]
    fn a_process_that_starts_anew_books_what_it_does_not_know() {
        assert_eq!(Bookings::default().book("3", 2), Ok(()));
    }

    #[test]
    fn the_memory_has_an_end() {
        let mut bookings = Bookings::default();
        first_attempts(&mut bookings, 5_000);
        assert_eq!(bookings.refused.len(), REMEMBERED_MAX);
    }
}
