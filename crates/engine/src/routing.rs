//! The revision in force, in the form the gate asks it: who may send what, and who gets it.

mod mappings;
mod pace;

use std::{
    collections::{BTreeMap, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use crossdock_bus::topology::AdapterQueue;
use crossdock_config::{Delivery, Manifest, Order, SharedConfig};
use crossdock_model::{
    event::{Event, HUB_SOURCE},
    fault::Fault,
    jq::JqFault,
    schema::SchemaSet,
};

use self::{
    mappings::{Reading, Subscriptions},
    pace::{RunClock, processor_time},
};
use crate::{
    principal::{is_adapter, is_hub},
    state::StateMaker,
};

pub(crate) use mappings::{Failure, Placed, Role, Route};
#[cfg(test)]
use pace::SLOW_RUNS;

/// A revision, ready to route by. Immutable: a new revision is a new value.
pub(crate) struct Routing {
    pub(crate) revision: u32,
    pub(crate) digest: String,
    pub(crate) adapters: BTreeMap<String, Manifest>,
    /// Why this revision cannot be followed; it then has no adapters, and nothing may be decided by it.
    pub(crate) fault: Option<String>,
    sources: HashMap<String, String>,
    schemas: SchemaSet,
    subscriptions: Subscriptions,
    states: StateMaker,
    run_clock: Arc<RunClock>,
}

impl Routing {
    /// # Errors
    /// A mapping that does not compile, which those of a checked set do.
    pub(crate) fn new(revision: u32, digest: String, shared: SharedConfig) -> Result<Self, JqFault> {
        let manifests = shared.adapters.manifests;
        let subscriptions = Subscriptions::compile(manifests.iter())?;
        let states = StateMaker::compile(shared.states)?;
        let sources = manifests
            .iter()
            .map(|m| (m.source.clone(), m.name.clone()))
            .collect();
        let adapters = manifests.into_iter().map(|m| (m.name.clone(), m)).collect();
        Ok(Self {
            revision,
            digest,
            adapters,
            fault: None,
            sources,
            schemas: shared.schemas,
            subscriptions,
            states,
            run_clock: Arc::new(processor_time),
        })
    }

    /// A revision that this version of the hub cannot read.
    pub(crate) fn unreadable(revision: u32, digest: String, fault: String) -> Self {
        Self {
            revision,
            digest,
            adapters: BTreeMap::new(),
            fault: Some(fault),
            sources: HashMap::new(),
            schemas: SchemaSet::builtin(),
            subscriptions: Subscriptions::default(),
            states: StateMaker::default(),
            run_clock: Arc::new(processor_time),
        }
    }

    /// The same, with runs of mappings timed by another clock.
    #[cfg(test)]
    pub(crate) fn timed_by(mut self, clock: Arc<RunClock>) -> Self {
        self.run_clock = clock;
        self
    }

    /// Mappings that are the same as before go on at their pace.
    pub(crate) fn inherit(&mut self, before: &Self) {
        self.subscriptions.inherit(&before.subscriptions);
        self.run_clock = before.run_clock.clone();
    }

    /// What `producer` does wrong by sending this event: another's source, a type it may not publish.
    /// Keys of people and services may send any type, but use no adapter's source.
    pub(crate) fn permission_faults(&self, producer: &str, event: &Event) -> Vec<Fault> {
        if is_hub(producer) {
            return Vec::new();
        }
        if event.source == HUB_SOURCE {
            return vec![Fault::new("/source", "this source is the hub's own")];
        }
        if !is_adapter(producer) {
            return match self.sources.get(&event.source) {
                Some(owner) => vec![Fault::new(
                    "/source",
                    format!("this source belongs to the adapter {owner}"),
                )],
                None => Vec::new(),
            };
        }
        let Some(manifest) = self.adapters.get(producer) else {
            return vec![Fault::new(
                "",
                format!("there is no adapter {producer:?} in revision {}", self.revision),
            )];
        };
        let mut faults = Vec::new();
        if event.source != manifest.source {
            faults.push(Fault::new(
                "/source",
                format!(
                    "the adapter {producer} may only use the source {:?}",
                    manifest.source
                ),
            ));
        }
        if !manifest.publishes.contains(&event.event_type) {
            faults.push(Fault::new(
                "/type",
                format!(
                    "the adapter {producer} does not list {:?} under publishes",
                    event.event_type
                ),
            ));
        }
        faults
    }

    /// What is wrong with the event's type and data.
    pub(crate) fn content_faults(&self, event: &Event) -> Vec<Fault> {
        if !crossdock_model::types::is_valid_type(&event.event_type) {
            return vec![Fault::new(
                "/type",
                "expected <family>.<past tense>.v<n> in lower case, such as order.placed.v1",
            )];
        }
        self.schemas.validate(event).err().unwrap_or_default()
    }

    /// The schemas that events are held against.
    pub(crate) fn schemas(&self) -> &SchemaSet {
        &self.schemas
    }

    /// What makes live state of events.
    pub(crate) fn states(&self) -> &StateMaker {
        &self.states
    }

    /// Whether mappings have a say in where events of this type go: then [`Routing::routes`] takes its time.
    pub(crate) fn maps(&self, event_type: &str) -> bool {
        self.subscriptions.map(event_type)
    }

    /// The filters and transforms in force.
    pub(crate) fn mappings(&self) -> impl Iterator<Item = &Placed> {
        self.subscriptions.mappings()
    }

    /// What each adapter that wants the event gets of it, by name. Runs mappings, and reads the event for all of
    /// them once.
    pub(crate) fn routes(&self, event: &Event) -> Vec<(String, Route)> {
        let mut reading = Reading::of(event);
        let routes = self.subscriptions.adapters().map(|adapter| {
            let route = self.route(adapter, &mut reading);
            (adapter.to_owned(), route)
        });
        routes
            .filter(|(_, route)| !matches!(route, Route::NotWanted))
            .collect()
    }

    /// What one adapter gets of an event under this revision. Runs mappings.
    pub(crate) fn route_to(&self, adapter: &str, event: &Event) -> Route {
        self.route(adapter, &mut Reading::of(event))
    }

    /// A fault of our own is a failure of that mapping: it must not stop a partition.
    fn route(&self, adapter: &str, reading: &mut Reading<'_>) -> Route {
        let clock = &*self.run_clock;
        let routed = catch_unwind(AssertUnwindSafe(|| {
            self.subscriptions.route(adapter, reading, clock)
        }));
        routed.unwrap_or_else(|_| {
            let reason =
                "the hub failed while it ran the mappings of this adapter; please report it".to_owned();
            Route::Failed(Failure::of(reason))
        })
    }

    /// The queues this revision needs.
    pub(crate) fn queues(&self) -> Vec<AdapterQueue> {
        let queue = |m: &Manifest| AdapterQueue {
            name: m.name.clone(),
            // One hub alone sends to an endpoint, so that its limits hold whatever the number of hubs.
            single_active_consumer: m.order == Order::Key || is_webhook(m),
        };
        self.adapters.values().map(queue).collect()
    }
}

/// Whether the hub itself takes the adapter's events from its queue.
pub(crate) fn is_webhook(manifest: &Manifest) -> bool {
    matches!(manifest.delivery, Delivery::Webhook { .. })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crossdock_config::{SourceFile, load_shared};
    use serde_json::json;

    use super::*;
    use crate::testing::event;

    fn routing(files: &[(&str, &str)]) -> Routing {
        let files: Vec<_> = files
            .iter()
            .map(|(name, rest)| SourceFile {
                path: format!("adapters/{name}.toml"),
                text: format!("name = \"{name}\"\nsource = \"/{name}\"\n{rest}"),
            })
            .collect();
        Routing::new(3, String::new(), load_shared(&files).unwrap()).unwrap()
    }

    fn targets(routing: &Routing, event_type: &str) -> Vec<String> {
        let routes = routing.routes(&event(json!({ "type": event_type })));
        let as_it_is = |(name, route)| match route {
            Route::AsItIs => name,
            other => panic!("{name}: {other:?}"),
        };
        routes.into_iter().map(as_it_is).collect()
    }

    #[test]
    fn an_event_goes_once_to_each_adapter_that_wants_it() {
        let routing = routing(&[
            (
                "erp",
                "[[subscribe]]\ntypes = [\"order.*.v1\", \"order.placed.v1\"]\n[[subscribe]]\ntypes = [\"order.placed.v1\"]",
            ),
            ("mail", "[[subscribe]]\ntypes = [\"order.shipped.v1\"]"),
            ("quiet", ""),
        ]);
        assert_eq!(targets(&routing, "order.placed.v1"), ["erp"]);
        assert_eq!(targets(&routing, "order.shipped.v1"), ["erp", "mail"]);
        assert!(targets(&routing, "order.placed.v2").is_empty());
        assert!(targets(&routing, "order.line.placed.v1").is_empty());
        assert!(!routing.maps("order.placed.v1"));
    }

    #[test]
    fn nobody_but_the_hub_speaks_under_its_source() {
        let routing = routing(&[("erp", "publishes = [\"hub.alert_raised.v1\"]")]);
        let alert = event(json!({ "source": "/crossdock", "type": "hub.alert_raised.v1" }));
        assert!(routing.permission_faults("hub:here", &alert).is_empty());
        for producer in ["erp", "key:hub:here", "key:import", "user:erp"] {
            let faults = routing.permission_faults(producer, &alert);
            assert_eq!(faults.len(), 1, "{producer}");
            assert_eq!(faults[0].pointer, "/source", "{producer}");
        }
    }

    #[test]
    fn order_by_key_and_a_webhook_are_one_active_consumer() {
        let webhook =
            "delivery = { kind = \"webhook\", url = \"https://pos.example\", secret.env = \"POS\" }";
        let routing = routing(&[("erp", "order = \"key\""), ("mail", ""), ("pos", webhook)]);
        let queues: Vec<_> = routing
            .queues()
            .into_iter()
            .map(|queue| (queue.name, queue.single_active_consumer))
            .collect();
        assert_eq!(
            queues,
            [("erp", true), ("mail", false), ("pos", true)].map(|(name, single)| (name.to_owned(), single))
        );
    }
}
