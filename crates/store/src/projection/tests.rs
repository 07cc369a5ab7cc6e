use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000 + second, 0).unwrap()
}

fn change(id: &str, second: i64, data: &Value, merge: bool) -> StateChange {
    StateChange {
        topic: TopicName::new("state/order/7").unwrap(),
        event: EventKey {
            source: "/shop".into(),
            id: id.into(),
        },
        part: 0,
        time: at(second),
        order: StateOrder::Time(at(second)),
        data: data.to_string(),
        merge,
        at: at(0),
        expires: None,
    }
}

/// What the changes leave, and what became of each.
fn left(changes: &[StateChange]) -> (u64, Value, Vec<StateVerdict>) {
    let projected = Projection::of(changes, 0, Vec::new()).projected();
    let state = &projected.states[0];
    (
        state.version,
        serde_json::from_str(&state.data).unwrap(),
        projected.verdicts,
    )
}

use StateVerdict::{Changed, Known, Late, TooLarge};

#[test]
fn what_is_late_or_known_changes_nothing() {
    let of = |id, second, level| change(id, second, &json!({ "on_hand": level }), false);
    let changes = [
        of("a", 1, 9),
        of("c", 3, 7),
        of("b", 2, 8),
        of("c", 3, 7),
        of("a", 1, 9),
    ];
    assert_eq!(
        left(&changes),
        (
            2,
            json!({ "on_hand": 7 }),
            vec![Changed, Changed, Late, Known, Late]
        )
    );
}

#[test]
fn of_one_moment_the_last_counts_and_none_comes_twice() {
    let of = |id, level| change(id, 1, &json!(level), false);
    let (a, b) = (of("a", 1), of("b", 2));
    let (version, data, verdicts) = left(&[a.clone(), b.clone(), a, b]);
    assert_eq!((version, data), (2, json!(2)));
    assert_eq!(verdicts, [Changed, Changed, Known, Known]);
}

#[test]
fn a_late_event_says_what_no_newer_one_has_said() {
    let placed = change(
        "p",
        1,
        &json!({ "status": "placed", "total": 5, "number": null }),
        true,
    );
    let numbered = change("n", 2, &json!({ "number": "1001", "status": "numbered" }), true);
    let shipped = change("s", 3, &json!({ "status": "shipped" }), true);
    let whole = json!({ "status": "shipped", "total": 5, "number": "1001" });
    let (version, data, verdicts) = left(&[placed.clone(), shipped.clone(), numbered.clone()]);
    assert_eq!((version, &data), (3, &whole));
    assert_eq!(verdicts, [Changed, Changed, Changed]);
    let (version, data, verdicts) = left(&[shipped, numbered.clone(), placed, numbered]);
    assert_eq!((version, &data), (3, &whole));
    assert_eq!(verdicts, [Changed, Changed, Changed, Late]);
}

#[test]
fn nothing_late_gets_under_data_that_took_the_place_of_all() {
    let whole = change("w", 5, &json!({ "a": 1 }), false);
    let before = change("b", 4, &json!({ "b": 2 }), true);
    let after = change("a", 6, &json!({ "c": 3 }), true);
    let (_, data, verdicts) = left(&[whole.clone(), before.clone(), after.clone()]);
    assert_eq!(
        (data, verdicts),
        (json!({ "a": 1, "c": 3 }), vec![Changed, Late, Changed])
    );
    let (_, data, _) = left(&[before, whole, after]);
    assert_eq!(data, json!({ "a": 1, "c": 3 }));
}

#[test]
fn a_topic_that_was_over_goes_on_with_a_greater_version() {
    let mut short = change("a", 9, &json!({ "x": 1, "y": 1 }), true);
    short.expires = Some(at(10));
    let mut later = change("b", 11, &json!({ "x": 2 }), true);
    later.at = at(10);
    let (version, data, _) = left(&[short, later.clone()]);
    assert_eq!((version, data), (2, json!({ "x": 2 })));
    let projected = Projection::of(&[later], 41, Vec::new()).projected();
    assert_eq!(projected.states[0].version, 42);
}

#[test]
fn what_is_late_stays_late_when_the_topic_is_over() {
    for merge in [false, true] {
        let mut new = change("new", 10, &json!({ "x": "new" }), merge);
        new.expires = Some(at(20));
        let of = |id, second| StateChange {
            at: at(20),
            ..change(id, second, &json!({ "x": id, "y": id }), merge)
        };
        let (old, known) = (of("old", 5), of("new", 10));
        let projected = Projection::of(&[new.clone(), old.clone(), known.clone()], 0, Vec::new()).projected();
        assert_eq!(projected.verdicts, [Changed, Late, Known]);
        assert_eq!(projected.states, [], "there is none any more");
        let newest = of("newest", 10);
        let (version, data, verdicts) = left(&[new, old.clone(), newest, old, known]);
        assert_eq!((version, &data["x"]), (2, &json!("newest")));
        assert_eq!(verdicts[..3], [Changed, Late, Changed]);
        // The late one says what the newest one has not, now that there is a state again.
        assert_eq!(data, json!({ "x": "newest", "y": "newest" }));
        assert_eq!(verdicts[3..], [Late, Known]);
    }
}

#[test]
fn one_event_changes_a_topic_by_several_rules() {
    for merge in [false, true] {
        let parts = |id: &str, second| {
            let of = |part: u32, name: &str| StateChange {
                part,
                ..change(id, second, &json!({ name: id }), merge)
            };
            [of(0, "a"), of(1, "b")]
        };
        let expected = |id: &str| match merge {
            true => json!({ "a": id, "b": id }),
            false => json!({ "b": id }),
        };
        let (version, data, verdicts) = left(&[parts("e", 2), parts("e", 2)].concat());
        assert_eq!((version, data), (2, expected("e")));
        assert_eq!(verdicts, [Changed, Changed, Known, Known]);

        let (version, data, verdicts) = left(&[parts("e", 2), parts("late", 1)].concat());
        assert_eq!((version, data), (2, expected("e")));
        assert_eq!(verdicts[2..], [Late, Late]);
    }
    let other = |second| change("other", second, &json!({ "c": 1 }), true);
    let [first, second] = [(0, "a"), (1, "b")].map(|(part, name)| StateChange {
        part,
        ..change("e", 2, &json!({ name: 1 }), true)
    });
    let (_, data, verdicts) = left(&[other(3), first, second]);
    assert_eq!(data, json!({ "a": 1, "b": 1, "c": 1 }));
    assert_eq!(verdicts, [Changed; 3]);
}

#[test]
fn a_batch_of_one_moment_is_known_when_it_comes_again() {
    let batch: Vec<_> = (0..STATE_SEEN_MAX)
        .map(|n| change(&n.to_string(), 1, &json!(n), false))
        .collect();
    let (version, data, verdicts) = left(&[batch.clone(), batch].concat());
    assert_eq!((version, data), (256, json!(255)));
    assert!(verdicts[STATE_SEEN_MAX..].iter().all(|verdict| *verdict == Known));
}

#[test]
fn what_rows_remembered_before_events_had_parts_is_known() {
    let old = r#"{"order":{"number":1},"seen":[["/shop","a"]]}"#;
    let mut memory: Memory = serde_json::from_str(old).unwrap();
    let a = StateChange {
        order: StateOrder::Number(1),
        ..change("a", 1, &json!(1), false)
    };
    assert!(memory.knows(&a));
    assert_eq!(serde_json::to_string(&memory).unwrap(), old);
    let second = StateChange { part: 1, ..a };
    assert!(!memory.knows(&second));
    memory.note(&second);
    let json = serde_json::to_string(&memory).unwrap();
    assert_eq!(json, r#"{"order":{"number":1},"seen":[["/shop","a",[0,1]]]}"#);
}

#[test]
fn a_rule_that_has_changed_its_mind_counts() {
    for merge in [false, true] {
        let by = |id: &str, order: StateOrder| StateChange {
            order,
            ..change(id, 1, &json!({ "by": id }), merge)
        };
        let text = by("text", StateOrder::Text("2026-01-01T00:00:00".into()));
        let (time, earlier) = (
            by("time", StateOrder::Time(at(5))),
            by("earlier", StateOrder::Time(at(4))),
        );
        let (number, smaller) = (
            by("number", StateOrder::Number(7)),
            by("smaller", StateOrder::Number(6)),
        );
        let changes = [text.clone(), time.clone(), earlier, number, smaller];
        let (version, data, verdicts) = left(&changes);
        assert_eq!((version, data), (3, json!({ "by": "number" })));
        assert_eq!(verdicts, [Changed, Changed, Late, Changed, Late]);
        // What was there when the rule changed is known all the same.
        let (_, data, verdicts) = left(&[text.clone(), time.clone(), text, time]);
        assert_eq!(data, json!({ "by": "time" }));
        assert_eq!(verdicts, [Changed, Changed, Known, Known]);
    }
}

#[test]
fn data_has_a_limit_however_it_comes_together() {
    let long = "x".repeat(STATE_DATA_MAX_BYTES / 2);
    let changes = [
        change("a", 1, &json!({ "a": long }), true),
        change("b", 2, &json!({ "b": long }), true),
        change("c", 0, &json!({ "c": long }), true),
        change("d", 3, &json!({ "a": 1 }), true),
    ];
    let (version, data, verdicts) = left(&changes);
    assert_eq!((version, data), (2, json!({ "a": 1 })));
    assert_eq!(verdicts, [Changed, TooLarge, TooLarge, Changed]);
}

#[test]
fn numbers_keep_their_digits() {
    let mut exact = change("a", 1, &Value::Null, true);
    exact.data = r#"{"price":12.30,"id":12345678901234567890123}"#.to_owned();
    let projected = Projection::of(&[exact], 0, Vec::new()).projected();
    assert_eq!(
        projected.states[0].data,
        r#"{"id":12345678901234567890123,"price":12.30}"#
    );
}

#[test]
fn order_values_of_one_kind_are_in_their_order() {
    let text = |text: &str| StateOrder::Text(text.into());
    assert!(StateOrder::Number(-1) < StateOrder::Number(10));
    assert!(StateOrder::Number(10) < StateOrder::Time(at(0)));
    assert!(StateOrder::Time(at(0)) < StateOrder::Time(at(1)));
    assert!(StateOrder::Time(at(1)) < text(""));
    assert!(text("A10") < text("A2"));
}

proptest! {
    /// Events at moments of their own leave the same, whatever the order in which they come and however often.
    #[test]
    fn the_order_of_arrival_does_not_matter(
        events in prop::collection::vec((prop::collection::btree_map("[abc]", 0..9i64, 0..3), any::<bool>()), 1..7),
        arrivals in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        merge_only in any::<bool>(),
    ) {
        let changes: Vec<_> = events.iter().enumerate().map(|(second, (members, merge))| {
            change(&second.to_string(), second as i64, &json!(members), merge_only || *merge)
        }).collect();
        let (_, expected, _) = left(&changes);
        let mut shuffled: Vec<_> = arrivals.iter().map(|arrival| arrival.get(&changes).clone()).collect();
        shuffled.extend(changes.iter().rev().cloned());
        let seen: Vec<u64> = (1..=shuffled.len()).map(|length| left(&shuffled[..length]).0).collect();
        prop_assert!(seen.is_sorted());
        if merge_only {
            prop_assert_eq!(left(&shuffled).1, expected);
        }
    }
}
