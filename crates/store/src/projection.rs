//! What an event makes of a topic's state, whatever the database. Applied in whatever order they come, events leave
//! the same state: each member of merged data is what the newest event that had it says. Only events of one and the
//! same order value count in the order in which they came.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use crossdock_model::topic::TopicName;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::EventKey;
use crate::states::{
    LatestState, Projected, STATE_DATA_MAX_BYTES, STATE_SEEN_MAX, StateChange, StateOrder, StateVerdict,
};
use crate::stored::to_json;

/// A topic's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) version: u64,
    pub(crate) time: DateTime<Utc>,
    pub(crate) data: String,
    pub(crate) memory: Memory,
    pub(crate) expires: Option<DateTime<Utc>>,
}

/// What has to be known to judge the next event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// The greatest order value so far.
    order: StateOrder,
    /// The events that had it, the last one last: source and id.
    seen: Vec<(String, String)>,
    /// Where data last took the place of all that was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    whole: Option<StateOrder>,
    /// Where members come from that were put there since.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    members: BTreeMap<String, StateOrder>,
}

type Members = BTreeMap<String, Box<RawValue>>;

/// Rows under way.
pub(crate) struct Projection {
    floor: u64,
    kept: BTreeMap<TopicName, Kept>,
    changed: BTreeSet<TopicName>,
    verdicts: Vec<StateVerdict>,
}

impl Projection {
    /// The changes, applied over the rows of their topics as far as there are any. `floor`: the greatest version that
    /// was forgotten.
    pub(crate) fn of(changes: &[StateChange], floor: u64, kept: Vec<(TopicName, Kept)>) -> Self {
        let mut projection = Self {
            floor,
            kept: kept.into_iter().collect(),
            changed: BTreeSet::new(),
            verdicts: Vec::with_capacity(changes.len()),
        };
        changes.iter().for_each(|change| projection.apply(change));
        projection
    }

    fn apply(&mut self, change: &StateChange) {
        let before = self.kept.get(&change.topic);
        let (after, verdict) = judge(before, self.floor, change);
        if let Some(after) = after {
            self.kept.insert(change.topic.clone(), after);
            self.changed.insert(change.topic.clone());
        }
        self.verdicts.push(verdict);
    }

    /// The rows to write.
    pub(crate) fn changed(&self) -> impl Iterator<Item = (&TopicName, &Kept)> {
        self.kept
            .iter()
            .filter(|(topic, _)| self.changed.contains(*topic))
    }

    pub(crate) fn projected(self) -> Projected {
        let states = self.kept.into_iter().map(|(topic, kept)| kept.state(topic));
        Projected {
            verdicts: self.verdicts,
            states: states.collect(),
        }
    }
}

impl Kept {
    pub(crate) fn state(self, topic: TopicName) -> LatestState {
        LatestState {
            topic,
            version: self.version,
            time: self.time,
            data: self.data,
            expires: self.expires,
        }
    }
}

/// The row afterwards, where it is another one.
fn judge(before: Option<&Kept>, floor: u64, change: &StateChange) -> (Option<Kept>, StateVerdict) {
    let version = before.map_or(0, |kept| kept.version).max(floor);
    let alive = before.filter(|kept| kept.expires.is_none_or(|expires| expires > change.at));
    let Some(kept) = alive else {
        let memory = Memory::new(change.order.clone());
        let mut first = Kept {
            version,
            time: change.time,
            data: String::new(),
            memory,
            expires: None,
        };
        return match first.take_over(change) {
            true => (Some(first), StateVerdict::Changed),
            false => (None, StateVerdict::TooLarge),
        };
    };
    let key = known_as(&change.event);
    if change.order == kept.memory.order && kept.memory.seen.contains(&key) {
        return (None, StateVerdict::Known);
    }
    let mut after = kept.clone();
    if change.order >= kept.memory.order {
        return match after.take_over(change) {
            true => (Some(after), StateVerdict::Changed),
            false => (None, StateVerdict::TooLarge),
        };
    }
    if change.merge {
        return after.fill_in(change);
    }
    (None, StateVerdict::Late)
}

fn known_as(event: &EventKey) -> (String, String) {
    (event.source.clone(), event.id.clone())
}

fn members(data: &str) -> Members {
    serde_json::from_str(data).unwrap_or_default()
}

/// The members that say something.
fn said(data: &str) -> impl Iterator<Item = (String, Box<RawValue>)> {
    members(data)
        .into_iter()
        .filter(|(_, value)| value.get() != "null")
}

impl Memory {
    fn new(order: StateOrder) -> Self {
        Self {
            order,
            seen: Vec::new(),
            whole: None,
            members: BTreeMap::new(),
        }
    }

    /// Where a member comes from, if anybody has said anything about it.
    fn of(&self, member: &str) -> Option<&StateOrder> {
        self.members.get(member).or(self.whole.as_ref())
    }
}

impl Kept {
    /// The newest event so far. `false`: it makes too much.
    fn take_over(&mut self, change: &StateChange) -> bool {
        let memory = &mut self.memory;
        if change.merge {
            let mut data = members(&self.data);
            for (name, value) in said(&change.data) {
                memory.members.insert(name.clone(), change.order.clone());
                data.insert(name, value);
            }
            self.data = to_json(&data);
        } else {
            memory.whole = Some(change.order.clone());
            memory.members.clear();
            self.data.clone_from(&change.data);
        }
        if change.order > memory.order {
            memory.seen.clear();
        }
        memory.order.clone_from(&change.order);
        if memory.seen.len() == STATE_SEEN_MAX {
            memory.seen.remove(0);
        }
        memory.seen.push(known_as(&change.event));
        self.version += 1;
        self.time = change.time;
        self.expires = change.expires;
        self.data.len() <= STATE_DATA_MAX_BYTES
    }

    /// A late event: says what no newer one has said.
    fn fill_in(mut self, change: &StateChange) -> (Option<Self>, StateVerdict) {
        let mut data = members(&self.data);
        let mut is_known = true;
        let mut shows = false;
        for (name, value) in said(&change.data) {
            if self.memory.of(&name).is_some_and(|there| *there >= change.order) {
                continue;
            }
            is_known = false;
            self.memory.members.insert(name.clone(), change.order.clone());
            let before = data.insert(name, value.clone());
            shows |= before.is_none_or(|before| before.get() != value.get());
        }
        if is_known {
            return (None, StateVerdict::Late);
        }
        if !shows {
            return (Some(self), StateVerdict::Late);
        }
        self.data = to_json(&data);
        if self.data.len() > STATE_DATA_MAX_BYTES {
            return (None, StateVerdict::TooLarge);
        }
        self.version += 1;
        (Some(self), StateVerdict::Changed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
