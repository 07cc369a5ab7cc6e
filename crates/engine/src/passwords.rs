//! Passwords: argon2id as OWASP's cheat sheet for password storage asks for it, kept as PHC strings. A hash takes
//! 19 MiB and some hundredths of a second of a processor, so only so many are reckoned at one time, off the threads
//! that serve connections. Callers stand in a line of their own network, whose first alone waits for a turn: a flood
//! from one network holds up its own people and nobody else.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier},
};
use rand::RngCore;
use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{EngineError, keys};

/// Memory of one hash, in KiB.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;

/// Hashes reckoned at one time.
const AT_ONE_TIME: usize = 2;
/// See [`Passwords::patience`].
const TURN_PATIENCE: Duration = Duration::from_secs(5);

/// A password is no shorter, in characters.
const PASSWORD_MIN_CHARS: usize = 12;
/// Nor longer, in bytes.
const PASSWORD_MAX_BYTES: usize = 512;
/// Characters of one that the hub makes: 119 random bits.
const MADE_CHARS: usize = 20;

/// Reckons hashes.
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
    /// How long a caller waits for its turn.
    patience: Duration,
    /// A line for each network that somebody of is here, no longer.
    lines: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
}

/// The right to have one hash reckoned: while it lasts nobody else of the network has one.
struct Turn {
    _of_all: OwnedSemaphorePermit,
    _of_network: Option<OwnedSemaphorePermit>,
}

impl Passwords {
    pub(crate) fn new() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(AT_ONE_TIME)),
            patience: TURN_PATIENCE,
            lines: Mutex::default(),
        }
    }

    /// The hash of a new password.
    ///
    /// # Errors
    /// `Unavailable` if too many others wait.
    pub(crate) async fn hash(&self, password: &str) -> Result<String, EngineError> {
        let password = password.to_owned();
        let turn = self.turn(None).await?;
        in_turn(turn, move || {
            argon2()
                .hash_password_with_salt(password.as_bytes(), &salt())
                .map(|hash| hash.to_string())
                .map_err(|error| EngineError::Internal(format!("a password was not hashed: {error}")))
        })
        .await?
    }

    /// Whether the password has this hash, for somebody from this network. Without a hash it never has, and the answer
    /// takes as long.
    ///
    /// # Errors
    /// `Unavailable` if too many others wait: then nobody has looked at it.
    pub(crate) async fn fits(
        &self,
        password: &str,
        hash: Option<&str>,
        network: IpAddr,
    ) -> Result<bool, EngineError> {
        let (password, hash) = (password.to_owned(), hash.map(str::to_owned));
        let turn = self.turn(Some(network)).await?;
        in_turn(turn, move || match hash {
            Some(hash) => argon2()
                .verify_password(password.as_bytes(), hash.as_str())
                .is_ok(),
            None => {
                let mut of_nobody = [0; Params::DEFAULT_OUTPUT_LEN];
                // Whatever comes of it, nobody has it.
                let _ = argon2().hash_password_into(password.as_bytes(), &salt(), &mut of_nobody);
                false
            }
        })
        .await
    }

    /// Waits for a turn, first in the network's line.
    async fn turn(&self, network: Option<IpAddr>) -> Result<Turn, EngineError> {
        let turn = async {
            let of_network = match network {
                Some(network) => Some(self.line(network).acquire_owned().await?),
                None => None,
            };
            Ok::<_, AcquireError>(Turn {
                _of_all: self.turns.clone().acquire_owned().await?,
                _of_network: of_network,
            })
        };
        timeout(self.patience, turn)
            .await
            .map_err(|_| EngineError::unavailable("too many people are signing in"))?
            .map_err(|error| EngineError::Internal(format!("there are no turns any more: {error}")))
    }

    fn line(&self, network: IpAddr) -> Arc<Semaphore> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        // Permits and those who wait hold their line, too.
        lines.retain(|_, line| Arc::strong_count(line) > 1);
        let line = lines
            .entry(network)
            .or_insert_with(|| Arc::new(Semaphore::new(1)));
        line.clone()
    }
}

/// Work goes on to its end, and holds its turn, even if the caller has gone.
async fn in_turn<T: Send + 'static>(
    turn: Turn,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, EngineError> {
    tokio::task::spawn_blocking(move || {
        let done = work();
        drop(turn);
        done
    })
    .await
    .map_err(|error| EngineError::Internal(format!("a password was not looked at: {error}")))
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("these are within argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn salt() -> [u8; SALT_BYTES] {
    let mut salt = [0; SALT_BYTES];
    rand::rng().fill_bytes(&mut salt);
    salt
}

/// A password that nobody guesses.
pub fn new_password() -> String {
    keys::random(MADE_CHARS)
}

/// What is wrong with a password that somebody has chosen.
pub(crate) fn check(password: &str) -> Result<(), EngineError> {
    if password.chars().count() < PASSWORD_MIN_CHARS || is_too_long(password) {
        return Err(EngineError::Invalid(format!(
            "a password has at least {PASSWORD_MIN_CHARS} characters and at most {PASSWORD_MAX_BYTES} bytes"
        )));
    }
    Ok(())
}

/// Whether it is longer than any password here: it need not be looked at.
pub(crate) fn is_too_long(password: &str) -> bool {
    password.len() > PASSWORD_MAX_BYTES
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let passwords = Passwords::new();
        let hash = passwords.hash("correct horse battery").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, passwords.hash("correct horse battery").await.unwrap());
        assert!(
            passwords
                .fits("correct horse battery", Some(&hash), ip("192.0.2.1"))
                .await
                .unwrap()
        );
        for (password, hash) in [
            ("correct horse batterY", Some(hash.as_str())),
            ("", Some(hash.as_str())),
            ("correct horse battery", Some("not a hash")),
            ("correct horse battery", None),
        ] {
            assert!(
                !passwords.fits(password, hash, ip("192.0.2.1")).await.unwrap(),
                "{password} {hash:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_network_has_one_turn_and_its_line_goes_with_it() {
        let passwords = Passwords::new();
        let (flood, home) = (ip("2001:db8::"), ip("192.0.2.1"));
        let turn = passwords.turn(Some(flood)).await.unwrap();
        let mut second = Box::pin(passwords.turn(Some(flood)));
        let waits = timeout(Duration::from_millis(20), &mut second).await;
        assert!(waits.is_err(), "the line has one at a time");
        drop(passwords.turn(Some(home)).await.unwrap());
        drop(turn);
        drop(second.await.unwrap());
        drop(passwords.turn(Some(home)).await.unwrap());
        assert_eq!(passwords.lines.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn whoever_waits_too_long_is_told_and_leaves_nothing_behind() {
        let mut passwords = Passwords::new();
        passwords.patience = Duration::from_millis(20);
        let network = ip("2001:db8::");
        let turn = passwords.turn(Some(network)).await.unwrap();
        let late = passwords.fits("", None, network).await;
        assert!(matches!(late, Err(EngineError::Unavailable { .. })), "{late:?}");
        drop(turn);
        passwords.patience = TURN_PATIENCE;
        drop(passwords.turn(Some(network)).await.unwrap());
    }

    #[test]
    fn a_chosen_password_is_neither_short_nor_endless() {
        for good in [
            "twelve chars",
            "größer als zwölf",
            &"x".repeat(PASSWORD_MAX_BYTES),
        ] {
            check(good).unwrap();
        }
        for bad in ["", "eleven char", &"x".repeat(PASSWORD_MAX_BYTES + 1)] {
            assert!(matches!(check(bad), Err(EngineError::Invalid(_))), "{bad}");
        }
        check(&new_password()).unwrap();
        assert_ne!(new_password(), new_password());
    }
}
