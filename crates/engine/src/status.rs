//! One screen for operators: what runs, what waits, and plain sentences for what wants attention.

use chrono::{DateTime, TimeDelta, Utc};
use crossdock_bus::publisher::LinkState;
use crossdock_store::EventQuery;
use tokio::time::timeout;

use crate::{
    BrokerView, DatabaseView, EngineError, Hub, HubView, MqttView, ReadyCheck, StatusView, adapters,
    attention::{Finding, findings},
    facts::{Facts, Record, Statistics},
    shared::READING_PATIENCE,
    words::duration,
};

/// How long after its last report a hub counts as gone.
const HUB_ALIVE: TimeDelta = TimeDelta::seconds(30);
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
        let database = match timeout(READING_PATIENCE, shared.store.latest_offset()).await {
            Ok(Ok(_)) => check("database", true, "ready".into()),
            Ok(Err(error)) => check("database", false, error.to_string()),
            Err(_) => {
                let patience = READING_PATIENCE.as_secs();
                check("database", false, format!("no answer within {patience} s"))
            }
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

    /// The whole picture, within a few seconds. Parts that cannot be had are absent and named under `attention`.
    pub async fn status(&self) -> StatusView {
        let facts = Facts::read(self, Statistics::Without).await;
        let attention = findings(&facts).iter().map(Finding::in_words).collect();
        let lines = facts.record.as_ref().map(|record| &record.lines);
        let queues = adapters::queue_views(facts.queues.iter().flat_map(|queues| queues.values()), lines);
        let (accepted, newest_event) = match &facts.record {
            Some(_) => (
                self.shared
                    .store
                    .totals()
                    .await
                    .ok()
                    .map(|totals| totals.accepted),
                self.newest_event().await,
            ),
            // A database that is away is not waited for again and again.
            None => (None, None),
        };
        let quarantined = facts.record.as_ref().map(|record| record.quarantined);
        let parked = facts.record.as_ref().map(Record::dead_letters);
        let place = self.shared.store.place();
        StatusView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.shared.started,
            checks: facts.checks,
            attention,
            broker: facts.broker,
            database: DatabaseView {
                kind: place.kind.to_owned(),
                place: place.at,
            },
            mqtt: self.mqtt(),
            revision: facts.routing.revision,
            hubs: facts.hubs,
            queues,
            accepted,
            quarantined,
            parked,
            newest_event,
            adapters: facts.record.map(|record| record.adapters),
        }
    }

    /// From now on `source` says how the MQTT gateway of this hub stands. The first one stays.
    pub fn show_mqtt(&self, source: impl Fn() -> MqttView + Send + Sync + 'static) {
        // There is one gateway in a hub.
        let _ = self.shared.mqtt.set(Box::new(source));
    }

    pub(crate) fn mqtt(&self) -> Option<MqttView> {
        self.shared.mqtt.get().map(|source| source())
    }

    pub(crate) async fn broker(&self) -> Option<BrokerView> {
        let shared = &self.shared;
        let overview = timeout(READING_PATIENCE, shared.management.overview())
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
    pub(crate) async fn waiting_in_quarantine(&self) -> Result<u64, EngineError> {
        let latest = self.shared.store.quarantine_page(None, QUARANTINED_MAX).await?;
        let waiting = latest.into_iter().filter(|message| message.resent.is_none());
        Ok(waiting.count() as u64)
    }

    pub(crate) async fn hubs(&self, now: DateTime<Utc>) -> Vec<HubView> {
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
