#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    BrokerView, EndpointView, HubView, ReadyCheck,
    browser_tokens::ManyRefused,
    facts::Record,
    ledger::Line,
    testing::{now, routing_of},
};

use super::*;

/// All is well, with an adapter erp.
fn facts() -> Facts {
    let check = |name: &str| ReadyCheck {
        name: name.into(),
        ok: true,
        detail: String::new(),
    };
    Facts {
        now: now(),
        routing: Arc::new(routing_of(&[
            ("erp", "name = \"erp\"\nsource = \"/erp\""),
            ("wms", "name = \"wms\"\nsource = \"/wms\""),
        ])),
        checks: ["revision", "database", "rabbitmq", "topology"].map(check).into(),
        link: LinkState::Connected,
        broker: Some(BrokerView {
            address: "127.0.0.1:5672".into(),
            version: "3.10.8".into(),
            private: true,
            alarms: Vec::new(),
        }),
        queues: Some(BTreeMap::new()),
        record: Some(Record {
            lines: BTreeMap::new(),
            adapters: vec![adapter("erp")],
            quarantined: 0,
        }),
        hubs: Vec::new(),
        alarms: Vec::new(),
        refused: None,
    }
}

fn adapter(name: &str) -> AdapterView {
    serde_json::from_value(serde_json::json!({
        "name": name, "source": format!("/{name}"), "publishes": [], "subscribes": [], "delivery": "amqp",
        "state": "live", "auto_ack_consumers": [], "users": [],
        "ledger": AdapterLedger { adapter: name.into(), ..AdapterLedger::default() },
        "recent": { "window_s": 300, "failed": 0 },
    }))
    .unwrap()
}

fn erp(facts: &mut Facts) -> &mut AdapterView {
    &mut facts.record.as_mut().unwrap().adapters[0]
}

fn unwell(facts: &mut Facts, name: &str, why: &str) {
    let check = facts.checks.iter_mut().find(|check| check.name == name).unwrap();
    (check.ok, check.detail) = (false, why.into());
}

fn alarm(part: &str, about: &str, sentence: &str) -> Alarm {
    Alarm {
        part: part.into(),
        about: about.into(),
        sentence: sentence.into(),
    }
}

/// Severity, subject, sentence and where its action leads, or what it runs.
fn told(facts: &Facts) -> Vec<(Severity, String, String, String)> {
    let told = findings(facts).into_iter().map(|finding| {
        let AttentionView {
            severity,
            subject,
            sentence,
            action,
            ..
        } = finding.view;
        (
            severity,
            subject,
            sentence,
            action
                .and_then(|action| action.href.or(action.command))
                .unwrap_or_default(),
        )
    });
    told.collect()
}

fn only(facts: &Facts) -> (Severity, String, String, String) {
    let mut told = told(facts);
    assert_eq!(told.len(), 1, "{told:?}");
    told.remove(0)
}

fn row(severity: Severity, subject: &str, sentence: &str, href: &str) -> (Severity, String, String, String) {
    (severity, subject.into(), sentence.into(), href.into())
}

#[test]
fn nothing_is_said_when_all_is_well() {
    assert!(told(&facts()).is_empty());
}

#[test]
fn a_broker_that_is_away_is_one_thing_and_not_three() {
    let mut facts = facts();
    unwell(&mut facts, "rabbitmq", "unreachable for 2 m 0 s: refused");
    unwell(&mut facts, "topology", "refused");
    (facts.broker, facts.queues) = (None, None);
    facts.link = LinkState::Down {
        since: facts.now - TimeDelta::seconds(120),
        reason: "refused".into(),
    };
    facts.alarms = vec![alarm(
        upkeep::PART,
        "broker",
        "RabbitMQ could not be looked after: refused",
    )];
    assert_eq!(
        only(&facts),
        row(
            Severity::Failed,
            "broker",
            "RabbitMQ is unreachable for 2 m 0 s, stored events can still be searched: refused",
            "/events"
        )
    );
    assert_eq!(
        findings(&facts)[0].view.since,
        Some(facts.now - TimeDelta::seconds(120))
    );
}

#[test]
fn a_database_that_is_away_is_said_once() {
    let mut facts = facts();
    facts.record = None;
    unwell(&mut facts, "database", "no answer");
    facts.alarms = vec![alarm(
        "gate 0",
        storing::ABOUT,
        "gate 0 waits for the database: no answer",
    )];
    let (severity, subject, sentence, href) = only(&facts);
    assert_eq!(
        (severity, subject.as_str(), href.as_str()),
        (Severity::Failed, "database", "/queues")
    );
    assert_eq!(
        sentence,
        "The database does not answer, events wait in RabbitMQ: no answer"
    );
}

#[test]
fn a_broker_says_what_ails_it() {
    let mut facts = facts();
    facts.broker.as_mut().unwrap().alarms = vec!["rabbit@here is above its memory limit".into()];
    let (severity, subject, sentence, href) = only(&facts);
    assert_eq!(
        (severity, subject.as_str(), href.as_str()),
        (Severity::Failed, "broker", "/queues")
    );
    assert_eq!(sentence, "RabbitMQ: rabbit@here is above its memory limit");
    facts.broker = None;
    assert_eq!(only(&facts).0, Severity::Degraded);
    facts.link = LinkState::Blocked {
        reason: "low on memory".into(),
    };
    assert_eq!(told(&facts)[0].2, "RabbitMQ takes no messages: low on memory");
}

#[test]
fn an_adapter_fails_by_the_share_of_its_attempts() {
    let mut facts = facts();
    let mut said = |done, failed, retrying| {
        erp(&mut facts).recent = RecentView {
            window_s: 300,
            done,
            failed,
        };
        let mut line = Line::default();
        line.retrying = retrying;
        line.figures.adapter = "erp".into();
        facts.record.as_mut().unwrap().lines.insert("erp".into(), line);
        told(&facts).pop().map(|(severity, _, sentence, href)| {
            assert_eq!(href, "/adapters/erp");
            (severity, sentence)
        })
    };
    assert_eq!(said(Some(1_000), 99, 0), None, "fewer than one in ten");
    assert_eq!(said(Some(0), 2, 0), None, "too few to say anything");
    let failed = |severity, sentence: &str| Some((severity, sentence.to_owned()));
    assert_eq!(
        said(Some(90), 10, 0),
        failed(
            Severity::Degraded,
            "erp: 10 of 100 attempts failed in the last 5 minutes"
        )
    );
    assert_eq!(
        said(Some(10), 10, 1),
        failed(
            Severity::Failed,
            "erp: 10 of 20 attempts failed in the last 5 minutes, 1 delivery waits for another attempt"
        )
    );
    assert_eq!(
        said(None, 3, 0),
        failed(Severity::Degraded, "erp: 3 attempts failed in the last 5 minutes")
    );
    assert_eq!(
        said(Some(1_000), 1, 2),
        failed(Severity::Degraded, "erp: 2 deliveries wait for another attempt")
    );
}

#[test]
fn dead_letters_and_losses_lead_to_where_they_are_mended() {
    let mut facts = facts();
    erp(&mut facts).ledger.parked = 2;
    assert_eq!(
        only(&facts),
        row(
            Severity::Failed,
            "adapter:erp",
            "erp: 2 deliveries have failed for good",
            "/dead-letters?adapter=erp"
        )
    );
    assert_eq!(
        findings(&facts)[0].in_words(),
        "erp: 2 deliveries have failed for good; `crossdock dead-letter list` says why"
    );
    erp(&mut facts).ledger.parked = 0;
    let mut gone = Line::default();
    (gone.figures.adapter, gone.figures.unaccounted) = ("gone".into(), 1);
    facts.record.as_mut().unwrap().lines.insert("gone".into(), gone);
    assert_eq!(
        only(&facts),
        row(
            Severity::Failed,
            "adapter:gone",
            "gone: 1 event left its queue without a receipt",
            "/events?adapter=gone"
        )
    );
}

#[test]
fn how_long_events_wait_is_said_once() {
    let mut facts = facts();
    let oldest = facts.now - TimeDelta::seconds(61);
    erp(&mut facts).oldest_pending = Some(facts.now - TimeDelta::seconds(60));
    assert!(told(&facts).is_empty());
    erp(&mut facts).oldest_pending = Some(oldest);
    assert_eq!(
        only(&facts),
        row(
            Severity::Degraded,
            "adapter:erp",
            "erp: the oldest event waits for 1 m 1 s",
            "/queues?name=crossdock.adapter.erp"
        )
    );
    let nobody = "erp has no consumer; 1 event waits";
    facts.alarms = vec![alarm(upkeep::QUEUES, "crossdock.adapter.erp", nobody)];
    assert_eq!(
        only(&facts),
        row(
            Severity::Failed,
            "adapter:erp",
            "erp has no consumer; 1 event waits, the oldest for 1 m 1 s",
            "/queues?name=crossdock.adapter.erp"
        )
    );
    assert_eq!(findings(&facts)[0].view.since, Some(oldest));
}

#[test]
fn alarms_are_about_what_they_name() {
    let mut facts = facts();
    let cases = [
        (webhooks::DISABLED, "erp", "adapter:erp", "/adapters/erp"),
        (webhooks::PART, "erp secret", "adapter:erp", "/adapters/erp"),
        (
            alerts::SLOW_MAPPINGS,
            "slow-mapping/erp/1/filter",
            "adapter:erp",
            "/adapters/erp",
        ),
        ("credentials", "erp", "adapter:erp", "/adapters/erp"),
        ("gate 0", "erp", "adapter:erp", "/adapters/erp"),
        // Known to the revision, though the record does not show it now.
        ("gate 0", "wms", "adapter:wms", "/adapters/wms"),
        (
            upkeep::QUEUES,
            "crossdock.adapter.erp auto-ack",
            "adapter:erp",
            "/queues?name=crossdock.adapter.erp",
        ),
        (
            upkeep::QUEUES,
            names::UNDELIVERABLE,
            "queue:crossdock.undeliverable",
            "/queues?name=crossdock.undeliverable",
        ),
        (
            upkeep::QUEUES,
            "crossdock.adapter.old",
            "queue:crossdock.adapter.old",
            "/queues?name=crossdock.adapter.old",
        ),
        ("outcomes", storing::ABOUT, "database", "/queues"),
        (retention::PART, "quarantine", "quarantine", "/v1/quarantine"),
        (upkeep::PART, "broker", "broker", "/queues"),
        (revisions::PART, "2", "revision", "crossdock apply --dry-run"),
    ];
    for (part, about, subject, href) in cases {
        facts.alarms = vec![alarm(part, about, "something is the matter")];
        let (_, said_of, sentence, leads_to) = only(&facts);
        assert_eq!(
            (said_of.as_str(), leads_to.as_str()),
            (subject, href),
            "{part} {about}"
        );
        assert_eq!(sentence, "something is the matter");
    }
    let since = facts.now;
    erp(&mut facts).endpoint = Some(EndpointView {
        address: "https://erp.example".into(),
        trouble: None,
        disabled: Some(since),
    });
    facts.alarms = vec![alarm(webhooks::DISABLED, "erp", "gone")];
    assert_eq!(findings(&facts)[0].view.since, Some(since));
}

#[test]
fn pages_that_are_not_let_in_are_said_while_they_can_be_judged() {
    let mut facts = facts();
    facts.refused = Some(ManyRefused::of_expired_tokens(20));
    let sentence = "20 logins of pages were refused in the last 5 minutes and none was let in, because of their token \
                    (`expired`: it has expired): a page has to fetch a fresh one at each connect";
    assert_eq!(only(&facts), row(Severity::Degraded, "mqtt", sentence, ""));
    unwell(&mut facts, "database", "no answer");
    assert_eq!(only(&facts).1, "database");
}

#[test]
fn the_worst_comes_first() {
    let mut facts = facts();
    facts.hubs = vec![HubView {
        id: "h".into(),
        host: "there".into(),
        version: "1".into(),
        files_match_revision: false,
        seen: facts.now,
    }];
    facts.record.as_mut().unwrap().quarantined = 1;
    erp(&mut facts).ledger.parked = 1;
    erp(&mut facts).ledger.unaccounted = 1;
    erp(&mut facts).oldest_pending = Some(facts.now - TimeDelta::hours(1));
    facts.alarms = vec![alarm(webhooks::DISABLED, "erp", "erp's endpoint is gone")];
    facts.broker.as_mut().unwrap().alarms = vec!["a node is short of free disk space".into()];
    unwell(&mut facts, "revision", "revision 3 cannot be read");
    let sentences: Vec<String> = told(&facts)
        .into_iter()
        .map(|(_, _, sentence, _)| sentence)
        .collect();
    assert_eq!(
        sentences,
        [
            "RabbitMQ: a node is short of free disk space",
            "The revision in force cannot be used: revision 3 cannot be read",
            "erp: 1 event left its queue without a receipt",
            "erp's endpoint is gone",
            "erp: 1 delivery has failed for good",
            "erp: the oldest event waits for 1 h 0 m",
            "1 message is in quarantine",
            "The configuration files on there are not those of the revision in force",
        ]
    );
    let ways_on: Vec<String> = told(&facts).into_iter().map(|(.., way_on)| way_on).collect();
    assert_eq!(ways_on[1], "crossdock apply --dry-run");
    assert_eq!(ways_on[6..], ["/v1/quarantine", "crossdock apply"]);
}
