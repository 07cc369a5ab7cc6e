//! `Hubs` in PostgreSQL.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::Postgres;
use super::text::{bound, read};
use crate::Result;
use crate::hubs::{HubBeat, Hubs};
use crate::rows::set_up::HubRow;

#[async_trait]
impl Hubs for Postgres {
    async fn heartbeat(&self, beat: HubBeat) -> Result<()> {
        let upsert = sqlx::query(
            "INSERT INTO hubs (hub_id, host, version, config_digest, revision, at) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (hub_id) DO UPDATE SET
                host = excluded.host, version = excluded.version, config_digest = excluded.config_digest,
                revision = excluded.revision, at = excluded.at",
        )
        .bind(beat.hub_id)
        .bind(bound(&beat.host))
        .bind(beat.version)
        .bind(beat.config_digest)
        .bind(beat.revision.map(i64::from))
        .bind(beat.at.timestamp_micros());
        self.writers.execute(upsert).await?;
        Ok(())
    }

    async fn hubs(&self, alive_since: DateTime<Utc>) -> Result<Vec<HubBeat>> {
        let query = sqlx::query_as(
            "SELECT hub_id, host, version, config_digest, revision, at FROM hubs WHERE at >= $1 ORDER BY hub_id",
        )
        .bind(alive_since.timestamp_micros());
        let found: Vec<HubRow> = self.readers.all(query).await?;
        found
            .into_iter()
            .map(|row| {
                let beat = row.beat()?;
                Ok(HubBeat {
                    host: read(beat.host),
                    ..beat
                })
            })
            .collect()
    }

    async fn remove_hub(&self, hub_id: &str) -> Result<()> {
        let delete = sqlx::query("DELETE FROM hubs WHERE hub_id = $1").bind(bound(hub_id));
        self.writers.execute(delete).await?;
        Ok(())
    }
}
