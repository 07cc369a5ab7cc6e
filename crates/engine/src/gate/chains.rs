//! How many events led to an event by their `causationid`s: an endless chain is adapters answering each other in
//! a circle.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};

use crossdock_model::{event::Event, fault::Fault};

/// Events in a chain of cause and effect; a longer one goes to quarantine.
pub(super) const CHAIN_MAX: u32 = 32;

/// The chain lengths of `events`, in their order, given those of causes that are known already.
pub(super) fn lengths<'a>(
    events: impl IntoIterator<Item = &'a Event>,
    mut known: HashMap<String, u32>,
) -> Vec<u32> {
    let mut lengths = Vec::new();
    for event in events {
        let length = event
            .causation_id()
            .map_or(0, |cause| known.get(cause).copied().unwrap_or(0) + 1);
        let longest = known.entry(event.id.clone()).or_default();
        *longest = length.max(*longest);
        lengths.push(length);
    }
    lengths
}

pub(super) fn circle() -> Fault {
    Fault::new(
        "/causationid",
        format!(
            "the chain of causes is longer than {CHAIN_MAX} events: adapters seem to answer each other in a circle"
        ),
    )
}

/// Chain lengths of events that are published and not recorded yet: their effects may come through another
/// partition before the record knows the cause. Holds the batches under way, and no more.
#[derive(Default)]
pub(crate) struct ChainsUnderWay(Mutex<BTreeMap<(String, u64), u32>>);

impl ChainsUnderWay {
    /// The lengths of those of `ids` that are under way. Ask before the record is asked: what is not here then is
    /// recorded, or nobody has seen it yet.
    pub(super) fn of(&self, ids: &[String]) -> HashMap<String, u32> {
        let under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let longest = |id: &String| {
            under_way
                .range((id.clone(), 0)..=(id.clone(), u64::MAX))
                .map(|(_, length)| *length)
                .max()
        };
        ids.iter()
            .filter_map(|id| Some((id.clone(), longest(id)?)))
            .collect()
    }

    /// Keeps these until the answer is dropped.
    pub(super) fn enter<'a>(&self, events: impl IntoIterator<Item = (&'a Event, u32)>) -> Entered<'_> {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut keys = Vec::new();
        for (event, length) in events {
            let taken = under_way
                .range((event.id.clone(), 0)..=(event.id.clone(), u64::MAX))
                .next_back()
                .map_or(0, |((_, number), _)| number + 1);
            let key = (event.id.clone(), taken);
            under_way.insert(key.clone(), length);
            keys.push(key);
        }
        Entered { chains: self, keys }
    }
}

/// Chains under way until this is dropped.
pub(super) struct Entered<'a> {
    chains: &'a ChainsUnderWay,
    keys: Vec<(String, u64)>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut under_way = self.chains.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in &self.keys {
            under_way.remove(key);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(id: &str, cause: Option<&str>) -> Event {
        let mut event =
            json!({ "specversion": "1.0", "id": id, "source": "/test", "type": "thing.happened.v1" });
        if let Some(cause) = cause {
            event["causationid"] = cause.into();
        }
        Event::from_structured(event.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_chain_grows_through_a_batch_and_beyond_it() {
        let events = [
            event("first", None),
            event("a", Some("recorded")),
            event("b", Some("a")),
            event("c", Some("b")),
            event("stray", Some("never seen")),
            event("own", Some("own")),
        ];
        let known = HashMap::from([("recorded".to_owned(), 7)]);
        assert_eq!(lengths(&events, known), [0, 8, 9, 10, 1, 1]);
    }

    #[test]
    fn of_several_events_with_one_id_the_longest_chain_counts() {
        let known = HashMap::from([("twin".to_owned(), 20)]);
        let events = [event("twin", None), event("effect", Some("twin"))];
        assert_eq!(lengths(&events, known), [0, 21]);
    }

    #[test]
    fn what_is_under_way_is_known_until_it_is_let_go() {
        let chains = ChainsUnderWay::default();
        let ids = ["a".to_owned(), "b".to_owned()];
        let (a, b) = (event("a", None), event("b", Some("a")));
        let batch = chains.enter([(&a, 3), (&b, 4)]);
        let another = chains.enter([(&a, 1)]);
        assert_eq!(
            chains.of(&ids),
            HashMap::from([("a".to_owned(), 3), ("b".to_owned(), 4)])
        );
        drop(batch);
        assert_eq!(chains.of(&ids), HashMap::from([("a".to_owned(), 1)]));
        drop(another);
        assert!(chains.of(&ids).is_empty());
        assert!(chains.0.lock().unwrap().is_empty());
    }
}
