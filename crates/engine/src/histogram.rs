//! How many events came when. Reads the record only.

use chrono::{DateTime, TimeDelta, Utc};
use crossdock_store::{BUCKETS_MAX, HISTOGRAM_EVENTS_MAX, HistogramQuery};

use crate::{
    EngineError, EventSearch, HistogramView, Hub,
    events::{can_name, pattern},
};

/// What is shown where nobody says when to begin.
const SPAN_DEFAULT: TimeDelta = TimeDelta::hours(1);
/// The longest time that is shown.
const SPAN_MAX: TimeDelta = TimeDelta::days(3_660);

impl Hub {
    /// Counts the events that `search` finds, whatever its cursor and limit, in at most so many intervals of whole
    /// seconds. Without times: the last hour.
    ///
    /// # Errors
    /// `Invalid` for a pattern, times or a number of intervals that make no sense; `Unavailable` without a database.
    pub async fn histogram(&self, search: EventSearch, buckets: u32) -> Result<HistogramView, EngineError> {
        let event_type = search.event_type.as_deref().map(pattern).transpose()?;
        let until = search.until.unwrap_or_else(|| self.shared.clock.now());
        let since = search.since.unwrap_or(until - SPAN_DEFAULT);
        let (bucket_s, count) = intervals(since, until, buckets)?;
        let view = |counts, truncated| HistogramView {
            since,
            until,
            bucket_s,
            counts,
            truncated,
        };
        let names = [
            &search.source,
            &search.subject,
            &search.correlation,
            &search.adapter,
        ];
        if !names.into_iter().flatten().all(|name| can_name(name)) {
            return Ok(view(vec![0; count], false));
        }
        let query = HistogramQuery {
            since,
            bucket_us: i64::from(bucket_s) * 1_000_000,
            buckets: count,
            until,
            event_type,
            source: search.source,
            subject: search.subject,
            correlation: search.correlation,
            adapter: search.adapter,
            limit: HISTOGRAM_EVENTS_MAX,
        };
        let histogram = self.shared.store.histogram(&query).await?;
        Ok(view(histogram.counts, histogram.truncated))
    }
}

/// How long an interval is, in seconds, and how many there are.
fn intervals(since: DateTime<Utc>, until: DateTime<Utc>, buckets: u32) -> Result<(u32, usize), EngineError> {
    if !(1..=BUCKETS_MAX).contains(&(buckets as usize)) {
        return Err(EngineError::Invalid(format!(
            "buckets: expected 1 to {BUCKETS_MAX}"
        )));
    }
    let span = until - since;
    if span <= TimeDelta::zero() {
        return Err(EngineError::Invalid("since: expected a time before until".into()));
    }
    if span > SPAN_MAX {
        let days = SPAN_MAX.num_days();
        return Err(EngineError::Invalid(format!(
            "since: expected at most {days} days before until"
        )));
    }
    let micros = span.num_microseconds().map_or(u64::MAX, i64::unsigned_abs);
    let bucket_s = micros.div_ceil(u64::from(buckets) * 1_000_000);
    let count = micros.div_ceil(bucket_s * 1_000_000);
    let fits = u32::try_from(bucket_s).ok().zip(usize::try_from(count).ok());
    fits.ok_or_else(|| EngineError::Invalid("since: the time is too long".into()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_whole_seconds_and_no_more_than_asked_for() {
        let at = |micros: i64| DateTime::from_timestamp_micros(1_790_000_000_000_000 + micros).unwrap();
        for (span_us, buckets, expected) in [
            (3_600_000_000, 60, (60, 60)),
            (3_600_000_000, 7, (515, 7)),
            (10_000_000, 60, (1, 10)),
            (500_000, 60, (1, 1)),
            (61_000_000, 60, (2, 31)),
            (60_500_000, 60, (2, 31)),
        ] {
            assert_eq!(
                intervals(at(0), at(span_us), buckets).unwrap(),
                expected,
                "{span_us} {buckets}"
            );
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let refused = |since: DateTime<Utc>, until, buckets| match intervals(since, until, buckets) {
            Err(EngineError::Invalid(why)) => why,
            other => panic!("{other:?}"),
        };
        for buckets in [0, 501] {
            assert_eq!(
                refused(now - SPAN_DEFAULT, now, buckets),
                "buckets: expected 1 to 500"
            );
        }
        assert!(refused(now, now, 10).starts_with("since"));
        assert!(refused(now + SPAN_DEFAULT, now, 10).starts_with("since"));
        assert!(refused(DateTime::<Utc>::MIN_UTC, now, 10).contains("3660 days"));
    }
}
