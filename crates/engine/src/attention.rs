//! What needs attention: rules over facts. Each finding is one plain sentence that names the thing, with one way on.
//! Status and the overview show the same list, worst first.

use chrono::{DateTime, TimeDelta, Utc};
use crossdock_bus::{names, publisher::LinkState};

use crate::{
    ActionView, AdapterLedger, AdapterView, AttentionView, RecentView, Severity,
    alarms::Alarm,
    alerts,
    facts::Facts,
    retention, revisions, state, storing, upkeep, webhooks,
    words::{counted, duration},
};

/// How long an event may wait before that is worth a sentence.
const WAITING_LONG: TimeDelta = TimeDelta::seconds(60);
/// From this share of its recent attempts on an adapter counts as failing, in percent.
const FAILING_PERCENT: u64 = 10;
/// From this share on it hardly works at all, in percent.
const FAILED_PERCENT: u64 = 50;
/// Fewer failures than these say nothing about an adapter.
const FAILURES_MIN: u64 = 3;

/// What comes first of what is equally bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Database,
    Broker,
    Revision,
    Lost,
    Standstill,
    Failing,
    Parked,
    Other,
    Waiting,
    Quarantine,
    Hubs,
}

/// One thing that needs attention.
#[derive(Debug)]
pub(crate) struct Finding {
    rank: Rank,
    pub(crate) view: AttentionView,
    /// What people at a terminal can do, who have no link to follow.
    advice: Option<&'static str>,
}

impl Finding {
    fn new(severity: Severity, rank: Rank, subject: impl Into<String>, sentence: String) -> Self {
        Self {
            rank,
            view: AttentionView {
                severity,
                subject: subject.into(),
                sentence,
                since: None,
                action: None,
            },
            advice: None,
        }
    }

    fn since(mut self, since: Option<DateTime<Utc>>) -> Self {
        self.view.since = since;
        self
    }

    fn leads(mut self, label: &str, href: String) -> Self {
        self.view.action = Some(ActionView {
            label: label.to_owned(),
            href: Some(href),
            command: None,
        });
        self
    }

    /// No page helps, a command does.
    fn told_to_run(mut self, label: &str, command: &str) -> Self {
        self.view.action = Some(ActionView {
            label: label.to_owned(),
            href: None,
            command: Some(command.to_owned()),
        });
        self
    }

    fn advised(mut self, advice: &'static str) -> Self {
        self.advice = Some(advice);
        self
    }

    /// The sentence as a terminal shows it.
    pub(crate) fn in_words(&self) -> String {
        match self.advice {
            Some(advice) => format!("{}; {advice}", self.view.sentence),
            None => self.view.sentence.clone(),
        }
    }
}

/// Everything, worst first.
pub(crate) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(database(facts));
    found.extend(broker(facts));
    found.extend(facts.failed_check("revision").map(|check| {
        let sentence = format!("The revision in force cannot be used: {}", check.detail);
        about_revision(Finding::new(
            Severity::Failed,
            Rank::Revision,
            "revision",
            sentence,
        ))
    }));
    if let Some(record) = &facts.record {
        for adapter in &record.adapters {
            let retrying = record.lines.get(&adapter.name).map_or(0, |line| line.retrying);
            found.extend(of_adapter(facts, adapter, retrying));
        }
        let gone = record
            .lines
            .values()
            .filter(|line| !facts.routing.adapters.contains_key(&line.figures.adapter));
        found.extend(gone.filter_map(|line| losses(&line.figures, false)));
        found.extend(quarantine(record.quarantined));
    }
    found.extend(facts.alarms.iter().filter_map(|alarm| of_alarm(facts, alarm)));
    found.extend(logins(facts));
    found.extend(
        facts
            .hubs
            .iter()
            .filter(|hub| !hub.files_match_revision)
            .map(|hub| {
                let sentence = format!(
                    "The configuration files on {} are not those of the revision in force",
                    hub.host
                );
                Finding::new(
                    Severity::Degraded,
                    Rank::Hubs,
                    format!("hub:{}", hub.host),
                    sentence,
                )
                .advised("`crossdock apply` makes them so")
                .told_to_run("Apply them there", "crossdock apply")
            }),
    );
    found.sort_by_key(|finding| (finding.view.severity, finding.rank));
    found
}

fn database(facts: &Facts) -> Option<Finding> {
    let check = facts.failed_check("database")?;
    let sentence = format!(
        "The database does not answer, events wait in RabbitMQ: {}",
        check.detail
    );
    let finding = Finding::new(Severity::Failed, Rank::Database, "database", sentence);
    Some(finding.leads("See what waits", "/queues".to_owned()))
}

fn broker(facts: &Facts) -> Vec<Finding> {
    let failed = |sentence| Finding::new(Severity::Failed, Rank::Broker, "broker", sentence);
    let queues = |finding: Finding| finding.leads("Open the queues", "/queues".to_owned());
    let mut found = Vec::new();
    if let LinkState::Down { since, reason } = &facts.link {
        let away = duration((facts.now - *since).num_seconds());
        let sentence =
            format!("RabbitMQ is unreachable for {away}, stored events can still be searched: {reason}");
        let finding = failed(sentence).since(Some(*since));
        return vec![finding.leads("Search events", "/events".to_owned())];
    }
    if let LinkState::Blocked { reason } = &facts.link {
        found.push(queues(failed(format!("RabbitMQ takes no messages: {reason}"))));
    }
    if let Some(check) = facts.failed_check("topology") {
        found.push(queues(failed(format!(
            "RabbitMQ is not as it must be: {}",
            check.detail
        ))));
    }
    match &facts.broker {
        Some(broker) => {
            let alarms = broker.alarms.iter().map(|alarm| format!("RabbitMQ: {alarm}"));
            found.extend(alarms.map(|sentence| queues(failed(sentence))));
        }
        None => {
            let sentence =
                "RabbitMQ's management API does not answer: nothing is known of the queues".to_owned();
            let finding = Finding::new(Severity::Degraded, Rank::Broker, "broker", sentence);
            found.push(finding.leads("Search events", "/events".to_owned()));
        }
    }
    found
}

/// What an adapter owes an account of. One that is not in the revision has no page.
fn losses(line: &AdapterLedger, has_page: bool) -> Option<Finding> {
    if line.unaccounted == 0 {
        return None;
    }
    let name = &line.adapter;
    let events = counted(line.unaccounted, "event", "events");
    let sentence = format!("{name}: {events} left its queue without a receipt");
    let finding = Finding::new(Severity::Failed, Rank::Lost, format!("adapter:{name}"), sentence)
        .advised("`crossdock prove` names them");
    Some(if has_page {
        finding.leads("Open the adapter", adapter_page(name))
    } else {
        finding.leads("See its events", format!("/events?adapter={name}"))
    })
}

fn of_adapter(facts: &Facts, adapter: &AdapterView, retrying: u64) -> Vec<Finding> {
    let (name, line) = (&adapter.name, &adapter.ledger);
    let subject = format!("adapter:{name}");
    let mut found = Vec::new();
    found.extend(losses(line, true));
    if line.parked > 0 {
        let deliveries = counted(
            line.parked,
            "delivery has failed for good",
            "deliveries have failed for good",
        );
        let sentence = format!("{name}: {deliveries}");
        let finding = Finding::new(Severity::Failed, Rank::Parked, &subject, sentence)
            .advised("`crossdock dead-letter list` says why");
        found.push(finding.leads("Open dead letters", format!("/dead-letters?adapter={name}")));
    }
    found.extend(failing(name, &adapter.recent, retrying));
    let said_already = facts.alarms.iter().any(|alarm| nobody_takes(alarm, name));
    if let Some(oldest) = waits_long(facts, adapter).filter(|_| !said_already) {
        let age = duration((facts.now - oldest).num_seconds());
        let sentence = format!("{name}: the oldest event waits for {age}");
        let finding = Finding::new(Severity::Degraded, Rank::Waiting, &subject, sentence).since(Some(oldest));
        found.push(finding.leads("Open its queue", queue_page(name)));
    }
    found
}

/// Since when an adapter's oldest event waits, if that is long.
fn waits_long(facts: &Facts, adapter: &AdapterView) -> Option<DateTime<Utc>> {
    adapter
        .oldest_pending
        .filter(|oldest| facts.now - *oldest > WAITING_LONG)
}

/// Whether its recent attempts, or those that are still to come, show an adapter as failing.
fn failing(name: &str, recent: &RecentView, retrying: u64) -> Option<Finding> {
    let attempts = recent.done.map(|done| done + recent.failed);
    let percent = attempts.map(|attempts| 100 * recent.failed / attempts.max(1));
    let fails = recent.failed >= FAILURES_MIN && percent.is_none_or(|percent| percent >= FAILING_PERCENT);
    if !fails && retrying == 0 {
        return None;
    }
    let severity = match percent {
        Some(FAILED_PERCENT..) if fails => Severity::Failed,
        _ => Severity::Degraded,
    };
    let waiting = counted(retrying, "delivery waits", "deliveries wait");
    let sentence = if fails {
        let window = window(recent.window_s);
        let of = attempts
            .map(|attempts| format!(" of {attempts}"))
            .unwrap_or_default();
        let failures = format!(
            "{name}: {}{of} attempts failed in the last {window}",
            recent.failed
        );
        match retrying {
            0 => failures,
            _ => format!("{failures}, {waiting} for another attempt"),
        }
    } else {
        format!("{name}: {waiting} for another attempt")
    };
    let finding = Finding::new(severity, Rank::Failing, format!("adapter:{name}"), sentence);
    Some(finding.leads("Open the adapter", adapter_page(name)))
}

/// A span of whole minutes or seconds.
fn window(seconds: u32) -> String {
    match seconds {
        minutes if minutes % 60 == 0 => counted(u64::from(minutes / 60), "minute", "minutes"),
        seconds => counted(u64::from(seconds), "second", "seconds"),
    }
}

fn quarantine(waiting: u64) -> Option<Finding> {
    let messages = counted(waiting, "message is", "messages are");
    let sentence = format!("{messages} in quarantine");
    let finding = Finding::new(Severity::Degraded, Rank::Quarantine, "quarantine", sentence);
    (waiting > 0).then(|| about_quarantine(finding.advised("GET /v1/quarantine says why")))
}

/// Pages that are not let in. Without the database nobody can be judged, and that is said already.
fn logins(facts: &Facts) -> Option<Finding> {
    let refused = facts.refused.as_ref()?;
    let is_news = facts.failed_check("database").is_none();
    let finding = Finding::new(Severity::Degraded, Rank::Other, "mqtt", refused.to_string());
    is_news.then(|| finding.advised("docs/browser-tokens.md has what each reason means"))
}

/// The API lists the messages with the reasons; there is no page for them.
fn about_quarantine(finding: Finding) -> Finding {
    finding.leads("See the messages", "/v1/quarantine".to_owned())
}

/// Another revision is what helps; what it would change is said first.
fn about_revision(finding: Finding) -> Finding {
    finding.told_to_run("See what applying would change", "crossdock apply --dry-run")
}

/// Whether an alarm says that nobody takes an adapter's events.
fn nobody_takes(alarm: &Alarm, adapter: &str) -> bool {
    alarm.part == upkeep::QUEUES && alarm.about == names::adapter_queue(adapter)
}

/// What a part of the hub has raised. `None` where a finding says it already.
fn of_alarm(facts: &Facts, alarm: &Alarm) -> Option<Finding> {
    let (part, about) = (alarm.part.as_str(), alarm.about.as_str());
    let about_adapter = |severity, rank, name: &str| {
        let subject = format!("adapter:{name}");
        Finding::new(severity, rank, subject, alarm.sentence.clone())
            .leads("Open the adapter", adapter_page(name))
    };
    if part == upkeep::QUEUES {
        return Some(of_queue(facts, alarm));
    }
    if part == upkeep::PART && facts.broker.is_none() {
        return None;
    }
    if about == storing::ABOUT {
        let finding = Finding::new(
            Severity::Failed,
            Rank::Database,
            "database",
            alarm.sentence.clone(),
        );
        let is_news = facts.failed_check("database").is_none();
        return is_news.then(|| finding.leads("See what waits", "/queues".to_owned()));
    }
    let adapter = match part {
        webhooks::DISABLED | webhooks::PART => about.split(' ').next(),
        alerts::SLOW_MAPPINGS => about.split('/').nth(1),
        _ => names::adapter_of_queue(about).or(Some(about)),
    };
    let known = adapter.and_then(|name| {
        facts
            .record
            .as_ref()?
            .adapters
            .iter()
            .find(|view| view.name == name)
    });
    if let Some(view) = known {
        let disabled = view.endpoint.as_ref().and_then(|endpoint| endpoint.disabled);
        let finding = about_adapter(Severity::Failed, Rank::Standstill, &view.name);
        return Some(finding.since(disabled.filter(|_| part == webhooks::DISABLED)));
    }
    if let Some(name) = adapter.filter(|name| facts.routing.adapters.contains_key(*name)) {
        return Some(about_adapter(Severity::Failed, Rank::Standstill, name));
    }
    let subject = match part {
        upkeep::PART => "broker",
        retention::PART => "quarantine",
        revisions::PART => "revision",
        state::RULES => "state",
        other => other,
    };
    let finding = Finding::new(Severity::Degraded, Rank::Other, subject, alarm.sentence.clone());
    Some(match part {
        upkeep::PART => finding.leads("Open the queues", "/queues".to_owned()),
        retention::PART => about_quarantine(finding),
        revisions::PART => about_revision(finding),
        state::RULES => finding.leads("Search events", "/events".to_owned()),
        _ => finding,
    })
}

/// Upkeep's alarms are about queues.
fn of_queue(facts: &Facts, alarm: &Alarm) -> Finding {
    let (queue, is_standstill) = match alarm.about.split_once(' ') {
        Some((queue, _)) => (queue, false),
        None => (alarm.about.as_str(), true),
    };
    let severity = if is_standstill {
        Severity::Failed
    } else {
        Severity::Degraded
    };
    let adapters = facts.record.iter().flat_map(|record| &record.adapters);
    let name = names::adapter_of_queue(queue).filter(|name| facts.routing.adapters.contains_key(*name));
    let subject = match name {
        Some(name) => format!("adapter:{name}"),
        None => format!("queue:{queue}"),
    };
    let mut sentence = alarm.sentence.clone();
    let view = adapters.into_iter().find(|view| Some(view.name.as_str()) == name);
    let oldest = view
        .and_then(|view| waits_long(facts, view))
        .filter(|_| is_standstill);
    if let Some(oldest) = oldest {
        let age = duration((facts.now - oldest).num_seconds());
        sentence = format!("{sentence}, the oldest for {age}");
    }
    let finding = Finding::new(severity, Rank::Standstill, subject, sentence).since(oldest);
    finding.leads("Open its queue", format!("/queues?name={queue}"))
}

fn adapter_page(name: &str) -> String {
    format!("/adapters/{name}")
}

fn queue_page(adapter: &str) -> String {
    format!("/queues?name={}", names::adapter_queue(adapter))
}

#[cfg(test)]
mod tests;
