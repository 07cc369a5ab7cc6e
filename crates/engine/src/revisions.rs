//! Revisions of the configuration: numbered, whole, and in force on every hub at once.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use crossdock_bus::{names, topology::Topology};
use crossdock_config::{AdapterSet, Manifest, SourceFile, load_adapters};
use crossdock_store::{NewRevision, Revision, RevisionFile, Store};

use crate::{Applied, EngineError, Hub, RevisionView, routing::Routing, upkeep};

/// Revisions that a list shows at most.
const LISTED_MAX: usize = 200;
/// Who applies the first revision.
const FIRST_AUTHOR: &str = "first start";

/// The revision in force, after making `files` the first one where there is none.
pub(crate) async fn first(
    store: &Store,
    files: Vec<SourceFile>,
    now: DateTime<Utc>,
) -> Result<Routing, EngineError> {
    if let Some(current) = store.current_revision().await? {
        return routing(current);
    }
    load_adapters(&files).map_err(EngineError::Config)?;
    let revision = new_revision(files, FIRST_AUTHOR, None, now);
    match store.append_revision(None, revision).await {
        // Another hub that started at the same moment was faster: its revision counts.
        Ok(_) | Err(crossdock_store::StoreError::Conflict(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let current = store.current_revision().await?;
    routing(current.ok_or_else(|| EngineError::Internal("the first revision is not in the database".into()))?)
}

/// Loads the revision in force if it is another than `known`.
pub(crate) async fn newer(store: &Store, known: u32) -> Result<Option<Routing>, EngineError> {
    match store.current_revision().await? {
        Some(current) if current.summary.number != known => routing(current).map(Some),
        _ => Ok(None),
    }
}

fn routing(revision: Revision) -> Result<Routing, EngineError> {
    let files: Vec<SourceFile> = revision
        .files
        .into_iter()
        .map(|file| SourceFile {
            path: file.path,
            text: file.text,
        })
        .collect();
    let set = load_adapters(&files).map_err(EngineError::Config)?;
    Ok(Routing::new(
        revision.summary.number,
        revision.summary.digest,
        set,
    ))
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

impl Hub {
    /// Makes `files` the next revision: topology and credentials first, then the revision, then routing.
    /// Files equal to the revision in force change nothing. `dry_run` only says what would change.
    ///
    /// # Errors
    /// `Config` with every fault; `Conflict` if another apply came between or an existing queue differs;
    /// `Unavailable` without database or broker.
    pub async fn apply(
        &self,
        files: Vec<SourceFile>,
        author: &str,
        note: Option<String>,
        dry_run: bool,
    ) -> Result<Applied, EngineError> {
        let shared = &self.shared;
        let set = load_adapters(&files).map_err(EngineError::Config)?;
        let _one_at_a_time = shared.changing.lock().await;
        let current = shared.routing.load_full();
        let revision = new_revision(files, author, note, shared.clock.now());
        let unchanged = revision.digest == current.digest;
        let changes = if unchanged {
            Vec::new()
        } else {
            changes(&current, &set)
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
            });
        }

        let proposed = Routing::new(current.revision + 1, revision.digest.clone(), set);
        Topology::hub(names::PARTITIONS, &proposed.queues())
            .assert(&shared.broker, &shared.management)
            .await?;
        let number = shared
            .store
            .append_revision(Some(current.revision), revision)
            .await?;
        shared.routing.store(Arc::new(proposed));
        tracing::info!(revision = number, author, ?changes, "a revision is in force");
        if let Err(error) = upkeep::align_credentials(shared).await {
            tracing::warn!(%error, "credentials follow when the broker answers");
        }
        Ok(Applied {
            number,
            dry_run,
            changes,
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

/// What a set of manifests changes, in sentences.
fn changes(current: &Routing, set: &AdapterSet) -> Vec<String> {
    let proposed: BTreeMap<&str, &Manifest> = set.manifests.iter().map(|m| (m.name.as_str(), m)).collect();
    let mut changes = Vec::new();
    for (name, manifest) in &proposed {
        match current.adapters.get(*name) {
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
    if changes.is_empty() {
        changes.push("comments and spacing only".to_owned());
    }
    changes
}

fn changed(before: &Manifest, after: &Manifest) -> String {
    let mut parts = Vec::new();
    if before.source != after.source {
        parts.push(format!(
            "source {:?} instead of {:?}",
            after.source, before.source
        ));
    }
    let patterns = |m: &Manifest| -> Vec<String> {
        m.subscribe
            .iter()
            .flat_map(|s| s.types.iter().map(ToString::to_string))
            .collect()
    };
    difference("subscribes", &patterns(before), &patterns(after), &mut parts);
    difference("publishes", &before.publishes, &after.publishes, &mut parts);
    if parts.is_empty() {
        parts.push("other settings".to_owned());
    }
    format!("adapter {} changes: {}", after.name, parts.join("; "))
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
