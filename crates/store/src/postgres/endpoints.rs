//! `Endpoints` in PostgreSQL.

use async_trait::async_trait;

use super::Postgres;
use super::text::{bound, read};
use crate::Result;
use crate::endpoints::{DisabledEndpoint, Endpoints};
use crate::rows::set_up::EndpointRow;

#[async_trait]
impl Endpoints for Postgres {
    async fn disabled_endpoints(&self) -> Result<Vec<DisabledEndpoint>> {
        let query = sqlx::query_as(
            "SELECT adapter, url, revision, reason, at FROM disabled_endpoints ORDER BY adapter",
        );
        let found: Vec<EndpointRow> = self.lookups.all(query).await?;
        found
            .into_iter()
            .map(|row| {
                let endpoint = row.endpoint()?;
                Ok(DisabledEndpoint {
                    reason: read(endpoint.reason),
                    ..endpoint
                })
            })
            .collect()
    }

    async fn disable_endpoint(&self, endpoint: DisabledEndpoint) -> Result<()> {
        let upsert = sqlx::query(
            "INSERT INTO disabled_endpoints AS known (adapter, url, revision, reason, at)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (adapter) DO UPDATE SET
                url = excluded.url, revision = excluded.revision, reason = excluded.reason, at = excluded.at
             WHERE excluded.revision >= known.revision",
        )
        .bind(&endpoint.adapter)
        .bind(&endpoint.url)
        .bind(i64::from(endpoint.revision))
        .bind(bound(&endpoint.reason))
        .bind(endpoint.at.timestamp_micros());
        self.writers.execute(upsert).await?;
        Ok(())
    }

    async fn enable_endpoint(&self, adapter: &str, before: Option<u32>) -> Result<bool> {
        let delete = sqlx::query(
            "DELETE FROM disabled_endpoints WHERE adapter = $1 AND ($2 IS NULL OR revision < $2)",
        )
        .bind(bound(adapter))
        .bind(before.map(i64::from));
        Ok(self.writers.execute(delete).await? > 0)
    }
}
