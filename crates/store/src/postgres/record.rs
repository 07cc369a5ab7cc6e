//! `Events::record` in PostgreSQL: a batch as the arrays that `record_batch` takes.

use std::borrow::Cow;
use std::collections::HashSet;

use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::QueryAs;

use super::error::failed;
use super::text::{bound, bound_if_any};
use super::{early, outcomes};
use crate::Result;
use crate::batch::{Counted, names, targets};
use crate::events::{Accepted, Batch, EventKey};
use crate::outcomes::Outcome;
use crate::quarantine::NewQuarantined;
use crate::stored::{Attributes, to_json};

/// The columns of a batch.
#[derive(Default)]
pub(super) struct Rows<'a> {
    events: EventColumns<'a>,
    name_places: Vec<i64>,
    names: Vec<&'a str>,
    delivery_places: Vec<i64>,
    delivery_adapters: Vec<&'a str>,
    delivery_published: Vec<i64>,
    quarantined: QuarantineColumns<'a>,
    counted: Counted,
}

#[derive(Default)]
struct EventColumns<'a> {
    ids: Vec<&'a str>,
    sources: Vec<&'a str>,
    types: Vec<&'a str>,
    subjects: Vec<Option<&'a str>>,
    attributes: Vec<String>,
    data: Vec<Option<&'a [u8]>>,
    producers: Vec<Cow<'a, str>>,
    received: Vec<i64>,
    chains: Vec<i64>,
}

#[derive(Default)]
struct QuarantineColumns<'a> {
    received: Vec<i64>,
    producers: Vec<Option<Cow<'a, str>>>,
    reasons: Vec<String>,
    headers: Vec<String>,
    content_types: Vec<Option<Cow<'a, str>>>,
    routing_keys: Vec<Cow<'a, str>>,
    bodies: Vec<&'a [u8]>,
    fingerprints: Vec<Vec<u8>>,
    redelivered: Vec<bool>,
}

impl<'a> Rows<'a> {
    pub(super) fn of(batch: &'a Batch) -> Self {
        let mut rows = Self {
            counted: Counted::of(batch, 0),
            ..Self::default()
        };
        // Of two events of one key in a batch the first counts.
        let mut seen = HashSet::new();
        for accepted in &batch.accepted {
            if seen.insert(EventKey::of(&accepted.event)) {
                rows.add(accepted);
            }
        }
        for message in &batch.quarantined {
            rows.quarantined.add(message);
        }
        rows
    }

    fn add(&mut self, accepted: &'a Accepted) {
        self.events.add(accepted);
        let place = i64::try_from(self.events.ids.len()).unwrap_or(i64::MAX);
        for name in names(accepted) {
            self.name_places.push(place);
            self.names.push(name);
        }
        for target in targets(accepted) {
            self.delivery_places.push(place);
            self.delivery_adapters.push(target);
            self.delivery_published
                .push(accepted.published.timestamp_micros());
        }
    }

    /// The one statement; what it yields is said at `record_batch`.
    pub(super) fn statement(
        &self,
        early_too: bool,
    ) -> QueryAs<'_, sqlx::Postgres, (Option<i64>,), PgArguments> {
        let Self {
            events,
            quarantined,
            counted,
            ..
        } = self;
        sqlx::query_as(
            "SELECT record_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
                                 $20, $21, $22, $23, $24, $25, $26, $27)",
        )
        .bind(&events.ids)
        .bind(&events.sources)
        .bind(&events.types)
        .bind(&events.subjects)
        .bind(&events.attributes)
        .bind(&events.data)
        .bind(&events.producers)
        .bind(&events.received)
        .bind(&events.chains)
        .bind(&self.name_places)
        .bind(&self.names)
        .bind(&self.delivery_places)
        .bind(&self.delivery_adapters)
        .bind(&self.delivery_published)
        .bind(&quarantined.received)
        .bind(&quarantined.producers)
        .bind(&quarantined.reasons)
        .bind(&quarantined.headers)
        .bind(&quarantined.content_types)
        .bind(&quarantined.routing_keys)
        .bind(&quarantined.bodies)
        .bind(&quarantined.fingerprints)
        .bind(&quarantined.redelivered)
        .bind(counted.received)
        .bind(counted.duplicates)
        .bind(counted.redelivered)
        .bind(early_too)
    }
}

impl<'a> EventColumns<'a> {
    fn add(&mut self, accepted: &'a Accepted) {
        let event = &accepted.event;
        self.ids.push(&event.id);
        self.sources.push(&event.source);
        self.types.push(&event.event_type);
        self.subjects.push(event.subject.as_deref());
        self.attributes.push(to_json(&Attributes::of(event)));
        self.data.push(event.data.as_deref());
        self.producers.push(bound(&accepted.producer));
        self.received.push(accepted.received.timestamp_micros());
        self.chains.push(accepted.chain.into());
    }
}

impl<'a> QuarantineColumns<'a> {
    fn add(&mut self, message: &'a NewQuarantined) {
        self.received.push(message.received.timestamp_micros());
        self.producers.push(bound_if_any(message.producer.as_deref()));
        self.reasons.push(to_json(&message.reasons));
        self.headers.push(to_json(&message.headers));
        self.content_types
            .push(bound_if_any(message.content_type.as_deref()));
        self.routing_keys.push(bound(&message.routing_key));
        self.bodies.push(&message.body);
        self.fingerprints.push(message.fingerprint().to_vec());
        self.redelivered.push(message.redelivered);
    }
}

/// Keeps a batch with what is said about its events: the words that waited for them, and the hub's own.
pub(super) async fn with_outcomes(
    connection: &mut PgConnection,
    rows: &Rows<'_>,
    words: &[Outcome],
) -> Result<()> {
    let (first_offset,) = rows
        .statement(true)
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    if let Some(first_offset @ 1..) = first_offset {
        early::apply(connection, first_offset).await?;
    }
    if !words.is_empty() {
        outcomes::settle(connection, words).await?;
    }
    Ok(())
}
