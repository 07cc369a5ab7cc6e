//! `Users` and `Sessions` in PostgreSQL.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::error::failed;
use super::text::{bound, bound_if_any, read};
use super::{BESIDE, Postgres};
use crate::rows::people::{SessionRow, UserRow};
use crate::sessions::{Session, Sessions, SignedIn, TokenHash};
use crate::users::{LAST_ONE, PASSWORD_CHANGED, User, UserChange, Users};
use crate::{Result, StoreError};

/// A transaction before whose end nobody else adds, changes or removes people.
const ALONE: &str = "BEGIN; LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE";

#[async_trait]
impl Users for Postgres {
    async fn add_user(&self, user: User) -> Result<()> {
        let insert = sqlx::query(
            "INSERT INTO users (name, role, password, created, last_sign_in) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(bound(&user.name))
        .bind(bound(&user.role))
        .bind(bound(&user.password))
        .bind(user.created.timestamp_micros())
        .bind(user.last_sign_in.map(|at| at.timestamp_micros()));
        self.writers.execute(insert).await?;
        Ok(())
    }

    async fn add_first_user(&self, user: User) -> Result<bool> {
        self.writers
            .in_time(async {
                let mut transaction = self.writers.begin(ALONE).await?;
                let added = sqlx::query(
                    "INSERT INTO users (name, role, password, created)
                     SELECT $1, $2, $3, $4 WHERE NOT EXISTS (SELECT FROM users)",
                )
                .bind(bound(&user.name))
                .bind(bound(&user.role))
                .bind(bound(&user.password))
                .bind(user.created.timestamp_micros())
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
                transaction.commit().await?;
                Ok(added.rows_affected() == 1)
            })
            .await
    }

    async fn user(&self, name: &str) -> Result<Option<User>> {
        let query =
            sqlx::query_as("SELECT name, role, password, created, last_sign_in FROM users WHERE name = $1")
                .bind(bound(name));
        let found: Option<UserRow> = self.lookups.optional(query).await?;
        found.map(user).transpose()
    }

    async fn users(&self) -> Result<Vec<User>> {
        let query =
            sqlx::query_as("SELECT name, role, password, created, last_sign_in FROM users ORDER BY name");
        let found: Vec<UserRow> = self.readers.all(query).await?;
        found.into_iter().map(user).collect()
    }

    async fn change_user(&self, name: &str, change: UserChange, needed: &str) -> Result<()> {
        self.writers
            .in_time(async {
                let mut transaction = self.writers.begin(ALONE).await?;
                let held: Option<String> = sqlx::query_scalar("SELECT password FROM users WHERE name = $1")
                    .bind(bound(name))
                    .fetch_optional(&mut *transaction)
                    .await
                    .map_err(failed)?;
                let held = read(held.ok_or(StoreError::NotFound)?);
                if change.password_was.is_some_and(|was| was != held) {
                    return Err(StoreError::Conflict(PASSWORD_CHANGED.into()));
                }
                sqlx::query(
                    "UPDATE users SET role = coalesce($1, role), password = coalesce($2, password)
                     WHERE name = $3",
                )
                .bind(bound_if_any(change.role.as_deref()))
                .bind(bound_if_any(change.password.as_deref()))
                .bind(bound(name))
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
                if change.role.is_some_and(|role| role != needed) {
                    must_be_left(&mut transaction, needed).await?;
                }
                if change.password.is_some() {
                    sqlx::query(
                        "DELETE FROM sessions WHERE user_name = $1 AND token_hash IS DISTINCT FROM $2",
                    )
                    .bind(bound(name))
                    .bind(change.kept.as_ref().map(|kept| kept.as_slice()))
                    .execute(&mut *transaction)
                    .await
                    .map_err(failed)?;
                }
                transaction.commit().await
            })
            .await
    }

    async fn remove_user(&self, name: &str, needed: &str) -> Result<()> {
        self.writers
            .in_time(async {
                let mut transaction = self.writers.begin(ALONE).await?;
                let role: Option<String> =
                    sqlx::query_scalar("DELETE FROM users WHERE name = $1 RETURNING role")
                        .bind(bound(name))
                        .fetch_optional(&mut *transaction)
                        .await
                        .map_err(failed)?;
                if read(role.ok_or(StoreError::NotFound)?) == needed {
                    must_be_left(&mut transaction, needed).await?;
                }
                transaction.commit().await
            })
            .await
    }
}

/// Whoever asks drops the transaction if nobody of the role is left.
async fn must_be_left(transaction: &mut PgConnection, role: &str) -> Result<()> {
    let left: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM users WHERE role = $1)")
        .bind(bound(role))
        .fetch_one(transaction)
        .await
        .map_err(failed)?;
    match left {
        true => Ok(()),
        false => Err(StoreError::Conflict(LAST_ONE.into())),
    }
}

#[async_trait]
impl Sessions for Postgres {
    async fn add_session(&self, session: Session, password: &str, max: u32) -> Result<bool> {
        self.writers
            .in_time(async {
                let mut transaction = self.writers.begin(BESIDE).await?;
                // The person's row is held from here on: who changes the password meanwhile comes before or after.
                let signed_in =
                    sqlx::query("UPDATE users SET last_sign_in = $1 WHERE name = $2 AND password = $3")
                        .bind(session.created.timestamp_micros())
                        .bind(bound(&session.user))
                        .bind(bound(password))
                        .execute(&mut *transaction)
                        .await
                        .map_err(failed)?;
                if signed_in.rows_affected() == 0 {
                    return Ok(false);
                }
                sqlx::query(
                    "INSERT INTO sessions (token_hash, user_name, created, last_used, expires)
                     VALUES ($1, $2, $3, $4, $5)",
                )
                .bind(session.token_hash.as_slice())
                .bind(bound(&session.user))
                .bind(session.created.timestamp_micros())
                .bind(session.last_used.timestamp_micros())
                .bind(session.expires.timestamp_micros())
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
                sqlx::query(
                    "DELETE FROM sessions WHERE token_hash IN (
                        SELECT token_hash FROM sessions WHERE user_name = $1
                        ORDER BY created DESC, token_hash OFFSET $2
                     )",
                )
                .bind(bound(&session.user))
                .bind(i64::from(max))
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
                transaction.commit().await?;
                Ok(true)
            })
            .await
    }

    async fn session(&self, token_hash: &TokenHash) -> Result<Option<SignedIn>> {
        let query = sqlx::query_as(
            "SELECT token_hash, user_name, sessions.created, last_used, expires, role
             FROM sessions JOIN users ON users.name = user_name WHERE token_hash = $1",
        )
        .bind(token_hash.as_slice());
        let found: Option<SessionRow> = self.lookups.optional(query).await?;
        found.map(signed_in).transpose()
    }

    async fn end_session(&self, token_hash: &TokenHash) -> Result<()> {
        let delete = sqlx::query("DELETE FROM sessions WHERE token_hash = $1").bind(token_hash.as_slice());
        self.writers.execute(delete).await?;
        Ok(())
    }

    async fn end_sessions_of(&self, user: &str) -> Result<()> {
        let delete = sqlx::query("DELETE FROM sessions WHERE user_name = $1").bind(bound(user));
        self.writers.execute(delete).await?;
        Ok(())
    }

    async fn touch_sessions(&self, uses: &[(TokenHash, DateTime<Utc>)]) -> Result<()> {
        let (hashes, times): (Vec<_>, Vec<_>) = uses
            .iter()
            .map(|(hash, at)| (hash.as_slice(), at.timestamp_micros()))
            .unzip();
        // In the order of the hashes, as every hub does it, so that no two wait for each other.
        let update = sqlx::query(
            "WITH used AS (
                SELECT hash, max(at) AS at FROM unnest($1::bytea[], $2::bigint[]) AS given (hash, at) GROUP BY hash
             ), later AS MATERIALIZED (
                SELECT token_hash, used.at FROM sessions JOIN used ON hash = token_hash
                WHERE last_used < used.at ORDER BY token_hash FOR UPDATE OF sessions
             )
             UPDATE sessions SET last_used = later.at FROM later WHERE sessions.token_hash = later.token_hash",
        )
        .bind(hashes)
        .bind(times);
        self.writers.execute(update).await?;
        Ok(())
    }

    async fn forget_sessions(
        &self,
        expired_before: DateTime<Utc>,
        used_before: DateTime<Utc>,
    ) -> Result<u64> {
        // What another hub holds is left to it.
        let delete = sqlx::query(
            "DELETE FROM sessions WHERE token_hash IN (
                SELECT token_hash FROM sessions WHERE expires < $1 OR last_used < $2 FOR UPDATE SKIP LOCKED
             )",
        )
        .bind(expired_before.timestamp_micros())
        .bind(used_before.timestamp_micros());
        self.writers.execute(delete).await
    }
}

fn user(row: UserRow) -> Result<User> {
    let user = row.user()?;
    Ok(User {
        name: read(user.name),
        role: read(user.role),
        password: read(user.password),
        ..user
    })
}

fn signed_in(row: SessionRow) -> Result<SignedIn> {
    let SignedIn { session, role } = row.signed_in()?;
    Ok(SignedIn {
        session: Session {
            user: read(session.user),
            ..session
        },
        role: read(role),
    })
}
