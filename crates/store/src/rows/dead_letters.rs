//! Rows of dead letters.

use crate::Result;
use crate::dead_letters::DeadLetter;
use crate::events::EventKey;
use crate::stored::{number, time};

#[derive(sqlx::FromRow)]
pub(crate) struct DeadLetterRow {
    event_offset: i64,
    adapter: String,
    settled: i64,
    attempts: i64,
    detail: Option<String>,
    id: String,
    source: String,
    event_type: String,
    subject: Option<String>,
    received: i64,
}

impl DeadLetterRow {
    pub(crate) fn dead_letter(self) -> Result<DeadLetter> {
        Ok(DeadLetter {
            event_offset: self.event_offset,
            adapter: self.adapter,
            event: EventKey {
                source: self.source,
                id: self.id,
            },
            event_type: self.event_type,
            subject: self.subject,
            received: time(self.received)?,
            failed: time(self.settled)?,
            attempts: number("deliveries.attempts", self.attempts)?,
            detail: self.detail,
        })
    }
}
