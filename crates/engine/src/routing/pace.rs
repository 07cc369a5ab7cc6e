//! How fast a mapping is. One that is slow again and again is parked: it would hold up every other adapter's
//! events, since all of them go through the one gate of their partition.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use rustix::time::{ClockId, clock_gettime};

/// A run that takes more is slow, if its event is small. Most take a thousandth of it.
pub(crate) const SLOW: Duration = Duration::from_millis(50);
/// So much more may a run take for each KiB of the event, as JSON: who looks at every value of a large one is not slow.
pub(crate) const SLOW_PER_KIB: Duration = Duration::from_millis(2);
/// So many slow runs, not necessarily in a row, park a mapping …
pub(crate) const SLOW_RUNS: u32 = 5;
/// … if they are among so many last ones.
pub(crate) const RUNS_LOOKED_AT: u32 = 20;

/// What runs are timed by; only differences count.
pub(crate) type RunClock = dyn Fn() -> Duration + Send + Sync;

/// The processor time of the thread that asks, so that a busy machine makes no mapping look slow.
pub(crate) fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanoseconds)
}

/// The pace of one mapping on this hub. It outlives a revision that leaves the mapping as it is.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// One bit a run, the latest lowest; set for a slow one.
    runs: AtomicU32,
    parked: AtomicBool,
    news: AtomicBool,
    told: Mutex<Option<(String, DateTime<Utc>)>>,
}

impl Pace {
    /// Notes a run over an event of so many bytes.
    pub(super) fn note(&self, took: Duration, bytes: usize) {
        let kib = u32::try_from(bytes / 1024).unwrap_or(u32::MAX);
        let slow = u32::from(took > SLOW.saturating_add(SLOW_PER_KIB.saturating_mul(kib)));
        let next = |runs: u32| ((runs << 1) | slow) & ((1 << RUNS_LOOKED_AT) - 1);
        let before = self
            .runs
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |runs| Some(next(runs)));
        let runs = next(before.unwrap_or_else(|unchanged| unchanged));
        if runs.count_ones() >= SLOW_RUNS && !self.parked.swap(true, Ordering::AcqRel) {
            self.news.store(true, Ordering::Release);
        }
    }

    /// Whether it is run no more.
    pub(crate) fn is_parked(&self) -> bool {
        self.parked.load(Ordering::Acquire)
    }

    /// Begins anew. Whether it was parked.
    pub(crate) fn resume(&self) -> bool {
        self.runs.store(0, Ordering::Relaxed);
        self.news.store(false, Ordering::Release);
        self.parked.swap(false, Ordering::AcqRel)
    }

    /// Whether it was parked and this was not asked since: `true` once.
    pub(crate) fn is_news(&self) -> bool {
        self.news.load(Ordering::Acquire) && self.news.swap(false, Ordering::AcqRel)
    }

    /// People were told that it is parked, under this name.
    pub(crate) fn told(&self, alert: String, at: DateTime<Utc>) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some((alert, at));
    }

    /// What people were told, once, if the mapping does not go on.
    pub(crate) fn take_told_unless(&self, goes_on: impl FnOnce() -> bool) -> Option<(String, DateTime<Utc>)> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none() || goes_on() {
            return None;
        }
        told.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_micros(100);
    const OVER: Duration = Duration::from_millis(51);

    #[test]
    fn a_mapping_is_parked_by_its_fifth_slow_run_of_the_last_twenty() {
        let pace = Pace::default();
        for _ in 0..SLOW_RUNS - 1 {
            pace.note(OVER, 1_000);
            pace.note(SLOW, 1_000);
        }
        assert!(!pace.is_parked() && !pace.is_news());
        pace.note(OVER, 1_000);
        assert!(pace.is_parked());
        assert!(pace.is_news() && !pace.is_news(), "it is told once");
        for _ in 0..RUNS_LOOKED_AT {
            pace.note(FAST, 1_000);
        }
        assert!(pace.is_parked(), "it does not come back by itself");
    }

    #[test]
    fn a_large_event_may_take_longer() {
        let pace = Pace::default();
        for _ in 0..RUNS_LOOKED_AT {
            pace.note(Duration::from_secs(2), 1024 * 1024);
            pace.note(SLOW + 10 * SLOW_PER_KIB, 10 * 1024);
        }
        assert!(!pace.is_parked());
        for _ in 0..SLOW_RUNS {
            pace.note(Duration::from_secs(3), 1024 * 1024);
        }
        assert!(pace.is_parked());
    }

    #[test]
    fn a_parked_mapping_begins_anew_when_it_is_resumed() {
        let pace = Pace::default();
        assert!(!pace.resume());
        for _ in 0..2 {
            for _ in 0..SLOW_RUNS {
                assert!(!pace.is_parked());
                pace.note(OVER, 1_000);
            }
            assert!(pace.is_parked() && pace.resume());
            assert!(!pace.is_news(), "what nobody was told of is no news any more");
        }
    }

    #[test]
    fn slow_runs_are_forgotten() {
        let pace = Pace::default();
        for _ in 0..50 {
            for run in 0..RUNS_LOOKED_AT {
                pace.note(if run < SLOW_RUNS - 1 { OVER } else { FAST }, 1_000);
            }
        }
        assert!(!pace.is_parked());
    }

    #[test]
    fn processor_time_is_what_this_thread_used() {
        let began = processor_time();
        while processor_time() == began {
            std::hint::spin_loop();
        }
        assert!(processor_time() > began);
    }
}
