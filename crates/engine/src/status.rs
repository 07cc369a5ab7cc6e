//! One screen for operators: what runs, what waits, and plain sentences for what wants attention.

use chrono::{DateTime, TimeDelta, Utc};
use crossdock_bus::publisher::LinkState;
use crossdock_store::EventQuery;

use crate::{
    AdapterLedger, AdapterView, BrokerView, Hub, HubView, ReadyCheck, StatusView, adapters, ledger,
    shared::READING_PATIENCE,
    words::{counted, duration},
};

/// How long after its last report a hub counts as gone.
const HUB_ALIVE: TimeDelta = TimeDelta::seconds(30);
/// How long an event may wait before that is worth a sentence.
const WAITING_LONG: TimeDelta = TimeDelta::seconds(60);
/// How far messages in quarantine are counted.
const QUARANTINED_MAX: usize = 1_000;

impl Hub {
    /// Whether this hub can do its work, condition by condition.
    pub async fn readiness(&self) -> Vec<ReadyCheck> {
        let shared = &self.shared;
        let check = |name: &str, ok: bool, detail: String| ReadyCheck {
            name: name.to_owned(),
            ok,
            detail,
        };
        let database = match shared.store.latest_offset().await {
            Ok(_) => check("database", true, "ready".into()),
            Err(error) => check("database", false, error.to_string()),
        };
        let rabbitmq = match shared.publisher.load().state() {
            LinkState::Connected => check("rabbitmq", true, "connected".into()),
            LinkState::Blocked { reason } => {
                check("rabbitmq", false, format!("it has blocked publishers: {reason}"))
            }
            LinkState::Down { since, reason } => {
                let away = duration((shared.clock.now() - since).num_seconds());
                check("rabbitmq", false, format!("unreachable for {away}: {reason}"))
            }
        };
        let topology = match shared.topology.borrow().as_deref() {
            None => check("topology", true, "asserted".into()),
            Some(reason) => check("topology", false, reason.to_owned()),
        };
        let revision = match &shared.routing.load().fault {
            None => check("revision", true, "in force".into()),
            Some(fault) => check("revision", false, fault.clone()),
        };
        vec![revision, database, rabbitmq, topology]
    }

    /// The whole picture. Parts that cannot be had are absent and named under `attention`.
    pub async fn status(&self) -> StatusView {
        let shared = &self.shared;
        let now = shared.clock.now();
        let (checks, broker, queues) = tokio::join!(self.readiness(), self.broker(), shared.queues());
        let routing = shared.routing.load_full();
        let lines = ledger::lines(shared, &routing, queues.as_ref()).await;
        let lines = lines.unwrap_or_default();
        let adapters = self.adapter_views(queues.as_ref(), &lines).await;
        let adapters = adapters.unwrap_or_default();
        let totals = shared.store.totals().await.unwrap_or_default();
        let quarantined = self.waiting_in_quarantine().await;
        let hubs = self.hubs(now).await;

        let mut attention: Vec<String> = checks
            .iter()
            .filter(|c| !c.ok)
            .map(|c| format!("{}: {}", c.name, c.detail))
            .collect();
        match &broker {
            Some(broker) => {
                attention.extend(broker.alarms.iter().map(|alarm| format!("RabbitMQ: {alarm}")));
            }
            None => attention.push("RabbitMQ's management API does not answer".to_owned()),
        }
        attention.extend(adapters.iter().flat_map(|adapter| worries(adapter, now)));
        let gone = lines
            .values()
            .filter(|line| !routing.adapters.contains_key(&line.figures.adapter));
        attention.extend(gone.filter_map(|line| losses(&line.figures)));
        attention.extend(shared.alarms.sentences());
        if quarantined > 0 {
            let messages = counted(quarantined, "message is", "messages are");
            attention.push(format!("{messages} in quarantine: GET /v1/quarantine says why"));
        }
        attention.extend(hubs.iter().filter(|hub| !hub.files_match_revision).map(|hub| {
            format!(
                "the configuration files on {} are not those of the revision in force: `crossdock apply` makes them so",
                hub.host
            )
        }));
        StatusView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: shared.started,
            checks,
            attention,
            broker,
            revision: routing.revision,
            hubs,
            queues: adapters::queue_views(queues.unwrap_or_default().values()),
            accepted: totals.accepted,
            quarantined,
            parked: adapters.iter().map(|adapter| adapter.ledger.parked).sum(),
            newest_event: self.newest_event().await,
            adapters,
        }
    }

    async fn broker(&self) -> Option<BrokerView> {
        let shared = &self.shared;
        let overview = tokio::time::timeout(READING_PATIENCE, shared.management.overview())
            .await
            .ok()?
            .ok()?;
        Some(BrokerView {
            address: shared.broker.host_port(),
            version: overview.version,
            private: shared.address.private,
            alarms: overview.alarms.iter().map(ToString::to_string).collect(),
        })
    }

    /// How many messages in quarantine were not sent again, of the latest ones.
    async fn waiting_in_quarantine(&self) -> u64 {
        let latest = self.shared.store.quarantine_page(None, QUARANTINED_MAX).await;
        let waiting = latest
            .unwrap_or_default()
            .into_iter()
            .filter(|message| message.resent.is_none());
        waiting.count() as u64
    }

    async fn hubs(&self, now: DateTime<Utc>) -> Vec<HubView> {
        let routing = self.shared.routing.load_full();
        let beats = self.shared.store.hubs(now - HUB_ALIVE).await.unwrap_or_default();
        beats
            .into_iter()
            .map(|beat| HubView {
                id: beat.hub_id,
                host: beat.host,
                version: beat.version,
                files_match_revision: beat.config_digest == routing.digest,
                seen: beat.at,
            })
            .collect()
    }

    async fn newest_event(&self) -> Option<DateTime<Utc>> {
        let newest = EventQuery {
            newest_first: true,
            limit: 1,
            ..EventQuery::default()
        };
        self.shared
            .store
            .find(newest)
            .await
            .ok()?
            .first()
            .map(|stored| stored.received)
    }
}

/// What an adapter owes an account of.
fn losses(line: &AdapterLedger) -> Option<String> {
    let events = counted(line.unaccounted, "event", "events");
    (line.unaccounted > 0).then(|| {
        format!(
            "{}: {events} left its queue without a receipt; `crossdock prove` names them",
            line.adapter
        )
    })
}

/// What about an adapter wants attention.
fn worries(adapter: &AdapterView, now: DateTime<Utc>) -> Vec<String> {
    let (name, line) = (&adapter.name, &adapter.ledger);
    let mut worries = Vec::new();
    worries.extend(losses(line));
    if line.parked > 0 {
        let deliveries = counted(
            line.parked,
            "delivery has failed for good",
            "deliveries have failed for good",
        );
        worries.push(format!(
            "{name}: {deliveries}; `crossdock dead-letter list` says why"
        ));
    }
    let waits_long = |oldest: &DateTime<Utc>| now - *oldest > WAITING_LONG;
    if let Some(oldest) = adapter.oldest_pending.filter(waits_long) {
        let age = duration((now - oldest).num_seconds());
        worries.push(format!("{name}: the oldest event waits for {age}"));
    }
    worries
}
