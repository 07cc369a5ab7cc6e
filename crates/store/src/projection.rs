//! What an event makes of a topic's state, whatever the database. Applied in whatever order they come, events leave
//! the same state: each member of merged data is what the newest event that had it says. Only events of one and the
//! same order value count in the order in which they came; and where values are of two kinds, because a rule puts events
//! in order by something else now, what came last counts.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

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
    /// The greatest order value so far, by the rule in force.
    order: StateOrder,
    /// The events that had it, the last one last.
    seen: Vec<Seen>,
    /// Where data last took the place of all that was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    whole: Option<StateOrder>,
    /// Where members come from that were put there since.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    members: BTreeMap<String, StateOrder>,
}

/// An event that changed the topic: source, id, and which of its changes did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen(
    String,
    String,
    #[serde(default = "first_part", skip_serializing_if = "is_first_part")] Vec<u32>,
);

fn first_part() -> Vec<u32> {
    vec![0]
}

fn is_first_part(parts: &Vec<u32>) -> bool {
    *parts == [0]
}

impl Seen {
    fn is_of(&self, event: &EventKey) -> bool {
        self.0 == event.source && self.1 == event.id
    }
}

type Members = BTreeMap<String, Box<RawValue>>;

/// Rows under way.
pub(crate) struct Projection {
    floor: u64,
    now: Option<DateTime<Utc>>,
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
            now: changes.iter().map(|change| change.at).max(),
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
        let now = self.now;
        let is_there = |kept: &Kept| kept.expires.is_none_or(|expires| Some(expires) > now);
        let states = self.kept.into_iter().filter(|(_, kept)| is_there(kept));
        let states = states.map(|(topic, kept)| kept.state(topic));
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
    if before.is_some_and(|kept| kept.memory.knows(change)) {
        return (None, StateVerdict::Known);
    }
    let is_over = |kept: &Kept| kept.expires.is_some_and(|expires| expires <= change.at);
    let mut after = match before {
        None => Kept::nothing(floor, Memory::new(change.order.clone()), change.time),
        // What was there is gone, but not what is late.
        Some(kept) if is_over(kept) => Kept::nothing(kept.version.max(floor), kept.memory.bare(), kept.time),
        Some(kept) => kept.clone(),
    };
    if !is_newer(&after.memory.order, &change.order) {
        return match after.take_over(change) {
            true => (Some(after), StateVerdict::Changed),
            false => (None, StateVerdict::TooLarge),
        };
    }
    match change.merge && !before.is_some_and(is_over) {
        true => after.fill_in(change),
        false => (None, StateVerdict::Late),
    }
}

/// Whether `there` is newer than what comes. Values of two kinds have no order: a rule has changed its mind, and what
/// the one in force says counts.
fn is_newer(there: &StateOrder, comes: &StateOrder) -> bool {
    is_alike(there, comes) && there > comes
}

fn is_alike(one: &StateOrder, other: &StateOrder) -> bool {
    mem::discriminant(one) == mem::discriminant(other)
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

    /// The same of a topic without data.
    fn bare(&self) -> Self {
        Self {
            seen: self.seen.clone(),
            ..Self::new(self.order.clone())
        }
    }

    /// Whether this very change has been here before.
    fn knows(&self, change: &StateChange) -> bool {
        let is_it = |seen: &Seen| seen.is_of(&change.event) && seen.2.contains(&change.part);
        self.seen.iter().any(is_it)
    }

    /// Remembers the change, which is the newest.
    fn note(&mut self, change: &StateChange) {
        if is_alike(&self.order, &change.order) && change.order > self.order {
            self.seen.clear();
        }
        self.order.clone_from(&change.order);
        if let Some(seen) = self.seen.iter_mut().find(|seen| seen.is_of(&change.event)) {
            seen.2.push(change.part);
            return;
        }
        if self.seen.len() == STATE_SEEN_MAX {
            self.seen.remove(0);
        }
        let EventKey { source, id } = change.event.clone();
        self.seen.push(Seen(source, id, vec![change.part]));
    }

    /// Where a member comes from, if anybody has said anything about it.
    fn of(&self, member: &str) -> Option<&StateOrder> {
        self.members.get(member).or(self.whole.as_ref())
    }
}

impl Kept {
    fn nothing(version: u64, memory: Memory, time: DateTime<Utc>) -> Self {
        Self {
            version,
            time,
            data: String::new(),
            memory,
            expires: None,
        }
    }

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
        memory.note(change);
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
            let there = self.memory.of(&name);
            if there.is_some_and(|there| is_alike(there, &change.order) && *there >= change.order) {
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
