//! The states as they are now, from the database.

use crossdock_model::topic::{ALL_LEVELS, ONE_LEVEL, SEPARATOR, TopicFilter, TopicName};
use crossdock_store::STATES_PAGE_MAX;

use super::State;
use crate::{EngineError, Hub, shared::Shared};

/// The most topics that are looked at for a page; a filter may match few of those that begin alike.
const LOOKED_AT_MAX: usize = 10_000;

/// Some of the states that a filter matches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatePage {
    /// By topic, byte by byte.
    pub states: Vec<State>,
    /// After which topic the next page begins; none: this was the last.
    pub next: Option<TopicName>,
}

impl Hub {
    /// The state of a topic.
    ///
    /// # Errors
    /// `NotFound` where there is none, `Unavailable` without a database.
    pub async fn state(&self, topic: &TopicName) -> Result<State, EngineError> {
        let shared = &self.shared;
        let found = shared.store.state(topic, shared.clock.now()).await?;
        found
            .map(State::from)
            .ok_or_else(|| EngineError::NotFound(format!("the topic {:?} has no state", topic.as_str())))
    }

    /// Some of the states that a filter matches now, from `after` on.
    ///
    /// # Errors
    /// `Unavailable` without a database.
    pub async fn latest_page(
        &self,
        filter: &TopicFilter,
        after: Option<&TopicName>,
    ) -> Result<StatePage, EngineError> {
        let walk = Walk::of(filter);
        if let Walk::One(topic) = walk {
            let shared = &self.shared;
            let found = shared.store.state(&topic, shared.clock.now()).await?;
            return Ok(StatePage {
                states: found.into_iter().map(State::from).collect(),
                next: None,
            });
        }
        walk.page(&self.shared, filter, after).await
    }
}

/// Which topics have to be looked at for a filter.
#[derive(Debug, PartialEq, Eq)]
enum Walk {
    One(TopicName),
    /// Those below this prefix, which is empty or ends with a separator, and the topic itself that the prefix is below
    /// of: `a/#` matches `a` too.
    Below(String, Option<TopicName>),
}

impl Walk {
    fn of(filter: &TopicFilter) -> Self {
        if let Ok(topic) = TopicName::new(filter.as_str()) {
            return Self::One(topic);
        }
        let is_plain = |level: &&str| *level != ONE_LEVEL && *level != ALL_LEVELS;
        let plain: Vec<&str> = filter.levels().take_while(is_plain).collect();
        let parent = plain.join("/");
        let is_all_below = filter.levels().nth(plain.len()) == Some(ALL_LEVELS);
        let itself = TopicName::new(&parent).ok().filter(|_| is_all_below);
        let prefix = match parent.is_empty() && plain.is_empty() {
            true => parent,
            false => format!("{parent}{SEPARATOR}"),
        };
        Self::Below(prefix, itself)
    }

    async fn page(
        self,
        shared: &Shared,
        filter: &TopicFilter,
        after: Option<&TopicName>,
    ) -> Result<StatePage, EngineError> {
        let Self::Below(prefix, itself) = self else {
            return Ok(StatePage::default());
        };
        let now = shared.clock.now();
        let mut page = StatePage::default();
        if let Some(topic) = itself.filter(|_| after.is_none()) {
            let found = shared.store.state(&topic, now).await?;
            page.states.extend(found.map(State::from));
        }
        let mut after = after.cloned();
        let mut looked_at = 0;
        while looked_at < LOOKED_AT_MAX {
            let found = shared
                .store
                .states(&prefix, after.as_ref(), now, STATES_PAGE_MAX)
                .await?;
            looked_at += found.len();
            let is_last = found.len() < STATES_PAGE_MAX;
            after = found.last().map(|state| state.topic.clone());
            let matching = found.into_iter().filter(|state| filter.matches(&state.topic));
            page.states.extend(matching.map(State::from));
            if is_last {
                return Ok(page);
            }
            if page.states.len() >= STATES_PAGE_MAX {
                break;
            }
        }
        page.next = after;
        Ok(page)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn as_few_topics_as_can_be_are_looked_at() {
        let topic = |text: &str| TopicName::new(text).unwrap();
        for (filter, walk) in [
            ("state/order/7", Walk::One(topic("state/order/7"))),
            ("state/order/+", Walk::Below("state/order/".into(), None)),
            (
                "state/order/#",
                Walk::Below("state/order/".into(), Some(topic("state/order"))),
            ),
            ("state/+/7", Walk::Below("state/".into(), None)),
            ("+/order/7", Walk::Below(String::new(), None)),
            ("#", Walk::Below(String::new(), None)),
            ("/+", Walk::Below("/".into(), None)),
            ("/#", Walk::Below("/".into(), None)),
        ] {
            assert_eq!(Walk::of(&TopicFilter::new(filter).unwrap()), walk, "{filter}");
        }
    }
}
