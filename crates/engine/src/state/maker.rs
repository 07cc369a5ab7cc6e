//! The rules of a revision, each compiled once, and what they make of an event. They run on the thread that asks, for
//! as long as they take: ask where that may block.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use crossdock_config::{StateRule, StateRules};
use crossdock_model::{
    event::Event,
    jq::{Input, JqError, JqFault, Mapping, Stopwatch},
    topic::TopicName,
};
use crossdock_store::{EventKey, STATE_DATA_MAX_BYTES, StateChange, StateOrder};
use serde_json::Value;

use crate::routing::Failure;

/// The longest text that events are put in order by, in bytes.
const ORDER_TEXT_MAX_BYTES: usize = 255;
/// How far ahead of the hub's clock a time may be that events are put in order by.
const AHEAD_MAX: TimeDelta = TimeDelta::days(1);

/// A rule, ready to run.
struct Rule {
    written: StateRule,
    filter: Option<Mapping>,
    /// Yields what the topic takes from the event.
    parts: Mapping,
    order_by: Mapping,
    data: Mapping,
}

/// What makes live state of events.
#[derive(Default)]
pub(crate) struct StateMaker(Vec<Rule>);

/// What a rule makes of an event.
#[derive(Debug)]
pub(crate) struct Made {
    /// The rule, as people are told of it.
    pub(crate) rule: String,
    pub(crate) change: Result<StateChange, Failure>,
}

impl StateMaker {
    /// # Errors
    /// The first mapping that does not compile. `check` has compiled them all before.
    pub(crate) fn compile(rules: StateRules) -> Result<Self, JqFault> {
        let rules = rules.state.into_iter().map(|written| {
            Ok(Rule {
                filter: written.filter.as_deref().map(Mapping::compile).transpose()?,
                parts: Mapping::compile(&written.topic.parts_as_jq())?,
                order_by: Mapping::compile(&written.order_by)?,
                data: Mapping::compile(&written.data)?,
                written,
            })
        });
        rules.collect::<Result<_, _>>().map(Self)
    }

    /// Whether there is a rule for events of this type.
    pub(crate) fn want(&self, event_type: &str) -> bool {
        self.0.iter().any(|rule| rule.is_for(event_type))
    }

    /// The rules as they are written.
    pub(crate) fn rules(&self) -> impl Iterator<Item = &StateRule> {
        self.0.iter().map(|rule| &rule.written)
    }

    /// What the rules are called before people.
    pub(crate) fn names(&self) -> Vec<String> {
        (0..self.0.len()).map(|index| self.name(index)).collect()
    }

    fn name(&self, index: usize) -> String {
        format!("{} ({})", index + 1, self.0[index].written.topic)
    }

    /// What each rule that is for the event makes of it. The event has a time.
    pub(crate) fn make(&self, event: &Event, time: DateTime<Utc>, now: DateTime<Utc>) -> Vec<Made> {
        let rules = self.0.iter().enumerate();
        let mut rules = rules
            .filter(|(_, rule)| rule.is_for(&event.event_type))
            .peekable();
        if rules.peek().is_none() {
            return Vec::new();
        }
        let input = Input::read(event.to_mapping_input()).map_err(|error| failure("the event", &error));
        let mut parts = BTreeMap::<TopicName, u32>::new();
        let made = rules.filter_map(|(index, rule)| {
            let making = || {
                let input = input.as_ref().map_err(Clone::clone)?;
                rule.make(input, event, time, now)
            };
            // A fault of our own is a failure of that rule: it must not stop the queue.
            let change = catch_unwind(AssertUnwindSafe(making)).unwrap_or_else(|_| {
                let reason = "the hub failed while it ran the rule; please report it".to_owned();
                Err(Failure::of(reason))
            });
            let mut change = change.transpose()?;
            if let Ok(change) = &mut change {
                let next = parts.entry(change.topic.clone()).or_default();
                change.part = *next;
                *next += 1;
            }
            Some(Made {
                rule: self.name(index),
                change,
            })
        });
        made.collect()
    }
}

impl Rule {
    fn is_for(&self, event_type: &str) -> bool {
        self.written
            .types
            .iter()
            .any(|pattern| pattern.matches(event_type))
    }

    /// Nothing, if the filter does not let the event pass.
    fn make(
        &self,
        input: &Input,
        event: &Event,
        time: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Option<StateChange>, Failure> {
        if let Some(filter) = &self.filter {
            let passes = untimed(|watch| filter.passes(input, watch));
            if !passes.map_err(|error| failure("its filter", &error))? {
                return Ok(None);
            }
        }
        let parts = yields(&self.parts, input, "its topic")?;
        let parts: Vec<Value> = serde_json::from_str(&parts).unwrap_or_default();
        let topic = self.written.topic.fill(&parts);
        let topic = topic.map_err(|misfit| Failure::of(format!("its topic: {misfit}")))?;
        let order = order(&yields(&self.order_by, input, "its order_by")?, now)
            .map_err(|reason| Failure::of(format!("its order_by {reason}")))?;
        let data = yields(&self.data, input, "its data")?;
        if self.written.merge && !data.starts_with('{') {
            return Err(Failure::of(
                "its data is no object, expected one whose members can be merged".to_owned(),
            ));
        }
        if data.len() > STATE_DATA_MAX_BYTES {
            return Err(Failure::of(format!(
                "its data has {} bytes, expected at most {STATE_DATA_MAX_BYTES}",
                data.len()
            )));
        }
        Ok(Some(StateChange {
            topic,
            event: EventKey::of(event),
            part: 0,
            time,
            order,
            data,
            merge: self.written.merge,
            at: now,
            expires: self
                .written
                .expires_after
                .and_then(|after| now.checked_add_signed(delta(after))),
        }))
    }
}

fn delta(after: Duration) -> TimeDelta {
    TimeDelta::from_std(after).unwrap_or(TimeDelta::MAX)
}

fn yields(mapping: &Mapping, input: &Input, what: &str) -> Result<String, Failure> {
    untimed(|watch| mapping.transforms(input, watch)).map_err(|error| failure(what, &error))
}

/// Rules hold up nothing but other states, and their work is bounded: nobody measures how long they take.
fn untimed<T>(run: impl FnOnce(&mut Stopwatch<'_>) -> T) -> T {
    run(&mut Stopwatch::new(&|| Duration::ZERO))
}

fn failure(what: &str, error: &JqError) -> Failure {
    Failure {
        detail: format!("{what}: {}", error.detail()),
        logged: format!("{what}: {error}"),
    }
}

/// The order value in JSON. A time that is far ahead is none: all that comes after it would be late. Nor is one that is
/// written in another way than times are: among them it would be a text, and what comes after a text counts, however old.
fn order(json: &str, now: DateTime<Utc>) -> Result<StateOrder, String> {
    const EXPECTED: &str = "expected a time, a whole number or a text";
    match serde_json::from_str(json) {
        Ok(Value::String(text)) => order_of_text(text, now),
        Ok(Value::Number(number)) => match number.as_i64() {
            Some(number) => Ok(StateOrder::Number(number)),
            None => Err("yields a number that is not whole or does not fit into 64 bits".to_owned()),
        },
        Ok(Value::Null) => Err(format!("yields null, {EXPECTED}")),
        _ => Err(format!("yields something else, {EXPECTED}")),
    }
}

fn order_of_text(text: String, now: DateTime<Utc>) -> Result<StateOrder, String> {
    if text.len() > ORDER_TEXT_MAX_BYTES {
        return Err(format!(
            "yields a text of {} bytes, expected at most {ORDER_TEXT_MAX_BYTES}",
            text.len()
        ));
    }
    match DateTime::parse_from_rfc3339(&text) {
        Ok(time) if time - now.fixed_offset() > AHEAD_MAX => Err(format!(
            "yields a time more than {} hours ahead of the hub's clock, after which all that comes would be late",
            AHEAD_MAX.num_hours()
        )),
        Ok(time) => Ok(StateOrder::Time(time.to_utc())),
        Err(_) if begins_like_a_time(&text) => Err(
            "yields a time that is not as RFC 3339 has it, with seconds and a zone, such as 2026-01-31T12:00:00Z"
                .to_owned(),
        ),
        Err(_) => Ok(StateOrder::Text(text)),
    }
}

/// Whether a text begins with a date and an hour.
fn begins_like_a_time(text: &str) -> bool {
    const DATE_AND_HOUR: &[u8] = b"0000-00-00T0";
    let is_alike = |(found, expected): (u8, &u8)| match expected {
        b'0' => found.is_ascii_digit(),
        b'T' => matches!(found, b'T' | b't' | b' '),
        _ => found == *expected,
    };
    text.len() >= DATE_AND_HOUR.len() && text.bytes().zip(DATE_AND_HOUR).all(is_alike)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crossdock_config::{SourceFile, load_shared};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::testing::{event, now};

    fn maker(text: &str) -> StateMaker {
        let file = SourceFile {
            path: "state.toml".into(),
            text: text.into(),
        };
        StateMaker::compile(load_shared(&[file]).unwrap().states).unwrap()
    }

    const RULE: &str =
        "[[state]]\ntypes = [\"thing.*.v1\"]\ntopic = \"state/thing/{.subject}\"\ndata = '.data'\n";

    fn make(rules: &str, changes: Value) -> Vec<Result<StateChange, String>> {
        let mut event = event(changes);
        event.time.get_or_insert(now());
        let time = event.time.unwrap();
        let made = maker(rules).make(&event, time, now());
        made.into_iter()
            .map(|made| {
                made.change
                    .map_err(|failure| format!("{}: {}", made.rule, failure.logged))
            })
            .collect()
    }

    #[test]
    fn a_rule_makes_a_change_of_an_event() {
        let expiring = format!("{RULE}merge = true\nexpires_after = \"1d\"\n");
        let made = make(
            &expiring,
            json!({ "time": "2023-01-02T03:04:05.6Z", "data": { "b": 1.10, "a": null } }),
        );
        let change = made[0].as_ref().unwrap();
        assert_eq!(change.topic.as_str(), "state/thing/t-1");
        let time: DateTime<Utc> = "2023-01-02T03:04:05.6Z".parse().unwrap();
        assert_eq!((change.time, &change.order), (time, &StateOrder::Time(time)));
        assert_eq!(change.data, r#"{"a":null,"b":1.1}"#);
        assert!(change.merge);
        assert_eq!(change.expires, Some(now() + TimeDelta::days(1)));
        assert_eq!(make(RULE, json!({}))[0].as_ref().unwrap().expires, None);
    }

    #[test]
    fn only_rules_that_are_for_the_event_run() {
        let filtered = format!("{RULE}filter = '.data.n > 1'\n{RULE}");
        assert_eq!(make(&filtered, json!({ "data": { "n": 1 } })).len(), 1);
        assert_eq!(make(&filtered, json!({ "data": { "n": 2 } })).len(), 2);
        assert!(make(&filtered, json!({ "type": "other.sent.v1" })).is_empty());
        assert!(maker(RULE).want("thing.sent.v1"));
        assert!(!maker(RULE).want("other.sent.v1"));
        assert!(!StateMaker::default().want("thing.sent.v1"));
    }

    #[test]
    fn several_rules_of_one_topic_make_parts() {
        let other = RULE.replace("state/thing", "state/other");
        let failing = RULE.replace("'.data'", "'error'");
        let made = make(
            &[RULE, &other, &failing, RULE].concat(),
            json!({ "data": { "n": 1 } }),
        );
        let part = |change: &Result<StateChange, String>| change.as_ref().ok().map(|change| change.part);
        assert_eq!(
            made.iter().map(part).collect::<Vec<_>>(),
            [Some(0), Some(0), None, Some(1)]
        );
    }

    #[test]
    fn a_failure_names_the_rule_and_says_nothing_of_the_event() {
        let of = |rule: &str, changes| make(rule, changes).remove(0).unwrap_err();
        let prefix = "1 (state/thing/{.subject})";
        assert_eq!(
            of(RULE, json!({ "subject": "se/cret" })),
            format!("{prefix}: its topic: .subject holds a /, which would make another level")
        );
        let raising = RULE.replace("'.data'", "'.data | error(\"secret\")'");
        assert_eq!(
            of(&raising, json!({ "data": 1 })),
            format!("{prefix}: its data: the mapping raised an error")
        );
        let merging = format!("{RULE}merge = true\n");
        assert_eq!(
            of(&merging, json!({ "data": [1] })),
            format!("{prefix}: its data is no object, expected one whose members can be merged")
        );
        assert!(
            of(RULE, json!({ "data": "x".repeat(70_000) }))
                .contains("has 70002 bytes, expected at most 65536")
        );
        let ordered = format!("{RULE}order_by = '.data.n'\n");
        assert!(
            of(&ordered, json!({ "data": {} }))
                .ends_with("its order_by yields null, expected a time, a whole number or a text")
        );
    }

    #[test]
    fn order_values_are_times_numbers_and_texts() {
        let text = |text: &str| StateOrder::Text(text.into());
        for (json, expected) in [
            (
                "\"2023-01-01T01:00:00+01:00\"",
                StateOrder::Time("2023-01-01T00:00:00Z".parse().unwrap()),
            ),
            ("12", StateOrder::Number(12)),
            ("\"12\"", text("12")),
            ("\"\"", text("")),
        ] {
            assert_eq!(order(json, now()), Ok(expected), "{json}");
        }
        for json in ["null", "true", "1.5", "1e3", "9223372036854775808", "[]", "{}"] {
            assert!(order(json, now()).is_err(), "{json}");
        }
        assert!(order(&format!("\"{}\"", "x".repeat(256)), now()).is_err());
    }

    #[test]
    fn no_time_makes_everything_later_late() {
        let of = |text: &str| order(&json!(text).to_string(), now());
        let ahead = |delta: TimeDelta| of(&(now() + delta).to_rfc3339());
        assert!(ahead(TimeDelta::days(1)).is_ok());
        for fault in [
            ahead(TimeDelta::days(1) + TimeDelta::seconds(1)),
            of("2999-01-01T00:00:00Z"),
        ] {
            assert!(fault.unwrap_err().contains("24 hours ahead of the hub's clock"));
        }
        for text in [
            "2023-01-31T12:00:00",
            "2023-01-31T12:00:00.123",
            "2023-01-31 12:00:00",
            "2023-01-31T12:00",
            "2023-01-31T12:00Z",
            "2023-01-31t12",
            "2023-01-31T12:00:00+0000",
            "2023-01-31T12:00:00+01",
            "2023-01-31 12:00:00 UTC",
            "2023-01-31T12:00:00Z[Europe/London]",
            "2023-02-31T12:00:00Z",
            "2023-01-31T25:00:00Z",
        ] {
            assert!(of(text).unwrap_err().contains("not as RFC 3339 has it"), "{text}");
        }
        for text in [
            "2023-01-31",
            "2023-01-31T",
            "2023-01-31/1",
            "20260131",
            "A-12",
            "12:00:00",
            "２023-01-31T1",
        ] {
            assert_eq!(of(text), Ok(StateOrder::Text(text.into())));
        }
    }

    #[test]
    fn an_order_by_can_refuse_odd_values() {
        let of = |order_by: &str, at: Value| {
            let rule = format!("{RULE}order_by = '{order_by}'\n");
            make(&rule, json!({ "data": { "at": at } }))
                .remove(0)
                .map(|change| change.order)
        };
        let (times, numbers) = (
            ".data.at | utc(\"UTC\")",
            ".data.at | if . < 1000000 then . else error end",
        );
        let time = StateOrder::Time("2023-01-31T00:00:00Z".parse().unwrap());
        assert_eq!(of(times, json!("2023-01-31")), Ok(time));
        assert_eq!(of(numbers, json!(7)), Ok(StateOrder::Number(7)));
        for (order_by, odd) in [
            (times, json!("yesterday")),
            (times, json!(7)),
            (numbers, json!(i64::MAX)),
            (numbers, json!("7")),
            (numbers, Value::Null),
        ] {
            assert!(of(order_by, odd.clone()).is_err(), "{odd}");
        }
    }

    proptest! {
        /// A time, however it is written, never stands among times as a text.
        #[test]
        fn a_time_is_a_time_or_nothing(
            date in "[0-9]{4}-[01][0-9]-[0-3][0-9]",
            rest in "[Tt ][0-2][0-9](:?[0-9]{2}){0,2}([.,][0-9]{1,9})?( ?(Z|z|UTC|[+-][0-9]{2}(:?[0-9]{2})?))?",
        ) {
            let order = order_of_text(format!("{date}{rest}"), now());
            prop_assert!(!matches!(order, Ok(StateOrder::Text(_))), "{order:?}");
        }
    }
}
