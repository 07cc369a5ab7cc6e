//! The revision in force, in the form the gate asks it: who may send what, and who gets it.

use std::collections::{BTreeMap, HashMap};

use crossdock_bus::topology::AdapterQueue;
use crossdock_config::{AdapterSet, Delivery, Manifest, Order};
use crossdock_model::{event::Event, fault::Fault, schema::SchemaSet};

use crate::keys::is_adapter;

/// A revision, ready to route by. Immutable: a new revision is a new value.
pub(crate) struct Routing {
    pub(crate) revision: u32,
    pub(crate) digest: String,
    pub(crate) adapters: BTreeMap<String, Manifest>,
    /// Why this revision cannot be followed; it then has no adapters, and nothing may be decided by it.
    pub(crate) fault: Option<String>,
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
            fault: None,
            sources,
            schemas: SchemaSet::builtin(),
        }
    }

    /// A revision that this version of the hub cannot read.
    pub(crate) fn unreadable(revision: u32, digest: String, fault: String) -> Self {
        Self {
            fault: Some(fault),
            ..Self::new(revision, digest, AdapterSet::default())
        }
    }

    /// What `producer` does wrong by sending this event: another's source, a type it may not publish.
    /// Keys of people and services may send any type, but use no adapter's source.
    pub(crate) fn permission_faults(&self, producer: &str, event: &Event) -> Vec<Fault> {
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
    use crossdock_config::{SourceFile, load_adapters};

    use super::*;

    fn routing(files: &[(&str, &str)]) -> Routing {
        let files: Vec<_> = files
            .iter()
            .map(|(name, rest)| SourceFile {
                path: format!("adapters/{name}.toml"),
                text: format!("name = \"{name}\"\nsource = \"/{name}\"\n{rest}"),
            })
            .collect();
        Routing::new(3, String::new(), load_adapters(&files).unwrap())
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
        assert_eq!(routing.targets("order.placed.v1"), ["erp"]);
        assert_eq!(routing.targets("order.shipped.v1"), ["erp", "mail"]);
        assert!(routing.targets("order.placed.v2").is_empty());
        assert!(routing.targets("order.line.placed.v1").is_empty());
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
