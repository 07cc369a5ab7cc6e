//! `Hubs` in SQLite.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{Sqlite, failed};
use crate::Result;
use crate::hubs::{HubBeat, Hubs};
use crate::rows::set_up::HubRow;

#[async_trait]
impl Hubs for Sqlite {
    async fn heartbeat(&self, beat: HubBeat) -> Result<()> {
        sqlx::query(
            "INSERT INTO hubs (hub_id, host, version, config_digest, revision, at) VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT (hub_id) DO UPDATE SET
                host = excluded.host, version = excluded.version, config_digest = excluded.config_digest,
                revision = excluded.revision, at = excluded.at",
        )
        .bind(beat.hub_id)
        .bind(beat.host)
        .bind(beat.version)
        .bind(beat.config_digest)
        .bind(beat.revision)
        .bind(beat.at.timestamp_micros())
        .execute(&self.writer)
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn hubs(&self, alive_since: DateTime<Utc>) -> Result<Vec<HubBeat>> {
        let found: Vec<HubRow> = sqlx::query_as(
            "SELECT hub_id, host, version, config_digest, revision, at FROM hubs WHERE at >= ? ORDER BY hub_id",
        )
        .bind(alive_since.timestamp_micros())
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        found.into_iter().map(HubRow::beat).collect()
    }

    async fn remove_hub(&self, hub_id: &str) -> Result<()> {
        sqlx::query("DELETE FROM hubs WHERE hub_id = ?")
            .bind(hub_id)
            .execute(&self.writer)
            .await
            .map_err(failed)?;
        Ok(())
    }
}
