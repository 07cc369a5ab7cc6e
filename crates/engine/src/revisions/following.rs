//! How a hub comes to route by a revision that another hub applied.

use std::sync::Arc;

use super::{PART, UNREADABLE, routing};
use crate::{EngineError, routing::Routing, shared::Shared};

/// Routes by the revision in force, if another hub has applied one. Needs the right to change; see
/// [`Shared::change`]. One that this version cannot read is not followed, which is a `Conflict`: the known one
/// holds, with an alarm.
pub(crate) async fn follow(shared: &Shared) -> Result<(), EngineError> {
    let known = shared.routing.load().revision;
    let latest = shared.store.revisions(1).await?;
    if latest.first().is_none_or(|latest| latest.number == known) {
        return Ok(());
    }
    let Some(current) = shared.store.current_revision().await? else {
        return Ok(());
    };
    let routing = routing(current);
    if let Some(fault) = &routing.fault {
        let sentence = format!("this hub routes by revision {known}: {fault}");
        shared.alarms.raise(PART, UNREADABLE, sentence.clone());
        return Err(EngineError::Conflict(sentence));
    }
    shared.alarms.clear(PART, UNREADABLE);
    tracing::info!(
        revision = routing.revision,
        "another hub applied a revision; it is in force here too"
    );
    shared.put_in_force(routing);
    Ok(())
}

/// The routing by the revision in force, for whoever is about to give something up because the one known here does not
/// have it: another hub may have applied a revision a moment ago. `None`: nobody can say now, or this version cannot
/// read it.
pub(crate) async fn newest(shared: &Shared) -> Option<Arc<Routing>> {
    let _one_at_a_time = shared.change().await.ok()?;
    follow(shared).await.ok()?;
    Some(shared.routing.load_full())
}

/// The routing by which to decide about deliveries to these adapters, and whether one that it does not have is gone
/// for certain.
pub(crate) async fn knowing(shared: &Shared, adapters: impl Iterator<Item = &str>) -> (Arc<Routing>, bool) {
    let known = shared.routing.load_full();
    let mut adapters = adapters;
    if adapters.all(|adapter| known.adapters.contains_key(adapter)) {
        return (known, true);
    }
    match newest(shared).await {
        Some(newest) => (newest, true),
        None => (known, false),
    }
}
