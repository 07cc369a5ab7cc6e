//! Rows of quarantined messages.

use bytes::Bytes;

use crate::Result;
use crate::quarantine::{Quarantined, QuarantinedSummary};
use crate::stored::{from_json, number, time, time_if_any};

#[derive(sqlx::FromRow)]
pub(crate) struct SummaryRow {
    id: i64,
    received: i64,
    producer: Option<String>,
    reasons: String,
    content_type: Option<String>,
    routing_key: String,
    body_bytes: i64,
    resent: Option<i64>,
}

#[derive(sqlx::FromRow)]
pub(crate) struct WholeRow {
    #[sqlx(flatten)]
    summary: SummaryRow,
    headers: String,
    body: Vec<u8>,
}

impl SummaryRow {
    pub(crate) fn summary(self) -> Result<QuarantinedSummary> {
        Ok(QuarantinedSummary {
            id: self.id,
            received: time(self.received)?,
            producer: self.producer,
            reasons: from_json("quarantine.reasons", &self.reasons)?,
            content_type: self.content_type,
            routing_key: self.routing_key,
            body_bytes: number("quarantine.body", self.body_bytes)?,
            resent: time_if_any(self.resent)?,
        })
    }
}

impl WholeRow {
    pub(crate) fn message(self) -> Result<Quarantined> {
        Ok(Quarantined {
            summary: self.summary.summary()?,
            headers: from_json("quarantine.headers", &self.headers)?,
            body: Bytes::from(self.body),
        })
    }
}
