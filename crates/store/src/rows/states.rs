//! Rows of live state.

use chrono::{DateTime, Utc};
use crossdock_model::topic::TopicName;
use sqlx::{Database, Encode, QueryBuilder, Type};

use crate::finding::at_most;
use crate::projection::Kept;
use crate::states::{LatestState, StatesPage, Topics};
use crate::stored::{from_json, number, time_if_any};
use crate::{Result, StoreError};

#[derive(sqlx::FromRow)]
pub(crate) struct StateRow {
    topic: String,
    version: i64,
    time: String,
    data: String,
    memory: String,
    expires: Option<i64>,
}

impl StateRow {
    pub(crate) fn kept(self) -> Result<(TopicName, Kept)> {
        let kept = Kept {
            version: number("states.version", self.version)?,
            time: time(&self.time)?,
            memory: from_json("states.memory", &self.memory)?,
            data: self.data,
            expires: time_if_any(self.expires)?,
        };
        Ok((topic(&self.topic)?, kept))
    }
}

/// What is told of a topic.
#[derive(sqlx::FromRow)]
pub(crate) struct LatestRow {
    topic: String,
    version: i64,
    time: String,
    data: String,
    expires: Option<i64>,
}

impl LatestRow {
    pub(crate) fn state(self) -> Result<LatestState> {
        Ok(LatestState {
            topic: topic(&self.topic)?,
            version: number("states.version", self.version)?,
            time: time(&self.time)?,
            data: self.data,
            expires: time_if_any(self.expires)?,
        })
    }

    /// Those that are there at `at` of the topics that were looked at, of which there may be more if these are `limit`.
    pub(crate) fn page(looked_at: Vec<Self>, at: DateTime<Utc>, limit: usize) -> Result<StatesPage> {
        let is_last = looked_at.len() < limit;
        let states = looked_at.into_iter().map(Self::state);
        let mut states = states.collect::<Result<Vec<_>>>()?;
        let last = states.last().filter(|_| !is_last);
        let next = last.map(|state| state.topic.clone());
        states.retain(|state| state.expires.is_none_or(|expires| expires > at));
        Ok(StatesPage { states, next })
    }
}

fn topic(text: &str) -> Result<TopicName> {
    TopicName::new(text).map_err(|error| StoreError::Corrupt(format!("states.topic: {error}")))
}

fn time(text: &str) -> Result<DateTime<Utc>> {
    let time = text.parse();
    time.map_err(|error| StoreError::Corrupt(format!("states.time: {error}")))
}

/// A version as a column holds it.
pub(crate) fn version(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}

/// The rows that are looked at for a page.
pub(crate) fn select_page<D: Database>(topics: &Topics<'_>, limit: usize) -> QueryBuilder<D>
where
    for<'q> &'q str: Encode<'q, D> + Type<D>,
    for<'q> i64: Encode<'q, D> + Type<D>,
{
    let mut select = QueryBuilder::new("SELECT topic, version, time, data, expires FROM states WHERE topic");
    let (compares, from) = topics.from;
    select.push(compares).push_bind(from);
    if let Some(until) = &topics.until {
        select.push(" AND topic < ").push_bind(until.as_str());
    }
    select.push(" ORDER BY topic LIMIT ").push_bind(at_most(limit));
    select
}
