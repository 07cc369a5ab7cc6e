//! Messages the hub refused: kept whole with every reason, shown on demand, sent again when the cause is mended.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use crossdock_bus::{
    PublishError,
    message::{Delivery, HeaderValue, Headers, Outgoing, Properties, headers_to_json},
    names,
};
use crossdock_model::fault::Fault;
use crossdock_store::{NewQuarantined, QuarantinedSummary};
use serde_json::Value;

use crate::{EngineError, FaultView, Hub, Principal, QuarantinedView, Scope, edge::PRODUCER_HEADER};

/// Says which message in quarantine this one repeats, so that each time it comes back is kept apart.
const RESENT_HEADER: &str = "crossdock-resent";
/// Kept of a message that came another way than events do. On the way in the gate lets no such header pass.
const EXCHANGE_HEADER: &str = "crossdock-exchange";

/// Reasons of one message that go to the log; all of them are kept with the message.
const REASONS_LOGGED: usize = 5;

/// Why a message was refused, as the log has it.
pub(crate) fn for_the_log(reasons: &[Fault]) -> Vec<String> {
    let more = reasons.len().saturating_sub(REASONS_LOGGED);
    let first = reasons.iter().take(REASONS_LOGGED).map(ToString::to_string);
    first
        .chain((more > 0).then(|| format!("and {more} more")))
        .collect()
}

/// The refused message as the store keeps it.
pub(crate) fn keep(
    delivery: Delivery,
    producer: Option<String>,
    reasons: Vec<Fault>,
    received: DateTime<Utc>,
) -> NewQuarantined {
    NewQuarantined {
        received,
        producer,
        reasons,
        headers: headers_to_json(&delivery.properties.headers),
        content_type: delivery.properties.content_type,
        body: delivery.body,
        routing_key: delivery.routing_key,
        redelivered: delivery.redelivered,
    }
}

/// The same for a message that was no event to begin with: it cannot be sent again.
pub(crate) fn keep_outcome(
    mut delivery: Delivery,
    producer: Option<String>,
    reasons: Vec<Fault>,
    received: DateTime<Utc>,
) -> NewQuarantined {
    let exchange = HeaderValue::Text(delivery.exchange.clone());
    delivery
        .properties
        .headers
        .insert(EXCHANGE_HEADER.to_owned(), exchange);
    keep(delivery, producer, reasons, received)
}

impl Hub {
    /// Refused messages, newest first, without bodies; those with an id below `before`.
    ///
    /// # Errors
    /// `Unavailable` without a database.
    pub async fn quarantined(
        &self,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<QuarantinedView>, EngineError> {
        let page = self.shared.store.quarantine_page(before, limit as usize).await?;
        Ok(page
            .into_iter()
            .map(|summary| view(summary, Value::Null, None))
            .collect())
    }

    /// One refused message, whole.
    ///
    /// # Errors
    /// `NotFound`, or `Unavailable` without a database.
    pub async fn quarantined_one(&self, id: i64) -> Result<QuarantinedView, EngineError> {
        let message = self
            .shared
            .store
            .quarantined(id)
            .await?
            .ok_or_else(|| not_found(id))?;
        Ok(view(
            message.summary,
            message.headers,
            Some(message.body.to_vec()),
        ))
    }

    /// Puts a refused message before the gate once more, in the name of its first producer (of `who`, where that
    /// producer could not be proved). It is judged anew and may come back.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` for what is no event, such as a receipt; `Unavailable` without a database or broker.
    pub async fn resend(&self, id: i64, who: &Principal) -> Result<(), EngineError> {
        let shared = &self.shared;
        let message = shared.store.quarantined(id).await?.ok_or_else(|| not_found(id))?;
        if message.headers.get(EXCHANGE_HEADER).is_some() {
            return Err(EngineError::Conflict(format!(
                "message {id} is a receipt or a failed delivery, not an event: only its adapter can repeat it"
            )));
        }
        if message.summary.producer.is_none() && !who.may(Scope::EventsWrite) {
            return Err(EngineError::Invalid(format!(
                "the sender of message {id} is not proved, so it would be sent in your name: that needs {}",
                Scope::EventsWrite
            )));
        }
        let producer = message.summary.producer.unwrap_or_else(|| who.producer());
        let mut headers = attributes(message.headers);
        headers.insert(PRODUCER_HEADER.to_owned(), HeaderValue::Text(producer));
        headers.insert(RESENT_HEADER.to_owned(), HeaderValue::Int(id));
        let again = Outgoing {
            exchange: names::INGRESS.to_owned(),
            routing_key: message.summary.routing_key,
            bcc: Vec::new(),
            mandatory: true,
            properties: Properties {
                content_type: message.summary.content_type,
                user_id: Some(shared.hub_user.clone()),
                headers,
                ..Properties::default()
            },
            body: message.body,
        };
        shared
            .publisher
            .load()
            .publish(again)
            .await
            .map_err(|error| match error {
                PublishError::TooLarge { .. } => {
                    EngineError::Invalid(format!("it cannot be sent again: {error}"))
                }
                other => EngineError::unavailable(other.to_string()),
            })?;
        shared.store.mark_resent(id, shared.clock.now()).await?;
        tracing::info!(id, by = who.name(), "a quarantined message was sent again");
        Ok(())
    }
}

/// Of the headers as they are kept, those of the event. What was wrong with one stays wrong: the gate says so again.
fn attributes(headers: Value) -> Headers {
    let Value::Object(headers) = headers else {
        return Headers::new();
    };
    headers
        .into_iter()
        .filter(|(name, _)| name.to_ascii_lowercase().starts_with("cloudevents"))
        .map(|(name, value)| (name, from_json(value)))
        .collect()
}

fn not_found(id: i64) -> EngineError {
    EngineError::NotFound(format!("there is no quarantined message {id}"))
}

fn view(summary: QuarantinedSummary, headers: Value, body: Option<Vec<u8>>) -> QuarantinedView {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    QuarantinedView {
        id: summary.id,
        received: summary.received,
        producer: summary.producer,
        reasons: summary.reasons.into_iter().map(FaultView::from).collect(),
        routing_key: summary.routing_key,
        content_type: summary.content_type,
        headers,
        body_bytes: summary.body_bytes,
        body_base64: body.map(|bytes| STANDARD.encode(bytes)),
        resent: summary.resent,
    }
}

/// The header of a value that [`HeaderValue::to_json`] wrote.
fn from_json(value: Value) -> HeaderValue {
    match value {
        Value::Null => HeaderValue::Null,
        Value::Bool(flag) => HeaderValue::Bool(flag),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => HeaderValue::Int(whole),
            None => HeaderValue::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => HeaderValue::Text(text),
        Value::Array(items) => HeaderValue::List(items.into_iter().map(from_json).collect()),
        Value::Object(members) => match members.get("bytes").and_then(bytes) {
            Some(bytes) if members.len() == 1 => HeaderValue::Bytes(bytes),
            _ => HeaderValue::Table(members.into_iter().map(|(k, v)| (k, from_json(v))).collect()),
        },
    }
}

fn bytes(value: &Value) -> Option<Bytes> {
    let byte = |value: &Value| u8::try_from(value.as_u64()?).ok();
    value.as_array()?.iter().map(byte).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_events_headers_survive_the_quarantine() {
        let headers = Headers::from([
            ("cloudEvents_id".to_owned(), "e-1".into()),
            ("cloudEvents:count".to_owned(), 4.into()),
            ("cloudEvents_urgent".to_owned(), true.into()),
            ("cloudEvents_price".to_owned(), HeaderValue::Float(12.5)),
            (
                "cloudEvents_subject".to_owned(),
                HeaderValue::Bytes(Bytes::from_static(b"\xff\x00")),
            ),
            (
                "cloudEvents_list".to_owned(),
                HeaderValue::List(vec!["a".into(), HeaderValue::Null]),
            ),
            (
                "cloudEvents_table".to_owned(),
                HeaderValue::Table(Headers::from([("bytes".to_owned(), "no".into())])),
            ),
        ]);
        assert_eq!(attributes(headers_to_json(&headers)), headers);
    }

    #[test]
    fn the_log_has_the_first_reasons_and_how_many_more_there_are() {
        let reasons: Vec<_> = (0..7).map(|n| Fault::new(format!("/{n}"), "odd")).collect();
        assert_eq!(
            for_the_log(&reasons),
            [
                "/0: odd",
                "/1: odd",
                "/2: odd",
                "/3: odd",
                "/4: odd",
                "and 2 more"
            ]
        );
        assert_eq!(for_the_log(&reasons[..1]), ["/0: odd"]);
    }

    #[test]
    fn nothing_but_the_events_headers_is_sent_again() {
        let headers = Headers::from([
            ("cloudEvents_id".to_owned(), "e-1".into()),
            ("CC".to_owned(), HeaderValue::List(vec!["x".into()])),
            ("BCC".to_owned(), HeaderValue::List(vec!["x".into()])),
            ("x-death".to_owned(), HeaderValue::List(Vec::new())),
            (PRODUCER_HEADER.to_owned(), "erp".into()),
            ("traceparent".to_owned(), "00-1-2-01".into()),
        ]);
        let sent: Vec<_> = attributes(headers_to_json(&headers)).into_keys().collect();
        assert_eq!(sent, ["cloudEvents_id"]);
        assert!(attributes(Value::Null).is_empty());
    }
}
