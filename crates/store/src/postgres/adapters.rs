//! `Adapters` in PostgreSQL.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::Postgres;
use super::text::{bound, bound_if_any};
use crate::adapters::{AdapterCredential, Adapters};
use crate::rows::set_up::CredentialRow;
use crate::{Result, StoreError};

#[async_trait]
impl Adapters for Postgres {
    async fn adapter_credentials(&self, adapter: Option<&str>) -> Result<Vec<AdapterCredential>> {
        let query = sqlx::query_as(
            "SELECT adapter, generation, api_key_id, created, retired FROM adapter_credentials
             WHERE $1 IS NULL OR adapter = $1 ORDER BY adapter, generation",
        )
        .bind(bound_if_any(adapter));
        let found: Vec<CredentialRow> = self.readers.all(query).await?;
        found.into_iter().map(CredentialRow::credential).collect()
    }

    async fn add_adapter_credential(&self, credential: AdapterCredential) -> Result<()> {
        let insert = sqlx::query(
            "INSERT INTO adapter_credentials (adapter, generation, api_key_id, created, retired)
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(credential.adapter)
        .bind(i64::from(credential.generation))
        .bind(credential.api_key_id)
        .bind(credential.created.timestamp_micros())
        .bind(credential.retired.map(|at| at.timestamp_micros()));
        self.writers.execute(insert).await?;
        Ok(())
    }

    async fn retire_adapter_credential(
        &self,
        adapter: &str,
        generation: u32,
        at: DateTime<Utc>,
    ) -> Result<()> {
        let update = sqlx::query(
            "UPDATE adapter_credentials SET retired = coalesce(retired, $1) WHERE adapter = $2 AND generation = $3",
        )
        .bind(at.timestamp_micros())
        .bind(bound(adapter))
        .bind(i64::from(generation));
        match self.writers.execute(update).await? {
            0 => Err(StoreError::NotFound),
            _ => Ok(()),
        }
    }
}
