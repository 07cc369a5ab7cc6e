//! `ApiKeys` in SQLite.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{Sqlite, failed, rows};
use crate::api_keys::{ApiKey, ApiKeys};
use crate::rows::set_up::ApiKeyRow;
use crate::stored::to_json;
use crate::{Result, StoreError};

#[async_trait]
impl ApiKeys for Sqlite {
    async fn add_api_key(&self, key: ApiKey) -> Result<()> {
        sqlx::query(
            "INSERT INTO api_keys (id, name, hash, scopes, topics, adapter, created, expires, revoked, last_used)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(key.id)
        .bind(key.name)
        .bind(key.hash.as_slice())
        .bind(to_json(&key.scopes))
        .bind(to_json(&key.topics))
        .bind(key.adapter)
        .bind(key.created.timestamp_micros())
        .bind(key.expires.map(|at| at.timestamp_micros()))
        .bind(key.revoked.map(|at| at.timestamp_micros()))
        .bind(key.last_used.map(|at| at.timestamp_micros()))
        .execute(&self.writer)
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn api_key(&self, id: &str) -> Result<Option<ApiKey>> {
        let found: Option<ApiKeyRow> = sqlx::query_as(
            "SELECT id, name, hash, scopes, topics, adapter, created, expires, revoked, last_used
             FROM api_keys WHERE id = ?",
        )
        .bind(id)
        .fetch_optional(&self.lookups)
        .await
        .map_err(failed)?;
        found.map(ApiKeyRow::key).transpose()
    }

    async fn api_keys(&self) -> Result<Vec<ApiKey>> {
        let found: Vec<ApiKeyRow> = sqlx::query_as(
            "SELECT id, name, hash, scopes, topics, adapter, created, expires, revoked, last_used
             FROM api_keys ORDER BY created, id",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        found.into_iter().map(ApiKeyRow::key).collect()
    }

    async fn revoke_api_key(&self, id: &str, at: DateTime<Utc>) -> Result<()> {
        let revoked = sqlx::query("UPDATE api_keys SET revoked = coalesce(revoked, ?) WHERE id = ?")
            .bind(at.timestamp_micros())
            .bind(id)
            .execute(&self.writer)
            .await
            .map_err(failed)?;
        if revoked.rows_affected() == 0 {
            Err(StoreError::NotFound)
        } else {
            Ok(())
        }
    }

    async fn touch_api_keys(&self, uses: &[(String, DateTime<Utc>)]) -> Result<()> {
        let uses: Vec<_> = uses.iter().map(|(id, at)| (id, at.timestamp_micros())).collect();
        sqlx::query(
            "UPDATE api_keys SET last_used = used.at
             FROM (SELECT value ->> 0 AS id, max(value ->> 1) AS at FROM json_each(?) GROUP BY 1) AS used
             WHERE api_keys.id = used.id AND (last_used IS NULL OR last_used < used.at)",
        )
        .bind(rows(&uses))
        .execute(&self.writer)
        .await
        .map_err(failed)?;
        Ok(())
    }
}
