use std::collections::BTreeSet;

use crossdock_model::topic::{TopicFilter, TopicName};
use proptest::prelude::*;

use super::Index;

fn name(text: &str) -> TopicName {
    TopicName::new(text).unwrap()
}

fn filter(text: &str) -> TopicFilter {
    TopicFilter::new(text).unwrap()
}

#[test]
fn what_is_not_used_is_freed() {
    let mut index = Index::default();
    index.insert(&filter("state/#"), &"me".into(), 1, ());
    for key in 0..10_000 {
        index.insert(&filter(&format!("state/preflight/{key}")), &"me".into(), 2, ());
    }
    assert_eq!((index.len(), index.levels()), (10_001, 10_003));
    for key in 0..10_000 {
        assert!(
            index
                .remove(&filter(&format!("state/preflight/{key}")), &2)
                .is_some()
        );
    }
    assert_eq!((index.len(), index.levels()), (1, 2));
    assert!(index.room_below("state") < 16);
}

#[test]
fn a_level_counts_for_who_needed_it_first_until_nobody_does() {
    let (mut index, one, other) = (Index::default(), "one".into(), "other".into());
    assert!(!index.has_levels(&filter("a")));
    index.insert(&filter("a/b/c"), &one, 1, ());
    index.insert(&filter("a/b/d/e"), &other, 2, ());
    assert_eq!((index.levels_of("one"), index.levels_of("other")), (3, 2));
    assert!(index.has_levels(&filter("a/b")) && !index.has_levels(&filter("a/c")));
    index.remove(&filter("a/b/c"), &1);
    assert_eq!((index.levels_of("one"), index.levels_of("other")), (2, 2));
    index.remove(&filter("a/b/d/e"), &2);
    assert!(index.levels() == 0 && index.levels.by_owner.is_empty());
}

#[test]
fn a_holder_has_a_filter_once() {
    let mut index = Index::default();
    assert_eq!(index.insert(&filter("a"), &"me".into(), "x", 0), None);
    assert_eq!(index.insert(&filter("a"), &"me".into(), "x", 1), Some(0));
    assert_eq!(index.remove(&filter("a/b"), &"x"), None);
    assert_eq!(index.remove(&filter("a"), &"y"), None);
    assert_eq!(index.len(), 1);
    assert_eq!(index.remove(&filter("a"), &"x"), Some(1));
    assert_eq!(index.len(), 0);
}

fn names() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "", "$", "ä"]), 1..5)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("a topic is not empty", |text| !text.is_empty())
}

fn filters() -> impl Strategy<Value = String> {
    (
        prop::collection::vec(prop::sample::select(vec!["a", "b", "", "$", "ä", "+", "+"]), 1..5),
        any::<bool>(),
    )
        .prop_map(|(mut levels, all)| {
            if all {
                levels.pop();
                levels.push("#");
            }
            levels.join("/")
        })
        .prop_filter("a filter is not empty", |text| !text.is_empty())
}

proptest! {
    #[test]
    fn the_index_finds_what_asking_every_filter_finds(
        changes in prop::collection::vec((filters(), 0_u8..3, any::<bool>()), 0..60),
        topics in prop::collection::vec(names(), 1..10),
    ) {
        let mut index = Index::default();
        let mut held = BTreeSet::new();
        for (text, holder, keep) in changes {
            let pattern = filter(&text);
            if keep {
                index.insert(&pattern, &"me".into(), holder, text.clone());
                held.insert((holder, text));
            } else {
                prop_assert_eq!(index.remove(&pattern, &holder).is_some(), held.remove(&(holder, text)));
            }
        }
        prop_assert_eq!(index.len(), held.len());
        for topic in topics {
            let topic_name = name(&topic);
            let holders = index.matching(&topic_name).into_iter().flatten();
            let mut found: Vec<_> = holders.map(|(key, text)| (*key, text.clone())).collect();
            found.sort();
            let expected: Vec<_> =
                held.iter().filter(|(_, text)| filter(text).matches(&name(&topic))).cloned().collect();
            prop_assert_eq!(found, expected);
        }
        let mut filters: Vec<_> = index.filters().iter().map(|filter| filter.as_str().to_owned()).collect();
        filters.sort();
        let texts: BTreeSet<_> = held.iter().map(|(_, text)| text.clone()).collect();
        prop_assert_eq!(filters, texts.into_iter().collect::<Vec<_>>());
        for (holder, text) in held {
            index.remove(&filter(&text), &holder);
        }
        prop_assert_eq!(index.levels(), 0);
    }
}
