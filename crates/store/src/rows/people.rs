//! Rows of people and their sessions.

use crate::sessions::{Session, SignedIn};
use crate::stored::{time, time_if_any};
use crate::users::User;
use crate::{Result, StoreError};

#[derive(sqlx::FromRow)]
pub(crate) struct UserRow {
    name: String,
    role: String,
    password: String,
    created: i64,
    last_sign_in: Option<i64>,
}

impl UserRow {
    pub(crate) fn user(self) -> Result<User> {
        Ok(User {
            name: self.name,
            role: self.role,
            password: self.password,
            created: time(self.created)?,
            last_sign_in: time_if_any(self.last_sign_in)?,
        })
    }
}

#[derive(sqlx::FromRow)]
pub(crate) struct SessionRow {
    token_hash: Vec<u8>,
    user_name: String,
    created: i64,
    last_used: i64,
    expires: i64,
    role: String,
}

impl SessionRow {
    pub(crate) fn signed_in(self) -> Result<SignedIn> {
        let token_hash = self.token_hash.try_into().map_err(|hash: Vec<u8>| {
            StoreError::Corrupt(format!(
                "sessions.token_hash: expected 32 bytes, found {}",
                hash.len()
            ))
        })?;
        Ok(SignedIn {
            session: Session {
                token_hash,
                user: self.user_name,
                created: time(self.created)?,
                last_used: time(self.last_used)?,
                expires: time(self.expires)?,
            },
            role: self.role,
        })
    }
}
