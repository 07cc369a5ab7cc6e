//! `Endpoints` in SQLite.

use async_trait::async_trait;

use super::{Sqlite, failed};
use crate::Result;
use crate::endpoints::{DisabledEndpoint, Endpoints};
use crate::rows::set_up::EndpointRow;

#[async_trait]
impl Endpoints for Sqlite {
    async fn disabled_endpoints(&self) -> Result<Vec<DisabledEndpoint>> {
        let found: Vec<EndpointRow> = sqlx::query_as(
            "SELECT adapter, url, revision, reason, at FROM disabled_endpoints ORDER BY adapter",
        )
        .fetch_all(&self.lookups)
        .await
        .map_err(failed)?;
        found.into_iter().map(EndpointRow::endpoint).collect()
    }

    async fn disable_endpoint(&self, endpoint: DisabledEndpoint) -> Result<()> {
        sqlx::query(
            "INSERT INTO disabled_endpoints (adapter, url, revision, reason, at) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (adapter) DO UPDATE SET
                url = excluded.url, revision = excluded.revision, reason = excluded.reason, at = excluded.at
             WHERE excluded.revision >= revision",
        )
        .bind(endpoint.adapter)
        .bind(endpoint.url)
        .bind(endpoint.revision)
        .bind(endpoint.reason)
        .bind(endpoint.at.timestamp_micros())
        .execute(&self.writer)
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn enable_endpoint(&self, adapter: &str, before: Option<u32>) -> Result<bool> {
        let enabled = sqlx::query(
            "DELETE FROM disabled_endpoints WHERE adapter = ?1 AND (?2 IS NULL OR revision < ?2)",
        )
        .bind(adapter)
        .bind(before)
        .execute(&self.writer)
        .await
        .map_err(failed)?;
        Ok(enabled.rows_affected() > 0)
    }
}
