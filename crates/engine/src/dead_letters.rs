//! Dead letters: what failed for good, found, looked at, and sent on its way again by a person.

use chrono::DateTime;
use crossdock_store::{DeadLetter, DeadLetterCursor, DeliveryRow, DeliveryState, StoredEvent};

use crate::{
    DeadLetterDetail, DeadLetterPage, DeadLetterView, EngineError, Hub, Redriven,
    events::{event_view, wire_name},
    gate,
    retry::{Progress, ladder::Waiting},
};

/// Most dead letters of one page.
const PAGE_MAX: u32 = 200;

/// A delivery's name among the dead letters, `<offset>.<adapter>`. It stays the same when it fails again.
struct Id<'a> {
    event_offset: i64,
    adapter: &'a str,
}

impl<'a> Id<'a> {
    fn read(text: &'a str) -> Result<Self, EngineError> {
        let parts = text.split_once('.');
        let id = parts.and_then(|(offset, adapter)| {
            let event_offset = offset.parse().ok().filter(|offset| *offset > 0)?;
            (!adapter.is_empty()).then_some(Id {
                event_offset,
                adapter,
            })
        });
        id.ok_or_else(|| {
            EngineError::Invalid(format!(
                "{text:?} is no dead letter's id, expected <offset>.<adapter> such as 1042.erp"
            ))
        })
    }
}

impl Hub {
    /// A page of dead letters, of one adapter or of all, the latest to fail first.
    ///
    /// # Errors
    /// `Invalid` for a limit or cursor that is none; `Unavailable` without a database.
    pub async fn dead_letters(
        &self,
        adapter: Option<&str>,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<DeadLetterPage, EngineError> {
        if !(1..=PAGE_MAX).contains(&limit) {
            return Err(EngineError::Invalid(format!("limit: expected 1 to {PAGE_MAX}")));
        }
        let after = cursor.map(read_cursor).transpose()?;
        let limit = limit as usize;
        let mut found = self.shared.store.dead_letters(adapter, after, limit + 1).await?;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(write_cursor);
        Ok(DeadLetterPage {
            dead_letters: found.into_iter().map(view).collect(),
            next,
        })
    }

    /// One dead letter with its event and every attempt.
    ///
    /// # Errors
    /// `Invalid` for what is no id; `NotFound` where nothing failed for good; `Unavailable` without a database.
    pub async fn dead_letter(&self, id: &str) -> Result<DeadLetterDetail, EngineError> {
        let (mut stored, row) = self.delivery(id).await?;
        let Some(failed) = row.settled.filter(|_| row.state == DeliveryState::Parked) else {
            return Err(EngineError::NotFound(format!(
                "the delivery {id} is no dead letter, it is {}",
                wire_name(&row.state)
            )));
        };
        let letter = DeadLetterView {
            id: id.to_owned(),
            adapter: row.adapter.clone(),
            event_id: stored.event.id.clone(),
            source: stored.event.source.clone(),
            r#type: stored.event.event_type.clone(),
            subject: stored.event.subject.clone(),
            received: stored.received,
            failed,
            attempts: row.attempts,
            detail: row.detail.clone(),
        };
        stored.deliveries = vec![row];
        let mut view = event_view(stored);
        Ok(DeadLetterDetail {
            letter,
            event: view.parsed(),
            tries: view
                .deliveries
                .pop()
                .map(|delivery| delivery.tries)
                .unwrap_or_default(),
        })
    }

    /// Sends a dead letter on its way again, with the whole of its adapter's schedule before it. It is a dead letter
    /// until it is in the adapter's queue, a moment later. What the adapter gets is decided anew, by the revision in
    /// force.
    ///
    /// # Errors
    /// `Invalid` for what is no id; `NotFound`; `Conflict` for what is no dead letter, for an adapter that is gone or
    /// does not want it, and for a mapping that fails;
    /// `Unavailable` without database or broker: doing it again is safe.
    pub async fn redrive(&self, id: &str) -> Result<Redriven, EngineError> {
        let shared = &self.shared;
        let (stored, row) = self.delivery(id).await?;
        if row.state != DeliveryState::Parked {
            return Err(EngineError::Conflict(format!(
                "the delivery {id} is no dead letter, it is {}",
                wire_name(&row.state)
            )));
        }
        let routing = shared.routing.load_full();
        if !routing.adapters.contains_key(&row.adapter) {
            return Err(EngineError::Conflict(format!(
                "there is no adapter {} any more that could get it",
                row.adapter
            )));
        }
        let event = gate::for_adapter(&routing, &row.adapter, stored.event)
            .await
            .map_err(|why| EngineError::Conflict(format!("{id} cannot be sent: {why}")))?;
        let now = shared.clock.now();
        let attempt = row.attempts + 1;
        let waiting = Waiting {
            adapter: row.adapter,
            event,
            progress: Progress::starting_with(attempt),
            due: now,
            redrive: true,
        };
        let publisher = shared.publisher.load_full();
        publisher
            .publish(waiting.message(now))
            .await
            .map_err(|error| EngineError::unavailable(error.to_string()))?;
        Ok(Redriven {
            id: id.to_owned(),
            attempt,
        })
    }

    async fn delivery(&self, id: &str) -> Result<(StoredEvent, DeliveryRow), EngineError> {
        let Id {
            event_offset,
            adapter,
        } = Id::read(id)?;
        let none = || EngineError::NotFound(format!("there is no delivery {id}"));
        let stored = self.shared.store.event_at(event_offset).await?.ok_or_else(none)?;
        let row = stored.deliveries.iter().find(|row| row.adapter == adapter);
        let row = row.cloned().ok_or_else(none)?;
        Ok((stored, row))
    }
}

fn view(letter: DeadLetter) -> DeadLetterView {
    DeadLetterView {
        id: format!("{}.{}", letter.event_offset, letter.adapter),
        adapter: letter.adapter,
        event_id: letter.event.id,
        source: letter.event.source,
        r#type: letter.event_type,
        subject: letter.subject,
        received: letter.received,
        failed: letter.failed,
        attempts: letter.attempts,
        detail: letter.detail,
    }
}

fn write_cursor(last: &DeadLetter) -> String {
    format!(
        "{}.{}.{}",
        last.failed.timestamp_micros(),
        last.event_offset,
        last.adapter
    )
}

fn read_cursor(text: &str) -> Result<DeadLetterCursor, EngineError> {
    let cursor = || {
        let (failed, id) = text.split_once('.')?;
        let id = Id::read(id).ok()?;
        Some(DeadLetterCursor {
            failed: DateTime::from_timestamp_micros(failed.parse().ok()?)?,
            event_offset: id.event_offset,
            adapter: id.adapter.to_owned(),
        })
    };
    cursor()
        .ok_or_else(|| EngineError::Invalid("cursor: expected the value of `next` of the page before".into()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crossdock_store::EventKey;

    use super::*;

    #[test]
    fn an_id_names_the_event_and_the_adapter() {
        let id = Id::read("1042.print-shop").unwrap();
        assert_eq!((id.event_offset, id.adapter), (1042, "print-shop"));
        for text in [
            "",
            "1042",
            "erp",
            "1042.",
            ".erp",
            "-1.erp",
            "0.erp",
            "x.erp",
            "99999999999999999999.erp",
        ] {
            assert!(matches!(Id::read(text), Err(EngineError::Invalid(_))), "{text}");
        }
    }

    #[test]
    fn a_page_goes_on_where_the_one_before_ended() {
        let letter = DeadLetter {
            event_offset: 7,
            adapter: "erp".into(),
            event: EventKey {
                source: "/shop".into(),
                id: "1".into(),
            },
            event_type: "order.placed.v1".into(),
            subject: None,
            received: DateTime::UNIX_EPOCH,
            failed: DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap(),
            attempts: 1,
            detail: None,
        };
        let cursor = read_cursor(&write_cursor(&letter)).unwrap();
        assert_eq!(
            (cursor.failed, cursor.event_offset, cursor.adapter.as_str()),
            (letter.failed, 7, "erp")
        );
        for text in ["", "1.2", "x.2.erp", "1.x.erp"] {
            assert!(read_cursor(text).is_err(), "{text}");
        }
    }
}
