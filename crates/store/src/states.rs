//! Live state: the latest state of each topic, and what decides which event was the latest. A state has a version
//! that only grows, also when the topic was forgotten in between. Which events make which states is the caller's.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use crossdock_model::topic::TopicName;
use serde::{Deserialize, Serialize};

use crate::{EventKey, Result};

/// The most bytes of a state's data.
pub const STATE_DATA_MAX_BYTES: usize = 64 * 1024;
/// The most topics that are looked at for a page.
pub const STATES_PAGE_MAX: usize = 50;
/// The most events of one order value that a topic remembers, to know them when they come again. As many as whoever
/// projects may have applied and not acked: fewer, and a batch that comes again after a crash counts anew.
pub const STATE_SEEN_MAX: usize = 256;

/// By what the events of a topic are put in order. Values of two kinds have none between them: where a rule puts events
/// in order by something else than it did, the event that comes last counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateOrder {
    /// A whole number.
    Number(i64),
    /// A moment.
    Time(DateTime<Utc>),
    /// A text, compared byte by byte.
    Text(String),
}

/// What an event makes of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// The topic.
    pub topic: TopicName,
    /// The event.
    pub event: EventKey,
    /// How many changes of this topic the same event has made before, by other rules.
    pub part: u32,
    /// When that happened.
    pub time: DateTime<Utc>,
    /// Its place among the events of the topic.
    pub order: StateOrder,
    /// JSON, at most [`STATE_DATA_MAX_BYTES`].
    pub data: String,
    /// Whether the members of `data` are put over those that are there; null says nothing. Otherwise `data` takes
    /// the place of what is there.
    pub merge: bool,
    /// Now.
    pub at: DateTime<Utc>,
    /// From when on the topic has no state any more, unless another event comes.
    pub expires: Option<DateTime<Utc>>,
}

/// What became of a [`StateChange`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateVerdict {
    /// The topic has another state, with another version.
    Changed,
    /// Newer events have said all there is to say.
    Late,
    /// The event has been here before.
    Known,
    /// Together with what is there it would be larger than [`STATE_DATA_MAX_BYTES`].
    TooLarge,
}

/// The state of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatestState {
    /// The topic.
    pub topic: TopicName,
    /// Greater than that of every earlier state of the topic.
    pub version: u64,
    /// When what the newest event tells of happened.
    pub time: DateTime<Utc>,
    /// JSON.
    pub data: String,
    /// From when on there is no state.
    pub expires: Option<DateTime<Utc>>,
}

/// What became of several changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Projected {
    /// One for each change.
    pub verdicts: Vec<StateVerdict>,
    /// The state of each topic that was named and has one, by topic.
    pub states: Vec<LatestState>,
}

/// Some of the states that are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatesPage {
    /// By topic, byte by byte.
    pub states: Vec<LatestState>,
    /// The last topic that was looked at, after which the next page begins; none: this was the last.
    pub next: Option<TopicName>,
}

/// The states.
#[async_trait]
pub trait States {
    /// Applies changes in their order, all or none. Applied again, they change nothing.
    async fn project(&self, changes: &[StateChange]) -> Result<Projected>;

    /// The state of a topic, if there is any at `at`.
    async fn state(&self, topic: &TopicName, at: DateTime<Utc>) -> Result<Option<LatestState>>;

    /// A page of the states of topics that begin with the levels of `prefix`, which is empty or ends with a `/`, and come
    /// after `after`. At most `limit` topics, and [`STATES_PAGE_MAX`], are looked at, those whose states are over among
    /// them.
    async fn states(
        &self,
        prefix: &str,
        after: Option<&TopicName>,
        at: DateTime<Utc>,
        limit: usize,
    ) -> Result<StatesPage>;

    /// Forgets up to `limit` states that expired before `at`, and says how many. Their topics go on with greater
    /// versions.
    async fn forget_states(&self, at: DateTime<Utc>, limit: usize) -> Result<u64>;
}

/// The topics of a page, with one bound at each end: of two a database may choose the one that is farther away, and go
/// through all that lies between at every page.
pub(crate) struct Topics<'a> {
    /// How it compares, and with what.
    pub(crate) from: (&'static str, &'a str),
    /// Before this; to the end without it.
    pub(crate) until: Option<String>,
}

impl<'a> Topics<'a> {
    pub(crate) fn of(prefix: &'a str, after: Option<&'a TopicName>) -> Self {
        const AFTER_SEPARATOR: char = '0';
        let after = after.map(TopicName::as_str);
        let parent = prefix.strip_suffix('/');
        Self {
            from: match after.filter(|after| *after >= prefix) {
                Some(after) => (" > ", after),
                None => (" >= ", prefix),
            },
            until: parent.map(|parent| format!("{parent}{AFTER_SEPARATOR}")),
        }
    }
}
