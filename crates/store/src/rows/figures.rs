//! Rows of figures, and how the rows of a histogram become one.

use std::{cmp::Reverse, collections::BTreeMap};

use chrono::{DateTime, Utc};

use crate::figures::{
    BUCKETS_MAX, Histogram, HistogramQuery, RecentAttempts, SOURCE_EVENTS_MAX, SOURCES_MAX, SourceFigure,
    SourceFigures,
};
use crate::stored::{number, time, time_if_any};
use crate::{Result, StoreError};

/// How many events of those looked at fall into an interval; no interval for those that do not fulfil the query.
#[derive(sqlx::FromRow)]
pub(crate) struct BucketRow {
    bucket: Option<i64>,
    events: i64,
}

/// Refuses what cannot be counted.
pub(crate) fn check(query: &HistogramQuery) -> Result<()> {
    if query.bucket_us < 1 || !(1..=BUCKETS_MAX).contains(&query.buckets) {
        return Err(StoreError::Invalid(format!(
            "a histogram has 1 to {BUCKETS_MAX} intervals of at least 1 µs"
        )));
    }
    Ok(())
}

pub(crate) fn histogram(query: &HistogramQuery, rows: Vec<BucketRow>) -> Result<Histogram> {
    let mut counts = vec![0; query.buckets];
    let mut looked_at = 0;
    for row in rows {
        let events: u64 = number("events", row.events)?;
        looked_at += events;
        let bucket = row.bucket.and_then(|bucket| usize::try_from(bucket).ok());
        if let Some(count) = bucket.and_then(|bucket| counts.get_mut(bucket)) {
            *count += events;
        }
    }
    Ok(Histogram {
        counts,
        truncated: looked_at >= query.rows() as u64,
    })
}

/// A source that sent something lately.
#[derive(sqlx::FromRow)]
pub(crate) struct LatelyRow {
    source: String,
    events: i64,
    oldest: i64,
    newest: i64,
}

/// A source with its newest event.
#[derive(sqlx::FromRow)]
pub(crate) struct SourceRow {
    source: String,
    last: i64,
}

pub(crate) fn source_figures(
    since: DateTime<Utc>,
    lately: Vec<LatelyRow>,
    sources: Vec<SourceRow>,
) -> Result<SourceFigures> {
    let counted: i64 = lately.iter().map(|row| row.events).sum();
    let oldest = lately.iter().map(|row| row.oldest).min();
    let since = match oldest {
        Some(oldest) if counted >= SOURCE_EVENTS_MAX as i64 => time(oldest)?,
        _ => since,
    };
    let mut known: BTreeMap<String, (i64, i64)> = sources
        .into_iter()
        .map(|row| (row.source, (row.last, 0)))
        .collect();
    for row in lately {
        let (last, events) = known.entry(row.source).or_insert((row.newest, 0));
        (*last, *events) = (row.newest.max(*last), row.events);
    }
    let mut known: Vec<_> = known.into_iter().collect();
    known.sort_by_key(|(_, (last, _))| Reverse(*last));
    known.truncate(SOURCES_MAX);
    let figure = |(source, (last, events))| {
        Ok(SourceFigure {
            events: number("events", events)?,
            last: time(last)?,
            source,
        })
    };
    Ok(SourceFigures {
        since,
        events: number("events", counted)?,
        sources: known.into_iter().map(figure).collect::<Result<_>>()?,
    })
}

#[derive(sqlx::FromRow)]
pub(crate) struct RecentRow {
    adapter: String,
    done: i64,
    failed: i64,
    last_done: Option<i64>,
}

impl RecentRow {
    pub(crate) fn recent(self) -> Result<RecentAttempts> {
        Ok(RecentAttempts {
            adapter: self.adapter,
            done: number("attempts", self.done)?,
            failed: number("attempts", self.failed)?,
            last_done: time_if_any(self.last_done)?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_taken_over_the_time_that_was_counted() {
        let micros = |second: i64| second * 1_000_000;
        let since = time(micros(100)).unwrap();
        let counted_from = |events| {
            let lately = LatelyRow {
                source: "/shop".into(),
                events,
                oldest: micros(130),
                newest: micros(150),
            };
            let source = |name: &str, last| SourceRow {
                source: name.into(),
                last: micros(last),
            };
            let sources = vec![source("/quiet", 20), source("/shop", 150)];
            source_figures(since, vec![lately], sources).unwrap()
        };
        let few = counted_from(7);
        assert_eq!(few.since, since);
        let events: Vec<u64> = few.sources.iter().map(|figure| figure.events).collect();
        assert_eq!(events, [7, 0]);
        assert_eq!(
            counted_from(SOURCE_EVENTS_MAX as i64).since,
            time(micros(130)).unwrap()
        );
    }
}
