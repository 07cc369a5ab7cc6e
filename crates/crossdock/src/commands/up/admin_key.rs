//! The key of the people who operate this machine, in a file that only they can read; and the demo's, in the same way.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use crossdock_engine::{AuthError, Hub, NewKey, Scope};

use super::data_dir::{DataDir, write_secret};

/// Makes sure that the operators have a key, and returns the path of its file.
pub(super) async fn ensure(hub: &Hub, data_dir: &DataDir) -> anyhow::Result<PathBuf> {
    let path = data_dir.admin_key_file();
    let new = NewKey {
        name: "admin".to_owned(),
        scopes: vec![Scope::Admin],
        topics: Vec::new(),
        adapter: None,
        expires: None,
    };
    ensure_in(hub, &path, new).await?;
    Ok(path)
}

/// Makes sure that the file holds a key that the database knows. A key that was revoked stays revoked; removing the
/// file makes a new one at the next start.
pub(super) async fn ensure_in(hub: &Hub, path: &Path, new: NewKey) -> anyhow::Result<()> {
    match fs::read_to_string(path) {
        Ok(text) => match hub.authenticate(text.trim()).await {
            Err(AuthError::Unknown | AuthError::SessionEnded) => {
                tracing::warn!(file = %path.display(), "the database does not know this key; it is replaced");
            }
            Err(error @ (AuthError::Revoked | AuthError::Expired)) => {
                tracing::warn!(file = %path.display(), "{error}; remove the file to get another at the next start");
                return Ok(());
            }
            Ok(_) | Err(AuthError::Unavailable) => return Ok(()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
    let name = new.name.clone();
    let (_, key) = hub
        .add_key(new)
        .await
        .with_context(|| format!("cannot make the key {name}"))?;
    write_secret(path, &format!("{key}\n")).with_context(|| format!("cannot write {}", path.display()))
}
