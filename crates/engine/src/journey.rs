//! A journey: everything that hangs together with one order, say, and where it stands in one sentence. What no
//! receipt tells, the ledger does: an adapter that sends none has taken what is not in its queue any more.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use crossdock_store::{DeliveryRow, DeliveryState, StoredEvent};

use crate::{
    EngineError, EventView, Hub, JourneyView,
    events::{can_name, event_view},
    ledger,
    shared::Shared,
    words::duration,
};

const TAKEN: &str = "taken";
const UNACCOUNTED: &str = "unaccounted";

impl Hub {
    /// Everything that hangs together with a correlation id, alias or event id, oldest first.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if several journeys have the number; `Unavailable` without a database.
    pub async fn journey(&self, key: &str) -> Result<JourneyView, EngineError> {
        if !can_name(key) {
            return Err(EngineError::NotFound("no event can have this name".into()));
        }
        let mut found = self.shared.store.journey(key).await?;
        if found.is_empty() {
            found = self.journey_of_number(key).await?;
        }
        let correlation_ids: BTreeSet<_> = found
            .iter()
            .filter_map(|stored| stored.event.correlation_id().map(str::to_owned))
            .collect();
        let aliases: BTreeSet<_> = found
            .iter()
            .flat_map(|stored| stored.event.aliases().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        let ledger = Known::of(&self.shared, &found).await?;
        Ok(JourneyView {
            key: key.to_owned(),
            verdict: verdict(&found, &ledger, self.shared.clock.now()),
            correlation_ids: correlation_ids.into_iter().collect(),
            aliases: aliases.into_iter().collect(),
            events: found.into_iter().map(|stored| told(stored, &ledger)).collect(),
        })
    }

    /// What hangs together with the number `key` of whatever system: people seldom say the system.
    async fn journey_of_number(&self, key: &str) -> Result<Vec<StoredEvent>, EngineError> {
        let names = self.shared.store.names_with_number(key).await?;
        let Some(first) = names.first() else {
            return Err(EngineError::NotFound(format!(
                "no event has the correlation id, alias or id {key:?}, and no system has that number"
            )));
        };
        let found = self.shared.store.journey(first).await?;
        let is_of_it = |name: &String| found.iter().any(|stored| bears(stored, name));
        if names.iter().all(is_of_it) {
            return Ok(found);
        }
        Err(EngineError::Conflict(format!(
            "several journeys have the number {key:?}; name one with its system: {}",
            names.join(", ")
        )))
    }
}

fn bears(stored: &StoredEvent, name: &str) -> bool {
    let event = &stored.event;
    event.correlation_id() == Some(name) || event.aliases().any(|alias| alias == name)
}

/// What the ledger knows of deliveries without a word.
#[derive(Default)]
pub(crate) struct Known {
    /// Adapters that send no receipts and have taken what was published before a time; without a time all of it. What
    /// their queue holds is the youngest.
    takers: BTreeMap<String, Option<DateTime<Utc>>>,
    /// Adapter, source and id of what left its queue without a receipt that it owes.
    lost: BTreeSet<(String, String, String)>,
}

impl Known {
    /// What no word tells about these events' deliveries.
    pub(crate) async fn of(shared: &Shared, events: &[StoredEvent]) -> Result<Self, EngineError> {
        let silent: BTreeSet<&str> = deliveries(events)
            .filter(|(_, row)| row.state == DeliveryState::Pending)
            .map(|(_, row)| row.adapter.as_str())
            .collect();
        let queues = if silent.is_empty() {
            None
        } else {
            shared.queues().await
        };
        let Some(queues) = queues else {
            return Ok(Self::default());
        };
        let lines = ledger::lines(shared, &shared.routing.load(), Some(&queues)).await?;
        let of_silent = lines
            .iter()
            .filter(|(adapter, _)| silent.contains(adapter.as_str()));
        let mut known = Self::default();
        for (adapter, line) in of_silent {
            let figures = &line.figures;
            if figures.receipts_since.is_none() && figures.in_flight == 0 {
                known.takers.insert(adapter.clone(), None);
            } else if figures.receipts_since.is_none() && line.taken > 0 {
                let until = line.oldest_pending.unwrap_or(line.certain_before);
                known
                    .takers
                    .insert(adapter.clone(), Some(until.min(line.certain_before)));
            }
            let missing = figures.missing.iter();
            known
                .lost
                .extend(missing.map(|lost| (adapter.clone(), lost.source.clone(), lost.id.clone())));
        }
        Ok(known)
    }

    /// What [`DeliveryRow::state`] cannot say.
    fn state(&self, stored: &StoredEvent, row: &DeliveryRow) -> Option<&'static str> {
        if row.state != DeliveryState::Pending {
            return None;
        }
        let event = &stored.event;
        let key = (row.adapter.clone(), event.source.clone(), event.id.clone());
        if self.lost.contains(&key) {
            return Some(UNACCOUNTED);
        }
        let until = self.takers.get(&row.adapter)?;
        until.is_none_or(|until| row.published < until).then_some(TAKEN)
    }
}

fn deliveries(events: &[StoredEvent]) -> impl Iterator<Item = (&StoredEvent, &DeliveryRow)> {
    events
        .iter()
        .flat_map(|stored| stored.deliveries.iter().map(move |row| (stored, row)))
}

/// An event with what the ledger knows of its deliveries.
pub(crate) fn told(stored: StoredEvent, known: &Known) -> EventView {
    let states: Vec<_> = stored
        .deliveries
        .iter()
        .map(|row| known.state(&stored, row))
        .collect();
    let mut view = event_view(stored);
    for (delivery, state) in view.deliveries.iter_mut().zip(states) {
        if let Some(state) = state {
            state.clone_into(&mut delivery.state);
        }
    }
    view
}

/// One sentence on where a journey stands: the worst thing first, else what is lost, else what is tried again next, else the oldest
/// wait, else that all is done.
fn verdict(events: &[StoredEvent], known: &Known, now: DateTime<Utc>) -> String {
    if let Some((stored, row)) = deliveries(events).find(|(_, row)| row.state == DeliveryState::Parked) {
        let why = row
            .detail
            .as_deref()
            .map(|detail| format!(": {detail}"))
            .unwrap_or_default();
        return format!(
            "{} failed at {} and is parked{why}",
            stored.event.event_type, row.adapter
        );
    }
    let is_lost =
        |(stored, row): &(&StoredEvent, &DeliveryRow)| known.state(stored, row) == Some(UNACCOUNTED);
    if let Some((stored, row)) = deliveries(events).find(is_lost) {
        return format!(
            "{} left the queue of {} without a receipt; `crossdock prove` names it",
            stored.event.event_type, row.adapter
        );
    }
    let is_retrying = |(_, row): &(&StoredEvent, &DeliveryRow)| row.state == DeliveryState::Retrying;
    if let Some((stored, row)) = deliveries(events)
        .filter(is_retrying)
        .min_by_key(|(_, row)| row.due)
    {
        let event_type = &stored.event.event_type;
        let soon = row.due.map_or(0, |due| (due - now).num_seconds());
        let why = row
            .detail
            .as_deref()
            .map(|detail| format!(": {detail}"))
            .unwrap_or_default();
        return format!(
            "{event_type} failed at {} and is tried again in {}{why}",
            row.adapter,
            duration(soon)
        );
    }
    let waits = |(stored, row): &(&StoredEvent, &DeliveryRow)| {
        row.state == DeliveryState::Pending && known.state(stored, row).is_none()
    };
    if let Some((stored, row)) = deliveries(events)
        .filter(waits)
        .min_by_key(|(stored, _)| stored.received)
    {
        let since = duration((now - stored.received).num_seconds());
        return format!("{} waits at {} for {since}", stored.event.event_type, row.adapter);
    }
    let last = events
        .last()
        .map(|stored| stored.event.event_type.as_str())
        .unwrap_or_default();
    let takers: BTreeSet<&str> = deliveries(events)
        .filter(|(stored, row)| known.state(stored, row) == Some(TAKEN))
        .map(|(_, row)| row.adapter.as_str())
        .collect();
    let takers: Vec<&str> = takers.into_iter().collect();
    let done = if takers.is_empty() {
        "All is done".to_owned()
    } else {
        format!(
            "Nothing waits; {} took it without a receipt",
            takers.join(" and ")
        )
    };
    format!("{done}; the last event was {last}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chrono::TimeDelta;
    use crossdock_model::event::Event;
    use serde_json::json;

    use super::*;

    fn start() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap()
    }

    fn stored(event_type: &str, deliveries: Vec<DeliveryRow>) -> StoredEvent {
        let event = json!({ "specversion": "1.0", "id": "1", "source": "/shop", "type": event_type });
        StoredEvent {
            offset: 1,
            event: Event::from_structured(event.to_string().as_bytes()).unwrap(),
            data_left_out: None,
            producer: "shop".into(),
            received: start(),
            chain: 0,
            deliveries,
        }
    }

    fn at(adapter: &str, state: DeliveryState, after_s: i64) -> DeliveryRow {
        DeliveryRow {
            adapter: adapter.into(),
            state,
            attempts: 0,
            published: start() + TimeDelta::seconds(after_s),
            settled: None,
            due: None,
            detail: None,
            tries: Vec::new(),
        }
    }

    fn known(takers: &[&str]) -> Known {
        Known {
            takers: takers.iter().map(|name| ((*name).to_owned(), None)).collect(),
            lost: BTreeSet::new(),
        }
    }

    fn judged(events: &[StoredEvent], takers: &[&str]) -> String {
        verdict(events, &known(takers), start() + TimeDelta::seconds(252))
    }

    #[test]
    fn the_worst_comes_first() {
        use DeliveryState::{Confirmed, Parked, Pending};
        let mut parked = at("erp", Parked, 0);
        parked.detail = Some("no such sku".into());
        let events = [
            stored("order.placed.v1", vec![at("wms", Pending, 0), parked]),
            stored("order.numbered.v1", vec![at("shop", Confirmed, 1)]),
        ];
        assert_eq!(
            judged(&events, &[]),
            "order.placed.v1 failed at erp and is parked: no such sku"
        );
    }

    #[test]
    fn of_what_waits_the_oldest_is_named() {
        use DeliveryState::Pending;
        let mut later = stored("order.placed.v1", vec![at("wms", Pending, 60)]);
        later.received += TimeDelta::seconds(60);
        let events = [later, stored("order.placed.v1", vec![at("erp", Pending, 0)])];
        assert_eq!(judged(&events, &[]), "order.placed.v1 waits at erp for 4 m 12 s");
    }

    #[test]
    fn what_is_tried_again_says_when_and_why() {
        use DeliveryState::{Pending, Retrying};
        let mut busy = at("erp", Retrying, 0);
        busy.due = Some(start() + TimeDelta::seconds(252 + 90));
        busy.detail = Some("busy".into());
        let events = [stored("order.placed.v1", vec![at("wms", Pending, 0), busy])];
        assert_eq!(
            judged(&events, &[]),
            "order.placed.v1 failed at erp and is tried again in 1 m 30 s: busy"
        );
    }

    #[test]
    fn what_was_taken_does_not_wait() {
        use DeliveryState::{Confirmed, Pending};
        let events = [
            stored(
                "order.placed.v1",
                vec![at("erp", Pending, 0), at("wms", Confirmed, 0)],
            ),
            stored("order.shipped.v1", vec![at("mail", Pending, 9)]),
        ];
        assert_eq!(
            judged(&events, &["erp", "mail"]),
            "Nothing waits; erp and mail took it without a receipt; the last event was order.shipped.v1"
        );
        assert_eq!(
            judged(&events, &["erp"]),
            "order.shipped.v1 waits at mail for 4 m 12 s"
        );
        let views: Vec<_> = events
            .into_iter()
            .map(|stored| told(stored, &known(&["erp"])))
            .collect();
        let states: Vec<_> = views
            .iter()
            .flat_map(|view| &view.deliveries)
            .map(|delivery| delivery.state.as_str())
            .collect();
        assert_eq!(states, ["taken", "confirmed", "pending"]);
    }

    #[test]
    fn of_an_adapter_without_receipts_the_queue_holds_the_youngest() {
        use DeliveryState::Pending;
        let until = start() + TimeDelta::seconds(10);
        let ledger = Known {
            takers: BTreeMap::from([("erp".to_owned(), Some(until))]),
            lost: BTreeSet::new(),
        };
        let states: Vec<_> = [9, 10]
            .into_iter()
            .map(|second| stored("order.placed.v1", vec![at("erp", Pending, second)]))
            .map(|event| told(event, &ledger).deliveries[0].state.clone())
            .collect();
        assert_eq!(states, ["taken", "pending"]);
    }

    #[test]
    fn what_is_lost_does_not_wait() {
        let events = [stored(
            "order.placed.v1",
            vec![at("erp", DeliveryState::Pending, 0)],
        )];
        let mut ledger = known(&[]);
        ledger.lost.insert(("erp".into(), "/shop".into(), "1".into()));
        assert_eq!(
            verdict(&events, &ledger, start()),
            "order.placed.v1 left the queue of erp without a receipt; `crossdock prove` names it"
        );
        let [event] = events;
        assert_eq!(told(event, &ledger).deliveries[0].state, "unaccounted");
    }

    #[tokio::test]
    async fn forty_large_events_make_a_small_journey() {
        use crate::testing;

        let folder = tempfile::tempdir().unwrap();
        let store = testing::database(&folder).await;
        for n in 0..40 {
            let mut event = testing::event(json!({ "id": n.to_string(), "correlationid": "large" }));
            event.data_content_type = Some("application/json".into());
            event.data = Some(format!("[{}1]", "1,".repeat(500_000)).into());
            let batch = crossdock_store::Batch {
                accepted: vec![testing::accepted(event, &["erp"])],
                ..Default::default()
            };
            store.record(batch).await.unwrap();
        }
        let found = store.journey("large").await.unwrap();
        let views: Vec<_> = found.into_iter().map(|one| told(one, &known(&[]))).collect();
        assert_eq!(views.len(), 40);
        assert!(views.iter().all(|view| view.data_left_out == Some(1_000_003)));
        assert_eq!(views[7].attribute("id").as_deref(), Some("7"));
        assert!(views[7].parsed().get("data").is_none());
        let written = serde_json::to_string(&views).unwrap();
        assert!(written.len() < 40 * 1024, "{}", written.len());
    }

    #[test]
    fn a_journey_ends_well() {
        use DeliveryState::{Confirmed, Discarded, Expired};
        let events = [stored(
            "order.shipped.v1",
            vec![at("a", Confirmed, 0), at("b", Discarded, 0), at("c", Expired, 0)],
        )];
        assert_eq!(
            judged(&events, &[]),
            "All is done; the last event was order.shipped.v1"
        );
    }
}
