//! `Tokens` in PostgreSQL.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use super::Postgres;
use super::text::{bound, read};
use crate::Result;
use crate::rows::tokens::{RevocationRow, RevokedKeyRow, SigningKeyRow};
use crate::stored::to_word;
use crate::tokens::{Revocation, SIGNING_KEYS_MAX, SigningKey, Tokens, too_many_revocations};

#[async_trait]
impl Tokens for Postgres {
    async fn environment(&self, candidate: &str) -> Result<String> {
        let named = sqlx::query_as(
            "INSERT INTO environment AS known (only_row, name) VALUES (1, $1)
             ON CONFLICT (only_row) DO UPDATE SET name = known.name RETURNING known.name",
        )
        .bind(bound(candidate));
        let (name,): (String,) = self.writers.one(named).await?;
        Ok(read(name))
    }

    async fn add_signing_key(&self, key: SigningKey) -> Result<()> {
        let insert = sqlx::query(
            "INSERT INTO signing_keys (kid, public_key, created, signs_until, verifies_until)
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(bound(&key.kid))
        .bind(&key.public_key)
        .bind(key.created.timestamp_micros())
        .bind(key.signs_until.timestamp_micros())
        .bind(key.verifies_until.timestamp_micros());
        self.writers.execute(insert).await?;
        Ok(())
    }

    async fn signing_keys(&self, at: DateTime<Utc>) -> Result<Vec<SigningKey>> {
        let query = sqlx::query_as(
            "SELECT kid, public_key, created, signs_until, verifies_until FROM signing_keys
             WHERE verifies_until > $1 ORDER BY created DESC, kid LIMIT $2",
        )
        .bind(at.timestamp_micros())
        .bind(SIGNING_KEYS_MAX as i64);
        let found: Vec<SigningKeyRow> = self.lookups.all(query).await?;
        found.into_iter().map(SigningKeyRow::key).collect()
    }

    async fn retire_signing_keys(&self, at: DateTime<Utc>, verifies_until: DateTime<Utc>) -> Result<()> {
        let update = sqlx::query(
            "UPDATE signing_keys
             SET signs_until = least(signs_until, $1), verifies_until = least(verifies_until, $2)
             WHERE created <= $1",
        )
        .bind(at.timestamp_micros())
        .bind(verifies_until.timestamp_micros());
        self.writers.execute(update).await?;
        Ok(())
    }

    async fn revoke_tokens(&self, revocation: Revocation, revoker: &str, max: u32) -> Result<()> {
        let upsert = sqlx::query(
            "INSERT INTO token_revocations AS known (kind, name, at, until, revoker)
             SELECT $1, $2, $3, $4, $5
             WHERE (SELECT count(*) FROM token_revocations WHERE revoker = $5 AND until > $3) < $6
                OR EXISTS (SELECT 1 FROM token_revocations WHERE kind = $1 AND name = $2)
             ON CONFLICT (kind, name) DO UPDATE SET
                at = greatest(known.at, excluded.at), until = greatest(known.until, excluded.until)",
        )
        .bind(to_word(&revocation.kind))
        .bind(bound(&revocation.name))
        .bind(revocation.at.timestamp_micros())
        .bind(revocation.until.timestamp_micros())
        .bind(revoker)
        .bind(i64::from(max));
        too_many_revocations(self.writers.execute(upsert).await?, max)
    }

    async fn token_revocations(&self, at: DateTime<Utc>, life: TimeDelta) -> Result<Vec<Revocation>> {
        let query = sqlx::query_as("SELECT kind, name, at, until FROM token_revocations WHERE until > $1")
            .bind(at.timestamp_micros());
        let found: Vec<RevocationRow> = self.lookups.all(query).await?;
        let query = sqlx::query_as("SELECT id, revoked FROM api_keys WHERE revoked > $1")
            .bind((at - life).timestamp_micros());
        let keys: Vec<RevokedKeyRow> = self.lookups.all(query).await?;
        let found = found.into_iter().map(|row| {
            let revocation = row.revocation()?;
            Ok(Revocation {
                name: read(revocation.name),
                ..revocation
            })
        });
        found
            .chain(keys.into_iter().map(|key| key.revocation(life)))
            .collect()
    }

    async fn forget_tokens(&self, before: DateTime<Utc>) -> Result<()> {
        for forget in [
            "DELETE FROM signing_keys WHERE verifies_until < $1",
            "DELETE FROM token_revocations WHERE until < $1",
        ] {
            let delete = sqlx::query(forget).bind(before.timestamp_micros());
            self.writers.execute(delete).await?;
        }
        Ok(())
    }
}
