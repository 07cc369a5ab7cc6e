//! The folder in which the hub keeps what it keeps: whose it is, and what lies where in it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};

/// The data directory, locked for this hub for as long as the value lives; the lock ends with the process,
/// however that ends.
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the folder where needed and locks it.
    ///
    /// # Errors
    /// When another hub runs on it, or it cannot be used.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        make_folder(path)?;
        let lock_file = path.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_file)
            .with_context(|| format!("cannot use the data directory {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(path, &mut lock)),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", lock_file.display()));
            }
        }
        note_owner(&mut lock).with_context(|| format!("cannot write {}", lock_file.display()))?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn database_file(&self) -> PathBuf {
        self.path.join("crossdock.db")
    }

    pub(super) fn admin_key_file(&self) -> PathBuf {
        self.path.join(crate::ADMIN_KEY_FILE)
    }

    /// Holds the key of the demo's shop page.
    pub(super) fn shop_key_file(&self) -> PathBuf {
        self.path.join("shop.key")
    }

    /// Holds the first person's password, where there was no terminal to show it on.
    pub(super) fn admin_password_file(&self) -> PathBuf {
        self.path.join("admin.password")
    }

    /// Where the private RabbitMQ node lives.
    pub(super) fn node_folder(&self) -> PathBuf {
        self.path.join("rabbitmq")
    }

    /// Holds the private node's user and password.
    pub(super) fn node_identity_file(&self) -> PathBuf {
        self.node_folder().join("node.json")
    }

    /// Where the hub writes an adapter's credentials.
    pub(super) fn env_file(&self, adapter: &str) -> PathBuf {
        self.path.join("adapters").join(format!("{adapter}.env"))
    }

    /// Where the demo's processes write their logs.
    pub(super) fn log_folder(&self) -> PathBuf {
        self.path.join("log")
    }
}

/// Makes a folder for the hub's user alone, with the folders above it, unless it is there.
pub(super) fn make_folder(path: &Path) -> anyhow::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).with_context(|| format!("cannot make the folder {}", parent.display()))?;
    }
    DirBuilder::new()
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make the folder {}", path.display()))
}

/// Writes a file that only the hub's user may read, whole or not at all.
pub(super) fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    let unfinished = path.with_extension("tmp");
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}

fn in_use(path: &Path, lock: &mut File) -> anyhow::Error {
    let mut owner = String::new();
    // Without the owner's number the sentence is still true.
    let _ = lock.read_to_string(&mut owner);
    let process = match owner.trim() {
        "" => String::new(),
        number => format!(" (process {number})"),
    };
    anyhow!(
        "a hub already runs on the data directory {}{process}. Stop it, or set another data_dir",
        path.display()
    )
}

fn note_owner(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    lock.write_all(std::process::id().to_string().as_bytes())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn one_hub_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/var");
        let first = DataDir::open(&path).unwrap();
        let refusal = DataDir::open(&path).unwrap_err().to_string();
        assert!(
            refusal.contains(&format!("process {}", std::process::id())),
            "{refusal}"
        );
        drop(first);
        DataDir::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn secrets_are_their_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.key");
        write_secret(&path, "one").unwrap();
        write_secret(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
