//! The node's folder: who the node is (name, secrets, ports, version), kept from start to start, and RabbitMQ's
//! configuration, written anew before each. Everything in it is its owner's alone.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rand::distr::{Alphanumeric, SampleString};
use rand::{CryptoRng, Rng};
use serde::{Deserialize, Serialize};

use super::NodeError;
use super::install::Version;
use super::ports::Ports;
use crate::credentials::new_password;

/// Larger messages close the channel that publishes them: 1 MiB of data in base64 with its attributes fits.
const MAX_MESSAGE_BYTES: u32 = 2 * 1024 * 1024;
/// Publishers are blocked while the disk has less space.
const DISK_FREE_LIMIT: &str = "512MB";
/// Publishers are blocked while RabbitMQ uses more than this part of the machine's memory.
const MEMORY_LIMIT: f32 = 0.4;
/// Quorum queues keep up to a few of these files' contents in memory; RabbitMQ's own 512 MiB suit big machines.
const WAL_MAX_BYTES: u32 = 64 * 1024 * 1024;
/// How old counts of messages may be.
const STATISTICS_INTERVAL_MS: u32 = 1_000;
const LOG_MAX_BYTES: u32 = 10 * 1024 * 1024;
const LOGS_KEPT: u32 = 3;
const TAIL_BYTES: u64 = 16 * 1024;
const TAIL_LINES: usize = 25;

const OWNER_ONLY_FOLDER: u32 = 0o700;
const OWNER_ONLY_FILE: u32 = 0o600;

/// Who the node is. Without it, the data beside it belongs to nobody.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    pub(super) node_name: String,
    pub(super) cookie: String,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) ports: Ports,
    /// The RabbitMQ that last ran on the data.
    pub(super) rabbitmq_version: String,
}

impl Identity {
    pub(super) fn new(version: Version, rng: &mut (impl Rng + CryptoRng)) -> Result<Self, NodeError> {
        let mut name = || format!("{:08x}", rng.random::<u32>());
        let (node, user) = (name(), name());
        Ok(Self {
            node_name: format!("crossdock-{node}@localhost"),
            cookie: Alphanumeric.sample_string(rng, 40),
            user: format!("hub-{user}"),
            password: new_password(rng),
            ports: Ports::settle(None, rng)?,
            rabbitmq_version: version.to_string(),
        })
    }
}

/// The folder, locked for this hub for as long as the value lives.
pub(super) struct Folder {
    root: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder where needed and locks it. The lock ends with the hub, however that ends.
    pub(super) fn open(path: &Path) -> Result<Self, NodeError> {
        make_folder(path)?;
        let root = path.canonicalize().map_err(NodeError::files(path))?;
        for part in ["data", "log"] {
            make_folder(&root.join(part))?;
        }
        let lock = root.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(OWNER_ONLY_FILE)
            .open(&lock)
            .map_err(NodeError::files(&lock))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { root, _lock: file }),
            Err(TryLockError::WouldBlock) => Err(NodeError::InUse(root)),
            Err(TryLockError::Error(source)) => Err(NodeError::Files { path: lock, source }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.root
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.file("log/rabbitmq.log")
    }

    /// What the processes print before and beside their logs.
    pub(super) fn console(&self, process: &str) -> PathBuf {
        self.file(&format!("log/{process}.console.log"))
    }

    /// Who the node of this folder is; `None` in a folder without data.
    pub(super) fn identity(&self) -> Result<Option<Identity>, NodeError> {
        let file = self.file("node.json");
        let lost = |reason: String| NodeError::IdentityLost {
            file: file.clone(),
            reason,
        };
        match fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|error| lost(error.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let data = self.file("data");
                let has_data = fs::read_dir(&data)
                    .map_err(NodeError::files(&data))?
                    .next()
                    .is_some();
                if has_data {
                    Err(lost(error.to_string()))
                } else {
                    Ok(None)
                }
            }
            Err(error) => Err(lost(error.to_string())),
        }
    }

    pub(super) fn remember(&self, identity: &Identity) -> Result<(), NodeError> {
        let text = serde_json::to_vec_pretty(identity).expect("strings and numbers become JSON");
        self.write("node.json", &text)
    }

    /// Writes what RabbitMQ reads at its start.
    pub(super) fn configure(&self, identity: &Identity) -> Result<(), NodeError> {
        self.write("rabbitmq.conf", configuration(identity).as_bytes())?;
        let advanced = format!("[{{rabbit, [{{quorum_tick_interval, {STATISTICS_INTERVAL_MS}}}]}}].\n");
        self.write("advanced.config", advanced.as_bytes())?;
        self.write(
            "enabled_plugins",
            b"[rabbitmq_consistent_hash_exchange,rabbitmq_management].\n",
        )?;
        self.write("rabbitmq-env.conf", b"")?;
        self.write(".erlang.cookie", identity.cookie.as_bytes())
    }

    /// An empty file for what a process prints.
    pub(super) fn open_console(&self, process: &str) -> Result<File, NodeError> {
        let path = self.console(process);
        let mut options = OpenOptions::new();
        options
            .create(true)
            .write(true)
            .truncate(true)
            .mode(OWNER_ONLY_FILE);
        options.open(&path).map_err(NodeError::files(&path))
    }

    /// The last lines of RabbitMQ's log and of what it printed, for a person who wonders why it does not start.
    pub(super) fn log_tail(&self) -> String {
        [self.log(), self.console("rabbitmq")]
            .iter()
            .filter_map(|file| tail(file).ok())
            .collect()
    }

    /// Replaces the file's contents in one step, so that a hub killed meanwhile leaves the old or the new.
    fn write(&self, name: &str, contents: &[u8]) -> Result<(), NodeError> {
        let (path, draft) = (self.file(name), self.file(&format!("{name}.new")));
        let write = || {
            let mut options = OpenOptions::new();
            let mut file = options
                .create(true)
                .write(true)
                .truncate(true)
                .mode(OWNER_ONLY_FILE)
                .open(&draft)?;
            file.write_all(contents)?;
            file.sync_all()?;
            fs::rename(&draft, &path)
        };
        write().map_err(NodeError::files(&path))
    }
}

fn make_folder(path: &Path) -> Result<(), NodeError> {
    DirBuilder::new()
        .recursive(true)
        .mode(OWNER_ONLY_FOLDER)
        .create(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(OWNER_ONLY_FOLDER)))
        .map_err(NodeError::files(path))
}

fn configuration(identity: &Identity) -> String {
    let Identity {
        user,
        password,
        ports: Ports { amqp, management, .. },
        ..
    } = identity;
    format!(
        "# Written by the hub before each start of its private node; changes here are lost.\n\
         listeners.tcp.local = 127.0.0.1:{amqp}\n\
         management.tcp.ip = 127.0.0.1\n\
         management.tcp.port = {management}\n\
         default_user = {user}\n\
         default_pass = {password}\n\
         max_message_size = {MAX_MESSAGE_BYTES}\n\
         disk_free_limit.absolute = {DISK_FREE_LIMIT}\n\
         vm_memory_high_watermark.relative = {MEMORY_LIMIT}\n\
         raft.wal_max_size_bytes = {WAL_MAX_BYTES}\n\
         collect_statistics_interval = {STATISTICS_INTERVAL_MS}\n\
         log.console = false\n\
         log.file.level = info\n\
         log.file.rotation.size = {LOG_MAX_BYTES}\n\
         log.file.rotation.count = {LOGS_KEPT}\n"
    )
}

fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    Ok(lines[lines.len().saturating_sub(TAIL_LINES)..]
        .iter()
        .map(|line| format!("  {line}\n"))
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn identity() -> Identity {
        Identity::new("3.10.8".parse().unwrap(), &mut rand::rng()).unwrap()
    }

    #[test]
    fn an_identity_is_kept_and_everything_is_the_owners_alone() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::open(&parent.path().join("var/rabbitmq")).unwrap();
        assert!(folder.identity().unwrap().is_none());

        let identity = identity();
        folder.remember(&identity).unwrap();
        folder.configure(&identity).unwrap();
        let kept = folder.identity().unwrap().unwrap();
        assert_eq!(kept.password, identity.password);
        assert_eq!(kept.ports, identity.ports);

        for entry in fs::read_dir(folder.path()).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o077;
            assert_eq!(mode, 0, "{} is open to others", entry.path().display());
        }
    }

    #[test]
    fn a_second_hub_is_told_that_the_folder_is_in_use() {
        let parent = tempfile::tempdir().unwrap();
        let first = Folder::open(parent.path()).unwrap();
        assert!(matches!(Folder::open(parent.path()), Err(NodeError::InUse(_))));
        drop(first);
        Folder::open(parent.path()).unwrap();
    }

    #[test]
    fn data_without_identity_is_not_begun_anew() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::open(parent.path()).unwrap();
        fs::create_dir(folder.file("data/crossdock-1@localhost")).unwrap();
        assert!(matches!(folder.identity(), Err(NodeError::IdentityLost { .. })));
        folder.write("node.json", b"{}").unwrap();
        assert!(matches!(folder.identity(), Err(NodeError::IdentityLost { .. })));
    }

    #[test]
    fn the_tail_is_the_last_lines() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::open(parent.path()).unwrap();
        let lines: String = (0..5_000).map(|number| format!("line {number}\n")).collect();
        fs::write(folder.log(), lines).unwrap();
        let tail = folder.log_tail();
        assert_eq!(tail.lines().count(), TAIL_LINES);
        assert!(tail.ends_with("  line 4999\n"));
    }
}
