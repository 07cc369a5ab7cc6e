//! The overview: what needs attention, where events flow, four figures. One look at the hub gives all that watchers
//! see, so that no two of its figures disagree. While RabbitMQ or the database is away, the last good figures stay.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use crossdock_bus::{management::QueueInfo, names};
use crossdock_store::SourceFigures;

use crate::{
    AdapterFlow, AdapterView, AttentionView, DeadLetterNews, EngineError, FlowView, Hub, HubFlow, MqttFlow,
    NumbersView, OverviewView, Picture, SourceFlow, adapters,
    attention::findings,
    facts::{Facts, Record, Statistics},
    routing::Routing,
};

/// Over how long the rates of sources are taken.
const RATE_WINDOW: TimeDelta = TimeDelta::seconds(60);
/// The most sources that are shown: those that sent something last.
const SOURCES_SHOWN_MAX: usize = 50;
/// Dead letters that watchers see.
const DEAD_LETTERS_SHOWN: u32 = 50;

/// What the last looks showed, for the time in which something is away.
#[derive(Default)]
pub(crate) struct LastSeen(Mutex<Seen>);

#[derive(Clone, Default)]
struct Seen {
    broker: Option<BrokerSide>,
    record: Option<RecordSide>,
    /// Of both: nobody knows what is on its way without either.
    balance: Option<Balance>,
}

/// What RabbitMQ knows.
#[derive(Clone)]
struct BrokerSide {
    at: DateTime<Utc>,
    hub: HubFlow,
    /// Rate and depth by adapter.
    adapters: BTreeMap<String, (Option<f64>, Option<u64>)>,
}

/// What the record knows.
#[derive(Clone)]
struct RecordSide {
    at: DateTime<Utc>,
    sources: Vec<SourceFlow>,
    accepted_per_s: f64,
    parked: BTreeMap<String, u64>,
    dead_letters: u64,
}

#[derive(Clone)]
struct Balance {
    in_flight: u64,
    oldest_waiting: Option<DateTime<Utc>>,
    states: BTreeMap<String, String>,
}

impl Hub {
    /// The whole hub at a glance. Never fails: what cannot be had is the last that was known, and named.
    pub async fn overview(&self) -> OverviewView {
        self.picture().await.overview
    }

    /// One look at the hub.
    pub async fn picture(&self) -> Picture {
        let facts = Facts::read(self, Statistics::With).await;
        let sources = match &facts.record {
            Some(_) => self
                .shared
                .store
                .source_figures(facts.now - RATE_WINDOW)
                .await
                .ok(),
            None => None,
        };
        let now_seen = Seen {
            broker: facts
                .queues
                .as_ref()
                .map(|queues| BrokerSide::of(facts.now, queues, &facts.routing)),
            record: facts
                .record
                .as_ref()
                .zip(sources)
                .map(|(record, sources)| RecordSide::of(facts.now, record, sources, &facts.routing)),
            balance: facts
                .record
                .as_ref()
                .filter(|_| facts.queues.is_some())
                .map(Balance::of),
        };
        let seen = self.shared.last_seen.update(now_seen);
        let attention = findings(&facts).into_iter().map(|finding| finding.view).collect();
        let states = facts.record.as_ref().map(|record| states(&record.adapters));
        let mut overview = overview(&facts, attention, &seen, states);
        overview.mqtt = self.mqtt().map(|mqtt| MqttFlow {
            clients: mqtt.clients,
            out_per_s: mqtt.out_per_s,
            dropped_slow: mqtt.dropped.get("slow").copied().unwrap_or(0),
        });
        let lines = facts.record.as_ref().map(|record| &record.lines);
        let queues = facts
            .queues
            .as_ref()
            .map(|queues| adapters::queue_views(queues.values(), lines));
        Picture {
            overview,
            queues,
            dead_letters: facts.record.as_ref().map(Record::dead_letters),
            adapters: facts.record.map(|record| record.adapters),
        }
    }

    /// The latest dead letters with their number, as a look at the hub showed it.
    ///
    /// # Errors
    /// `Unavailable` without a database.
    pub async fn dead_letter_news(&self, total: u64) -> Result<DeadLetterNews, EngineError> {
        let newest = self.dead_letters(None, None, DEAD_LETTERS_SHOWN).await?;
        Ok(DeadLetterNews { total, newest })
    }
}

impl LastSeen {
    /// Keeps what is new and gives all that is known now.
    fn update(&self, now: Seen) -> Seen {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = Seen {
            broker: now.broker.or_else(|| seen.broker.take()),
            record: now.record.or_else(|| seen.record.take()),
            balance: now.balance.or_else(|| seen.balance.take()),
        };
        seen.clone()
    }
}

impl BrokerSide {
    fn of(at: DateTime<Utc>, queues: &BTreeMap<String, QueueInfo>, routing: &Routing) -> Self {
        let ingress = || (0..names::PARTITIONS).filter_map(|n| queues.get(&names::ingress_queue(n)));
        let of_adapter = |name: &String| {
            let queue = queues.get(&names::adapter_queue(name));
            let figures = queue.map(|queue| (queue.rates.deliver_get, held(queue)));
            (name.clone(), figures.unwrap_or_default())
        };
        Self {
            at,
            hub: HubFlow {
                in_per_s: sum(ingress().map(|queue| queue.rates.publish)),
                waiting: sum(ingress().map(held)),
            },
            adapters: routing.adapters.keys().map(of_adapter).collect(),
        }
    }
}

/// What a queue holds, handed out or not, where RabbitMQ has counted it.
fn held(queue: &QueueInfo) -> Option<u64> {
    Some(queue.ready? + queue.unacked?)
}

/// The sum, unknown if any part of it is, or if there is none.
fn sum<T: std::ops::Add<Output = T>>(parts: impl Iterator<Item = Option<T>>) -> Option<T> {
    parts.reduce(|sum, part| Some(sum? + part?)).flatten()
}

impl RecordSide {
    fn of(at: DateTime<Utc>, record: &Record, figures: SourceFigures, routing: &Routing) -> Self {
        let parked = |adapter: &AdapterView| (adapter.name.clone(), adapter.ledger.parked);
        Self {
            at,
            accepted_per_s: per_s(figures.events, at - figures.since),
            sources: sources(at, figures, routing),
            parked: record.adapters.iter().map(parked).collect(),
            dead_letters: record.dead_letters(),
        }
    }
}

/// Those that sent something last, and those from which something is expected, by name.
fn sources(at: DateTime<Utc>, figures: SourceFigures, routing: &Routing) -> Vec<SourceFlow> {
    let span = at - figures.since;
    let mut seen: Vec<SourceFlow> = figures
        .sources
        .into_iter()
        .map(|source| SourceFlow {
            per_s: per_s(source.events, span),
            last: Some(source.last),
            name: source.source,
        })
        .collect();
    let publishers = routing
        .adapters
        .values()
        .filter(|manifest| !manifest.publishes.is_empty());
    for manifest in publishers {
        if !seen.iter().any(|source| source.name == manifest.source) {
            seen.push(SourceFlow {
                name: manifest.source.clone(),
                per_s: 0.0,
                last: None,
            });
        }
    }
    seen.sort_by_key(|source| std::cmp::Reverse(source.last));
    seen.truncate(SOURCES_SHOWN_MAX);
    seen.sort_by(|one, other| one.name.cmp(&other.name));
    seen
}

/// To two decimals, so that a figure that says the same is the same.
fn per_s(events: u64, span: TimeDelta) -> f64 {
    let seconds = span.num_milliseconds().max(1) as f64 / 1_000.0;
    (events as f64 / seconds * 100.0).round() / 100.0
}

impl Balance {
    fn of(record: &Record) -> Self {
        let lines = record.lines.values();
        Self {
            in_flight: lines.clone().map(|line| line.figures.in_flight).sum(),
            oldest_waiting: lines.filter_map(|line| line.oldest_pending).min(),
            states: states(&record.adapters),
        }
    }
}

fn states(adapters: &[AdapterView]) -> BTreeMap<String, String> {
    let state = |adapter: &AdapterView| (adapter.name.clone(), adapter.state.clone());
    adapters.iter().map(state).collect()
}

/// `states` are those of now, unless the database is away.
fn overview(
    facts: &Facts,
    attention: Vec<AttentionView>,
    seen: &Seen,
    states: Option<BTreeMap<String, String>>,
) -> OverviewView {
    let (broker, record, balance) = (seen.broker.as_ref(), seen.record.as_ref(), seen.balance.as_ref());
    let known = states.as_ref().or(balance.map(|balance| &balance.states));
    let flow_of = |name: &String| {
        let (per_s, waiting) = broker
            .and_then(|side| side.adapters.get(name).copied())
            .unwrap_or_default();
        let state = known.and_then(|states| states.get(name));
        AdapterFlow {
            name: name.clone(),
            state: state.cloned().unwrap_or_else(|| "unknown".to_owned()),
            per_s,
            waiting,
            parked: record.and_then(|side| side.parked.get(name).copied()),
        }
    };
    let times = [broker.map(|side| side.at), record.map(|side| side.at)];
    OverviewView {
        at: times.into_iter().flatten().min().unwrap_or(facts.now),
        attention,
        flow: FlowView {
            sources: record.map(|side| side.sources.clone()).unwrap_or_default(),
            hub: broker.map(|side| side.hub.clone()).unwrap_or_default(),
            adapters: facts.routing.adapters.keys().map(flow_of).collect(),
        },
        numbers: NumbersView {
            accepted_per_s: record.map(|side| side.accepted_per_s),
            in_flight: balance.map(|balance| balance.in_flight),
            dead_letters: record.map(|side| side.dead_letters),
            oldest_waiting: balance.and_then(|balance| balance.oldest_waiting),
        },
        mqtt: None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
