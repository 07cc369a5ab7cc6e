//! How fast things happen: steady over the minute, uneven from one to the next, and without a rush after a time in
//! which nothing could be sent.

use std::time::{Duration, Instant};

use crossdock_sdk::SdkError;
use rand::Rng;

const DEFAULT_EVENTS_PER_SECOND: f64 = 2.5;
const MAX_EVENTS_PER_SECOND: f64 = 200.0;
/// Events of one happening follow each other so much faster than happenings do.
const BREATHS_PER_GAP: u32 = 8;
/// What was missed for longer is not made up for.
const BEHIND_MAX: Duration = Duration::from_secs(2);

/// When the next thing happens.
pub(crate) struct Pace {
    gap: Duration,
    next: Instant,
}

impl Pace {
    /// Beginning at `now`. `events_per_second`: the setting's text, where there is one.
    ///
    /// # Errors
    /// `Environment` if it is not a number above 0 and up to 200.
    pub(crate) fn new(events_per_second: Option<&str>, now: Instant) -> Result<Self, SdkError> {
        let rate = match events_per_second {
            None => Some(DEFAULT_EVENTS_PER_SECOND),
            Some(text) => text.parse().ok(),
        };
        let gap = rate
            .filter(|rate| *rate > 0.0 && *rate <= MAX_EVENTS_PER_SECOND)
            .and_then(|rate| Duration::try_from_secs_f64(1.0 / rate).ok())
            .ok_or_else(|| {
                SdkError::Environment(format!(
                    "SHOP_EVENTS_PER_SECOND: expected a number above 0 and up to {MAX_EVENTS_PER_SECOND}"
                ))
            })?;
        Ok(Self { gap, next: now })
    }

    /// The pause between two events of one happening, so that they are accepted in the order in which they are sent.
    pub(crate) fn breath(&self) -> Duration {
        self.gap / BREATHS_PER_GAP
    }

    /// When the next thing happens, so many events after the last one.
    pub(crate) fn next(&mut self, events: usize, now: Instant, rng: &mut impl Rng) -> Instant {
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        let gap = self
            .gap
            .saturating_mul(events)
            .mul_f64(rng.random_range(0.5..1.5));
        self.next += gap;
        if now.saturating_duration_since(self.next) > BEHIND_MAX {
            self.next = now;
        }
        self.next
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn the_rate_is_kept() {
        let (began, mut rng) = (Instant::now(), StdRng::seed_from_u64(1));
        let mut pace = Pace::new(Some("10"), began).unwrap();
        let mut now = began;
        for _ in 0..1_000 {
            now = pace.next(1, now, &mut rng);
        }
        let seconds = now.duration_since(began).as_secs_f64();
        assert!((95.0..105.0).contains(&seconds), "{seconds}");
    }

    #[test]
    fn an_outage_is_not_made_up_for() {
        let (began, mut rng) = (Instant::now(), StdRng::seed_from_u64(1));
        let mut pace = Pace::new(None, began).unwrap();
        let later = began + Duration::from_secs(600);
        assert_eq!(pace.next(1, later, &mut rng), later);
        assert!(pace.next(1, later, &mut rng) > later);
    }

    #[test]
    fn what_is_no_rate_is_refused_by_name() {
        for text in ["", "fast", "0", "-1", "NaN", "inf", "201", "1e-300"] {
            let error = Pace::new(Some(text), Instant::now()).err().unwrap();
            assert!(error.to_string().contains("SHOP_EVENTS_PER_SECOND"), "{text}");
        }
    }
}
