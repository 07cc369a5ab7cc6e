//! `Adapters` in SQLite.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{Sqlite, failed};
use crate::adapters::{AdapterCredential, Adapters};
use crate::rows::set_up::CredentialRow;
use crate::{Result, StoreError};

#[async_trait]
impl Adapters for Sqlite {
    async fn adapter_credentials(&self, adapter: Option<&str>) -> Result<Vec<AdapterCredential>> {
        let found: Vec<CredentialRow> = sqlx::query_as(
            "SELECT adapter, generation, api_key_id, created, retired FROM adapter_credentials
             WHERE ?1 IS NULL OR adapter = ?1 ORDER BY adapter, generation",
        )
        .bind(adapter)
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        found.into_iter().map(CredentialRow::credential).collect()
    }

    async fn add_adapter_credential(&self, credential: AdapterCredential) -> Result<()> {
        sqlx::query(
            "INSERT INTO adapter_credentials (adapter, generation, api_key_id, created, retired)
             VALUES (?, ?, ?, ?, ?)",
        )
        .bind(credential.adapter)
        .bind(credential.generation)
        .bind(credential.api_key_id)
        .bind(credential.created.timestamp_micros())
        .bind(credential.retired.map(|at| at.timestamp_micros()))
        .execute(&self.writer)
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn retire_adapter_credential(
        &self,
        adapter: &str,
        generation: u32,
        at: DateTime<Utc>,
    ) -> Result<()> {
        let retired = sqlx::query(
            "UPDATE adapter_credentials SET retired = coalesce(retired, ?) WHERE adapter = ? AND generation = ?",
        )
        .bind(at.timestamp_micros())
        .bind(adapter)
        .bind(generation)
        .execute(&self.writer)
        .await
        .map_err(failed)?;
        if retired.rows_affected() == 0 {
            Err(StoreError::NotFound)
        } else {
            Ok(())
        }
    }
}
