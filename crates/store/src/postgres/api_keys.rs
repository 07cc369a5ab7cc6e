//! `ApiKeys` in PostgreSQL.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::Postgres;
use super::text::{bound, read};
use crate::api_keys::{ApiKey, ApiKeys};
use crate::rows::set_up::ApiKeyRow;
use crate::stored::to_json;
use crate::{Result, StoreError};

#[async_trait]
impl ApiKeys for Postgres {
    async fn add_api_key(&self, key: ApiKey) -> Result<()> {
        let insert = sqlx::query(
            "INSERT INTO api_keys (id, name, hash, scopes, topics, adapter, created, expires, revoked, last_used)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(bound(&key.id))
        .bind(bound(&key.name))
        .bind(key.hash.as_slice())
        .bind(to_json(&key.scopes))
        .bind(to_json(&key.topics))
        .bind(&key.adapter)
        .bind(key.created.timestamp_micros())
        .bind(key.expires.map(|at| at.timestamp_micros()))
        .bind(key.revoked.map(|at| at.timestamp_micros()))
        .bind(key.last_used.map(|at| at.timestamp_micros()));
        self.writers.execute(insert).await?;
        Ok(())
    }

    async fn api_key(&self, id: &str) -> Result<Option<ApiKey>> {
        let query = sqlx::query_as(
            "SELECT id, name, hash, scopes, topics, adapter, created, expires, revoked, last_used
             FROM api_keys WHERE id = $1",
        )
        .bind(bound(id));
        let found: Option<ApiKeyRow> = self.lookups.optional(query).await?;
        found.map(key).transpose()
    }

    async fn api_keys(&self) -> Result<Vec<ApiKey>> {
        let query = sqlx::query_as(
            "SELECT id, name, hash, scopes, topics, adapter, created, expires, revoked, last_used
             FROM api_keys ORDER BY created, id",
        );
        let found: Vec<ApiKeyRow> = self.readers.all(query).await?;
        found.into_iter().map(key).collect()
    }

    async fn revoke_api_key(&self, id: &str, at: DateTime<Utc>) -> Result<()> {
        let update = sqlx::query("UPDATE api_keys SET revoked = coalesce(revoked, $1) WHERE id = $2")
            .bind(at.timestamp_micros())
            .bind(bound(id));
        match self.writers.execute(update).await? {
            0 => Err(StoreError::NotFound),
            _ => Ok(()),
        }
    }

    async fn touch_api_keys(&self, uses: &[(String, DateTime<Utc>)]) -> Result<()> {
        let (ids, times): (Vec<_>, Vec<_>) = uses
            .iter()
            .map(|(id, at)| (bound(id), at.timestamp_micros()))
            .unzip();
        // In the order of the ids, as every hub does it, so that no two wait for each other.
        let update = sqlx::query(
            "WITH used AS (
                SELECT id, max(at) AS at FROM unnest($1::text[], $2::bigint[]) AS given (id, at) GROUP BY id
             ), later AS MATERIALIZED (
                SELECT api_keys.id, used.at FROM api_keys JOIN used USING (id)
                WHERE last_used IS NULL OR last_used < used.at
                ORDER BY api_keys.id FOR UPDATE OF api_keys
             )
             UPDATE api_keys SET last_used = later.at FROM later WHERE api_keys.id = later.id",
        )
        .bind(ids)
        .bind(times);
        self.writers.execute(update).await?;
        Ok(())
    }
}

fn key(row: ApiKeyRow) -> Result<ApiKey> {
    let key = row.key()?;
    Ok(ApiKey {
        id: read(key.id),
        name: read(key.name),
        ..key
    })
}
