//! Sessions of people who have signed in. A session's token is never here, only its hash; when one ends by itself is
//! the caller's to say.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::Result;

/// SHA-256 of a session's token.
pub type TokenHash = [u8; 32];

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of its token.
    pub token_hash: TokenHash,
    /// Whose it is.
    pub user: String,
    /// When it began.
    pub created: DateTime<Utc>,
    /// When it was last used, roughly.
    pub last_used: DateTime<Utc>,
    /// From when on it is no longer good.
    pub expires: DateTime<Utc>,
}

/// A session with what its owner may do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// The session.
    pub session: Session,
    /// The owner's role.
    pub role: String,
}

/// Sessions.
#[async_trait]
pub trait Sessions {
    /// Begins a session of a person whose password has the hash `password` still, and says whether. Notes the sign-in,
    /// and ends the oldest of the person's sessions that are more than `max`.
    async fn add_session(&self, session: Session, password: &str, max: u32) -> Result<bool>;

    /// One session, ended by itself or not.
    async fn session(&self, token_hash: &TokenHash) -> Result<Option<SignedIn>>;

    /// Ends a session; a second time changes nothing.
    async fn end_session(&self, token_hash: &TokenHash) -> Result<()>;

    /// Ends all sessions of a person.
    async fn end_sessions_of(&self, user: &str) -> Result<()>;

    /// Notes when sessions were last used. Unknown ones and earlier times change nothing.
    async fn touch_sessions(&self, uses: &[(TokenHash, DateTime<Utc>)]) -> Result<()>;

    /// Forgets sessions that expired before `expired_before` or were last used before `used_before`, and says how many.
    async fn forget_sessions(&self, expired_before: DateTime<Utc>, used_before: DateTime<Utc>)
    -> Result<u64>;
}
