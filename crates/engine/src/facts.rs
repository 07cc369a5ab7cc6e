//! One look at the whole hub: the broker, its queues, the record, the hubs that live. What cannot be had is absent.
//! Status, overview and what needs attention are made of it, so that they never disagree.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use crossdock_bus::{management::QueueInfo, publisher::LinkState};

use crate::{
    AdapterView, BrokerView, EngineError, Hub, HubView, ReadyCheck,
    alarms::Alarm,
    browser_tokens::ManyRefused,
    ledger::{self, Line},
    routing::Routing,
};

/// Whether RabbitMQ is asked for rates and histories of its queues, too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Statistics {
    With,
    Without,
}

pub(crate) struct Facts {
    pub(crate) now: DateTime<Utc>,
    pub(crate) routing: Arc<Routing>,
    pub(crate) checks: Vec<ReadyCheck>,
    pub(crate) link: LinkState,
    /// `None` while its management API does not answer, as `queues`.
    pub(crate) broker: Option<BrokerView>,
    pub(crate) queues: Option<BTreeMap<String, QueueInfo>>,
    /// `None` while the database does not answer.
    pub(crate) record: Option<Record>,
    pub(crate) hubs: Vec<HubView>,
    pub(crate) alarms: Vec<Alarm>,
    /// Logins of pages that were refused, if many were.
    pub(crate) refused: Option<ManyRefused>,
}

/// What the database says.
pub(crate) struct Record {
    pub(crate) lines: BTreeMap<String, Line>,
    pub(crate) adapters: Vec<AdapterView>,
    /// Messages in quarantine that were not sent again.
    pub(crate) quarantined: u64,
}

impl Facts {
    pub(crate) async fn read(hub: &Hub, statistics: Statistics) -> Self {
        let shared = &hub.shared;
        let now = shared.clock.now();
        // The queues before the record: what is published in between is then too young to be missed.
        let queues = async {
            match statistics {
                Statistics::With => shared.queues_with_statistics().await,
                Statistics::Without => shared.queues().await,
            }
        };
        let (checks, broker, queues) = tokio::join!(hub.readiness(), hub.broker(), queues);
        let routing = shared.routing.load_full();
        // A database that is away is not waited for again and again.
        let answers = checks.iter().any(|check| check.name == "database" && check.ok);
        let (record, hubs) = if answers {
            let record = Record::read(hub, &routing, queues.as_ref()).await;
            (record.ok(), hub.hubs(now).await)
        } else {
            (None, Vec::new())
        };
        let clients = hub.mqtt().map_or(0, |mqtt| mqtt.clients);
        Self {
            now,
            routing,
            checks,
            link: shared.publisher.load().state(),
            broker,
            queues,
            record,
            hubs,
            alarms: shared.alarms.all(),
            refused: shared.browser_tokens.refusals.lately(clients, now),
        }
    }

    /// The check of this name, if it does not hold.
    pub(crate) fn failed_check(&self, name: &str) -> Option<&ReadyCheck> {
        self.checks.iter().find(|check| check.name == name && !check.ok)
    }
}

impl Record {
    async fn read(
        hub: &Hub,
        routing: &Routing,
        queues: Option<&BTreeMap<String, QueueInfo>>,
    ) -> Result<Self, EngineError> {
        let lines = ledger::lines(&hub.shared, routing, queues).await?;
        let adapters = hub.adapter_views(queues, &lines).await?;
        Ok(Self {
            lines,
            adapters,
            quarantined: hub.waiting_in_quarantine().await?,
        })
    }

    /// Dead letters of all adapters.
    pub(crate) fn dead_letters(&self) -> u64 {
        self.lines.values().map(|line| line.figures.parked).sum()
    }
}
