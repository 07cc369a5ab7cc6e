//! `Tokens` in SQLite.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use super::{Sqlite, failed};
use crate::Result;
use crate::rows::tokens::{RevocationRow, RevokedKeyRow, SigningKeyRow};
use crate::stored::to_word;
use crate::tokens::{Revocation, SIGNING_KEYS_MAX, SigningKey, Tokens, too_many_revocations};

#[async_trait]
impl Tokens for Sqlite {
    async fn environment(&self, candidate: &str) -> Result<String> {
        let named = sqlx::query_scalar(
            "INSERT INTO environment (only_row, name) VALUES (1, ?)
             ON CONFLICT (only_row) DO UPDATE SET name = name RETURNING name",
        );
        named
            .bind(candidate)
            .fetch_one(&self.writer)
            .await
            .map_err(failed)
    }

    async fn add_signing_key(&self, key: SigningKey) -> Result<()> {
        sqlx::query(
            "INSERT INTO signing_keys (kid, public_key, created, signs_until, verifies_until)
             VALUES (?, ?, ?, ?, ?)",
        )
        .bind(key.kid)
        .bind(key.public_key)
        .bind(key.created.timestamp_micros())
        .bind(key.signs_until.timestamp_micros())
        .bind(key.verifies_until.timestamp_micros())
        .execute(&self.writer)
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn signing_keys(&self, at: DateTime<Utc>) -> Result<Vec<SigningKey>> {
        let found: Vec<SigningKeyRow> = sqlx::query_as(
            "SELECT kid, public_key, created, signs_until, verifies_until FROM signing_keys
             WHERE verifies_until > ? ORDER BY created DESC, kid LIMIT ?",
        )
        .bind(at.timestamp_micros())
        .bind(SIGNING_KEYS_MAX as i64)
        .fetch_all(&self.lookups)
        .await
        .map_err(failed)?;
        found.into_iter().map(SigningKeyRow::key).collect()
    }

    async fn retire_signing_keys(&self, at: DateTime<Utc>, verifies_until: DateTime<Utc>) -> Result<()> {
        sqlx::query(
            "UPDATE signing_keys SET signs_until = min(signs_until, ?1), verifies_until = min(verifies_until, ?2)
             WHERE created <= ?1",
        )
        .bind(at.timestamp_micros())
        .bind(verifies_until.timestamp_micros())
        .execute(&self.writer)
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn revoke_tokens(&self, revocation: Revocation, revoker: &str, max: u32) -> Result<()> {
        let revoked = sqlx::query(
            "INSERT INTO token_revocations (kind, name, at, until, revoker)
             SELECT ?1, ?2, ?3, ?4, ?5
             WHERE (SELECT count(*) FROM token_revocations WHERE revoker = ?5 AND until > ?3) < ?6
                OR EXISTS (SELECT 1 FROM token_revocations WHERE kind = ?1 AND name = ?2)
             ON CONFLICT (kind, name) DO UPDATE SET at = max(at, excluded.at), until = max(until, excluded.until)",
        )
        .bind(to_word(&revocation.kind))
        .bind(revocation.name)
        .bind(revocation.at.timestamp_micros())
        .bind(revocation.until.timestamp_micros())
        .bind(revoker)
        .bind(i64::from(max))
        .execute(&self.writer)
        .await
        .map_err(failed)?;
        too_many_revocations(revoked.rows_affected(), max)
    }

    async fn token_revocations(&self, at: DateTime<Utc>, life: TimeDelta) -> Result<Vec<Revocation>> {
        let found: Vec<RevocationRow> =
            sqlx::query_as("SELECT kind, name, at, until FROM token_revocations WHERE until > ?")
                .bind(at.timestamp_micros())
                .fetch_all(&self.lookups)
                .await
                .map_err(failed)?;
        let keys: Vec<RevokedKeyRow> = sqlx::query_as("SELECT id, revoked FROM api_keys WHERE revoked > ?")
            .bind((at - life).timestamp_micros())
            .fetch_all(&self.lookups)
            .await
            .map_err(failed)?;
        let found = found.into_iter().map(RevocationRow::revocation);
        found
            .chain(keys.into_iter().map(|key| key.revocation(life)))
            .collect()
    }

    async fn forget_tokens(&self, before: DateTime<Utc>) -> Result<()> {
        for forget in [
            "DELETE FROM signing_keys WHERE verifies_until < ?",
            "DELETE FROM token_revocations WHERE until < ?",
        ] {
            sqlx::query(forget)
                .bind(before.timestamp_micros())
                .execute(&self.writer)
                .await
                .map_err(failed)?;
        }
        Ok(())
    }
}
