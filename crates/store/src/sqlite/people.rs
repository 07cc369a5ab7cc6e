//! `Users` and `Sessions` in SQLite.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;

use super::{Sqlite, failed, rows};
use crate::rows::people::{SessionRow, UserRow};
use crate::sessions::{Session, Sessions, SignedIn, TokenHash};
use crate::users::{LAST_ONE, PASSWORD_CHANGED, User, UserChange, Users};
use crate::{Result, StoreError};

#[async_trait]
impl Users for Sqlite {
    async fn add_user(&self, user: User) -> Result<()> {
        sqlx::query("INSERT INTO users (name, role, password, created, last_sign_in) VALUES (?, ?, ?, ?, ?)")
            .bind(user.name)
            .bind(user.role)
            .bind(user.password)
            .bind(user.created.timestamp_micros())
            .bind(user.last_sign_in.map(|at| at.timestamp_micros()))
            .execute(&self.writer)
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn add_first_user(&self, user: User) -> Result<bool> {
        let added = sqlx::query(
            "INSERT INTO users (name, role, password, created)
             SELECT ?, ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM users)",
        )
        .bind(user.name)
        .bind(user.role)
        .bind(user.password)
        .bind(user.created.timestamp_micros())
        .execute(&self.writer)
        .await
        .map_err(failed)?;
        Ok(added.rows_affected() == 1)
    }

    async fn user(&self, name: &str) -> Result<Option<User>> {
        let found: Option<UserRow> =
            sqlx::query_as("SELECT name, role, password, created, last_sign_in FROM users WHERE name = ?")
                .bind(name)
                .fetch_optional(&self.lookups)
                .await
                .map_err(failed)?;
        found.map(UserRow::user).transpose()
    }

    async fn users(&self) -> Result<Vec<User>> {
        let found: Vec<UserRow> =
            sqlx::query_as("SELECT name, role, password, created, last_sign_in FROM users ORDER BY name")
                .fetch_all(&self.readers)
                .await
                .map_err(failed)?;
        found.into_iter().map(UserRow::user).collect()
    }

    async fn change_user(&self, name: &str, change: UserChange, needed: &str) -> Result<()> {
        let mut transaction = self.begin().await?;
        let held: Option<String> = sqlx::query_scalar("SELECT password FROM users WHERE name = ?")
            .bind(name)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(failed)?;
        let held = held.ok_or(StoreError::NotFound)?;
        if change.password_was.is_some_and(|was| was != held) {
            return Err(StoreError::Conflict(PASSWORD_CHANGED.into()));
        }
        sqlx::query(
            "UPDATE users SET role = coalesce(?, role), password = coalesce(?, password) WHERE name = ?",
        )
        .bind(&change.role)
        .bind(&change.password)
        .bind(name)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        if change.role.is_some_and(|role| role != needed) {
            must_be_left(&mut transaction, needed).await?;
        }
        if change.password.is_some() {
            sqlx::query("DELETE FROM sessions WHERE user_name = ? AND token_hash IS NOT ?")
                .bind(name)
                .bind(change.kept.as_ref().map(|kept| kept.as_slice()))
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    async fn remove_user(&self, name: &str, needed: &str) -> Result<()> {
        let mut transaction = self.begin().await?;
        let role: Option<String> = sqlx::query_scalar("DELETE FROM users WHERE name = ? RETURNING role")
            .bind(name)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(failed)?;
        if role.ok_or(StoreError::NotFound)? == needed {
            must_be_left(&mut transaction, needed).await?;
        }
        transaction.commit().await.map_err(failed)
    }
}

/// Whoever asks drops the transaction if nobody of the role is left.
async fn must_be_left(transaction: &mut SqliteConnection, role: &str) -> Result<()> {
    let left: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM users WHERE role = ?)")
        .bind(role)
        .fetch_one(transaction)
        .await
        .map_err(failed)?;
    match left {
        true => Ok(()),
        false => Err(StoreError::Conflict(LAST_ONE.into())),
    }
}

#[async_trait]
impl Sessions for Sqlite {
    async fn add_session(&self, session: Session, password: &str, max: u32) -> Result<bool> {
        let mut transaction = self.begin().await?;
        let signed_in = sqlx::query("UPDATE users SET last_sign_in = ? WHERE name = ? AND password = ?")
            .bind(session.created.timestamp_micros())
            .bind(&session.user)
            .bind(password)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        if signed_in.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO sessions (token_hash, user_name, created, last_used, expires) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(session.token_hash.as_slice())
        .bind(&session.user)
        .bind(session.created.timestamp_micros())
        .bind(session.last_used.timestamp_micros())
        .bind(session.expires.timestamp_micros())
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        sqlx::query(
            "DELETE FROM sessions WHERE token_hash IN (
                SELECT token_hash FROM sessions WHERE user_name = ?
                ORDER BY created DESC, token_hash LIMIT -1 OFFSET ?
             )",
        )
        .bind(&session.user)
        .bind(max)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(true)
    }

    async fn session(&self, token_hash: &TokenHash) -> Result<Option<SignedIn>> {
        let found: Option<SessionRow> = sqlx::query_as(
            "SELECT token_hash, user_name, sessions.created, last_used, expires, role
             FROM sessions JOIN users ON users.name = user_name WHERE token_hash = ?",
        )
        .bind(token_hash.as_slice())
        .fetch_optional(&self.lookups)
        .await
        .map_err(failed)?;
        found.map(SessionRow::signed_in).transpose()
    }

    async fn end_session(&self, token_hash: &TokenHash) -> Result<()> {
        sqlx::query("DELETE FROM sessions WHERE token_hash = ?")
            .bind(token_hash.as_slice())
            .execute(&self.writer)
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn end_sessions_of(&self, user: &str) -> Result<()> {
        sqlx::query("DELETE FROM sessions WHERE user_name = ?")
            .bind(user)
            .execute(&self.writer)
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn touch_sessions(&self, uses: &[(TokenHash, DateTime<Utc>)]) -> Result<()> {
        let uses: Vec<_> = uses
            .iter()
            .map(|(hash, at)| (hex(hash), at.timestamp_micros()))
            .collect();
        sqlx::query(
            "UPDATE sessions SET last_used = used.at
             FROM (SELECT unhex(value ->> 0) AS hash, max(value ->> 1) AS at FROM json_each(?) GROUP BY 1) AS used
             WHERE token_hash = used.hash AND last_used < used.at",
        )
        .bind(rows(&uses))
        .execute(&self.writer)
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn forget_sessions(
        &self,
        expired_before: DateTime<Utc>,
        used_before: DateTime<Utc>,
    ) -> Result<u64> {
        let forgotten = sqlx::query("DELETE FROM sessions WHERE expires < ? OR last_used < ?")
            .bind(expired_before.timestamp_micros())
            .bind(used_before.timestamp_micros())
            .execute(&self.writer)
            .await
            .map_err(failed)?;
        Ok(forgotten.rows_affected())
    }
}

/// Bytes as JSON can carry them.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
