//! The database of the hub that starts, and patience with it: its server may come up after the hub, or go away while
//! the hub starts, as RabbitMQ may.

use std::{os::unix::ffi::OsStrExt, path::Path, time::Duration};

use anyhow::Context as _;
use crossdock_config::Settings;
use crossdock_engine::{AuthError, EngineError};
use crossdock_store::{Store, StoreError};

use super::data_dir::DataDir;

/// Pause between attempts while the database's server is away.
const PAUSE: Duration = Duration::from_secs(1);

/// Where the hub keeps its record.
pub(super) struct Database {
    url: String,
}

impl Database {
    /// The one that the settings name, or a file in the data folder.
    pub(super) fn named(settings: &Settings, data_dir: &DataDir) -> anyhow::Result<Self> {
        let url = match &settings.database.url {
            Some(secret) => secret
                .resolve(|path| std::fs::read_to_string(path))
                .context("database.url")?,
            None => sqlite_url(&data_dir.database_file()),
        };
        Ok(Self { url })
    }

    pub(super) async fn open(&self) -> anyhow::Result<Store> {
        let open = async || {
            crossdock_store::open(&self.url)
                .await
                .context("cannot open the database")
        };
        self.patiently(open).await
    }

    /// Takes a step of the start again and again while it fails because the server is away. A file is there or it is
    /// not.
    pub(super) async fn patiently<T>(&self, step: impl AsyncFn() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let is_file = self.url.starts_with("sqlite:");
        let mut is_told = false;
        loop {
            match step().await {
                Err(error) if !is_file && is_away(&error) => {
                    if !is_told {
                        let reason = format!("{error:#}");
                        tracing::warn!(reason, "the database is away; the hub goes on trying");
                        is_told = true;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                done => return done,
            }
        }
    }
}

fn is_away(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(StoreError::Unavailable(_)))
        || matches!(error.downcast_ref(), Some(EngineError::Unavailable { .. }))
        || matches!(error.downcast_ref(), Some(AuthError::Unavailable))
}

/// The URL of a file, whatever characters its path has.
fn sqlite_url(file: &Path) -> String {
    let mut url = "sqlite://".to_owned();
    for byte in file.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => {
                url.push(char::from(*byte))
            }
            other => url += &format!("%{other:02X}"),
        }
    }
    url
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_taken_again_while_the_database_is_away_whoever_says_so() {
        let unavailable = EngineError::Unavailable {
            reason: "away".into(),
            retry_after_s: 1,
        };
        for away in [
            anyhow::Error::from(StoreError::Unavailable("away".into())),
            unavailable.into(),
            AuthError::Unavailable.into(),
        ] {
            assert!(is_away(&away) && is_away(&away.context("cannot remove the key")));
        }
        for other in [
            anyhow::Error::from(StoreError::Corrupt("torn".into())),
            AuthError::Unknown.into(),
            anyhow::anyhow!("away"),
        ] {
            assert!(!is_away(&other), "{other}");
        }
    }

    #[tokio::test]
    async fn a_database_lies_in_its_data_folder_whatever_that_is_called() {
        let above = tempfile::tempdir().unwrap();
        for name in ["plain", "a%20b", "what?mode=memory", "größe #1"] {
            let file = above.path().join(name).join("crossdock.db");
            crossdock_store::open(&sqlite_url(&file)).await.unwrap();
            assert!(file.is_file(), "{name}");
        }
        assert_eq!(
            sqlite_url(Path::new("var/crossdock.db")),
            "sqlite://var/crossdock.db"
        );
    }
}
