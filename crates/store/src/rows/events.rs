//! Rows of events with their deliveries and attempts.

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::Bytes;
use crossdock_model::event::Event;

use crate::Result;
use crate::events::{Attempt, DeliveryRow, StoredEvent};
use crate::stored::{Attributes, from_json, from_word, number, time, time_if_any};

#[derive(sqlx::FromRow)]
pub(crate) struct EventRow {
    event_offset: i64,
    id: String,
    source: String,
    event_type: String,
    subject: Option<String>,
    attributes: String,
    data: Option<Vec<u8>>,
    data_left_out: Option<i64>,
    producer: String,
    received: i64,
    chain: i64,
}

#[derive(sqlx::FromRow)]
pub(crate) struct DeliveryOfOffset {
    event_offset: i64,
    adapter: String,
    state: String,
    attempts: i64,
    published: i64,
    settled: Option<i64>,
    due: Option<i64>,
    detail: Option<String>,
}

#[derive(sqlx::FromRow)]
pub(crate) struct TryOfOffset {
    event_offset: i64,
    adapter: String,
    number: i64,
    outcome: String,
    detail: Option<String>,
    at: i64,
    duration_ms: Option<i64>,
}

/// Puts together what belongs to each of `events`, which keep their order. Deliveries come by adapter, attempts
/// in the order in which they are to be shown.
pub(crate) fn assemble(
    events: Vec<EventRow>,
    deliveries: Vec<DeliveryOfOffset>,
    tries: Vec<TryOfOffset>,
) -> Result<Vec<StoredEvent>> {
    let mut tries = by_delivery(tries)?;
    let mut deliveries = by_event(deliveries, &mut tries)?;
    events
        .into_iter()
        .map(|row| {
            let deliveries = deliveries.remove(&row.event_offset).unwrap_or_default();
            row.stored(deliveries)
        })
        .collect()
}

type Tries = HashMap<(i64, String), Vec<Attempt>>;

fn by_delivery(rows: Vec<TryOfOffset>) -> Result<Tries> {
    let mut tries = Tries::new();
    for row in rows {
        tries
            .entry((row.event_offset, row.adapter))
            .or_default()
            .push(Attempt {
                number: number("attempts.number", row.number)?,
                outcome: from_word("attempts.outcome", &row.outcome)?,
                detail: row.detail,
                at: time(row.at)?,
                duration_ms: row
                    .duration_ms
                    .map(|ms| number("attempts.duration_ms", ms))
                    .transpose()?,
            });
    }
    Ok(tries)
}

fn by_event(rows: Vec<DeliveryOfOffset>, tries: &mut Tries) -> Result<HashMap<i64, Vec<DeliveryRow>>> {
    let mut deliveries: HashMap<i64, Vec<DeliveryRow>> = HashMap::new();
    for row in rows {
        let key = (row.event_offset, row.adapter);
        let tries = tries.remove(&key).unwrap_or_default();
        deliveries.entry(key.0).or_default().push(DeliveryRow {
            adapter: key.1,
            state: from_word("deliveries.state", &row.state)?,
            attempts: number("deliveries.attempts", row.attempts)?,
            published: time(row.published)?,
            settled: time_if_any(row.settled)?,
            due: time_if_any(row.due)?,
            detail: row.detail,
            tries,
        });
    }
    Ok(deliveries)
}

impl EventRow {
    fn stored(self, deliveries: Vec<DeliveryRow>) -> Result<StoredEvent> {
        let attributes: Attributes = from_json("events.attributes", &self.attributes)?;
        Ok(StoredEvent {
            offset: self.event_offset,
            event: Event {
                id: self.id,
                source: self.source,
                event_type: self.event_type,
                subject: self.subject,
                time: attributes.time,
                data_content_type: attributes.datacontenttype.map(Cow::into_owned),
                data_schema: attributes.dataschema.map(Cow::into_owned),
                extensions: attributes.extensions.into_owned(),
                data: self.data.map(Bytes::from),
            },
            data_left_out: self
                .data_left_out
                .map(|bytes| number("events.data", bytes))
                .transpose()?,
            producer: self.producer,
            received: time(self.received)?,
            chain: number("events.chain", self.chain)?,
            deliveries,
        })
    }
}
