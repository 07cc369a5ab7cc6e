//! Whether and when a failed delivery is handed over again. Pure: the time and the luck are given.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use crossdock_store::{OutcomeKind, Word};

use super::Progress;

/// How often RabbitMQ may give a delivery up because its consumers died, before it is taken for the cause.
const CRASHES_MAX: u32 = 5;
/// The pause after such a death: the adapter's process has to come back, and the schedule may be empty.
const PAUSE_AFTER_CRASH: Duration = Duration::from_secs(5);
/// How long a delivery waits whose queue did not take it: that is nobody's attempt, and goes on until it does.
pub(crate) const UNDELIVERED_PAUSE: TimeDelta = TimeDelta::seconds(30);
/// The longest that an adapter may ask to wait.
const RETRY_AFTER_MAX_S: u32 = 7 * 24 * 60 * 60;
/// A delay is lengthened by up to this part of it, so that what failed together does not come back together.
const JITTER: f64 = 0.1;

/// What follows a failure.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// Another attempt.
    Again {
        /// When.
        due: DateTime<Utc>,
        /// What the message then says of itself.
        progress: Progress,
    },
    /// None: a dead letter, with the reason where nobody else gives one.
    Never(Option<String>),
}

/// What follows the failure of the attempt that `progress` tells of. `words`: what was said about this attempt.
/// `luck`: from 0 to 1.
pub(crate) fn after(
    failure: OutcomeKind,
    progress: Progress,
    words: &[&Word],
    schedule: &[Duration],
    now: DateTime<Utc>,
    luck: f64,
) -> Next {
    if words.iter().any(|word| word.kind == OutcomeKind::Dead) {
        return Next::Never(None);
    }
    let step = progress.step as usize;
    let next = Progress {
        attempt: progress.attempt.saturating_add(1),
        ..progress
    };
    if failure == OutcomeKind::DeliveryLimit {
        let crashes = progress.crashes + 1;
        if crashes >= CRASHES_MAX {
            return Next::Never(Some(format!(
                "RabbitMQ gave it up {CRASHES_MAX} times because no consumer finished it: it may be what they die of"
            )));
        }
        let pause = schedule.get(step).copied().unwrap_or(PAUSE_AFTER_CRASH);
        return Next::Again {
            due: now + jittered(pause.max(PAUSE_AFTER_CRASH), luck),
            progress: Progress { crashes, ..next },
        };
    }
    let Some(delay) = schedule.get(step) else {
        let is_told = words.iter().any(|word| word.detail.is_some());
        let why = (schedule.is_empty() && !is_told)
            .then(|| "the adapter's schedule has no further attempt".to_owned());
        return Next::Never(why);
    };
    let asked_for = words.iter().filter_map(|word| word.retry_after_s).max();
    let wait = match asked_for {
        Some(seconds) => TimeDelta::seconds(seconds.min(RETRY_AFTER_MAX_S).into()),
        None => jittered(*delay, luck),
    };
    Next::Again {
        due: now + wait,
        progress: Progress {
            step: progress.step + 1,
            ..next
        },
    }
}

/// The next attempt where nothing is known of the adapter yet: not by its schedule, of which nothing is used up.
pub(crate) fn later(progress: Progress, now: DateTime<Utc>) -> Next {
    Next::Again {
        due: now + UNDELIVERED_PAUSE,
        progress: Progress {
            attempt: progress.attempt.saturating_add(1),
            ..progress
        },
    }
}

fn jittered(delay: Duration, luck: f64) -> TimeDelta {
    let longest = Duration::from_secs(RETRY_AFTER_MAX_S.into());
    let lengthened = delay.min(longest).mul_f64(1.0 + JITTER * luck.clamp(0.0, 1.0));
    TimeDelta::from_std(lengthened).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use OutcomeKind::{Dead, DeliveryLimit, Rejected, Retry};

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).expect("within the calendar")
    }

    fn word(kind: OutcomeKind, retry_after_s: Option<u32>) -> Word {
        Word {
            attempt: 1,
            kind,
            detail: None,
            retry_after_s,
        }
    }

    fn seconds(delays: &[u64]) -> Vec<Duration> {
        delays.iter().copied().map(Duration::from_secs).collect()
    }

    #[test]
    fn the_schedule_is_kept_delay_by_delay_and_then_it_is_a_dead_letter() {
        let schedule = seconds(&[5, 30, 120, 600, 3_600, 21_600]);
        let mut progress = Progress::starting_with(1);
        let mut time = now();
        let mut waited = Vec::new();
        loop {
            match after(Rejected, progress, &[], &schedule, time, 0.0) {
                Next::Again { due, progress: next } => {
                    assert_eq!(
                        (next.attempt, next.step),
                        (progress.attempt + 1, progress.step + 1)
                    );
                    waited.push((due - time).num_seconds());
                    (time, progress) = (due, next);
                }
                Next::Never(why) => {
                    assert_eq!(why, None);
                    break;
                }
            }
        }
        assert_eq!(waited, [5, 30, 120, 600, 3_600, 21_600]);
        assert_eq!(progress.attempt, 7);
    }

    #[test]
    fn luck_lengthens_a_delay_by_a_tenth_at_most() {
        for (luck, milliseconds) in [(0.0, 30_000), (0.5, 31_500), (1.0, 33_000), (7.0, 33_000)] {
            match after(
                Rejected,
                Progress::starting_with(1),
                &[],
                &seconds(&[30]),
                now(),
                luck,
            ) {
                Next::Again { due, .. } => assert_eq!((due - now()).num_milliseconds(), milliseconds),
                Next::Never(why) => panic!("{why:?}"),
            }
        }
    }

    #[test]
    fn an_adapter_that_asks_for_a_time_gets_it_and_one_that_gives_up_too() {
        let asked = |words: &[&Word], schedule: &[u64]| {
            after(
                Rejected,
                Progress::starting_with(1),
                words,
                &seconds(schedule),
                now(),
                0.5,
            )
        };
        let (later, dead) = (word(Retry, Some(90)), word(Dead, None));
        match asked(&[&later], &[5]) {
            Next::Again { due, progress } => {
                assert_eq!((due, progress.step), (now() + TimeDelta::seconds(90), 1));
            }
            Next::Never(why) => panic!("{why:?}"),
        }
        assert_eq!(asked(&[&later, &dead], &[5]), Next::Never(None));
        assert!(matches!(asked(&[&later], &[]), Next::Never(Some(_))));
        match asked(&[&word(Retry, Some(u32::MAX))], &[5]) {
            Next::Again { due, .. } => assert_eq!(due, now() + TimeDelta::days(7)),
            Next::Never(why) => panic!("{why:?}"),
        }
    }

    #[test]
    fn a_crash_uses_no_delay_up_but_does_not_go_on_for_ever() {
        let schedule = seconds(&[1]);
        let mut progress = Progress::starting_with(1);
        for crash in 1..CRASHES_MAX {
            match after(DeliveryLimit, progress, &[], &schedule, now(), 0.0) {
                Next::Again { due, progress: next } => {
                    assert_eq!(due, now() + TimeDelta::seconds(5));
                    assert_eq!((next.attempt, next.step, next.crashes), (crash + 1, 0, crash));
                    progress = next;
                }
                Next::Never(why) => panic!("{why:?}"),
            }
        }
        assert!(matches!(
            after(DeliveryLimit, progress, &[], &schedule, now(), 0.0),
            Next::Never(Some(_))
        ));
        assert!(matches!(
            after(Rejected, progress, &[], &schedule, now(), 0.0),
            Next::Again { .. }
        ));
    }

    #[test]
    fn without_a_schedule_the_adapters_own_reason_is_the_reason() {
        let reason = |words: &[&Word]| match after(
            OutcomeKind::Rejected,
            Progress::starting_with(1),
            words,
            &[],
            now(),
            0.5,
        ) {
            Next::Never(why) => why,
            Next::Again { due, .. } => panic!("{due}"),
        };
        let silent = word(OutcomeKind::Retry, None);
        let told = Word {
            detail: Some("not this time".to_owned()),
            ..word(OutcomeKind::Retry, None)
        };
        assert!(reason(&[]).is_some());
        assert!(reason(&[&silent]).is_some());
        assert_eq!(reason(&[&silent, &told]), None);
    }
}
