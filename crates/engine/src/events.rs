//! Looking events up: one, many, what came after. Where no word tells what came of a delivery, the ledger does, as it
//! does on a journey; those who follow the record are told of events too young for that, so for them it reads the
//! record only.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use crossdock_model::{event::REFERENCE_MAX_BYTES, types::TypePattern};
use crossdock_store::{DeliveryRow, EventQuery, StoredEvent};
use serde_json::value::{RawValue, to_raw_value};

use crate::{
    AttemptView, DeliveryView, EngineError, EventNews, EventPage, EventView, Hub,
    journey::{Known, told},
};

/// Most events of one page.
const PAGE_MAX: u32 = 200;

/// A page ends with the first event by which it has so many bytes of data.
const PAGE_MAX_BYTES: u64 = 8 * 1024 * 1024;
/// The same for those who follow the record, of whom there may be many at once.
const FOLLOWED_MAX_BYTES: u64 = 1024 * 1024;

/// Which events to look for; every condition given must hold.
#[derive(Clone, Debug, Default)]
pub struct EventSearch {
    /// Type or pattern such as `order.*.v1`.
    pub event_type: Option<String>,
    /// Exact source.
    pub source: Option<String>,
    /// Exact subject.
    pub subject: Option<String>,
    /// Correlation id or alias of the event itself.
    pub correlation: Option<String>,
    /// Went to this adapter.
    pub adapter: Option<String>,
    /// Received at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Received before this time.
    pub until: Option<DateTime<Utc>>,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// Events of a page, 1 to 200.
    pub limit: u32,
}

impl EventView {
    /// An attribute of the event that is text. What else the event holds is passed over, not read.
    pub fn attribute(&self, name: &str) -> Option<String> {
        let members: BTreeMap<String, &RawValue> = serde_json::from_str(self.event.get()).ok()?;
        serde_json::from_str(members.get(name)?.get()).ok()
    }

    /// The event with all it holds, which takes many times its length in memory.
    pub fn parsed(&self) -> serde_json::Value {
        serde_json::from_str(self.event.get()).unwrap_or_default()
    }
}

impl Hub {
    /// A page of events, newest first.
    ///
    /// # Errors
    /// `Invalid` for a limit, pattern or cursor that is none; `Unavailable` without a database.
    pub async fn find(&self, search: EventSearch) -> Result<EventPage, EngineError> {
        if !(1..=PAGE_MAX).contains(&search.limit) {
            return Err(EngineError::Invalid(format!("limit: expected 1 to {PAGE_MAX}")));
        }
        let event_type = search.event_type.as_deref().map(pattern).transpose()?;
        let before_offset = match search.cursor.as_deref() {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| {
                EngineError::Invalid("cursor: expected the value of `next` of the page before".into())
            })?),
        };
        let names = [
            &search.source,
            &search.subject,
            &search.correlation,
            &search.adapter,
        ];
        if !names.into_iter().flatten().all(|name| can_name(name)) {
            return Ok(EventPage {
                events: Vec::new(),
                next: None,
            });
        }
        let limit = search.limit as usize;
        let query = EventQuery {
            event_type,
            source: search.source,
            subject: search.subject,
            correlation: search.correlation,
            adapter: search.adapter,
            since: search.since,
            until: search.until,
            after_offset: None,
            before_offset,
            newest_first: true,
            limit: limit + 1,
            data_max_bytes: Some(PAGE_MAX_BYTES),
        };
        let mut found = self.shared.store.find(query).await?;
        let bytes: usize = found
            .iter()
            .filter_map(|stored| Some(stored.event.data.as_ref()?.len()))
            .sum();
        // A page that is full by its bytes may be the last one: then the next is empty.
        let more = found.len() > limit || bytes as u64 >= PAGE_MAX_BYTES;
        found.truncate(limit);
        let next = if more {
            found.last().map(|event| event.offset.to_string())
        } else {
            None
        };
        let known = Known::of(&self.shared, &found).await?;
        Ok(EventPage {
            events: found.into_iter().map(|stored| told(stored, &known)).collect(),
            next,
        })
    }

    /// The event of this id.
    ///
    /// # Errors
    /// `NotFound`; `Ambiguous` if several sources use the id and none was named; `Unavailable`.
    pub async fn event(&self, id: &str, source: Option<&str>) -> Result<EventView, EngineError> {
        if !can_name(id) || !source.is_none_or(can_name) {
            return Err(EngineError::NotFound(
                "no event can have this id or source".into(),
            ));
        }
        let mut found = self.shared.store.event(id, source).await?;
        match found.len() {
            0 => Err(EngineError::NotFound(format!("there is no event {id:?}"))),
            1 => {
                let known = Known::of(&self.shared, &found).await?;
                Ok(told(found.remove(0), &known))
            }
            _ => Err(EngineError::Ambiguous(
                found.into_iter().map(|stored| stored.event.source).collect(),
            )),
        }
    }

    /// Newest offset of the record, whichever hub wrote it; 0 while it is empty.
    ///
    /// # Errors
    /// `Unavailable` without a database.
    pub async fn latest_offset(&self) -> Result<i64, EngineError> {
        Ok(self.shared.store.latest_offset().await?)
    }

    /// The events after an offset, oldest first, at most `limit`, fewer if they are large.
    ///
    /// # Errors
    /// `Unavailable` without a database.
    pub async fn events_after(
        &self,
        offset: i64,
        pattern: Option<&TypePattern>,
        limit: u32,
    ) -> Result<Vec<EventView>, EngineError> {
        let query = EventQuery {
            event_type: pattern.cloned(),
            after_offset: Some(offset),
            limit: limit as usize,
            data_max_bytes: Some(FOLLOWED_MAX_BYTES),
            ..EventQuery::default()
        };
        Ok(self
            .shared
            .store
            .find(query)
            .await?
            .into_iter()
            .map(event_view)
            .collect())
    }

    /// What followed an offset: the newest events of it, at most `limit`, and how many older ones are left out;
    /// with the offset up to which that is all.
    ///
    /// # Errors
    /// `Unavailable` without a database.
    pub async fn news_after(&self, offset: i64, limit: u32) -> Result<(EventNews, i64), EngineError> {
        let store = &self.shared.store;
        let newest = store.latest_offset().await?;
        let query = EventQuery {
            after_offset: Some(offset),
            before_offset: Some(newest.saturating_add(1)),
            newest_first: true,
            limit: limit as usize,
            data_max_bytes: Some(FOLLOWED_MAX_BYTES),
            ..EventQuery::default()
        };
        let mut found = if newest > offset {
            store.find(query).await?
        } else {
            Vec::new()
        };
        found.reverse();
        let skipped = match found.first() {
            Some(first) if first.offset > offset + 1 => store.count_between(offset, first.offset).await?,
            _ => 0,
        };
        let news = EventNews {
            events: found.into_iter().map(event_view).collect(),
            skipped,
        };
        Ok((news, newest.max(offset)))
    }
}

/// Whether an event can have this as its id, source, subject or another name. No database is asked for what cannot be.
pub(crate) fn can_name(text: &str) -> bool {
    text.len() <= REFERENCE_MAX_BYTES && !text.contains(char::is_control)
}

pub(crate) fn pattern(text: &str) -> Result<TypePattern, EngineError> {
    text.parse()
        .map_err(|error| EngineError::Invalid(format!("type: {error}")))
}

pub(crate) fn event_view(stored: StoredEvent) -> EventView {
    EventView {
        offset: stored.offset,
        received: stored.received,
        producer: stored.producer,
        event: to_raw_value(&stored.event)
            .expect("strings and JSON that was checked when the event was made can be written"),
        data_left_out: stored.data_left_out,
        deliveries: stored.deliveries.into_iter().map(delivery_view).collect(),
    }
}

fn delivery_view(row: DeliveryRow) -> DeliveryView {
    let attempts = row.tries.into_iter().map(|attempt| AttemptView {
        number: attempt.number,
        outcome: wire_name(&attempt.outcome),
        detail: attempt.detail,
        at: attempt.at,
        duration_ms: attempt.duration_ms,
    });
    DeliveryView {
        adapter: row.adapter,
        state: wire_name(&row.state),
        attempts: row.attempts,
        published: row.published,
        settled: row.settled,
        due: row.due,
        detail: row.detail,
        tries: attempts.collect(),
    }
}

/// A unit variant's name on the wire, as serde gives it.
pub(crate) fn wire_name(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}
