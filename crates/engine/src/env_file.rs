//! What an adapter's process gets as its environment: the file `adapters/<name>.env` in the hub's data folder, lines
//! of `NAME=value`, readable by the hub's user only.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use url::Url;

use crate::EngineError;

const ADAPTER: &str = "CROSSDOCK_ADAPTER";
const AMQP_URL: &str = "CROSSDOCK_AMQP_URL";
const URL: &str = "CROSSDOCK_URL";
const API_KEY: &str = "CROSSDOCK_API_KEY";

/// The variables by name. Holds secrets, and so is not to be printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct EnvFile(BTreeMap<String, String>);

impl EnvFile {
    /// `amqp_url`: none for an adapter that has no RabbitMQ user.
    pub(crate) fn new(adapter: &str, amqp_url: Option<&str>, public_url: &str, api_key: &str) -> Self {
        let values = [(ADAPTER, adapter), (API_KEY, api_key)];
        Self(
            values
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        )
        .with_addresses(amqp_url, public_url)
    }

    pub(crate) fn path(data_dir: &Path, adapter: &str) -> PathBuf {
        data_dir.join("adapters").join(format!("{adapter}.env"))
    }

    pub(crate) fn read(path: &Path) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Some(Self(
            pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        ))
    }

    /// The password in the file, if it is this RabbitMQ user's. Issued passwords are letters and digits.
    pub(crate) fn password_of(&self, user: &str) -> Option<String> {
        let url = Url::parse(self.0.get(AMQP_URL)?).ok()?;
        (url.username() == user).then(|| url.password().map(str::to_owned))?
    }

    /// The same with the addresses that hold now: the private node may have moved to another port.
    pub(crate) fn with_addresses(&self, amqp_url: Option<&str>, public_url: &str) -> Self {
        let mut values = self.0.clone();
        match amqp_url {
            Some(url) => values.insert(AMQP_URL.to_owned(), url.to_owned()),
            None => values.remove(AMQP_URL),
        };
        values.insert(URL.to_owned(), public_url.to_owned());
        Self(values)
    }

    /// Writes it beside `path`, whole and to the disk, to be put in place by [`Staged::publish`].
    pub(crate) fn stage(&self, path: &Path) -> Result<Staged, EngineError> {
        let text: String = self
            .0
            .iter()
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect();
        let unfinished = path.with_extension("env.new");
        let written = || -> io::Result<()> {
            if let Some(folder) = path.parent() {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            }
            match fs::remove_file(&unfinished) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&unfinished)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        written().map_err(|error| unwritable(path, &error))?;
        Ok(Staged {
            unfinished: Some(unfinished),
            path: path.to_owned(),
        })
    }
}

/// A file that is written but not in place yet; dropping it deletes it.
pub(crate) struct Staged {
    unfinished: Option<PathBuf>,
    path: PathBuf,
}

impl Staged {
    /// Puts it in place of the earlier one, at once, and returns its path.
    pub(crate) fn publish(mut self) -> Result<String, EngineError> {
        if let Some(unfinished) = &self.unfinished {
            fs::rename(unfinished, &self.path).map_err(|error| unwritable(&self.path, &error))?;
            self.unfinished = None;
        }
        Ok(self.path.display().to_string())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(unfinished) = &self.unfinished {
            let _ = fs::remove_file(unfinished);
        }
    }
}

fn unwritable(path: &Path, error: &io::Error) -> EngineError {
    EngineError::Internal(format!("{} cannot be written: {error}", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const BROKER: &str = "amqp://erp.2:s3cret@127.0.0.1:5672/%2Fshop?heartbeat=10";

    fn file() -> EnvFile {
        EnvFile::new("erp", Some(BROKER), "http://127.0.0.1:8080", "cdk_a_b")
    }

    #[test]
    fn what_is_written_is_read_back_by_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = EnvFile::path(folder.path(), "erp");
        let named = file().stage(&path).unwrap().publish().unwrap();
        assert_eq!(named, path.display().to_string());
        assert!(EnvFile::read(&path).unwrap() == file());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let adapters = folder.path().join("adapters");
        assert_eq!(
            fs::metadata(&adapters).unwrap().permissions().mode() & 0o777,
            0o700
        );
        let text = fs::read_to_string(&path).unwrap();
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        assert_eq!(
            lines,
            [
                "CROSSDOCK_ADAPTER=erp",
                &format!("CROSSDOCK_AMQP_URL={BROKER}"),
                "CROSSDOCK_API_KEY=cdk_a_b",
                "CROSSDOCK_URL=http://127.0.0.1:8080",
            ]
        );
    }

    #[test]
    fn a_file_that_is_not_published_leaves_the_earlier_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = EnvFile::path(folder.path(), "erp");
        file().stage(&path).unwrap().publish().unwrap();
        let other = EnvFile::new("erp", Some("amqp://erp.3:x@localhost"), "http://x", "cdk_c_d");
        drop(other.stage(&path).unwrap());
        assert!(EnvFile::read(&path).unwrap() == file());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_leftover_of_a_crash_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = EnvFile::path(folder.path(), "erp");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path.with_extension("env.new"), "CROSSDOCK").unwrap();
        file().stage(&path).unwrap().publish().unwrap();
        assert!(EnvFile::read(&path).unwrap() == file());
    }

    #[test]
    fn the_password_is_its_own_users_only() {
        let file = file();
        assert_eq!(file.password_of("erp.2").as_deref(), Some("s3cret"));
        assert_eq!(file.password_of("erp.1"), None);
        let url = "amqp://erp.2:s3cret@127.0.0.1:5999/";
        let moved = file.with_addresses(Some(url), "http://127.0.0.1:1");
        assert_eq!(moved.password_of("erp.2").as_deref(), Some("s3cret"));
        assert!(moved != file);
        assert_eq!(
            moved
                .with_addresses(None, "http://127.0.0.1:1")
                .password_of("erp.2"),
            None
        );
        assert_eq!(EnvFile(BTreeMap::new()).password_of("erp.2"), None);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("adapters"), "in the way").unwrap();
        let path = EnvFile::path(folder.path(), "erp");
        let error = file().stage(&path).err().unwrap().to_string();
        assert!(error.contains("erp.env") && !error.contains("s3cret"), "{error}");
        assert!(EnvFile::read(&path).is_none());
    }
}
