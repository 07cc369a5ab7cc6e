//! Rows of browser tokens' keys and revocations.

use chrono::{DateTime, TimeDelta, Utc};

use crate::Result;
use crate::stored::{from_word, time};
use crate::tokens::{Revocation, RevokedKind, SigningKey};

#[derive(sqlx::FromRow)]
pub(crate) struct SigningKeyRow {
    kid: String,
    public_key: Vec<u8>,
    created: i64,
    signs_until: i64,
    verifies_until: i64,
}

impl SigningKeyRow {
    pub(crate) fn key(self) -> Result<SigningKey> {
        Ok(SigningKey {
            kid: self.kid,
            public_key: self.public_key,
            created: time(self.created)?,
            signs_until: time(self.signs_until)?,
            verifies_until: time(self.verifies_until)?,
        })
    }
}

#[derive(sqlx::FromRow)]
pub(crate) struct RevocationRow {
    kind: String,
    name: String,
    at: i64,
    until: i64,
}

impl RevocationRow {
    pub(crate) fn revocation(self) -> Result<Revocation> {
        Ok(Revocation {
            kind: from_word("token_revocations.kind", &self.kind)?,
            name: self.name,
            at: time(self.at)?,
            until: time(self.until)?,
        })
    }
}

/// An API key that was revoked.
#[derive(sqlx::FromRow)]
pub(crate) struct RevokedKeyRow {
    id: String,
    revoked: i64,
}

impl RevokedKeyRow {
    /// What it means for tokens, which live for `life` at most.
    pub(crate) fn revocation(self, life: TimeDelta) -> Result<Revocation> {
        let at: DateTime<Utc> = time(self.revoked)?;
        Ok(Revocation {
            kind: RevokedKind::ApiKey,
            name: self.id,
            at,
            until: at + life,
        })
    }
}
