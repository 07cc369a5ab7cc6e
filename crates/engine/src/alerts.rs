//! What wants attention, as events: the hub publishes `hub.alert_raised.v1` and `hub.alert_cleared.v1` through the
//! same way in as everybody else, under a source that is its own, so that an adapter can tell people. Alarms stay
//! until they are over; an alert is said once. What waits for RabbitMQ here is lost with the process, as is the
//! trouble it is about.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
};

use chrono::{DateTime, SecondsFormat, Utc};
use crossdock_bus::{PublishError, names};
use crossdock_model::{
    event::{Event, HUB_SOURCE},
    name::new_id,
};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    edge,
    principal::hub_producer,
    routing::{Placed, Routing},
    shared::Shared,
    storing::PAUSE_MIN,
};

const RAISED: &str = "hub.alert_raised.v1";
const CLEARED: &str = "hub.alert_cleared.v1";
/// Alerts that wait for RabbitMQ; of more the oldest are dropped.
const WAITING_MAX: usize = 1_000;

pub(crate) const SLOW_MAPPINGS: &str = "slow-mapping";

/// Alerts on their way out.
#[derive(Default)]
pub(crate) struct Alerts {
    waiting: Mutex<VecDeque<Event>>,
    more: Notify,
}

impl Alerts {
    fn push(&self, event: Event) {
        let mut waiting = self.lock();
        if waiting.len() == WAITING_MAX {
            waiting.pop_front();
        }
        waiting.push_back(event);
        drop(waiting);
        self.more.notify_one();
    }

    fn first(&self) -> Option<Event> {
        self.lock().front().cloned()
    }

    fn sent(&self, event: &Event) {
        self.lock().retain(|other| other.id != event.id);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Publishes alerts until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut pause = PAUSE_MIN;
    while !stop.is_cancelled() {
        let Some(event) = shared.alerts.first() else {
            tokio::select! {
                () = stop.cancelled() => {}
                () = shared.alerts.more.notified() => {}
            }
            continue;
        };
        match publish(&shared, &event).await {
            Ok(()) => {
                shared.alerts.sent(&event);
                pause = PAUSE_MIN;
            }
            Err(error) => {
                tracing::debug!(%error, "an alert waits for RabbitMQ");
                shared.pause(&mut pause, &stop).await;
            }
        }
    }
}

async fn publish(shared: &Shared, event: &Event) -> Result<(), PublishError> {
    if shared.ingress_is_new.load(Ordering::Acquire) {
        return Err(PublishError::Unavailable("its queues are being made".into()));
    }
    let message = edge::ingress_message(event, &hub_producer(&shared.host), &shared.hub_user);
    shared.publisher.load().publish(message).await
}

/// Says, once each, which mappings of `routing` are parked now.
pub(crate) fn tell_parked(shared: &Shared, routing: &Routing) {
    for placed in routing.mappings().filter(|placed| placed.pace.is_news()) {
        let now = shared.clock.now();
        let alert = format!("{SLOW_MAPPINGS}/{placed}");
        let sentence = sentence(placed);
        shared.alarms.raise(SLOW_MAPPINGS, &alert, sentence.clone());
        let data = json!({
            "alert": alert,
            "severity": "critical",
            "summary": sentence,
            "adapter": placed.adapter,
            "queue": names::adapter_queue(&placed.adapter),
            "since": text(now),
        });
        shared.alerts.push(event(shared, RAISED, &alert, data));
        placed.pace.told(alert, now);
        // Another revision may have come while this one was at work.
        clear_replaced(shared, routing, &shared.routing.load());
    }
}

/// Says what is over because `after` has other mappings than `before`, or the same ones go on.
pub(crate) fn clear_replaced(shared: &Shared, before: &Routing, after: &Routing) {
    for placed in before.mappings() {
        let goes_on = || {
            let mut still = after.mappings();
            placed.pace.is_parked() && still.any(|other| Arc::ptr_eq(&other.pace, &placed.pace))
        };
        let Some((alert, raised)) = placed.pace.take_told_unless(goes_on) else {
            continue;
        };
        shared.alarms.clear(SLOW_MAPPINGS, &alert);
        let data = json!({ "alert": alert, "raised": text(raised), "adapter": placed.adapter });
        shared.alerts.push(event(shared, CLEARED, &alert, data));
    }
}

fn sentence(placed: &Placed) -> String {
    format!(
        "the {} of {}'s subscription {} is parked, and so are the events it is asked about: {}; change it and apply, or try it \
         again with `crossdock adapter resume {}`",
        placed.role,
        placed.adapter,
        placed.subscription,
        Placed::slowness(),
        placed.adapter
    )
}

fn event(shared: &Shared, event_type: &str, alert: &str, data: Value) -> Event {
    let now = shared.clock.now();
    let structured = json!({
        "specversion": "1.0",
        "id": new_id(&*shared.clock),
        "source": HUB_SOURCE,
        "type": event_type,
        "subject": alert,
        "time": text(now),
        "datacontenttype": "application/json",
        "data": data,
    });
    Event::from_structured(structured.to_string().as_bytes()).expect("names and times make a valid event")
}

fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use crossdock_model::schema::SchemaSet;
    use crossdock_store::Store;

    use super::*;
    use crate::testing::{self, database, routing_of};

    const SLOW: &str = "name = \"erp\"\nsource = \"/erp\"\n[[subscribe]]\ntypes = [\"thing.sent.v1\"]\nfilter = '.data.n > 1'\n";

    fn slow_routing(manifest: &str) -> Routing {
        routing_of(&[("erp", manifest)]).timed_by(testing::ticking(Duration::from_millis(60)))
    }

    async fn shared(store: Store, folder: &tempfile::TempDir, routing: Routing) -> Shared {
        let shared = testing::shared(store, folder);
        shared.routing.store(Arc::new(routing));
        shared
    }

    fn alerts(shared: &Shared) -> Vec<(String, Value)> {
        let set = SchemaSet::builtin();
        let waiting = shared.alerts.lock();
        waiting
            .iter()
            .map(|event| {
                assert_eq!(set.validate(event), Ok(()));
                assert_eq!(event.source, HUB_SOURCE);
                (event.event_type.clone(), event.json().unwrap())
            })
            .collect()
    }

    #[tokio::test]
    async fn a_parked_mapping_is_said_once_and_so_is_its_replacement() {
        let folder = tempfile::tempdir().unwrap();
        let shared = shared(database(&folder).await, &folder, slow_routing(SLOW)).await;
        let event = testing::event(json!({ "data": { "n": 2 } }));
        for _ in 0..30 {
            let routing = shared.routing.load_full();
            routing.routes(&event);
            tell_parked(&shared, &routing);
        }
        let sentences = shared.alarms.sentences();
        assert_eq!(sentences.len(), 1, "{sentences:?}");
        assert!(sentences[0].contains("the filter of erp's subscription 1 is parked"));
        let said = alerts(&shared);
        assert_eq!(said.len(), 1);
        assert_eq!(said[0].0, RAISED);
        assert_eq!(said[0].1["alert"], "slow-mapping/erp/1/filter");
        assert_eq!(said[0].1["adapter"], "erp");

        // What leaves the mapping as it is changes nothing, wherever it stands.
        let before = shared.routing.load_full();
        let moved = SLOW.replacen(
            "[[subscribe]]",
            "[[subscribe]]\ntypes = [\"a.b.v1\"]\n[[subscribe]]",
            1,
        );
        let mut same = slow_routing(&moved);
        same.inherit(&before);
        shared.routing.store(Arc::new(same));
        clear_replaced(&shared, &before, &shared.routing.load());
        assert_eq!(alerts(&shared).len(), 1);
        assert_eq!(shared.alarms.sentences().len(), 1);

        let before = shared.routing.load_full();
        let mut other = slow_routing(&SLOW.replace("> 1", "> 2"));
        other.inherit(&before);
        shared.routing.store(Arc::new(other));
        clear_replaced(&shared, &before, &shared.routing.load());
        assert!(shared.alarms.sentences().is_empty());
        let said = alerts(&shared);
        assert_eq!((said.len(), said[1].0.as_str()), (2, CLEARED));
        assert_eq!(said[1].1["alert"], "slow-mapping/erp/1/filter");
        assert_eq!(said[1].1["raised"], said[0].1["since"]);
        clear_replaced(&shared, &before, &shared.routing.load());
        assert_eq!(alerts(&shared).len(), 2, "it is over once");
    }

    #[tokio::test]
    async fn one_that_is_resumed_is_over_and_is_said_again_when_it_is_parked_again() {
        let folder = tempfile::tempdir().unwrap();
        let shared = shared(database(&folder).await, &folder, slow_routing(SLOW)).await;
        let routing = shared.routing.load_full();
        let event = testing::event(json!({ "data": { "n": 2 } }));
        for _ in 0..2 {
            for _ in 0..30 {
                routing.routes(&event);
                tell_parked(&shared, &routing);
            }
            assert_eq!(shared.alarms.sentences().len(), 1);
            assert!(routing.mappings().all(|placed| placed.pace.resume()));
            clear_replaced(&shared, &routing, &routing);
            assert!(shared.alarms.sentences().is_empty());
        }
        let said: Vec<_> = alerts(&shared).into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(said, [RAISED, CLEARED, RAISED, CLEARED]);
    }

    #[tokio::test]
    async fn one_that_is_parked_after_it_was_replaced_is_over_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let shared = shared(database(&folder).await, &folder, slow_routing(SLOW)).await;
        let old = shared.routing.load_full();
        shared.routing.store(Arc::new(testing::routing()));
        let event = testing::event(json!({ "data": { "n": 2 } }));
        for _ in 0..30 {
            old.routes(&event);
        }
        tell_parked(&shared, &old);
        assert!(shared.alarms.sentences().is_empty());
        let types: Vec<_> = alerts(&shared)
            .into_iter()
            .map(|(event_type, _)| event_type)
            .collect();
        assert_eq!(types, [RAISED, CLEARED]);
    }

    #[tokio::test]
    async fn what_waits_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let shared = testing::shared(database(&folder).await, &folder);
        for number in 0..=WAITING_MAX {
            let alert = format!("a/{number}");
            shared
                .alerts
                .push(event(&shared, CLEARED, &alert, json!({ "alert": alert })));
        }
        assert_eq!(shared.alerts.lock().len(), WAITING_MAX);
        assert_eq!(shared.alerts.first().unwrap().subject.as_deref(), Some("a/1"));
    }
}
