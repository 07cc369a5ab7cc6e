//! The revision in force, in the form the gate asks it: who may send what, and who gets it.

use std::collections::{BTreeMap, HashMap};

use crossdock_bus::topology::AdapterQueue;
use crossdock_config::{AdapterSet, Manifest, Order};
use crossdock_model::{event::Event, fault::Fault, schema::SchemaSet};

use crate::keys::is_adapter;

/// A revision, ready to route by. Immutable: a new revision is a new value.
pub(crate) struct Routing {
    pub(crate) revision: u32,
    pub(crate) digest: String,
    pub(crate) adapters: BTreeMap<String, Manifest>,
    sources: HashMap<String, String>,
    schemas: SchemaSet,
}

impl Routing {
    pub(crate) fn new(revision: u32, digest: String, set: AdapterSet) -> Self {
        let sources = set
            .manifests
            .iter()
            .map(|m| (m.source.clone(), m.name.clone()))
            .collect();
        let adapters = set.manifests.into_iter().map(|m| (m.name.clone(), m)).collect();
        Self {
            revision,
            digest,
            adapters,
            sources,
            schemas: SchemaSet::builtin(),
        }
    }

    /// What `producer` does wrong by sending this event: another's source, a type it may not publish.
    /// Keys of people and services may send any type, but use no adapter's source.
    pub(crate) fn permission_faults(&self, producer: &str, event: &Event) -> Vec<Fault> {
        if !is_adapter(producer) {
            return match self.sources.get(&event.source) {
                Some(owner) => vec![fault(
                    "/source",
                    format!("this source belongs to the adapter {owner}"),
                )],
                None => Vec::new(),
            };
        }
        let Some(manifest) = self.adapters.get(producer) else {
            return vec![fault(
                "",
                format!("there is no adapter {producer:?} in revision {}", self.revision),
            )];
        };
        let mut faults = Vec::new();
        if event.source != manifest.source {
            faults.push(fault(
                "/source",
                format!(
                    "the adapter {producer} may only use the source {:?}",
                    manifest.source
                ),
            ));
        }
        if !manifest.publishes.contains(&event.event_type) {
            faults.push(fault(
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
            return vec![fault(
                "/type",
                "expected <family>.<past tense>.v<n> in lower case, such as order.placed.v1".to_owned(),
            )];
        }
        self.schemas.validate(event).err().unwrap_or_default()
    }

    /// The adapters that get this type, by name.
    pub(crate) fn targets(&self, event_type: &str) -> Vec<String> {
        let wants = |m: &&Manifest| {
            m.subscribe
                .iter()
                .flat_map(|s| &s.types)
                .any(|pattern| pattern.matches(event_type))
        };
        self.adapters
            .values()
            .filter(wants)
            .map(|m| m.name.clone())
            .collect()
    }

    /// The queues this revision needs.
    pub(crate) fn queues(&self) -> Vec<AdapterQueue> {
        let queue = |m: &Manifest| AdapterQueue {
            name: m.name.clone(),
            single_active_consumer: matches!(m.order, Order::Key),
        };
        self.adapters.values().map(queue).collect()
    }
}

fn fault(pointer: &str, message: String) -> Fault {
    Fault {
        pointer: pointer.to_owned(),
        message,
    }
}
