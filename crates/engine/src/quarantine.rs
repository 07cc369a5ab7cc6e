//! Messages the hub refused: kept whole with every reason, shown on demand, sent again when the cause is mended.

use chrono::{DateTime, Utc};
use crossdock_bus::{
    PublishError,
    message::{Delivery, HeaderValue, Headers, Outgoing, Properties},
    names,
};
use crossdock_model::fault::Fault;
use crossdock_store::{NewQuarantined, QuarantinedSummary};
use serde_json::Value;

use crate::{EngineError, FaultView, Hub, Principal, QuarantinedView, edge::PRODUCER_HEADER};

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
        headers: Value::Object(
            delivery
                .properties
                .headers
                .into_iter()
                .map(|(name, value)| (name, to_json(value)))
                .collect(),
        ),
        content_type: delivery.properties.content_type,
        body: delivery.body,
        routing_key: delivery.routing_key,
        redelivered: delivery.redelivered,
    }
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
    /// `NotFound`, or `Unavailable` without a database or broker.
    pub async fn resend(&self, id: i64, who: &Principal) -> Result<(), EngineError> {
        let shared = &self.shared;
        let message = shared.store.quarantined(id).await?.ok_or_else(|| not_found(id))?;
        let mut headers: Headers = match message.headers {
            Value::Object(headers) => headers
                .into_iter()
                .filter_map(|(k, v)| Some((k, from_json(v)?)))
                .collect(),
            _ => Headers::new(),
        };
        headers.retain(|name, _| name.to_ascii_lowercase().starts_with("cloudevents"));
        let producer = message.summary.producer.unwrap_or_else(|| who.producer());
        headers.insert(PRODUCER_HEADER.to_owned(), HeaderValue::Text(producer));
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
            .publish(again)
            .await
            .map_err(|error| match error {
                PublishError::TooLarge { .. } => {
                    EngineError::Invalid(format!("it cannot be sent again: {error}"))
                }
                other => EngineError::unavailable(other.to_string()),
            })?;
        shared.store.mark_resent(id, shared.clock.now()).await?;
        tracing::info!(id, by = who.name, "a quarantined message was sent again");
        Ok(())
    }
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

fn to_json(value: HeaderValue) -> Value {
    match value {
        HeaderValue::Null => Value::Null,
        HeaderValue::Bool(flag) => flag.into(),
        HeaderValue::Int(number) => number.into(),
        HeaderValue::Float(number) => number.into(),
        HeaderValue::Text(text) => text.into(),
        HeaderValue::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
        HeaderValue::Time(time) => time.to_rfc3339().into(),
        HeaderValue::List(items) => items.into_iter().map(to_json).collect(),
        HeaderValue::Table(table) => Value::Object(table.into_iter().map(|(k, v)| (k, to_json(v))).collect()),
    }
}

/// The headers that carry CloudEvents attributes are scalars; others do not travel.
fn from_json(value: Value) -> Option<HeaderValue> {
    match value {
        Value::Bool(flag) => Some(HeaderValue::Bool(flag)),
        Value::Number(number) => number.as_i64().map(HeaderValue::Int),
        Value::String(text) => Some(HeaderValue::Text(text)),
        _ => None,
    }
}
