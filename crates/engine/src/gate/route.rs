//! The gate's step before it publishes: what each adapter gets of an event. Mappings run off the threads that serve
//! connections, for as long as they take; without one nothing leaves the task.

use std::{collections::BTreeMap, sync::Arc};

use crossdock_bus::{BusError, names};
use crossdock_model::event::Event;
use crossdock_store::Accepted;
use crossdock_telemetry::{Messaging, PROCESS, Span};

use crate::lanes::BATCH_MAX_BYTES;
use crate::routing::{Failure, Route, Routing};

/// An event that knows where it goes.
#[derive(Debug)]
pub(super) struct Routed {
    /// With every adapter that wants the event among its targets.
    pub(super) accepted: Accepted,
    /// What transforms made of it, each for one of the targets.
    pub(super) transformed: Vec<(String, Event)>,
    /// Targets whose mappings failed: they get nothing.
    pub(super) failed: Vec<(String, Failure)>,
    /// Live state is made of it: then the hub's own queue for that is a target beside those of the account.
    pub(super) makes_state: bool,
    /// The gate's work on it.
    pub(super) span: Span,
}

impl Routed {
    /// The targets that get the event as it is.
    pub(super) fn plain_targets(&self) -> impl Iterator<Item = &str> {
        let apart = |target: &str| {
            self.transformed.iter().any(|(name, _)| name == target)
                || self.failed.iter().any(|(name, _)| name == target)
        };
        self.targets().filter(move |target| !apart(target))
    }

    /// Every target, the hub's own too.
    pub(super) fn targets(&self) -> impl Iterator<Item = &str> {
        let own = self.makes_state.then_some(names::STATE);
        self.accepted.targets.iter().map(String::as_str).chain(own)
    }

    /// What this target gets.
    pub(super) fn for_target(&self, target: &str) -> &Event {
        let own = self.transformed.iter().find(|(name, _)| name == target);
        own.map_or(&self.accepted.event, |(_, event)| event)
    }

    fn bytes(&self) -> usize {
        let length = |event: &Event| event.data.as_ref().map_or(0, |data| data.len());
        let transformed = self.transformed.iter().map(|(_, event)| length(event));
        length(&self.accepted.event) + transformed.sum::<usize>()
    }
}

/// Routes from the front until there is as much to publish as can be confirmed in time, and gives back the rest.
pub(super) async fn route(
    routing: &Arc<Routing>,
    events: Vec<Accepted>,
) -> Result<(Vec<Routed>, Vec<Accepted>), BusError> {
    let maps = events
        .iter()
        .any(|accepted| routing.maps(&accepted.event.event_type));
    if !maps {
        return Ok(route_some(routing, events));
    }
    let routing = routing.clone();
    tokio::task::spawn_blocking(move || route_some(&routing, events))
        .await
        .map_err(|error| BusError::Unavailable(format!("events could not be routed: {error}")))
}

/// What one adapter gets of a recorded event under this revision.
///
/// # Errors
/// Why it gets nothing, for people who may see the event.
pub(crate) async fn for_adapter(
    routing: &Arc<Routing>,
    adapter: &str,
    event: Event,
) -> Result<Event, String> {
    let (rules, name) = (routing.clone(), adapter.to_owned());
    let route = move || match rules.route_to(&name, &event) {
        Route::AsItIs => Ok(event),
        Route::Transformed(event) => Ok(*event),
        Route::Failed(failure) => Err(failure.detail),
        Route::NotWanted => Err(format!(
            "no subscription of {name} in revision {} wants it",
            rules.revision
        )),
    };
    tokio::task::spawn_blocking(route)
        .await
        .unwrap_or_else(|error| Err(format!("it could not be routed: {error}")))
}

fn route_some(routing: &Routing, events: Vec<Accepted>) -> (Vec<Routed>, Vec<Accepted>) {
    let mut events = events.into_iter();
    let mut routed = Vec::with_capacity(events.len());
    let mut bytes = 0;
    while bytes < BATCH_MAX_BYTES
        && let Some(accepted) = events.next()
    {
        let one = route_one(routing, accepted);
        bytes += one.bytes();
        routed.push(one);
    }
    (routed, events.collect())
}

fn route_one(routing: &Routing, mut accepted: Accepted) -> Routed {
    let span = trace(&mut accepted.event);
    let makes_state = routing.states().want(&accepted.event.event_type);
    let (mut transformed, mut failed) = (Vec::new(), Vec::new());
    for (adapter, route) in routing.routes(&accepted.event) {
        match route {
            Route::NotWanted => continue,
            Route::AsItIs => {}
            Route::Transformed(event) => transformed.push((adapter.clone(), *event)),
            Route::Failed(failure) => failed.push((adapter.clone(), failure)),
        }
        accepted.targets.push(adapter);
    }
    Routed {
        accepted,
        transformed,
        failed,
        makes_state,
        span,
    }
}

/// Begins the gate's span. An event that is part of no trace becomes part of the gate's: so it is delivered, and so it
/// is recorded.
fn trace(event: &mut Event) -> Span {
    let processing = Messaging {
        operation: PROCESS,
        exchange: names::INGRESS,
        queue: None,
        event,
    };
    let span = processing.start(event.traceparent());
    if let Some(here) = span.traceparent() {
        event.join_trace(here);
    }
    span
}

/// Says which adapters' mappings fail: one line an adapter, with its first reason.
pub(super) fn log_failures(routed: &[Routed]) {
    let mut failing: BTreeMap<&str, (&str, &str, usize)> = BTreeMap::new();
    for one in routed {
        for (adapter, failure) in &one.failed {
            let first = (one.accepted.event.id.as_str(), failure.logged.as_str(), 0);
            failing.entry(adapter).or_insert(first).2 += 1;
        }
    }
    for (adapter, (event, reason, count)) in failing {
        tracing::warn!(
            adapter,
            event,
            reason,
            count,
            "a mapping failed; the deliveries are parked"
        );
    }
}
