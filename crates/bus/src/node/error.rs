//! Why a private node cannot be run, in words that say what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why the node did not start.
#[derive(Debug, Error)]
pub enum NodeError {
    /// RabbitMQ or Erlang is not on this machine.
    #[error(
        "{missing} is not installed (looked in {}). Install the package rabbitmq-server, which deploy/up does on \
         Debian and Ubuntu; or set RABBITMQ_HOME to RabbitMQ's folder; or use a broker that runs already: \
         CROSSDOCK_RABBITMQ__URL and CROSSDOCK_RABBITMQ__MANAGEMENT_URL",
        Places(searched)
    )]
    NotInstalled {
        /// What is missing.
        missing: &'static str,
        /// Where it was looked for.
        searched: Vec<PathBuf>,
    },
    /// Another hub runs its node in this folder.
    #[error("another hub runs its RabbitMQ node in {}: stop that one, or use another data_dir", .0.display())]
    InUse(PathBuf),
    /// The folder holds a node's data, but not who that node was.
    #[error(
        "{} is missing or unreadable ({reason}), and without it the RabbitMQ data beside it cannot be opened. Restore \
         it from a backup; or, to begin anew and lose what waits in the queues, move {} away",
        file.display(), file.parent().unwrap_or(file).display()
    )]
    IdentityLost {
        /// The file that says who the node is.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The data was written by a RabbitMQ from which the installed one cannot take over.
    #[error(
        "the data in {} was written by RabbitMQ {from}, and RabbitMQ {to} is installed, which cannot take it over. \
         Install RabbitMQ {from} again, or step by step the versions from there to {to}, starting the hub once with \
         each; or let the hub's queues run empty with {from}, then move the folder away and start with {to}",
        data_dir.display()
    )]
    UnsupportedUpgrade {
        /// The version that wrote the data.
        from: String,
        /// The version installed.
        to: String,
        /// The node's folder.
        data_dir: PathBuf,
    },
    /// Processes of an earlier hub's node that do not end.
    #[error("processes left by an earlier hub in {} do not end: {pids:?}", data_dir.display())]
    Leftovers {
        /// The node's folder.
        data_dir: PathBuf,
        /// Their process ids.
        pids: Vec<i32>,
    },
    /// No free port was found on the loopback interface.
    #[error("no free port on 127.0.0.1 between {first} and {last}")]
    NoFreePort {
        /// First port tried.
        first: u16,
        /// Last port tried.
        last: u16,
    },
    /// The node's folder cannot be used.
    #[error("cannot use {}: {source}", path.display())]
    Files {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// RabbitMQ was started and did not become ready.
    #[error("RabbitMQ did not start: {reason}. Its log, {}, ends:\n{tail}", log.display())]
    Boot {
        /// What was seen.
        reason: String,
        /// RabbitMQ's log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
}

impl NodeError {
    pub(super) fn files(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Files { path, source }
    }
}

struct Places<'a>(&'a [PathBuf]);

impl fmt::Display for Places<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, place) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(formatter, "{separator}{}", place.display())?;
        }
        Ok(())
    }
}
