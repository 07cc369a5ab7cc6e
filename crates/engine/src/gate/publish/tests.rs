#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, sync::Mutex, time::Duration};

use serde_json::json;

use super::*;
use crate::{
    retry::ATTEMPT_HEADER,
    testing::{accepted, event, now},
};
use crossdock_bus::message::HeaderValue;

/// An event's id and its targets.
type Sent = (String, Vec<String>);

/// An outlet that answers by rule, and remembers what it was given.
struct Paper<F> {
    rule: F,
    published: Mutex<Vec<Vec<Sent>>>,
    pauses: Mutex<Vec<bool>>,
}

impl<F> Paper<F>
where
    F: Fn(&str, &[String]) -> Result<(), PublishError> + Sync,
{
    /// `rule` is asked with the id of the event and its targets.
    fn new(rule: F) -> Self {
        Self {
            rule,
            published: Mutex::default(),
            pauses: Mutex::default(),
        }
    }

    /// Ids and targets, one list for each `publish_all`.
    fn published(&self) -> Vec<Vec<Sent>> {
        self.published.lock().unwrap().clone()
    }

    fn ids(&self) -> Vec<Vec<String>> {
        let ids = |calls: &Vec<Sent>| calls.iter().map(|(id, _)| id.clone()).collect();
        self.published().iter().map(ids).collect()
    }
}

impl<F> Outlet for Paper<F>
where
    F: Fn(&str, &[String]) -> Result<(), PublishError> + Sync,
{
    async fn publish_all(&self, messages: Vec<Outgoing>) -> Vec<Result<(), PublishError>> {
        let mut call = Vec::new();
        let mut results = Vec::new();
        for message in messages {
            let id = message.properties.message_id.unwrap();
            let targets: Vec<String> = message
                .bcc
                .iter()
                .map(|queue| names::adapter_of_queue(queue).unwrap_or(queue).to_owned())
                .collect();
            results.push((self.rule)(&id, &targets));
            call.push((id, targets));
        }
        self.published.lock().unwrap().push(call);
        results
    }
}

impl<F> PatientOutlet for Paper<F>
where
    F: Fn(&str, &[String]) -> Result<(), PublishError> + Sync,
{
    async fn before_another_attempt(&self, queue_is_missing: bool) {
        self.pauses.lock().unwrap().push(queue_is_missing);
    }
}

async fn sent(outlet: &impl PatientOutlet, events: Vec<Routed>) -> Published {
    publish(outlet, &Targets::default(), events).await
}

fn to(id: &str, key: &str, targets: &[&str]) -> Routed {
    routed(event(json!({ "id": id, "subject": key })), targets)
}

fn routed(event: Event, targets: &[&str]) -> Routed {
    Routed {
        accepted: accepted(event, targets),
        transformed: Vec::new(),
        failed: Vec::new(),
        makes_state: false,
        span: Default::default(),
    }
}

fn returned() -> PublishError {
    PublishError::Returned {
        code: 312,
        text: "NO_ROUTE".into(),
    }
}

fn has(targets: &[String], target: &str) -> bool {
    targets.iter().any(|other| other == target)
}

fn confirmed(published: &Published) -> Vec<(&str, Vec<&str>)> {
    published
        .confirmed
        .iter()
        .map(|confirmed| {
            let lost = confirmed.unreachable.iter().map(|(name, _)| name.as_str());
            (confirmed.routed.accepted.event.id.as_str(), lost.collect())
        })
        .collect()
}

#[tokio::test]
async fn keys_go_together_and_each_key_one_after_the_other() {
    let paper = Paper::new(|_, _| Ok(()));
    let events = [
        ("a1", "a"),
        ("b1", "b"),
        ("a2", "a"),
        ("a3", "a"),
        ("c1", "c"),
        ("b2", "b"),
    ];
    let events = events.map(|(id, key)| to(id, key, &["erp"])).into();
    let published = sent(&paper, events).await;
    assert_eq!(
        paper.ids(),
        [vec!["a1", "b1", "c1"], vec!["a2", "b2"], vec!["a3"]]
    );
    let ids: Vec<_> = confirmed(&published).iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, ["a1", "b1", "c1", "a2", "b2", "a3"]);
    assert!(published.lane_over.is_none());
}

#[tokio::test]
async fn the_partition_key_is_what_counts() {
    let paper = Paper::new(|_, _| Ok(()));
    let one = event(json!({ "id": "1", "subject": "x", "partitionkey": "k" }));
    let two = event(json!({ "id": "2", "subject": "y", "partitionkey": "k" }));
    let none = event(json!({ "id": "3", "subject": null }));
    let events = [one, two, none].map(|event| routed(event, &["erp"])).into();
    sent(&paper, events).await;
    assert_eq!(paper.ids(), [vec!["1", "3"], vec!["2"]]);
}

#[tokio::test]
async fn what_a_transform_made_is_a_message_of_its_own() {
    let paper = Paper::new(|_, targets| {
        if has(targets, "full") {
            Err(PublishError::Nacked)
        } else {
            Ok(())
        }
    });
    let mut first = to("1", "a", &["erp", "mail", "shop", "full", "wms"]);
    for target in ["mail", "full"] {
        first
            .transformed
            .push((target.into(), first.accepted.event.clone()));
    }
    let failure = Failure {
        detail: "it failed".into(),
        logged: "it failed".into(),
    };
    first.failed.push(("shop".into(), failure));
    let published = sent(&paper, vec![first, to("2", "a", &["mail"])]).await;
    let calls = paper.published();
    let targets =
        |call: usize| -> Vec<_> { calls[call].iter().map(|(_, targets)| targets.join(" ")).collect() };
    assert_eq!(targets(0), ["erp wms", "mail", "full"]);
    assert_eq!(targets(1), ["full"], "only what was refused is tried again");
    assert_eq!(
        calls.last().unwrap()[0].0,
        "2",
        "the next of the key waits for all of it"
    );
    assert_eq!(confirmed(&published), [("1", vec!["full"]), ("2", vec![])]);
    assert_eq!(published.confirmed[0].routed.failed[0].0, "shop");
    let (reached, unreachable) = published.targets();
    assert_eq!(reached, BTreeSet::from(["erp", "mail", "wms"]));
    assert_eq!(unreachable.len(), 1);
}

#[test]
fn each_message_brings_its_own_form_of_the_event() {
    let mut routed = to("1", "a", &["erp", "mail"]);
    let made = routed.accepted.event.with_json_data("7".into()).unwrap();
    routed.transformed.push(("mail".into(), made));
    let wave = [routed];
    let mut fates = [Fate::default()];
    let bodies: Vec<_> = pack(&wave, &Targets::default(), &mut fates)
        .iter()
        .map(|parcel| parcel.message(&wave, &mut Vec::new()))
        .map(|message| (message.bcc.join(" "), message.body))
        .collect();
    assert_eq!(
        bodies,
        [
            ("crossdock.adapter.erp".to_owned(), "".into()),
            ("crossdock.adapter.mail".to_owned(), "7".into()),
        ]
    );
}

#[tokio::test]
async fn nobody_is_published_to_when_nobody_subscribes() {
    let paper = Paper::new(|_, _| Ok(()));
    let published = sent(&paper, vec![to("1", "a", &[])]).await;
    assert_eq!(confirmed(&published), [("1", vec![])]);
    assert!(paper.published().is_empty());
}

#[tokio::test]
async fn many_targets_go_out_in_several_messages() {
    let paper = Paper::new(|_, _| Ok(()));
    let names: Vec<String> = (0..401).map(|n| format!("a{n}")).collect();
    let targets: Vec<&str> = names.iter().map(String::as_str).collect();
    let published = sent(&paper, vec![to("1", "a", &targets)]).await;
    let sizes: Vec<_> = paper.published()[0]
        .iter()
        .map(|(_, targets)| targets.len())
        .collect();
    assert_eq!(sizes, [200, 200, 1]);
    assert_eq!(published.confirmed.len(), 1);
}

#[tokio::test]
async fn a_target_that_refuses_costs_the_others_nothing() {
    let paper = Paper::new(|_, targets| {
        if has(targets, "full") {
            Err(PublishError::Nacked)
        } else {
            Ok(())
        }
    });
    let published = sent(
        &paper,
        vec![to("1", "a", &["erp", "full", "wms"]), to("2", "b", &["erp"])],
    )
    .await;
    assert_eq!(confirmed(&published), [("1", vec!["full"]), ("2", vec![])]);
    assert!(published.confirmed[0].unreachable[0].1.contains("refused"));
    let sent = paper.published();
    assert_eq!(sent.len(), 1 + ATTEMPTS_APART);
    let apart: BTreeSet<_> = sent[1].iter().flat_map(|(_, targets)| targets.clone()).collect();
    assert_eq!(apart.len(), 3, "each target by itself");
    assert!(
        sent[2..].iter().all(|call| call.len() == 1),
        "what is confirmed is not repeated: {sent:?}"
    );
    assert_eq!(*paper.pauses.lock().unwrap(), [false, false]);
}

#[tokio::test]
async fn a_missing_queue_is_made_again_and_then_has_the_event() {
    let there = Mutex::new(false);
    let paper = Paper::new(|_, _| {
        if *there.lock().unwrap() {
            Ok(())
        } else {
            Err(returned())
        }
    });
    struct Upkeep<'a, F>(&'a Paper<F>, &'a Mutex<bool>);
    impl<F: Fn(&str, &[String]) -> Result<(), PublishError> + Sync> Outlet for Upkeep<'_, F> {
        async fn publish_all(&self, messages: Vec<Outgoing>) -> Vec<Result<(), PublishError>> {
            self.0.publish_all(messages).await
        }
    }
    impl<F: Fn(&str, &[String]) -> Result<(), PublishError> + Sync> PatientOutlet for Upkeep<'_, F> {
        async fn before_another_attempt(&self, queue_is_missing: bool) {
            assert!(queue_is_missing);
            *self.1.lock().unwrap() = true;
        }
    }
    let published = sent(&Upkeep(&paper, &there), vec![to("1", "a", &["erp"])]).await;
    assert_eq!(confirmed(&published), [("1", vec![])]);
    assert_eq!(paper.published().len(), 2);
}

#[tokio::test]
async fn later_events_do_not_wait_for_a_target_that_was_given_up() {
    let paper = Paper::new(|_, targets| {
        if has(targets, "gone") {
            Err(returned())
        } else {
            Ok(())
        }
    });
    let events = (0..50)
        .map(|n| to(&n.to_string(), "a", &["erp", "gone"]))
        .collect();
    let published = sent(&paper, events).await;
    assert_eq!(published.confirmed.len(), 50);
    assert!(
        published
            .confirmed
            .iter()
            .all(|confirmed| confirmed.unreachable.len() == 1)
    );
    assert_eq!(paper.published().len(), 1 + ATTEMPTS_APART + 49);
    assert!(paper.pauses.lock().unwrap().len() <= ATTEMPTS_APART);
}

#[tokio::test]
async fn an_event_that_is_too_large_says_nothing_about_the_next() {
    let paper = Paper::new(|id, _| {
        if id == "large" {
            Err(PublishError::TooLarge { limit: 1, actual: 2 })
        } else {
            Ok(())
        }
    });
    let published = sent(
        &paper,
        vec![to("large", "a", &["erp"]), to("small", "a", &["erp"])],
    )
    .await;
    assert_eq!(confirmed(&published), [("large", vec![]), ("small", vec![])]);
    assert_eq!(published.confirmed[0].routed.failed[0].0, "erp");
    assert!(paper.pauses.lock().unwrap().is_empty());
}

#[tokio::test]
async fn when_the_lane_is_over_what_was_confirmed_counts_and_nothing_follows() {
    let paper = Paper::new(|id, _| {
        if id == "b1" {
            Err(PublishError::Unavailable("gone".into()))
        } else {
            Ok(())
        }
    });
    let events = [("a1", "a"), ("b1", "b"), ("c1", "c"), ("a2", "a")];
    let events = events.map(|(id, key)| to(id, key, &["erp"])).into();
    let published = sent(&paper, events).await;
    assert!(published.lane_over.is_some());
    assert_eq!(confirmed(&published), [("a1", vec![]), ("c1", vec![])]);
    assert_eq!(paper.ids(), [["a1", "b1", "c1"]]);
}

#[tokio::test]
async fn no_confirm_in_time_is_the_targets_fault_only_if_others_are_confirmed() {
    let hung = Paper::new(|_, targets| {
        if has(targets, "hung") {
            Err(PublishError::Timeout)
        } else {
            Ok(())
        }
    });
    // Everything goes to the target that hangs, and to others.
    let events = vec![to("1", "a", &["erp", "hung"]), to("2", "b", &["hung", "wms"])];
    let published = sent(&hung, events).await;
    assert_eq!(confirmed(&published), [("1", vec!["hung"]), ("2", vec!["hung"])]);
    assert!(published.lane_over.is_none());
    assert_eq!(hung.published().len(), 2, "once together, once apart");

    let dead = Paper::new(|_, _| Err(PublishError::Timeout));
    let events = vec![to("1", "a", &["erp", "hung"]), to("2", "b", &["erp"])];
    let published = sent(&dead, events).await;
    assert!(published.lane_over.is_some() && published.confirmed.is_empty());
}

#[tokio::test]
async fn a_target_that_is_silent_for_too_long_is_given_up() {
    let dead = Paper::new(|_, _| Err(PublishError::Timeout));
    let patient = Targets::default();
    let impatient = Targets::with_patience(Duration::ZERO);
    for (targets, count) in [(&patient, 0), (&impatient, 1)] {
        let published = publish(&dead, targets, vec![to("1", "a", &["erp"])]).await;
        assert_eq!(published.confirmed.len(), count);
        assert_eq!(published.lane_over.is_some(), count == 0);
    }
}

#[tokio::test]
async fn it_is_known_who_takes_events_and_who_does_not() {
    let paper = Paper::new(|_, targets| {
        if has(targets, "full") {
            Err(PublishError::Nacked)
        } else {
            Ok(())
        }
    });
    let events = vec![to("1", "a", &["erp"]), to("2", "b", &["erp", "full"])];
    let published = sent(&paper, events).await;
    let (reached, unreachable) = published.targets();
    assert_eq!(reached, BTreeSet::from(["erp"]));
    assert!(unreachable["full"].contains("refused"));
}

#[tokio::test]
async fn a_lane_that_ends_while_targets_are_tried_apart_leaves_them_unknown() {
    let paper = Paper::new(|_, targets| match targets {
        [one] if one == "full" => Err(PublishError::Unavailable("gone".into())),
        many if many.len() > 1 => Err(PublishError::Nacked),
        _ => Ok(()),
    });
    let events = vec![to("1", "a", &["erp", "full"]), to("2", "b", &["erp"])];
    let published = sent(&paper, events).await;
    assert!(published.lane_over.is_some());
    assert_eq!(confirmed(&published), [("2", vec![])]);
}

#[test]
fn a_message_carries_what_the_hub_says_and_nothing_else() {
    let event = event(json!({ "comexampleextra": "kept" }));
    let message = message(&event, &["erp".into(), "wms".into()]);
    assert_eq!(
        (message.exchange.as_str(), message.routing_key.as_str()),
        ("crossdock.deliver", "")
    );
    assert_eq!(message.bcc, ["crossdock.adapter.erp", "crossdock.adapter.wms"]);
    assert!(message.mandatory);
    assert_eq!(message.properties.headers[ATTEMPT_HEADER], HeaderValue::Int(1));
    assert!(
        message
            .properties
            .headers
            .keys()
            .all(|name| name == ATTEMPT_HEADER || name.starts_with("cloudEvents_"))
    );
    assert_eq!(message.properties.user_id, None);
}

fn stateful(id: &str, targets: &[&str]) -> Routed {
    Routed {
        makes_state: true,
        ..to(id, id, targets)
    }
}

#[tokio::test]
async fn what_state_is_made_of_goes_to_the_hubs_own_queue_in_the_same_message() {
    let paper = Paper::new(|_, _| Ok(()));
    let mut transformed = stateful("b", &["erp"]);
    transformed.transformed = vec![("erp".to_owned(), event(json!({ "id": "b" })))];
    let events = vec![stateful("a", &["erp", "wms"]), transformed, stateful("c", &[])];
    let published = sent(&paper, events).await;
    let calls = paper.published.lock().unwrap();
    let targets: Vec<_> = calls[0].iter().map(|(_, targets)| targets.join(" ")).collect();
    assert_eq!(
        targets,
        [
            "erp wms crossdock.state",
            "crossdock.state",
            "erp",
            "crossdock.state"
        ]
    );
    assert!(published.targets().0.contains(names::STATE));
    // It is nobody's delivery.
    assert_eq!(published.confirmed[0].routed.accepted.targets, ["erp", "wms"]);
}

#[tokio::test]
async fn the_hubs_own_queue_costs_adapters_nothing_when_it_takes_nothing() {
    let paper = Paper::new(|_, targets| match has(targets, names::STATE) {
        true => Err(PublishError::Nacked),
        false => Ok(()),
    });
    let published = sent(&paper, vec![stateful("a", &["erp"])]).await;
    assert_eq!(confirmed(&published), [("a", vec![names::STATE])]);
    assert!(published.lane_over.is_none());
}

#[test]
fn an_event_without_a_time_says_when_it_was_received() {
    let header = |time: Option<&str>| {
        let mut one = stateful("a", &["erp"]);
        one.accepted.event.time = time.map(|time| time.parse().unwrap());
        let parcel = Parcel {
            event: 0,
            form: Form::AsItIs,
            targets: vec!["erp".to_owned(), names::STATE.to_owned()],
        };
        let message = parcel.message(&[one], &mut Vec::new());
        message
            .properties
            .headers
            .get("crossdock-received")
            .and_then(HeaderValue::as_int)
    };
    assert_eq!(header(None), Some(now().timestamp_micros()));
    assert_eq!(header(Some("2026-01-01T00:00:00Z")), None);
}
