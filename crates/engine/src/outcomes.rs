//! What adapters say: receipts, and what they rejected or died over, all from the one queue
//! `crossdock.failed`, in order, so that a receipt is read before the reject it explains.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use crossdock_bus::{
    BusError,
    lane::Lane,
    message::{Delivery, HeaderValue, decode_event},
    names,
};
use crossdock_model::fault::Fault;
use crossdock_store::{Batch, Outcome, OutcomeKind};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::{gate::until_stored, hub::Shared, quarantine};

const PREFETCH: u16 = 500;
const BATCH_MAX: usize = 500;
const BATCH_LINGER: Duration = Duration::from_millis(10);
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// Receipts in one message at most.
const RECEIPTS_MAX: usize = 1000;
/// What is kept of an adapter's words about one event, in characters.
const DETAIL_MAX_CHARS: usize = 2000;

/// Reads outcomes until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut pause = PAUSE_MIN;
    while !stop.is_cancelled() {
        if shared.wait_for_topology(&stop).await.is_err() {
            return;
        }
        let lane = match Lane::open(
            &shared.broker,
            names::FAILED,
            PREFETCH,
            &shared.consumer_tag("outcomes"),
        )
        .await
        {
            Ok(lane) => lane,
            Err(error) => {
                tracing::debug!(%error, "outcomes cannot be read yet");
                shared.pause(&mut pause, &stop).await;
                continue;
            }
        };
        pause = PAUSE_MIN;
        match serve(&shared, lane, &stop).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%error, "the reader of outcomes lost its lane and opens another"),
        }
    }
}

async fn serve(shared: &Shared, mut lane: Lane, stop: &CancellationToken) -> Result<(), BusError> {
    loop {
        let deliveries = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            deliveries = lane.next_batch(BATCH_MAX, BATCH_LINGER) => deliveries?,
        };
        let now = shared.clock.now();
        let tags: Vec<u64> = deliveries.iter().map(|delivery| delivery.tag).collect();
        let mut outcomes = Vec::new();
        let mut refused = Batch::default();
        for delivery in deliveries {
            match read(&delivery, now) {
                Ok(read) => outcomes.extend(read),
                Err(Refusal { producer, reason }) => {
                    tracing::warn!(
                        producer,
                        reason,
                        "a message to crossdock.failed went to quarantine"
                    );
                    let reasons = vec![Fault {
                        pointer: String::new(),
                        message: reason,
                    }];
                    refused
                        .quarantined
                        .push(quarantine::keep(delivery, producer, reasons, now));
                }
            }
        }
        let kept = until_stored(shared, stop, || async {
            if !outcomes.is_empty() {
                shared.store.settle(&outcomes).await?;
            }
            if !refused.quarantined.is_empty() {
                shared.store.record(refused.clone()).await?;
            }
            Ok(())
        })
        .await;
        if kept.is_none() {
            break;
        }
        lane.ack(&tags).await?;
    }
    lane.step_down().await;
    Ok(())
}

struct Refusal {
    producer: Option<String>,
    reason: String,
}

/// A receipt as adapters send it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Receipt {
    event: String,
    /// Only needed where several sources use the same id.
    source: Option<String>,
    outcome: ReceiptOutcome,
    detail: Option<String>,
    retry_after_s: Option<u32>,
    duration_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ReceiptOutcome {
    Done,
    Retry,
    Dead,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Receipts {
    One(Receipt),
    Many(Vec<Receipt>),
}

fn read(delivery: &Delivery, now: DateTime<Utc>) -> Result<Vec<Outcome>, Refusal> {
    if delivery.exchange == names::RECEIPTS {
        receipts(delivery, now)
    } else {
        failure(delivery, now).map(|f| vec![f])
    }
}

fn receipts(delivery: &Delivery, now: DateTime<Utc>) -> Result<Vec<Outcome>, Refusal> {
    let user = delivery.properties.user_id.as_deref();
    let Some((adapter, _)) = user.and_then(names::adapter_of_user) else {
        let reason = "a receipt needs the property user_id with the adapter's own RabbitMQ user".to_owned();
        return Err(Refusal {
            producer: None,
            reason,
        });
    };
    let refuse = |reason: String| Refusal {
        producer: Some(adapter.to_owned()),
        reason,
    };
    let parsed: Receipts = serde_json::from_slice(&delivery.body).map_err(|error| {
        refuse(format!(
            "expected a receipt {{\"event\": id, \"outcome\": \"done\" | \"retry\" | \"dead\", \"detail\", \
             \"retry_after_s\", \"duration_ms\"}} or an array of them: {error}"
        ))
    })?;
    let receipts = match parsed {
        Receipts::One(receipt) => vec![receipt],
        Receipts::Many(receipts) => receipts,
    };
    if receipts.len() > RECEIPTS_MAX {
        return Err(refuse(format!(
            "{} receipts in one message; at most {RECEIPTS_MAX}",
            receipts.len()
        )));
    }
    Ok(receipts
        .into_iter()
        .map(|receipt| Outcome {
            adapter: adapter.to_owned(),
            event_id: receipt.event,
            source: receipt.source,
            kind: match receipt.outcome {
                ReceiptOutcome::Done => OutcomeKind::Done,
                ReceiptOutcome::Retry => OutcomeKind::Retry,
                ReceiptOutcome::Dead => OutcomeKind::Dead,
            },
            detail: receipt
                .detail
                .map(|detail| detail.chars().take(DETAIL_MAX_CHARS).collect()),
            retry_after_s: receipt.retry_after_s,
            duration_ms: receipt.duration_ms,
            attempt: None,
            at: now,
        })
        .collect())
}

/// A message RabbitMQ took from an adapter's queue: its routing key is the adapter's name, its first `x-death`
/// entry says why.
fn failure(delivery: &Delivery, now: DateTime<Utc>) -> Result<Outcome, Refusal> {
    let refuse = |reason: &str| Refusal {
        producer: None,
        reason: reason.to_owned(),
    };
    let event =
        decode_event(&delivery.properties, &delivery.body).map_err(|faults| refuse(&faults.to_string()))?;
    let headers = &delivery.properties.headers;
    let Some(HeaderValue::List(deaths)) = headers.get("x-death") else {
        return Err(refuse(
            "this message was not dead-lettered by RabbitMQ: it has no x-death header",
        ));
    };
    let Some(HeaderValue::Table(death)) = deaths.first() else {
        return Err(refuse("the x-death header is empty"));
    };
    let text = |key: &str| match death.get(key) {
        Some(HeaderValue::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    let Some(adapter) = text("queue").and_then(names::adapter_of_queue) else {
        return Err(refuse(
            "it was dead-lettered from a queue that belongs to no adapter",
        ));
    };
    let kind = match text("reason") {
        Some("delivery_limit") => OutcomeKind::DeliveryLimit,
        _ => OutcomeKind::Rejected,
    };
    let attempt = match headers.get(crate::gate::ATTEMPT_HEADER) {
        Some(HeaderValue::Int(attempt)) => u32::try_from(*attempt).ok(),
        _ => None,
    };
    Ok(Outcome {
        adapter: adapter.to_owned(),
        event_id: event.id,
        source: Some(event.source),
        kind,
        detail: None,
        retry_after_s: None,
        duration_ms: None,
        attempt,
        at: now,
    })
}
