//! What to do when somebody has deleted an adapter's queue, or its binding. RabbitMQ says nothing about it to whoever publishes to
//! several queues at once, so what was published while the queue was away is put into it again, from the record.
//!
//! What was in the queue at that moment went with it, as with a purge; the ledger names it. Of the hub's own queue for
//! live state, which is in no account, everything is put back that came lately: a state that is there already stays.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use crossdock_bus::{
    management::{BindingInfo, QueueInfo},
    names,
};
use crossdock_store::{DeliveryKey, DeliveryState, EventQuery, Outcome, OutcomeKind, StoredEvent};

use crate::{EngineError, gate, retry::Progress, routing::Routing, shared::Shared, state};

/// Events read at once.
const PAGE: usize = 500;
/// A page ends with the first event by which it has so many bytes of data.
const PAGE_MAX_BYTES: u64 = 8 * 1024 * 1024;
/// How long an event may take from the gate to its publish.
const GATE_TAKES: TimeDelta = TimeDelta::minutes(10);

/// The queues that were seen to be there, and the work to do for those that were not.
#[derive(Default)]
pub(crate) struct Restorations {
    seen: BTreeMap<String, DateTime<Utc>>,
    due: Vec<Restoration>,
}

/// A target whose queue was away for some of this time.
struct Restoration {
    target: String,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    /// The round after the one that has made the queue again: by then what was published is recorded.
    ripe: bool,
    after_offset: Option<i64>,
}

impl Restorations {
    /// Targets whose queue was there in the round before and is not now, or is not bound.
    pub(crate) fn missing(
        &self,
        routing: &Routing,
        queues: &[QueueInfo],
        bindings: &[BindingInfo],
    ) -> Vec<String> {
        let bound: BTreeSet<&str> = bindings
            .iter()
            .filter(|binding| binding.source == names::DELIVER && binding.destination == binding.routing_key)
            .map(|binding| binding.destination.as_str())
            .collect();
        let there: BTreeSet<&str> = queues
            .iter()
            .map(|queue| queue.name.as_str())
            .filter(|name| bound.contains(name))
            .collect();
        targets(routing)
            .filter(|name| {
                self.seen.contains_key(*name) && !there.contains(names::queue_of_target(name).as_str())
            })
            .map(str::to_owned)
            .collect()
    }

    /// All queues are there: this round has asserted them between `began` and `now`.
    pub(crate) fn asserted(
        &mut self,
        missing: Vec<String>,
        routing: &Routing,
        began: DateTime<Utc>,
        now: DateTime<Utc>,
    ) {
        for restoration in &mut self.due {
            restoration.ripe = true;
        }
        for target in missing {
            let queue = names::queue_of_target(&target);
            tracing::error!(queue, "a queue or its binding was deleted; it is made again");
            let since = self.seen.get(&target).copied().unwrap_or(began);
            self.due.push(Restoration {
                target,
                since,
                until: now,
                ripe: false,
                after_offset: None,
            });
        }
        self.seen = targets(routing).map(|name| (name.to_owned(), began)).collect();
    }
}

/// Everything that events are published to.
fn targets(routing: &Routing) -> impl Iterator<Item = &str> {
    let own = std::iter::once(names::STATE);
    routing.adapters.keys().map(String::as_str).chain(own)
}

/// Publishes again what is due. What cannot be done now is done in a later round.
pub(crate) async fn restore(shared: &Shared, restorations: &mut Restorations) {
    let mut later = Vec::new();
    for mut restoration in restorations.due.drain(..) {
        if !restoration.ripe {
            later.push(restoration);
            continue;
        }
        match publish_again(shared, &mut restoration).await {
            Ok(count) => tracing::warn!(
                queue = names::queue_of_target(&restoration.target),
                count,
                "events that were published while the queue was away were put into it again"
            ),
            Err(error) => {
                tracing::warn!(queue = names::queue_of_target(&restoration.target), %error, "a queue is restored later");
                later.push(restoration);
            }
        }
    }
    restorations.due = later;
}

async fn publish_again(shared: &Shared, restoration: &mut Restoration) -> Result<usize, EngineError> {
    let mut count = 0;
    let own = names::is_own_target(&restoration.target);
    loop {
        let query = EventQuery {
            adapter: (!own).then(|| restoration.target.clone()),
            since: Some(restoration.since - GATE_TAKES),
            after_offset: restoration.after_offset,
            limit: PAGE,
            data_max_bytes: Some(PAGE_MAX_BYTES),
            ..EventQuery::default()
        };
        let page = shared.store.find(query).await?;
        let Some(last) = page.last().map(|stored| stored.offset) else {
            return Ok(count);
        };
        for stored in &page {
            if own {
                let is_wanted = shared.routing.load().states().want(&stored.event.event_type);
                if !is_wanted || stored.received > restoration.until {
                    continue;
                }
                put_state_back(shared, stored).await?;
            } else if restoration.concerns(stored) {
                put_back(shared, &restoration.target, stored).await?;
            } else {
                continue;
            }
            restoration.after_offset = Some(stored.offset);
            count += 1;
        }
        restoration.after_offset = Some(last);
    }
}

/// Publishes one event to the adapter's queue as it was there; a dead letter where the revision in force would not.
async fn put_back(shared: &Shared, adapter: &str, stored: &StoredEvent) -> Result<(), EngineError> {
    let attempts = stored.deliveries.iter().find(|row| row.adapter == adapter);
    let attempt = attempts.map_or(1, |row| row.attempts.max(1));
    let routing = shared.routing.load_full();
    let event = match gate::for_adapter(&routing, adapter, stored.event.clone()).await {
        Ok(event) => event,
        Err(why) => {
            let delivery = DeliveryKey::of(adapter, &stored.event);
            let lost = Outcome {
                detail: Some(format!("its queue was deleted, and now {why}")),
                attempt: Some(attempt),
                ..Outcome::about(delivery, OutcomeKind::Undelivered, shared.clock.now())
            };
            shared.store.settle(&[lost]).await?;
            return Ok(());
        }
    };
    let mut again = gate::message(&event, &[adapter.to_owned()]);
    Progress::starting_with(attempt).write(&mut again.properties.headers);
    let publisher = shared.publisher.load_full();
    publisher
        .publish(again)
        .await
        .map_err(|error| EngineError::unavailable(error.to_string()))
}

/// Has states made of an event once more.
async fn put_state_back(shared: &Shared, stored: &StoredEvent) -> Result<(), EngineError> {
    let mut again = gate::message(&stored.event, &[names::STATE.to_owned()]);
    state::note_received(&mut again, &stored.event, stored.received);
    let publisher = shared.publisher.load_full();
    publisher
        .publish(again)
        .await
        .map_err(|error| EngineError::unavailable(error.to_string()))
}

impl Restoration {
    fn concerns(&self, stored: &StoredEvent) -> bool {
        stored.deliveries.iter().any(|row| {
            row.adapter == self.target
                && row.state == DeliveryState::Pending
                && (self.since..=self.until).contains(&row.published)
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crossdock_config::{SourceFile, load_shared};
    use crossdock_model::event::Event;
    use crossdock_store::DeliveryRow;

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap()
    }

    fn routing(names: &[&str]) -> Routing {
        let files: Vec<_> = names
            .iter()
            .map(|name| SourceFile {
                path: format!("adapters/{name}.toml"),
                text: format!("name = \"{name}\"\nsource = \"/{name}\"\n"),
            })
            .collect();
        Routing::new(1, String::new(), load_shared(&files).unwrap()).unwrap()
    }

    fn stored(adapter: &str, state: DeliveryState, published: DateTime<Utc>) -> StoredEvent {
        let event = br#"{"specversion":"1.0","id":"1","source":"/shop","type":"order.placed.v1"}"#;
        StoredEvent {
            offset: 1,
            event: Event::from_structured(event).unwrap(),
            data_left_out: None,
            producer: "shop".into(),
            received: published,
            chain: 0,
            deliveries: vec![DeliveryRow {
                adapter: adapter.into(),
                state,
                attempts: 0,
                published,
                settled: None,
                due: None,
                detail: None,
                tries: Vec::new(),
            }],
        }
    }

    #[test]
    fn only_a_queue_that_was_there_can_be_missing() {
        let mut restorations = Restorations::default();
        let routing = routing(&["erp", "wms"]);
        assert!(restorations.missing(&routing, &[], &[]).is_empty());
        restorations.asserted(Vec::new(), &routing, at(0), at(1));
        assert_eq!(
            restorations.missing(&routing, &[], &[]),
            ["erp", "wms", names::STATE]
        );
        restorations.asserted(vec!["erp".into()], &routing, at(5), at(6));
        let due = &restorations.due[0];
        assert_eq!((due.since, due.until, due.ripe), (at(0), at(6), false));
        restorations.asserted(Vec::new(), &routing, at(10), at(11));
        assert!(restorations.due[0].ripe);
    }

    #[test]
    fn what_is_put_into_the_queue_again_was_published_while_it_was_away() {
        let restoration = Restoration {
            target: "erp".into(),
            since: at(0),
            until: at(10),
            ripe: true,
            after_offset: None,
        };
        use DeliveryState::{Confirmed, Parked, Pending};
        assert!(restoration.concerns(&stored("erp", Pending, at(0))));
        assert!(restoration.concerns(&stored("erp", Pending, at(10))));
        assert!(!restoration.concerns(&stored("erp", Pending, at(11))));
        assert!(!restoration.concerns(&stored("wms", Pending, at(5))));
        assert!(!restoration.concerns(&stored("erp", Confirmed, at(5))));
        assert!(!restoration.concerns(&stored("erp", Parked, at(5))));
    }
}
