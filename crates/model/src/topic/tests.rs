use proptest::prelude::*;

use super::*;

fn name(text: &str) -> TopicName {
    TopicName::new(text).unwrap()
}

fn filter(text: &str) -> TopicFilter {
    TopicFilter::new(text).unwrap()
}

#[test]
fn names_are_taken_and_refused() {
    for good in [
        "a",
        "/",
        "a/b",
        "/a",
        "a/",
        "a//b",
        "$SYS/load",
        "Akkord / Ä",
        " ",
        "$share/g/a",
    ] {
        assert!(TopicName::new(good).is_ok(), "{good}");
    }
    assert_eq!(TopicName::new(""), Err(TopicError::Empty));
    assert_eq!(TopicName::new("a/+"), Err(TopicError::WildcardInName(2)));
    assert_eq!(TopicName::new("a#"), Err(TopicError::WildcardInName(1)));
    assert_eq!(TopicName::new("a\0b"), Err(TopicError::Null(1)));
    assert_eq!(
        TopicName::new(&"a".repeat(65_536)),
        Err(TopicError::TooLong(65_536))
    );
    assert_eq!(TopicName::new(&"/".repeat(64)), Err(TopicError::TooDeep(65)));
    assert!(TopicName::new(&"/".repeat(63)).is_ok());
}

#[test]
fn filters_are_taken_and_refused() {
    for good in [
        "a", "#", "+", "+/+", "/+", "a/#", "+/a/#", "/", "/#", "$SYS/#", "a b/+",
    ] {
        assert!(TopicFilter::new(good).is_ok(), "{good}");
    }
    for (bad, level) in [
        ("a#", 1),
        ("#/a", 1),
        ("a/#/b", 2),
        ("a+", 1),
        ("a/+b", 2),
        ("++", 1),
        ("a/##", 2),
    ] {
        assert_eq!(
            TopicFilter::new(bad),
            Err(TopicError::MisplacedWildcard(level)),
            "{bad}"
        );
    }
    assert_eq!(TopicFilter::new(""), Err(TopicError::Empty));
    assert_eq!(TopicFilter::new("$share/g/a"), Err(TopicError::Share));
}

#[test]
fn shared_subscriptions_are_told_apart() {
    let shared = Subscription::new("$share/group/a/+").unwrap();
    assert_eq!(shared.share.as_deref(), Some("group"));
    assert_eq!(shared.filter, filter("a/+"));
    assert_eq!(Subscription::new("$shared/a").unwrap().share, None);
    for bad in [
        "$share",
        "$share/",
        "$share/g",
        "$share//a",
        "$share/g+/a",
        "$share/#/a",
        "$share/g/$share/h/a",
    ] {
        assert_eq!(Subscription::new(bad), Err(TopicError::Share), "{bad}");
    }
    assert_eq!(Subscription::new("$share/g/"), Err(TopicError::Empty));
    assert_eq!(
        Subscription::new("$share/g/a/#/b"),
        Err(TopicError::MisplacedWildcard(2))
    );
}

/// The examples of section 4.7 of the specification.
#[test]
fn the_specifications_examples_match() {
    for (pattern, topic, matches) in [
        ("sport/tennis/player1/#", "sport/tennis/player1", true),
        (
            "sport/tennis/player1/#",
            "sport/tennis/player1/score/wimbledon",
            true,
        ),
        ("sport/#", "sport", true),
        ("sport/tennis/+", "sport/tennis/player1", true),
        ("sport/tennis/+", "sport/tennis/player1/ranking", false),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("+/+", "/finance", true),
        ("/+", "/finance", true),
        ("+", "/finance", false),
        ("#", "$SYS/monitor", false),
        ("+/monitor/Clients", "$SYS/monitor/Clients", false),
        ("$SYS/#", "$SYS/monitor", true),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
        ("ACCOUNTS", "Accounts", false),
    ] {
        assert_eq!(
            filter(pattern).matches(&name(topic)),
            matches,
            "{pattern} {topic}"
        );
    }
}

#[test]
fn a_grant_covers_what_it_wholly_contains() {
    for (grant, wanted, covered) in [
        ("state/+/1", "state/preflight/1", true),
        ("state/+/1", "state/#", false),
        ("state/#", "state", true),
        ("state/#", "state/+/+", true),
        ("state/+", "state/#", false),
        ("#", "#", true),
        ("#", "+/a", true),
        ("#", "$SYS/#", false),
        ("+/a", "$SYS/a", false),
        ("$SYS/#", "$SYS/+", true),
        ("+", "#", false),
        ("a/b", "a/+", false),
    ] {
        assert_eq!(filter(grant).covers(&filter(wanted)), covered, "{grant} {wanted}");
    }
}

/// The definition in the specification, level by level and without any of our cleverness.
fn naive(pattern: &[&str], topic: &[&str], first: bool) -> bool {
    let hidden = first && topic.first().is_some_and(|level| level.starts_with('$'));
    match (pattern, topic) {
        (["#"], _) => !hidden,
        ([], []) => true,
        (["+", rest @ ..], [_, others @ ..]) => !hidden && naive(rest, others, false),
        ([level, rest @ ..], [other, others @ ..]) => level == other && naive(rest, others, false),
        _ => false,
    }
}

fn naively(pattern: &str, topic: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').collect();
    let topic: Vec<&str> = topic.split('/').collect();
    naive(&pattern, &topic, true)
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
    fn no_text_panics_and_what_is_taken_is_kept(text in any::<String>()) {
        if let Ok(taken) = TopicName::new(&text) { prop_assert_eq!(taken.as_str(), &text); }
        if let Ok(taken) = TopicFilter::new(&text) { prop_assert_eq!(taken.as_str(), &text); }
        let _ = Subscription::new(&text);
    }

    #[test]
    fn matching_is_as_defined(pattern in filters(), topic in names()) {
        prop_assert_eq!(filter(&pattern).matches(&name(&topic)), naively(&pattern, &topic));
    }

    #[test]
    fn a_covered_filter_matches_nothing_more(grant in filters(), wanted in filters(), topic in names()) {
        let (grant, wanted, topic) = (filter(&grant), filter(&wanted), name(&topic));
        if grant.covers(&wanted) && wanted.matches(&topic) {
            prop_assert!(grant.matches(&topic));
        }
    }
}
