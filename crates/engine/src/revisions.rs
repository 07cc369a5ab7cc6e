//! Revisions of the configuration: numbered, whole, and in force at once on the hub that applied it, within seconds on
//! every other.

mod following;
mod versions;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use crossdock_bus::names;
use crossdock_config::{Delivery, Manifest, SharedConfig, SourceFile, Subscription, load_shared};
use crossdock_store::{NewRevision, Revision, RevisionFile, RevisionSummary, Store};

pub(crate) use following::{follow, knowing, newest};

use crate::{
    Applied, EngineError, Hub, RevisionView, credentials,
    routing::{Routing, is_webhook},
    shared::Shared,
    upkeep,
    words::counted,
};

/// Revisions that a list shows at most.
const LISTED_MAX: usize = 200;
/// Who applies the first revision.
const FIRST_AUTHOR: &str = "first start";

pub(crate) const PART: &str = "revision";
const UNREADABLE: &str = "unreadable";

/// The revision in force, after making `files` the first one where there is none. One that this version cannot read
/// is in force all the same, see [`Routing::fault`].
pub(crate) async fn first(
    store: &Store,
    files: Vec<SourceFile>,
    now: DateTime<Utc>,
) -> Result<Routing, EngineError> {
    if let Some(current) = store.current_revision().await? {
        return Ok(routing(current));
    }
    load_shared(&files).map_err(EngineError::Config)?;
    let revision = new_revision(files, FIRST_AUTHOR, None, now);
    match store.append_revision(None, revision).await {
        // Another hub that started at the same moment was faster: its revision counts.
        Ok(_) | Err(crossdock_store::StoreError::Conflict(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let current = store.current_revision().await?;
    let current =
        current.ok_or_else(|| EngineError::Internal("the first revision is not in the database".into()))?;
    Ok(routing(current))
}

fn routing(revision: Revision) -> Routing {
    let RevisionSummary { number, digest, .. } = revision.summary;
    let files: Vec<SourceFile> = revision
        .files
        .into_iter()
        .map(|file| SourceFile {
            path: file.path,
            text: file.text,
        })
        .collect();
    let read = load_shared(&files)
        .map_err(|faults| EngineError::Config(faults).to_string().replace('\n', "; "))
        .and_then(|shared| Routing::new(number, digest.clone(), shared).map_err(|fault| fault.to_string()));
    read.unwrap_or_else(|reason| {
        let fault = format!(
            "revision {number} cannot be read by version {}, another one has written it: {reason}; `crossdock apply` \
             with files that this version reads, or that other version, mends it",
            env!("CARGO_PKG_VERSION"),
        );
        Routing::unreadable(number, digest, fault)
    })
}

/// Reads the files where that may take its time: schemas and mappings are compiled.
async fn loaded(files: Vec<SourceFile>) -> Result<(Vec<SourceFile>, SharedConfig), EngineError> {
    let loading = tokio::task::spawn_blocking(move || {
        let next = load_shared(&files);
        (files, next)
    });
    let (files, next) = loading
        .await
        .map_err(|error| EngineError::Internal(format!("the files could not be read: {error}")))?;
    Ok((files, next.map_err(EngineError::Config)?))
}

fn new_revision(
    files: Vec<SourceFile>,
    author: &str,
    note: Option<String>,
    now: DateTime<Utc>,
) -> NewRevision {
    NewRevision {
        created: now,
        author: author.to_owned(),
        note,
        digest: crossdock_config::digest(&files),
        files: files
            .into_iter()
            .map(|file| RevisionFile {
                path: file.path,
                text: file.text,
            })
            .collect(),
    }
}

/// What no revision brings into force: who applies may think that it did.
async fn settings_changed(shared: &Shared) -> bool {
    match shared.settings_changed.get().cloned() {
        Some(changed) => tokio::task::spawn_blocking(move || changed())
            .await
            .unwrap_or(false),
        None => false,
    }
}

impl Hub {
    /// Makes `files` the next revision: topology first, then the revision, routing, and credentials.
    /// Files equal to the revision in force change nothing. `dry_run` only says what would change.
    ///
    /// # Errors
    /// `Config` with every fault, among them changes to schemas that break adapters; `Conflict` if another apply came between or an existing queue differs;
    /// `Unavailable` without database or broker.
    pub async fn apply(
        &self,
        files: Vec<SourceFile>,
        author: &str,
        note: Option<String>,
        dry_run: bool,
    ) -> Result<Applied, EngineError> {
        let shared = &self.shared;
        let (files, next) = loaded(files).await?;
        let one_at_a_time = shared.change().await?;
        follow(shared).await?;
        let current = shared.routing.load_full();
        let refusals = versions::refusals(&shared.store, &current, &next, &files).await?;
        if !refusals.is_empty() {
            return Err(EngineError::Config(refusals));
        }
        let revision = new_revision(files, author, note, shared.clock.now());
        let unchanged = revision.digest == current.digest;
        let changes = if unchanged {
            Vec::new()
        } else {
            changes(&current, &next)
        };
        if dry_run || unchanged {
            let number = if unchanged {
                current.revision
            } else {
                current.revision + 1
            };
            return Ok(Applied {
                number,
                dry_run,
                changes,
                settings_changed: settings_changed(shared).await,
            });
        }

        let proposed = Routing::new(current.revision + 1, revision.digest.clone(), next)
            .map_err(|fault| EngineError::Internal(format!("a mapping that was checked: {fault}")))?;
        let there = shared.management.queues().await?;
        upkeep::assert_topology(shared, &proposed, &there).await?;
        let number = shared
            .store
            .append_revision(Some(current.revision), revision)
            .await?;
        shared.put_in_force(proposed);
        tracing::info!(revision = number, author, ?changes, "a revision is in force");
        drop(one_at_a_time);
        if let Err(error) = credentials::align(shared, false).await {
            tracing::warn!(%error, "credentials follow when the broker answers");
        }
        shared.round_wanted.notify_one();
        Ok(Applied {
            number,
            dry_run,
            changes,
            settings_changed: settings_changed(shared).await,
        })
    }

    /// Revisions, newest first, without their files.
    ///
    /// # Errors
    /// `Unavailable` without a database.
    pub async fn revisions(&self) -> Result<Vec<RevisionView>, EngineError> {
        let listed = self.shared.store.revisions(LISTED_MAX).await?;
        Ok(listed
            .into_iter()
            .map(|summary| {
                view(Revision {
                    summary,
                    files: Vec::new(),
                })
            })
            .collect())
    }

    /// One revision with its files; `None`: the one in force.
    ///
    /// # Errors
    /// `NotFound`, or `Unavailable` without a database.
    pub async fn revision(&self, number: Option<u32>) -> Result<RevisionView, EngineError> {
        let store = &self.shared.store;
        let found = match number {
            Some(number) => store.revision(number).await?,
            None => store.current_revision().await?,
        };
        found
            .map(view)
            .ok_or_else(|| EngineError::NotFound("there is no such revision".into()))
    }
}

fn view(revision: Revision) -> RevisionView {
    let Revision { summary, files } = revision;
    RevisionView {
        number: summary.number,
        created: summary.created,
        author: summary.author,
        note: summary.note,
        digest: summary.digest,
        files: files.into_iter().map(|file| (file.path, file.text)).collect(),
    }
}

/// What a configuration changes, in sentences.
fn changes(current: &Routing, next: &SharedConfig) -> Vec<String> {
    let manifests = next.adapters.manifests.iter();
    let proposed: BTreeMap<&str, &Manifest> = manifests.map(|m| (m.name.as_str(), m)).collect();
    let mut changes = Vec::new();
    for (name, manifest) in &proposed {
        match current.adapters.get(*name) {
            None if is_webhook(manifest) => changes.push(format!(
                "adapter {name} is new: it gets a queue, an API key, and its events by {}",
                delivery(manifest)
            )),
            None => changes.push(format!(
                "adapter {name} is new: it gets a queue, a RabbitMQ user and an API key"
            )),
            Some(before) if before != *manifest => changes.push(changed(before, manifest)),
            Some(_) => {}
        }
    }
    for name in current
        .adapters
        .keys()
        .filter(|name| !proposed.contains_key(name.as_str()))
    {
        changes.push(format!(
            "adapter {name} is gone: its user and key end, its queue {} stays with what is in it",
            names::adapter_queue(name)
        ));
    }
    changes.extend(schema_changes(current, next));
    if !current.states().rules().eq(&next.states.state) {
        changes.push(match next.states.state.len() {
            0 => "no live state is made of events any more".to_owned(),
            rules => format!(
                "other rules of live state: {}",
                counted(rules as u64, "rule", "rules")
            ),
        });
    }
    if changes.is_empty() {
        changes.push("comments and spacing only".to_owned());
    }
    changes
}

fn schema_changes(current: &Routing, next: &SharedConfig) -> Vec<String> {
    let (before, after) = (current.schemas().own(), next.schemas.own());
    let types: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let change = |event_type: &String| match (before.get(event_type), after.get(event_type)) {
        (None, Some(_)) => Some(format!("events of {event_type} get a schema that they must fit")),
        (Some(_), None) => Some(format!("events of {event_type} have no schema any more")),
        (Some(old), Some(new)) if old != new => Some(format!("the schema of {event_type} changes")),
        _ => None,
    };
    types.into_iter().filter_map(change).collect()
}

fn changed(before: &Manifest, after: &Manifest) -> String {
    let mut parts = Vec::new();
    if before.source != after.source {
        parts.push(format!(
            "source {:?} instead of {:?}",
            after.source, before.source
        ));
    }
    if delivery(before) != delivery(after) {
        parts.push(format!("{} instead of {}", delivery(after), delivery(before)));
        if is_webhook(before) && !is_webhook(after) {
            parts.push(format!(
                "`crossdock adapter rotate {}` issues its RabbitMQ user",
                after.name
            ));
        }
    }
    let patterns = |m: &Manifest| -> Vec<String> {
        m.subscribe
            .iter()
            .flat_map(|s| s.types.iter().map(ToString::to_string))
            .collect()
    };
    difference("subscribes", &patterns(before), &patterns(after), &mut parts);
    difference("publishes", &before.publishes, &after.publishes, &mut parts);
    if mappings(before) != mappings(after) {
        parts.push("other filters or transforms".to_owned());
    }
    if parts.is_empty() {
        parts.push("other settings".to_owned());
    }
    format!("adapter {} changes: {}", after.name, parts.join("; "))
}

/// How an adapter gets its events; of an address no more than the host, for the rest may hold a key.
fn delivery(manifest: &Manifest) -> String {
    match &manifest.delivery {
        Delivery::Amqp => "AMQP".to_owned(),
        Delivery::Webhook { url, .. } => format!("webhook to {}", url.origin().ascii_serialization()),
        Delivery::Feed => "feed".to_owned(),
    }
}

/// The subscriptions that have mappings.
fn mappings(manifest: &Manifest) -> Vec<&Subscription> {
    let mapped =
        |subscription: &&Subscription| subscription.filter.is_some() || subscription.transform.is_some();
    manifest.subscribe.iter().filter(mapped).collect()
}

fn difference(what: &str, before: &[String], after: &[String], parts: &mut Vec<String>) {
    let added: Vec<_> = after
        .iter()
        .filter(|item| !before.contains(item))
        .cloned()
        .collect();
    let removed: Vec<_> = before
        .iter()
        .filter(|item| !after.contains(item))
        .cloned()
        .collect();
    if !added.is_empty() {
        parts.push(format!("{what} also {}", added.join(", ")));
    }
    if !removed.is_empty() {
        parts.push(format!("{what} no longer {}", removed.join(", ")));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn set(files: &[(&str, &str)]) -> SharedConfig {
        let files: Vec<_> = files
            .iter()
            .map(|(name, rest)| SourceFile {
                path: format!("adapters/{name}.toml"),
                text: format!("name = \"{name}\"\n{rest}"),
            })
            .collect();
        load_shared(&files).unwrap()
    }

    const ERP: &str = "source = \"/erp\"\npublishes = [\"order.numbered.v1\"]\n\
                       [[subscribe]]\ntypes = [\"order.placed.v1\"]";

    fn said(before: &[(&str, &str)], after: &[(&str, &str)]) -> Vec<String> {
        changes(&Routing::new(1, String::new(), set(before)).unwrap(), &set(after))
    }

    #[test]
    fn what_comes_and_goes_is_said() {
        let said = said(&[("erp", ERP)], &[("wms", "source = \"/wms\"")]);
        assert_eq!(
            said,
            [
                "adapter wms is new: it gets a queue, a RabbitMQ user and an API key",
                "adapter erp is gone: its user and key end, its queue crossdock.adapter.erp stays with what is in it",
            ]
        );
    }

    #[test]
    fn every_changed_setting_is_said() {
        let changed = "source = \"/sap\"\npublishes = [\"order.accepted.v1\"]\n\
                       [[subscribe]]\ntypes = [\"order.*.v1\", \"stock.low.v1\"]";
        assert_eq!(
            said(&[("erp", ERP)], &[("erp", changed)]),
            ["adapter erp changes: source \"/sap\" instead of \"/erp\"; \
              subscribes also order.*.v1, stock.low.v1; subscribes no longer order.placed.v1; \
              publishes also order.accepted.v1; publishes no longer order.numbered.v1"]
        );
        assert_eq!(
            said(
                &[("erp", ERP)],
                &[("erp", &format!("{ERP}\nfilter = '.data.urgent'"))]
            ),
            ["adapter erp changes: other filters or transforms"]
        );
        let ordered = format!("order = \"key\"\n{ERP}");
        assert_eq!(
            said(&[("erp", ERP)], &[("erp", &ordered)]),
            ["adapter erp changes: other settings"]
        );
    }

    #[test]
    fn a_change_of_delivery_is_said_without_what_may_be_a_key() {
        let webhook = "delivery = { kind = \"webhook\", url = \"https://pos.example/in?key=7\", secret.env = \"POS\" }\n";
        let posted = format!("{webhook}{ERP}");
        assert_eq!(
            said(&[], &[("erp", &posted)]),
            [
                "adapter erp is new: it gets a queue, an API key, and its events by webhook to https://pos.example"
            ]
        );
        assert_eq!(
            said(&[("erp", ERP)], &[("erp", &posted)]),
            ["adapter erp changes: webhook to https://pos.example instead of AMQP"]
        );
        assert_eq!(
            said(&[("erp", &posted)], &[("erp", ERP)]),
            [
                "adapter erp changes: AMQP instead of webhook to https://pos.example; `crossdock adapter rotate erp` \
              issues its RabbitMQ user"
            ]
        );
        let elsewhere = posted.replace("key=7", "key=8");
        assert_eq!(
            said(&[("erp", &posted)], &[("erp", &elsewhere)]),
            ["adapter erp changes: other settings"]
        );
    }

    #[test]
    fn a_comment_changes_nothing_that_is_in_force() {
        let commented = format!("# a word\n{ERP}");
        assert_eq!(
            said(&[("erp", ERP)], &[("erp", &commented)]),
            ["comments and spacing only"]
        );
    }

    #[test]
    fn a_revision_of_another_version_says_what_it_is() {
        let revision = Revision {
            summary: RevisionSummary {
                number: 7,
                created: DateTime::default(),
                author: "later".into(),
                note: None,
                digest: "d".into(),
            },
            files: vec![RevisionFile {
                path: "adapters/erp.toml".into(),
                text: "name = \"erp\"\nsource = \"/erp\"\nfrom_the_future = true\n".into(),
            }],
        };
        let routing = routing(revision);
        assert_eq!((routing.revision, routing.digest.as_str()), (7, "d"));
        assert!(routing.adapters.is_empty());
        let fault = routing.fault.unwrap();
        assert!(
            fault.contains("revision 7") && fault.contains("adapters/erp.toml:3"),
            "{fault}"
        );
    }
}
