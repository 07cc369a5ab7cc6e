//! `Quarantine` in SQLite.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteConnection;

use super::{Sqlite, failed};
use crate::finding::at_most;
use crate::quarantine::{NewQuarantined, Quarantine, Quarantined, QuarantinedSummary};
use crate::rows::quarantine::{SummaryRow, WholeRow};
use crate::stored::to_json;
use crate::{Result, StoreError};

#[async_trait]
impl Quarantine for Sqlite {
    async fn quarantine_page(&self, before: Option<i64>, limit: usize) -> Result<Vec<QuarantinedSummary>> {
        let found: Vec<SummaryRow> = sqlx::query_as(
            "SELECT id, received, producer, reasons, content_type, routing_key, length(body) AS body_bytes, resent
             FROM quarantine WHERE id < ? ORDER BY id DESC LIMIT ?",
        )
        .bind(before.unwrap_or(i64::MAX))
        .bind(at_most(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        found.into_iter().map(SummaryRow::summary).collect()
    }

    async fn quarantined(&self, id: i64) -> Result<Option<Quarantined>> {
        let found: Option<WholeRow> = sqlx::query_as(
            "SELECT id, received, producer, reasons, content_type, routing_key, length(body) AS body_bytes, resent,
                    headers, body
             FROM quarantine WHERE id = ?",
        )
        .bind(id)
        .fetch_optional(&self.readers)
        .await
        .map_err(failed)?;
        found.map(WholeRow::message).transpose()
    }

    async fn mark_resent(&self, id: i64, at: DateTime<Utc>) -> Result<()> {
        let marked = sqlx::query("UPDATE quarantine SET resent = ? WHERE id = ?")
            .bind(at.timestamp_micros())
            .bind(id)
            .execute(&self.writer)
            .await
            .map_err(failed)?;
        if marked.rows_affected() == 0 {
            Err(StoreError::NotFound)
        } else {
            Ok(())
        }
    }
}

/// Keeps a message and says whether it is new. One that was sent again and came back waits once more, with its
/// new reasons.
pub(super) async fn insert(connection: &mut SqliteConnection, message: &NewQuarantined) -> Result<bool> {
    let fingerprint = message.fingerprint();
    let inserted = sqlx::query(
        "INSERT INTO quarantine
            (received, producer, reasons, headers, content_type, routing_key, body, fingerprint)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (fingerprint) DO NOTHING",
    )
    .bind(message.received.timestamp_micros())
    .bind(&message.producer)
    .bind(to_json(&message.reasons))
    .bind(to_json(&message.headers))
    .bind(&message.content_type)
    .bind(&message.routing_key)
    .bind(message.body.as_ref())
    .bind(fingerprint.as_slice())
    .execute(&mut *connection)
    .await
    .map_err(failed)?;
    if inserted.rows_affected() == 1 {
        return Ok(true);
    }
    sqlx::query(
        "UPDATE quarantine SET reasons = ?, resent = NULL WHERE fingerprint = ? AND resent IS NOT NULL",
    )
    .bind(to_json(&message.reasons))
    .bind(fingerprint.as_slice())
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(false)
}
