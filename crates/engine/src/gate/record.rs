//! The gate's last step before the ack: the record of a batch, in one transaction. What the database refuses for
//! good is found by recording piece by piece, and kept in quarantine, so that it does not hold up its partition.

use crossdock_bus::{message::encode_event, names};
use crossdock_model::fault::Fault;
use crossdock_store::{Accepted, Batch, NewQuarantined, StoreError};

use crate::{
    measures::{self, Judgement},
    quarantine,
    routing::Routing,
    storing::Storing,
};

/// Records a batch; `None` if the hub stops before the database has taken it.
pub(super) async fn record(storing: &Storing<'_>, routing: &Routing, batch: Batch) -> Option<()> {
    let store = &storing.shared.store;
    if storing.persist(|| store.record(batch.clone())).await?.is_ok() {
        count(routing, &batch);
        return Some(());
    }
    for piece in pieces(batch) {
        match storing.persist(|| store.record(piece.clone())).await? {
            Ok(()) => count(routing, &piece),
            Err(refused) => {
                let instead = in_quarantine(piece, &refused);
                storing.insist(|| store.record(instead.clone())).await?;
                count(routing, &instead);
            }
        }
    }
    Some(())
}

/// Each event with what the hub says about its deliveries, each refused message, and the duplicates.
fn pieces(batch: Batch) -> Vec<Batch> {
    let mut outcomes = batch.outcomes;
    let mut pieces = Vec::new();
    for accepted in batch.accepted {
        let about_it = |outcome: &crossdock_store::Outcome| {
            outcome.event_id == accepted.event.id
                && outcome.source.as_deref() == Some(accepted.event.source.as_str())
        };
        let (own, others) = outcomes.into_iter().partition(about_it);
        outcomes = others;
        pieces.push(Batch {
            accepted: vec![accepted],
            outcomes: own,
            ..Batch::default()
        });
    }
    for message in batch.quarantined {
        pieces.push(Batch {
            quarantined: vec![message],
            ..Batch::default()
        });
    }
    if !batch.duplicates.is_empty() {
        pieces.push(Batch {
            duplicates: batch.duplicates,
            ..Batch::default()
        });
    }
    pieces
}

/// A piece that the database refuses, with its event as a quarantined message.
fn in_quarantine(piece: Batch, refused: &StoreError) -> Batch {
    let reason = format!(
        "it was published to its subscribers, but the database refuses to record it, so their receipts are not \
         counted: {refused}"
    );
    let kept = piece
        .accepted
        .into_iter()
        .map(|accepted| unrecorded(accepted, reason.clone()));
    Batch {
        quarantined: kept.chain(piece.quarantined).collect(),
        duplicates: piece.duplicates,
        ..Batch::default()
    }
}

fn unrecorded(accepted: Accepted, reason: String) -> NewQuarantined {
    tracing::error!(
        producer = accepted.producer,
        reason,
        "an event went to quarantine"
    );
    let (properties, body) = encode_event(&accepted.event);
    let delivery = crossdock_bus::Delivery {
        tag: 0,
        exchange: names::INGRESS.to_owned(),
        routing_key: accepted.event.partition_key().into_owned(),
        redelivered: false,
        properties,
        body,
    };
    let reasons = vec![Fault::new("", reason)];
    quarantine::keep(delivery, Some(accepted.producer), reasons, accepted.received)
}

fn count(routing: &Routing, batch: &Batch) {
    let redelivered = batch.duplicates.iter().filter(|d| d.redelivered).count();
    measures::judged(Judgement::Accepted, batch.accepted.len());
    measures::judged(Judgement::Duplicate, batch.duplicates.len() - redelivered);
    measures::judged(Judgement::Redelivered, redelivered);
    measures::judged(Judgement::Quarantined, batch.quarantined.len());
    for adapter in routing.adapters.keys() {
        let matched = batch
            .accepted
            .iter()
            .filter(|accepted| accepted.targets.contains(adapter));
        let unreachable = batch
            .outcomes
            .iter()
            .filter(|outcome| outcome.adapter == *adapter);
        let delivered = matched.count().saturating_sub(unreachable.count());
        measures::delivered(routing, adapter, delivered as u64);
    }
    for outcome in &batch.outcomes {
        measures::outcome(routing, &outcome.adapter, outcome.kind);
    }
}
