//! The states as they are now, from the database.

use chrono::{DateTime, Utc};
use crossdock_model::topic::{ALL_LEVELS, ONE_LEVEL, SEPARATOR, TopicFilter, TopicName};
use crossdock_store::{STATES_PAGE_MAX, Store, StoreError};

use super::State;
use crate::{EngineError, Hub};

/// A page ends with the query that finds as many states, or bytes of payload.
const PAGE_STATES: usize = 200;
const PAGE_BYTES: usize = 1024 * 1024;
/// The most queries for a page, each of which looks at [`STATES_PAGE_MAX`] topics: a filter may match few of those that
/// begin alike.
const PAGE_QUERIES: usize = 20;

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

    /// Some of the states that a filter matches now, from `after` on: a short piece of work, which may find none though
    /// there are more.
    ///
    /// # Errors
    /// `Unavailable` without a database.
    pub async fn latest_page(
        &self,
        filter: &TopicFilter,
        after: Option<&TopicName>,
    ) -> Result<StatePage, EngineError> {
        let now = self.shared.clock.now();
        Ok(Walk::of(filter)
            .page(&self.shared.store, now, filter, after)
            .await?)
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
        store: &Store,
        now: DateTime<Utc>,
        filter: &TopicFilter,
        after: Option<&TopicName>,
    ) -> Result<StatePage, StoreError> {
        let (prefix, itself) = match self {
            Self::One(topic) => (None, Some(topic)),
            Self::Below(prefix, itself) => (Some(prefix), itself),
        };
        let mut states = Vec::new();
        if let Some(topic) = itself.filter(|_| after.is_none()) {
            states.extend(store.state(&topic, now).await?.map(State::from));
        }
        let Some(prefix) = prefix else {
            return Ok(StatePage { states, next: None });
        };
        let (mut next, mut bytes) = (after.cloned(), 0);
        for _ in 0..PAGE_QUERIES {
            let found = store.states(&prefix, next.as_ref(), now, STATES_PAGE_MAX).await?;
            next = found.next;
            let matching = found.states.into_iter();
            let matching = matching.filter(|state| filter.matches(&state.topic));
            states.extend(
                matching
                    .map(State::from)
                    .inspect(|state| bytes += state.payload.len()),
            );
            if next.is_none() || states.len() >= PAGE_STATES || bytes >= PAGE_BYTES {
                break;
            }
        }
        Ok(StatePage { states, next })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crossdock_store::{EventKey, StateChange, StateOrder};

    use super::*;
    use crate::testing::database;

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

    async fn keep(store: &Store, topics: impl Iterator<Item = String>, data: &str) {
        let time = DateTime::UNIX_EPOCH;
        let changes = topics.map(|topic| StateChange {
            topic: TopicName::new(&topic).unwrap(),
            event: EventKey {
                source: "/shop".into(),
                id: "e".into(),
            },
            part: 0,
            time,
            order: StateOrder::Time(time),
            data: data.to_owned(),
            merge: false,
            at: time,
            expires: None,
        });
        store.project(&changes.collect::<Vec<_>>()).await.unwrap();
    }

    /// How many states each page of a filter has.
    async fn pages(store: &Store, filter: &str) -> Vec<usize> {
        let filter = TopicFilter::new(filter).unwrap();
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let walk = Walk::of(&filter);
            let page = walk
                .page(store, DateTime::UNIX_EPOCH, &filter, after.as_ref())
                .await;
            let page = page.unwrap();
            pages.push(page.states.len());
            after = page.next;
            if after.is_none() {
                return pages;
            }
        }
    }

    #[tokio::test]
    async fn a_page_is_bounded_in_states_in_bytes_and_in_what_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let store = database(&folder).await;
        keep(&store, (0..1_010).map(|n| format!("state/{n:04}/y")), "1").await;
        keep(&store, ["state/1005/x".to_owned()].into_iter(), "1").await;
        assert_eq!(pages(&store, "state/+/x").await, [0, 1]);
        assert_eq!(pages(&store, "state/+/y").await, [200, 200, 200, 200, 200, 10]);
        let large = format!("\"{}\"", "x".repeat(60_000));
        keep(&store, (100..220).map(|n| format!("stock/{n}")), &large).await;
        assert_eq!(pages(&store, "stock/#").await, [50, 50, 20]);
    }
}
