//! How events are found, whatever the database: which index a search walks, how the walks of several types become
//! one answer, how far a journey goes. What is asked of a database is in [`Index`].
//!
//! A search walks one index in the order of the record, the one of the condition that is likely to leave least,
//! and tests the other conditions on the way, so that its cost does not depend on a planner's guesses.

use std::collections::{BTreeSet, HashSet};

use crossdock_model::types::TypePattern;

use crate::Result;
use crate::events::{EventQuery, FIND_MAX, JOURNEY_MAX};

/// The questions, one statement each.
pub(crate) trait Index {
    /// All types in the record, by stepping through their index from one to the next.
    async fn recorded_types(&mut self) -> Result<Vec<String>>;

    /// Up to `limit` offsets of the events that fulfil `query` and, where one is given, have this very type;
    /// in the query's order.
    async fn walk(&mut self, query: &EventQuery, event_type: Option<&str>, limit: usize) -> Result<Vec<i64>>;

    /// How many bytes of data the events at `offsets` have, without a look at the data, in that order. An offset
    /// without an event is left out.
    async fn data_bytes(&mut self, offsets: &[i64]) -> Result<Vec<(i64, i64)>>;

    /// Up to `JOURNEY_MAX` offsets, rising, of the events that carry one of `names` as correlation id or alias
    /// or have it as their id.
    async fn bearing(&mut self, names: &[String]) -> Result<Vec<i64>>;

    /// The correlation ids and aliases of the events at `offsets`.
    async fn names_of(&mut self, offsets: &[i64]) -> Result<Vec<String>>;
}

/// The index that a search walks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Walk {
    Name,
    Subject,
    Type,
    Adapter,
    Source,
    Received,
    Record,
}

impl Walk {
    /// The most telling of the query's conditions.
    pub(crate) fn of(query: &EventQuery) -> Self {
        if query.correlation.is_some() {
            Self::Name
        } else if query.subject.is_some() {
            Self::Subject
        } else if query.event_type.is_some() {
            Self::Type
        } else if query.adapter.is_some() {
            Self::Adapter
        } else if query.source.is_some() {
            Self::Source
        } else if query.since.is_some() || query.until.is_some() {
            Self::Received
        } else {
            Self::Record
        }
    }
}

/// The offsets of the events that fulfil `query`, in its order, as many as make a page.
pub(crate) async fn offsets(index: &mut impl Index, query: &EventQuery) -> Result<Vec<i64>> {
    let found = matching(index, query).await?;
    let Some(max) = query.data_max_bytes else {
        return Ok(found);
    };
    let mut page = Vec::new();
    let mut together = 0;
    for (offset, bytes) in index.data_bytes(&found).await? {
        page.push(offset);
        together += u64::try_from(bytes).unwrap_or_default();
        if together >= max {
            break;
        }
    }
    Ok(page)
}

async fn matching(index: &mut impl Index, query: &EventQuery) -> Result<Vec<i64>> {
    let limit = query.limit.min(FIND_MAX);
    let Some(pattern) = &query.event_type else {
        return index.walk(query, None, limit).await;
    };
    let types = types_of(index, pattern).await?;
    let mut found = Vec::new();
    for event_type in types {
        found.extend(index.walk(query, Some(&event_type), limit).await?);
    }
    found.sort_unstable();
    if query.newest_first {
        found.reverse();
    }
    found.truncate(limit);
    Ok(found)
}

/// The types in the record that a pattern matches; an exact one, whether it is there or not.
pub(crate) async fn types_of(index: &mut impl Index, pattern: &TypePattern) -> Result<Vec<String>> {
    if pattern.is_exact() {
        return Ok(vec![pattern.as_str().to_owned()]);
    }
    let mut types = index.recorded_types().await?;
    types.retain(|recorded| pattern.matches(recorded));
    Ok(types)
}

/// The offsets of a journey, rising: alternates between the events that bear new names and the names that new
/// events bear.
pub(crate) async fn journey(index: &mut impl Index, key: &str) -> Result<Vec<i64>> {
    let mut found = BTreeSet::new();
    let mut names = HashSet::from([key.to_owned()]);
    let mut new_names = vec![key.to_owned()];
    while !new_names.is_empty() && found.len() < JOURNEY_MAX {
        let mut new_events = index.bearing(&new_names).await?;
        new_events.retain(|offset| !found.contains(offset));
        new_events.truncate(JOURNEY_MAX - found.len());
        found.extend(&new_events);
        new_names = index.names_of(&new_events).await?;
        new_names.retain(|name| names.insert(name.clone()));
    }
    Ok(found.into_iter().collect())
}

/// A limit as a parameter.
pub(crate) fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
