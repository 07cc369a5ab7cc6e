//! Schemas change only by optional additions within a version of their type: what a proposed revision may not
//! change about those in force, and which adapters would break.

use std::collections::{BTreeMap, BTreeSet};

use crossdock_config::{ConfigFault, SharedConfig, SourceFile, fault_in_schema, schema_path};
use crossdock_model::{
    event::Event,
    fault::Fault,
    schema::{Breaks, Change, OwnSchema, SchemaSet, changes},
};
use crossdock_store::{EventQuery, Store, StoreError};

use crate::routing::Routing;

/// Events of a type without a schema that a new one is held against, the latest ones.
const EVENTS_LOOKED_AT: usize = 100;

/// Why the schemas of `proposed` cannot follow those in force: a fault for each change, at its place in `files`.
pub(super) async fn refusals(
    store: &Store,
    current: &Routing,
    proposed: &SharedConfig,
    files: &[SourceFile],
) -> Result<Vec<ConfigFault>, StoreError> {
    let (before, after) = (current.schemas().own(), proposed.schemas.own());
    let types: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut faults = Vec::new();
    for event_type in types {
        let adapters = Adapters::of(event_type, current, proposed);
        match (before.get(event_type), after.get(event_type)) {
            (Some(old), Some(new)) if old != new => {
                let changes = changes(old.json(), new.json());
                let breaking = changes
                    .into_iter()
                    .filter(|change| adapters.breaks(change.breaks));
                faults.extend(breaking.map(|change| changed(event_type, change, &adapters, files)));
            }
            (Some(_), None) if !adapters.receivers.is_empty() => {
                faults.push(removed(event_type, &adapters));
            }
            (None, Some(new)) => {
                let unfit = misfit(store, event_type, new).await?;
                faults.extend(unfit.map(|reason| {
                    let message = format!("{event_type} is sent already, and {reason}{NEXT_VERSION}");
                    in_file(event_type, Fault::new("", message), files)
                }));
            }
            _ => {}
        }
    }
    Ok(faults)
}

const NEXT_VERSION: &str = ", expected a schema that they fit, or one of a new version of the type";

/// Adapters that send or get events of a type, and will go on to.
struct Adapters {
    senders: Vec<String>,
    receivers: Vec<String>,
}

impl Adapters {
    fn of(event_type: &str, current: &Routing, proposed: &SharedConfig) -> Self {
        let stay = |wanted: &dyn Fn(&crossdock_config::Manifest) -> bool| -> Vec<String> {
            let manifests = proposed.adapters.manifests.iter();
            let now = manifests.filter(|manifest| wanted(manifest));
            let before = now.filter(|manifest| current.adapters.get(&manifest.name).is_some_and(wanted));
            before.map(|manifest| manifest.name.clone()).collect()
        };
        Self {
            senders: stay(&|manifest| manifest.publishes.iter().any(|known| known == event_type)),
            receivers: stay(&|manifest| {
                let mut patterns = manifest
                    .subscribe
                    .iter()
                    .flat_map(|subscription| &subscription.types);
                patterns.any(|pattern| pattern.matches(event_type))
            }),
        }
    }

    /// Whether there is anybody whom that breaks. Holders of API keys may send anything, so there is always
    /// somebody who may send.
    fn breaks(&self, breaks: Breaks) -> bool {
        breaks.senders() || !self.receivers.is_empty()
    }

    fn told(&self, breaks: Breaks) -> String {
        let mut broken = Vec::new();
        if breaks.senders() {
            broken.push(match &self.senders[..] {
                [] => "whoever sends it with an API key".to_owned(),
                senders => format!("{}, which may send it", senders.join(", ")),
            });
        }
        if breaks.receivers() && !self.receivers.is_empty() {
            broken.push(format!("{}, which may get it", self.receivers.join(", ")));
        }
        broken.join("; and ")
    }
}

fn changed(event_type: &str, change: Change, adapters: &Adapters, files: &[SourceFile]) -> ConfigFault {
    let Change {
        pointer,
        what,
        breaks,
    } = change;
    let message = format!(
        "{what}, which breaks {}: within a version only optional additions, expected {} for more",
        adapters.told(breaks),
        next_version(event_type)
    );
    in_file(event_type, Fault::new(pointer, message), files)
}

fn removed(event_type: &str, adapters: &Adapters) -> ConfigFault {
    ConfigFault {
        file: schema_path(event_type),
        line: 1,
        column: 1,
        message: format!(
            "the schema of {event_type} is gone, which breaks {}: expected it as long as they are there",
            adapters.told(Breaks::Receivers)
        ),
    }
}

fn in_file(event_type: &str, fault: Fault, files: &[SourceFile]) -> ConfigFault {
    let path = schema_path(event_type);
    match files.iter().find(|file| file.path == path) {
        Some(file) => fault_in_schema(file, fault),
        None => ConfigFault {
            file: path,
            line: 1,
            column: 1,
            message: fault.to_string(),
        },
    }
}

/// `points.earned.v2` for `points.earned.v1`.
fn next_version(event_type: &str) -> String {
    let next = event_type.rsplit_once(".v").and_then(|(name, version)| {
        Some(format!(
            "{name}.v{}",
            version.parse::<u64>().ok()?.checked_add(1)?
        ))
    });
    next.unwrap_or_else(|| "a type of its own".to_owned())
}

/// How the latest events of a type do not fit the schema that it is to have. Nothing was promised about them, so
/// what was sent says what would break.
async fn misfit(store: &Store, event_type: &str, schema: &OwnSchema) -> Result<Option<String>, StoreError> {
    let Ok(pattern) = event_type.parse() else {
        return Ok(None);
    };
    let latest = EventQuery {
        event_type: Some(pattern),
        newest_first: true,
        limit: EVENTS_LOOKED_AT,
        ..EventQuery::default()
    };
    let found = store.find(latest).await?;
    let set = SchemaSet::with_own(BTreeMap::from([(event_type.to_owned(), schema.clone())]));
    let faults = |event: &Event| set.validate(event).err().map(|faults| faults[0].to_string());
    let count = found.len();
    let unfit: Vec<String> = found.iter().filter_map(|stored| faults(&stored.event)).collect();
    Ok(unfit.first().map(|first| {
        let number = unfit.len();
        format!("{number} of its latest {count} events do not fit ({first})")
    }))
}

#[cfg(test)]
mod tests;
