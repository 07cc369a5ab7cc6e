//! People who sign in: what they may do, and the hash that recognises their password. What a role opens and what
//! makes a good name or password is the caller's to say.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::Result;
use crate::sessions::TokenHash;

/// A person.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// What they sign in with, the same in every spelling.
    pub name: String,
    /// What they may do.
    pub role: String,
    /// The hash of their password.
    pub password: String,
    /// When they were added.
    pub created: DateTime<Utc>,
    /// When they last signed in.
    pub last_sign_in: Option<DateTime<Utc>>,
}

/// Without the hash.
impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// What becomes different about a person.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UserChange {
    /// The new role.
    pub role: Option<String>,
    /// The hash of the new password, which ends their sessions.
    pub password: Option<String>,
    /// Only if this is the hash of their password still.
    pub password_was: Option<String>,
    /// The one session that a new password does not end.
    pub kept: Option<TokenHash>,
}

/// People.
#[async_trait]
pub trait Users {
    /// Adds a person. `Conflict` if the name is taken.
    async fn add_user(&self, user: User) -> Result<()>;

    /// Adds a person if there is nobody yet, and says whether: of several hubs that try at once one does.
    async fn add_first_user(&self, user: User) -> Result<bool>;

    /// One person.
    async fn user(&self, name: &str) -> Result<Option<User>>;

    /// All people, by name.
    async fn users(&self) -> Result<Vec<User>>;

    /// Changes a person. `NotFound` for an unknown name; `Conflict` if nobody of the role `needed` would be left, or if
    /// the password has changed meanwhile.
    async fn change_user(&self, name: &str, change: UserChange, needed: &str) -> Result<()>;

    /// Removes a person with all their sessions. `NotFound` for an unknown name; `Conflict` if nobody of the role
    /// `needed` would be left.
    async fn remove_user(&self, name: &str, needed: &str) -> Result<()>;
}

/// What `Conflict` says where nobody of the role that is needed would be left.
pub(crate) const LAST_ONE: &str = "this is the last person of a role that must not be empty";
/// What `Conflict` says where somebody else was faster to change a password.
pub(crate) const PASSWORD_CHANGED: &str = "the password was changed meanwhile";
