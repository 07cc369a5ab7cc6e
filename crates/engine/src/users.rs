//! People: who may sign in, and the sign-in itself. Only here does a password meet its hash.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use crossdock_model::network::site;
use crossdock_store::{Store, StoreError, User, UserChange};

use crate::{
    AuthError, EngineError, Hub, Principal, Role, SessionView, SignInError, UserView,
    attempts::{Attempt, Attempts},
    passwords::{self, Passwords},
    sessions::{self, Look, Sessions},
};

/// People at most.
const USERS_MAX: usize = 1_000;
const NAME_MAX_BYTES: usize = 64;
/// What the first person is called.
const FIRST: &str = "admin";

/// The people of this environment.
pub(crate) struct Users {
    store: Store,
    passwords: Passwords,
    attempts: Attempts,
    sessions: Sessions,
}

/// A person to be added.
#[derive(Clone)]
pub struct NewUser {
    /// What they will sign in with: letters, digits and `. _ - @ +`, up to 64; capitals are taken as small letters.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Their password; one is made if there is none.
    pub password: Option<String>,
}

impl Users {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            sessions: Sessions::new(store.clone()),
            passwords: Passwords::new(),
            attempts: Attempts::new(),
            store,
        }
    }

    /// The end of what people left behind: see [`Sessions::look_after`].
    pub(crate) async fn look_after(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        self.sessions.look_after(now).await
    }

    async fn sign_in(
        &self,
        name: &str,
        password: &str,
        from: IpAddr,
        now: DateTime<Utc>,
    ) -> Result<(SessionView, String), SignInError> {
        let Ok(name) = spelled(name) else {
            // Nobody has such a name; it takes as long to say so.
            let attempt = self.begin("", from, now)?;
            self.judge(attempt, None, "", from).await?;
            return Err(SignInError::Refused);
        };
        let attempt = self.begin(&name, from, now)?;
        let (attempt, user) = self.owner(attempt, &name).await?;
        let hash = user.as_ref().map(|user| user.password.as_str());
        let (attempt, fits) = self.judge(attempt, hash, password, from).await?;
        let refused = || {
            // A name that nobody has may be a password in the wrong field.
            let user = user.as_ref().map(|user| user.name.as_str());
            tracing::warn!(user, client = %from, "a sign-in was refused");
            SignInError::Refused
        };
        let Some(user) = user.as_ref().filter(|_| fits) else {
            return Err(refused());
        };
        let role: Role = user
            .role
            .parse()
            .map_err(|_| EngineError::Internal("a person has a role of a newer version".into()))?;
        let begun = self.sessions.begin(&name, &user.password, now).await?;
        let (token, expires) = begun.ok_or_else(refused)?;
        self.attempts.succeeded(attempt);
        tracing::info!(user = name, client = %from, "somebody has signed in");
        Ok((sessions::view(name, role, expires), token))
    }

    fn begin(&self, name: &str, from: IpAddr, now: DateTime<Utc>) -> Result<Attempt, SignInError> {
        self.attempts.begin(name, from, now).map_err(|retry_after_s| {
            tracing::warn!(client = %from, "a sign-in came too soon after others that failed");
            SignInError::TooSoon { retry_after_s }
        })
    }

    /// The person of this name. If nobody can look, the attempt does not count.
    async fn owner(&self, attempt: Attempt, name: &str) -> Result<(Attempt, Option<User>), EngineError> {
        match self.store.user(name).await {
            Ok(user) => Ok((attempt, user)),
            Err(error) => {
                self.attempts.was_not_judged(attempt);
                Err(error.into())
            }
        }
    }

    /// Whether the password has the hash. If nobody had time to look, the attempt does not count.
    async fn judge(
        &self,
        attempt: Attempt,
        hash: Option<&str>,
        password: &str,
        from: IpAddr,
    ) -> Result<(Attempt, bool), EngineError> {
        let (password, hash) = match passwords::is_too_long(password) {
            true => ("", None),
            false => (password, hash),
        };
        match self.passwords.fits(password, hash, site(from)).await {
            Ok(fits) => Ok((attempt, fits)),
            Err(error) => {
                self.attempts.was_not_judged(attempt);
                Err(error)
            }
        }
    }

    /// Whoever has the session gives themselves another password; their other sessions end.
    async fn change_own_password(
        &self,
        token: &str,
        current: &str,
        new: &str,
        from: IpAddr,
        now: DateTime<Utc>,
    ) -> Result<(), SignInError> {
        let (session, _) = self.sessions.find(token, Look::Use, now).await?;
        passwords::check(new)?;
        let attempt = self.begin(&session.user, from, now)?;
        let (attempt, user) = self.owner(attempt, &session.user).await?;
        let hash = user.as_ref().map(|user| user.password.as_str());
        let (attempt, fits) = self.judge(attempt, hash, current, from).await?;
        if !fits {
            tracing::warn!(user = session.user, client = %from, "a change of password was refused");
            return Err(SignInError::Refused);
        }
        self.attempts.succeeded(attempt);
        let change = UserChange {
            password: Some(self.passwords.hash(new).await?),
            password_was: hash.map(str::to_owned),
            kept: Some(session.token_hash),
            ..UserChange::default()
        };
        self.change(&session.user, change).await?;
        Ok(())
    }

    async fn add(&self, new: NewUser, now: DateTime<Utc>) -> Result<(UserView, Option<String>), EngineError> {
        let name = spelled(&new.name)?;
        if self.store.users().await?.len() >= USERS_MAX {
            return Err(EngineError::Conflict(format!(
                "there are {USERS_MAX} people already"
            )));
        }
        let (password, made) = match new.password {
            Some(password) => {
                passwords::check(&password)?;
                (password, None)
            }
            None => {
                let made = passwords::new_password();
                (made.clone(), Some(made))
            }
        };
        let user = User {
            name: name.clone(),
            role: new.role.to_string(),
            password: self.passwords.hash(&password).await?,
            created: now,
            last_sign_in: None,
        };
        let added = self.store.add_user(user.clone()).await;
        added.map_err(|error| match error {
            StoreError::Conflict(_) => EngineError::Conflict(format!("there is a person {name:?} already")),
            other => other.into(),
        })?;
        Ok((view(user)?, made))
    }

    async fn set(
        &self,
        name: &str,
        role: Option<Role>,
        password: Option<String>,
    ) -> Result<UserView, EngineError> {
        let name = spelled(name).map_err(|_| nobody(name))?;
        if let Some(password) = &password {
            passwords::check(password)?;
        }
        let change = UserChange {
            role: role.map(|role| role.to_string()),
            password: match password {
                Some(password) => Some(self.passwords.hash(&password).await?),
                None => None,
            },
            ..UserChange::default()
        };
        self.change(&name, change).await?;
        let user = self.store.user(&name).await?.ok_or_else(|| nobody(&name))?;
        view(user)
    }

    async fn change(&self, name: &str, change: UserChange) -> Result<(), EngineError> {
        let changed = self.store.change_user(name, change, Role::Admin.as_str()).await;
        // Also if nobody knows whether it was: then the database is asked.
        self.sessions.look_again_at(name);
        changed.map_err(|error| refused(name, error))
    }

    async fn remove(&self, name: &str) -> Result<(), EngineError> {
        let name = spelled(name).map_err(|_| nobody(name))?;
        let removed = self.store.remove_user(&name, Role::Admin.as_str()).await;
        self.sessions.look_again_at(&name);
        removed.map_err(|error| refused(&name, error))
    }
}

fn refused(name: &str, error: StoreError) -> EngineError {
    match error {
        StoreError::NotFound => nobody(name),
        other => other.into(),
    }
}

fn nobody(name: &str) -> EngineError {
    EngineError::NotFound(format!("there is no person {name:?}"))
}

/// A name as it is kept and compared: small letters.
fn spelled(name: &str) -> Result<String, EngineError> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@+".contains(&byte);
    let name = name.trim();
    let is_good = (1..=NAME_MAX_BYTES).contains(&name.len())
        && name.bytes().all(good)
        && name.bytes().any(|byte| byte.is_ascii_alphanumeric());
    match is_good {
        true => Ok(name.to_ascii_lowercase()),
        false => Err(EngineError::Invalid(format!(
            "a person's name has 1 to {NAME_MAX_BYTES} letters (a to z), digits and . _ - @ +"
        ))),
    }
}

fn view(user: User) -> Result<UserView, EngineError> {
    let role = user
        .role
        .parse()
        .map_err(|_| EngineError::Internal("a person has a role of a newer version".into()))?;
    Ok(UserView {
        name: user.name,
        role,
        created: user.created,
        last_sign_in: user.last_sign_in,
    })
}

impl Hub {
    /// Signs a person in who comes from this address; gives the session and its token, which is shown this once.
    ///
    /// # Errors
    /// See [`SignInError`]. An unknown name and a wrong password are told apart by nothing, time included.
    pub async fn sign_in(
        &self,
        name: &str,
        password: &str,
        from: IpAddr,
    ) -> Result<(SessionView, String), SignInError> {
        let now = self.shared.clock.now();
        self.shared.users.sign_in(name, password, from, now).await
    }

    /// The session of this token, used by its owner.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub async fn session(&self, token: &str) -> Result<SessionView, AuthError> {
        let now = self.shared.clock.now();
        let (session, role) = self.shared.users.sessions.find(token, Look::Use, now).await?;
        Ok(sessions::view(session.user, role, session.expires))
    }

    /// Who has the session of this token and uses it.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub async fn authenticate_session(&self, token: &str) -> Result<Principal, AuthError> {
        let now = self.shared.clock.now();
        let (session, role) = self.shared.users.sessions.find(token, Look::Use, now).await?;
        Ok(sessions::principal(&session, role))
    }

    /// Who has the session of this token, asked for the hub's own sake: it does not count as a use.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub async fn check_session(&self, token: &str) -> Result<Principal, AuthError> {
        let now = self.shared.clock.now();
        let (session, role) = self.shared.users.sessions.find(token, Look::Check, now).await?;
        Ok(sessions::principal(&session, role))
    }

    /// Ends a session: here at once, on other hubs within 5 seconds.
    ///
    /// # Errors
    /// `Unavailable` without a database.
    pub async fn sign_out(&self, token: &str) -> Result<(), EngineError> {
        self.shared.users.sessions.end(token).await
    }

    /// Ends all sessions of the person who has this one: here at once, on other hubs within 5 seconds.
    ///
    /// # Errors
    /// `SessionEnded`, or the database is away.
    pub async fn sign_out_everywhere(&self, token: &str) -> Result<(), SignInError> {
        let now = self.shared.clock.now();
        let (session, _) = self.shared.users.sessions.find(token, Look::Use, now).await?;
        Ok(self.shared.users.sessions.end_all_of(&session.user).await?)
    }

    /// Gives the person who has this session another password, and ends their other sessions.
    ///
    /// # Errors
    /// `Refused` if `current` is not their password; see [`SignInError`].
    pub async fn change_password(
        &self,
        token: &str,
        current: &str,
        new: &str,
        from: IpAddr,
    ) -> Result<(), SignInError> {
        let now = self.shared.clock.now();
        let users = &self.shared.users;
        users.change_own_password(token, current, new, from, now).await
    }

    /// Everybody, by name.
    ///
    /// # Errors
    /// `Unavailable` without a database.
    pub async fn users(&self) -> Result<Vec<UserView>, EngineError> {
        self.shared.store.users().await?.into_iter().map(view).collect()
    }

    /// Adds a person; gives their password, this once, if one was made.
    ///
    /// # Errors
    /// `Invalid` for a bad name or password, `Conflict` if the name is taken.
    pub async fn add_user(&self, new: NewUser) -> Result<(UserView, Option<String>), EngineError> {
        self.shared.users.add(new, self.shared.clock.now()).await
    }

    /// Gives a person another role or password; a password ends all their sessions.
    ///
    /// # Errors
    /// `Invalid` for a bad password, `NotFound`, `Conflict` if no administrator would be left.
    pub async fn change_user(
        &self,
        name: &str,
        role: Option<Role>,
        password: Option<String>,
    ) -> Result<UserView, EngineError> {
        self.shared.users.set(name, role, password).await
    }

    /// Removes a person and ends their sessions.
    ///
    /// # Errors
    /// `NotFound`, `Conflict` if no administrator would be left.
    pub async fn remove_user(&self, name: &str) -> Result<(), EngineError> {
        self.shared.users.remove(name).await
    }

    /// Whether nobody can sign in yet.
    ///
    /// # Errors
    /// `Unavailable` without a database.
    pub async fn has_no_users(&self) -> Result<bool, EngineError> {
        Ok(self.shared.store.users().await?.is_empty())
    }

    /// Adds the first person, an administrator, if there is nobody yet; gives the name, or nothing if somebody else
    /// was faster.
    ///
    /// # Errors
    /// `Unavailable` without a database.
    pub async fn add_first_admin(&self, password: &str) -> Result<Option<String>, EngineError> {
        let users = &self.shared.users;
        let user = User {
            name: FIRST.to_owned(),
            role: Role::Admin.to_string(),
            password: users.passwords.hash(password).await?,
            created: self.shared.clock.now(),
            last_sign_in: None,
        };
        let added = self.shared.store.add_first_user(user).await?;
        Ok(added.then(|| FIRST.to_owned()))
    }

    /// Where people and adapters reach this hub.
    pub fn public_url(&self) -> &str {
        &self.shared.public_url
    }
}

#[cfg(test)]
mod tests;
