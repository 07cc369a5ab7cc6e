//! Figures that dashboards ask for again and again: how many events came when and from whom, how an adapter's
//! attempts ended lately. Each question reads a bounded number of rows, the newest first, and says when there were
//! more, so that watching costs the same whatever the size of the record. What a figure means is the caller's.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use crossdock_model::types::TypePattern;

use crate::Result;

/// The most events that one histogram looks at, the newest first.
pub const HISTOGRAM_EVENTS_MAX: usize = 100_000;
/// The most intervals of one histogram.
pub const BUCKETS_MAX: usize = 500;
/// The most events that are counted for the rates of sources, the newest first.
pub const SOURCE_EVENTS_MAX: usize = 20_000;
/// The most sources that are told apart: those that sent something last.
pub const SOURCES_MAX: usize = 200;
/// The most sources that are looked through by name for those that have not sent anything lately.
pub(crate) const SOURCES_WALKED_MAX: usize = 2_000;
/// The most attempts of an adapter that are counted as done, and as failed.
pub const RECENT_MAX: usize = 30_000;
/// How far events that are passed over are counted.
pub const PASSED_OVER_MAX: usize = 10_000;

/// Which events to count, and in which intervals. All given conditions hold together.
#[derive(Debug, Clone)]
pub struct HistogramQuery {
    /// Where the first interval begins: events received then or later.
    pub since: DateTime<Utc>,
    /// How long an interval is, in microseconds, at least 1.
    pub bucket_us: i64,
    /// How many intervals, at most [`BUCKETS_MAX`].
    pub buckets: usize,
    /// Events received before this time only; it may cut the last interval short.
    pub until: DateTime<Utc>,
    /// Type, exact or with `*` for a segment.
    pub event_type: Option<TypePattern>,
    /// Exact `source`.
    pub source: Option<String>,
    /// Exact `subject`.
    pub subject: Option<String>,
    /// A correlation id or an alias of the event itself.
    pub correlation: Option<String>,
    /// Published to this adapter.
    pub adapter: Option<String>,
    /// How many events to look at, the newest first, capped at [`HISTOGRAM_EVENTS_MAX`].
    pub limit: usize,
}

impl HistogramQuery {
    /// How many rows to look at: one more shows that there are more.
    pub(crate) fn rows(&self) -> usize {
        self.limit.min(HISTOGRAM_EVENTS_MAX) + 1
    }
}

/// How many events were received when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    /// One figure for each interval, oldest first.
    pub counts: Vec<u64>,
    /// There were more events to look at than the limit: older ones are not counted.
    pub truncated: bool,
}

/// What a source has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFigure {
    /// CloudEvents source.
    pub source: String,
    /// Events since [`SourceFigures::since`].
    pub events: u64,
    /// When its newest event was received.
    pub last: DateTime<Utc>,
}

/// What every source has sent lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFigures {
    /// From when on events are counted: what was asked for, or later where [`SOURCE_EVENTS_MAX`] came since.
    pub since: DateTime<Utc>,
    /// Events since then, of all sources.
    pub events: u64,
    /// Who sent something last comes first; at most [`SOURCES_MAX`].
    pub sources: Vec<SourceFigure>,
}

/// How an adapter's attempts ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentAttempts {
    /// The adapter's name.
    pub adapter: String,
    /// Attempts that succeeded, counted up to [`RECENT_MAX`].
    pub done: u64,
    /// Attempts that failed in whatever way, each once, counted up to [`RECENT_MAX`].
    pub failed: u64,
    /// When it last succeeded, however long ago.
    pub last_done: Option<DateTime<Utc>>,
}

/// The figures.
#[async_trait]
pub trait Figures {
    /// Counts the events that fulfil `query`. `Invalid` for no interval, or too many.
    async fn histogram(&self, query: &HistogramQuery) -> Result<Histogram>;

    /// What each source has sent since a time.
    async fn source_figures(&self, since: DateTime<Utc>) -> Result<SourceFigures>;

    /// How the attempts of these adapters ended since a time, in the order of `adapters`.
    async fn recent_attempts(&self, adapters: &[String], since: DateTime<Utc>)
    -> Result<Vec<RecentAttempts>>;

    /// How many events lie between two offsets, both left out, counted up to [`PASSED_OVER_MAX`].
    async fn count_between(&self, after_offset: i64, before_offset: i64) -> Result<u64>;
}
