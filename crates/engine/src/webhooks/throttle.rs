//! When the next request to an endpoint may begin: how many at once, how many in a second, and how long the endpoint
//! is left alone after it asked for it. It knows neither time nor network: moments are handed in.

use std::time::{Duration, Instant};

/// The first pause after an endpoint asked for fewer requests without saying for how long.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// To this the pauses grow, each twice the one before.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// The longest pause that an endpoint is granted: what waits for it is in the hub's hands, and RabbitMQ takes it
/// back after half an hour.
const GRANTED_MAX: Duration = Duration::from_secs(10 * 60);
/// How long an event may wait in the hub's hands; well below that half hour.
const HELD_MAX: Duration = Duration::from_secs(20 * 60);
/// Events held beside those under way, so that the next is at hand when a request ends.
const AHEAD_MAX: u32 = 50;
/// By so much a request may begin before its turn, to make up for timers of a millisecond.
const PACE_SLACK: Duration = Duration::from_millis(2);

/// The limits of one endpoint and how it fares.
#[derive(Debug)]
pub(super) struct Throttle {
    max_in_flight: u32,
    /// How long an answer may take.
    answer_max: Duration,
    /// Whether those of one key go one after the other, so that all that is held may be one line.
    ordered: bool,
    interval: Duration,
    next_turn: Option<Instant>,
    trouble: Option<Trouble>,
}

/// An endpoint that asked to be left alone, and has not answered well since.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    /// When it asked last, and for how long it is left alone from then on.
    noted: Instant,
    pause: Duration,
    /// How often it asked, requests that were under way together counted once.
    times: u32,
    /// The most events that were held since it began.
    held: usize,
}

impl Throttle {
    pub(super) fn new(
        max_in_flight: u32,
        rate_per_s: Option<u32>,
        answer_max: Duration,
        ordered: bool,
    ) -> Self {
        let interval = rate_per_s.map(|rate| Duration::from_secs(1) / rate.max(1));
        Self {
            max_in_flight,
            answer_max,
            ordered,
            interval: interval.unwrap_or_default(),
            next_turn: None,
            trouble: None,
        }
    }

    /// How many events may be held, those under way among them. In order they may all wait for each other: then there
    /// are no more than can be sent one by one, with a pause before each and the longest answer, before one of them
    /// has waited too long.
    pub(super) fn holds_at_most(&self) -> u32 {
        let wanted = self.max_in_flight + self.max_in_flight.min(AHEAD_MAX);
        if !self.ordered {
            return wanted;
        }
        let one_by_one = HELD_MAX.as_secs() / (PAUSE_MAX + self.answer_max).as_secs().max(1);
        wanted.min(u32::try_from(one_by_one).unwrap_or(u32::MAX)).max(1)
    }

    /// The longest pause that this endpoint is granted.
    fn granted_max(&self) -> Duration {
        if self.ordered { PAUSE_MAX } else { GRANTED_MAX }
    }

    /// How many requests may be under way while `held` events wait for this endpoint. After trouble it is tried with
    /// one request, or with as many as it takes that none of the most that were held waits too long, if each turn takes
    /// a long pause and the longest answer.
    pub(super) fn room(&mut self, held: usize) -> usize {
        let Some(trouble) = &mut self.trouble else {
            return self.max_in_flight as usize;
        };
        trouble.held = trouble.held.max(held);
        let turn = (trouble.pause.max(PAUSE_MAX) + self.answer_max).as_secs().max(1);
        let turns = (HELD_MAX.as_secs() / turn).max(1);
        trouble
            .held
            .div_ceil(turns as usize)
            .clamp(1, self.max_in_flight as usize)
    }

    /// When the next request may begin; `None`: now.
    pub(super) fn opens(&self, now: Instant) -> Option<Instant> {
        let pause_ends = self.trouble.map(|trouble| trouble.noted + trouble.pause);
        let opens = pause_ends.max(self.next_turn)?;
        (opens > now).then_some(opens)
    }

    /// A request begins.
    pub(super) fn begin(&mut self, now: Instant) {
        if !self.interval.is_zero() {
            let earliest = now.checked_sub(PACE_SLACK).unwrap_or(now);
            let turn = self.next_turn.map_or(now, |turn| turn.max(earliest));
            self.next_turn = Some(turn + self.interval);
        }
    }

    /// The endpoint asked for fewer requests, or cannot be reached: so an answer to a request that began at `began`.
    /// Says how often that was now.
    pub(super) fn overloaded(&mut self, began: Instant, now: Instant, wanted: Option<Duration>) -> u32 {
        let wanted = wanted.map(|wanted| wanted.clamp(PAUSE_MIN, self.granted_max()));
        let trouble = match self.trouble {
            None => Trouble {
                noted: now,
                pause: wanted.unwrap_or(PAUSE_MIN),
                times: 1,
                held: 0,
            },
            // It was under way already when the pause began: that is the same trouble, not another.
            Some(known) if began < known.noted => {
                let ends = (now + wanted.unwrap_or_default()).max(known.noted + known.pause);
                Trouble {
                    pause: ends - known.noted,
                    ..known
                }
            }
            Some(known) => Trouble {
                noted: now,
                pause: wanted.unwrap_or_else(|| (known.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX)),
                times: known.times.saturating_add(1),
                held: known.held,
            },
        };
        self.trouble = Some(trouble);
        trouble.times
    }

    /// The endpoint answered a request that began at `began`. Whether trouble is over with it.
    pub(super) fn answered(&mut self, began: Instant) -> bool {
        let is_over = self.trouble.is_some_and(|trouble| began >= trouble.noted);
        if is_over {
            self.trouble = None;
        }
        is_over
    }

    /// Whether it is in trouble.
    pub(super) fn is_troubled(&self) -> bool {
        self.trouble.is_some()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// One whose answers come at once, in any order.
    fn throttle(max_in_flight: u32, rate_per_s: Option<u32>) -> Throttle {
        Throttle::new(max_in_flight, rate_per_s, Duration::ZERO, false)
    }

    /// A clock that is put forward by hand.
    struct Hours(Instant);

    impl Hours {
        fn begin() -> Self {
            Self(Instant::now())
        }

        fn at(&self, seconds: u64) -> Instant {
            self.0 + Duration::from_secs(seconds)
        }
    }

    #[test]
    fn without_a_rate_or_trouble_the_number_under_way_is_the_limit() {
        let mut throttle = throttle(3, None);
        let hours = Hours::begin();
        for _ in 0..3 {
            assert_eq!(throttle.opens(hours.at(0)), None);
            throttle.begin(hours.at(0));
        }
        assert_eq!(throttle.room(50), 3);
    }

    #[test]
    fn requests_begin_at_even_distances() {
        let mut throttle = throttle(100, Some(4));
        let hours = Hours::begin();
        let mut now = hours.at(0);
        let mut begun = Vec::new();
        while begun.len() < 9 {
            match throttle.opens(now) {
                Some(opens) => now = opens,
                None => {
                    throttle.begin(now);
                    begun.push((now - hours.at(0)).as_millis());
                }
            }
        }
        assert_eq!(begun, [0, 250, 500, 750, 1000, 1250, 1500, 1750, 2000]);
        // A rest earns no burst.
        throttle.begin(hours.at(60));
        let opens = throttle.opens(hours.at(60)).unwrap() - hours.at(60);
        assert!(opens >= SECOND / 4 - PACE_SLACK, "{opens:?}");
    }

    #[test]
    fn a_high_rate_is_held_though_timers_are_coarse() {
        let mut throttle = throttle(100, Some(3_000));
        let begin = Instant::now();
        let mut begun = 0;
        for tick in 0..1_000 {
            let now = begin + Duration::from_millis(tick);
            while throttle.opens(now).is_none() {
                throttle.begin(now);
                begun += 1;
            }
        }
        assert!((2_950..=3_010).contains(&begun), "{begun}");
    }

    #[test]
    fn pauses_grow_until_the_endpoint_answers() {
        let mut throttle = throttle(10, None);
        let hours = Hours::begin();
        let mut now = hours.at(0);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            throttle.overloaded(now, now, None);
            let opens = throttle.opens(now).unwrap();
            pauses.push((opens - now).as_secs());
            now = opens;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(throttle.room(10), 1, "it is tried with one request");
        assert!(throttle.answered(now));
        assert_eq!((throttle.opens(now), throttle.room(10)), (None, 10));
        assert!(!throttle.answered(now), "it was over already");
        assert_eq!(throttle.overloaded(now, now, None), 1);
        assert_eq!(throttle.opens(now), Some(now + SECOND));
    }

    #[test]
    fn requests_that_were_under_way_together_are_one_trouble() {
        let mut throttle = throttle(10, None);
        let hours = Hours::begin();
        assert_eq!(throttle.overloaded(hours.at(0), hours.at(5), None), 1);
        assert_eq!(throttle.overloaded(hours.at(1), hours.at(5), None), 1);
        assert_eq!(throttle.opens(hours.at(5)), Some(hours.at(6)));
        assert!(
            !throttle.answered(hours.at(2)),
            "that answer is older than the trouble"
        );
        assert_eq!(
            throttle.overloaded(hours.at(1), hours.at(6), Some(10 * SECOND)),
            1
        );
        assert_eq!(
            throttle.opens(hours.at(6)),
            Some(hours.at(16)),
            "the longest wish counts"
        );
        assert_eq!(throttle.overloaded(hours.at(4), hours.at(7), Some(SECOND)), 1);
        assert_eq!(throttle.opens(hours.at(7)), Some(hours.at(16)));
        assert_eq!(throttle.overloaded(hours.at(16), hours.at(17), None), 2);
    }

    #[test]
    fn what_the_endpoint_asks_for_is_granted_within_reason() {
        let hours = Hours::begin();
        for (wanted, granted) in [(0, 1), (1, 1), (90, 90), (600, 600), (86_400, 600)] {
            let mut throttle = throttle(10, None);
            throttle.overloaded(hours.at(0), hours.at(0), Some(Duration::from_secs(wanted)));
            assert_eq!(throttle.opens(hours.at(0)), Some(hours.at(granted)), "{wanted}");
        }
    }

    #[test]
    fn nothing_waits_so_long_in_the_hubs_hands_that_rabbitmq_takes_it_back() {
        let hours = Hours::begin();
        for (held, pause_s, tried_at_once) in [
            (1, 1, 1),
            (20, 60, 1),
            (40, 60, 2),
            (200, 60, 10),
            (200, 600, 100),
        ] {
            let mut throttle = throttle(200, None);
            throttle.overloaded(hours.at(0), hours.at(0), Some(Duration::from_secs(pause_s)));
            assert_eq!(throttle.room(held), tried_at_once, "{held} with {pause_s} s");
        }
    }

    /// How long the last of all that is held waits until it is answered, if each answer takes as long as it may.
    fn last_waits(mut throttle: Throttle, one_key: bool, asks_for: Option<Duration>) -> Duration {
        let begin = Instant::now();
        let (mut now, mut held) = (begin, throttle.holds_at_most() as usize);
        while held > 0 {
            now = throttle.opens(now).unwrap_or(now);
            let together = if one_key { 1 } else { throttle.room(held).min(held) };
            throttle.begin(now);
            let began = now;
            now += throttle.answer_max;
            held -= together;
            if let Some(wanted) = asks_for {
                throttle.overloaded(began, now, Some(wanted).filter(|wanted| !wanted.is_zero()));
            }
        }
        now - begin
    }

    #[test]
    fn nothing_waits_longer_than_it_may_be_held_however_slow_the_endpoint_is() {
        for max_in_flight in [1, 10, 200] {
            for answer_s in [1, 10, 20, 60] {
                // No trouble, trouble, trouble with a day of Retry-After.
                for asks_for in [None, Some(Duration::ZERO), Some(86_400 * SECOND)] {
                    for ordered in [false, true] {
                        let throttle = Throttle::new(max_in_flight, None, answer_s * SECOND, ordered);
                        let waits = last_waits(throttle, ordered, asks_for);
                        assert!(
                            waits <= HELD_MAX,
                            "{max_in_flight} at once, {answer_s} s, ordered: {ordered}, {asks_for:?}: {waits:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn in_order_no_more_is_held_than_can_be_sent_one_by_one() {
        let held =
            |answer_s: u32, ordered| Throttle::new(200, None, answer_s * SECOND, ordered).holds_at_most();
        assert_eq!((held(20, false), held(20, true), held(60, true)), (250, 15, 10));
        assert_eq!(Throttle::new(1, None, SECOND, true).holds_at_most(), 2);
    }
}
