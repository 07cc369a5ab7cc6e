//! `Quarantine` in PostgreSQL. Messages enter it in `record`.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::Postgres;
use super::text::read;
use crate::finding::at_most;
use crate::quarantine::{Quarantine, Quarantined, QuarantinedSummary};
use crate::rows::quarantine::{SummaryRow, WholeRow};
use crate::{Result, StoreError};

#[async_trait]
impl Quarantine for Postgres {
    async fn quarantine_page(&self, before: Option<i64>, limit: usize) -> Result<Vec<QuarantinedSummary>> {
        let query = sqlx::query_as(
            "SELECT id, received, producer, reasons, content_type, routing_key,
                    octet_length(body)::bigint AS body_bytes, resent
             FROM quarantine WHERE id < $1 ORDER BY id DESC LIMIT $2",
        )
        .bind(before.unwrap_or(i64::MAX))
        .bind(at_most(limit));
        let found: Vec<SummaryRow> = self.readers.all(query).await?;
        found.into_iter().map(|row| row.summary().map(plain)).collect()
    }

    async fn quarantined(&self, id: i64) -> Result<Option<Quarantined>> {
        let query = sqlx::query_as(
            "SELECT id, received, producer, reasons, content_type, routing_key,
                    octet_length(body)::bigint AS body_bytes, resent, headers, body
             FROM quarantine WHERE id = $1",
        )
        .bind(id);
        let found: Option<WholeRow> = self.readers.optional(query).await?;
        found
            .map(|row| {
                let message = row.message()?;
                Ok(Quarantined {
                    summary: plain(message.summary),
                    ..message
                })
            })
            .transpose()
    }

    async fn mark_resent(&self, id: i64, at: DateTime<Utc>) -> Result<()> {
        let update = sqlx::query("UPDATE quarantine SET resent = $1 WHERE id = $2")
            .bind(at.timestamp_micros())
            .bind(id);
        match self.writers.execute(update).await? {
            0 => Err(StoreError::NotFound),
            _ => Ok(()),
        }
    }
}

fn plain(summary: QuarantinedSummary) -> QuarantinedSummary {
    QuarantinedSummary {
        producer: summary.producer.map(read),
        content_type: summary.content_type.map(read),
        routing_key: read(summary.routing_key),
        ..summary
    }
}
