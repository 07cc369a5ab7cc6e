//! The first person who can sign in. Their password is shown once, on the terminal of whoever started the hub, or
//! lies in a file that only they can read where there is no terminal; it is in no log.

use std::{
    fmt, fs,
    io::{self, IsTerminal},
    path::PathBuf,
};

use anyhow::Context as _;
use crossdock_engine::{Hub, new_password};
use serde::Serialize;

use super::data_dir::{DataDir, write_secret};

/// How the first person signs in.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FirstAdmin {
    /// With this password, which is shown this once.
    Password {
        /// What they are called.
        name: String,
        /// Their password.
        password: String,
        /// It lies here until it was shown.
        #[serde(skip)]
        file: PathBuf,
    },
    /// With the password in this file, unless it was changed since.
    File(PathBuf),
}

/// Without the password.
impl fmt::Debug for FirstAdmin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { name, .. } => f
                .debug_struct("Password")
                .field("name", name)
                .finish_non_exhaustive(),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// Makes sure that somebody can sign in. Of several hubs that start at once on one database one makes the person.
pub(super) async fn ensure(hub: &Hub, data_dir: &DataDir) -> anyhow::Result<Option<FirstAdmin>> {
    let path = data_dir.admin_password_file();
    if !hub.has_no_users().await.context("cannot look who may sign in")? {
        return Ok(path.exists().then_some(FirstAdmin::File(path)));
    }
    let password = new_password();
    // Before there is such a person: a crash in between leaves a password that opens nothing, not one that nobody knows.
    write_secret(&path, &format!("{password}\n"))
        .with_context(|| format!("cannot write {}", path.display()))?;
    let added = hub.add_first_admin(&password).await;
    match added.context("cannot add the first person")? {
        Some(name) if io::stdout().is_terminal() => Ok(Some(FirstAdmin::Password {
            name,
            password,
            file: path,
        })),
        Some(_) => Ok(Some(FirstAdmin::File(path))),
        None => {
            // Another hub was faster, and has the password.
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            Ok(None)
        }
    }
}

impl FirstAdmin {
    /// Takes the file away once its password was seen on a terminal.
    pub(super) fn was_seen(&self) -> io::Result<()> {
        match self {
            Self::Password { file, .. } => fs::remove_file(file),
            Self::File(_) => Ok(()),
        }
    }
}
