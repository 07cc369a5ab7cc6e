//! One screen for operators: what runs, what waits, and plain sentences for what wants attention.

use chrono::{DateTime, TimeDelta, Utc};
use crossdock_bus::publisher::LinkState;
use crossdock_store::EventQuery;

use crate::{BrokerView, Hub, HubView, ReadyCheck, StatusView, events::duration};

/// How long after its last report a hub counts as gone.
const HUB_ALIVE: TimeDelta = TimeDelta::seconds(30);
/// How long an event may wait before that is worth a sentence.
const WAITING_LONG: TimeDelta = TimeDelta::seconds(60);

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
        let rabbitmq = match shared.publisher.state() {
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
        vec![database, rabbitmq, topology]
    }

    /// The whole picture. Parts that cannot be had are absent and named under `attention`.
    pub async fn status(&self) -> StatusView {
        let shared = &self.shared;
        let now = shared.clock.now();
        let checks = self.readiness().await;
        let mut attention: Vec<String> = checks
            .iter()
            .filter(|c| !c.ok)
            .map(|c| format!("{}: {}", c.name, c.detail))
            .collect();

        let broker = shared
            .management
            .overview()
            .await
            .ok()
            .map(|overview| BrokerView {
                address: shared.broker.host_port(),
                version: overview.version,
                private: shared.address.private,
                alarms: overview.alarms.iter().map(ToString::to_string).collect(),
            });
        attention.extend(
            broker
                .iter()
                .flat_map(|b| &b.alarms)
                .map(|alarm| format!("RabbitMQ: {alarm}")),
        );

        let adapters = self.adapters().await.unwrap_or_default();
        for adapter in &adapters {
            let line = &adapter.ledger;
            if line.unaccounted > 0 {
                attention.push(format!(
                    "{}: {} events left its queue without a receipt; `crossdock prove` names them",
                    adapter.name, line.unaccounted
                ));
            }
            if line.parked > 0 {
                attention.push(format!(
                    "{}: {} deliveries failed and are parked",
                    adapter.name, line.parked
                ));
            }
            if let Some(oldest) = adapter
                .oldest_pending
                .filter(|oldest| now - *oldest > WAITING_LONG)
            {
                let age = duration((now - oldest).num_seconds());
                attention.push(format!("{}: the oldest event waits for {age}", adapter.name));
            }
        }
        attention.extend(shared.findings.borrow().values().cloned());

        let totals = shared.store.totals().await.unwrap_or_default();
        if totals.quarantined > 0 {
            attention.push(format!(
                "{} messages are in quarantine: GET /v1/quarantine says why",
                totals.quarantined
            ));
        }
        let hubs = self.hubs(now).await;
        for hub in hubs.iter().filter(|hub| !hub.files_match_revision) {
            attention.push(format!(
                "the configuration files on {} are not those of the revision in force: `crossdock apply` makes them so",
                hub.host
            ));
        }
        StatusView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: shared.started,
            checks,
            attention,
            broker,
            revision: shared.routing.load().revision,
            hubs,
            queues: self.queues().await.unwrap_or_default(),
            accepted: totals.accepted,
            quarantined: totals.quarantined,
            parked: adapters.iter().map(|adapter| adapter.ledger.parked).sum(),
            newest_event: self.newest_event().await,
            adapters,
        }
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
