//! A server of a test's own, to do bad things to.

use anyhow::Result;
use tempfile::TempDir;

use super::database::TestDatabase;
use super::server::Server;
use super::slot::tidy;

/// A PostgreSQL server for one test; dropping it ends it and deletes its data.
pub struct PrivatePostgres {
    server: Server,
    _folder: TempDir,
}

impl PrivatePostgres {
    /// Starts a server with empty data.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not start.
    pub async fn start() -> Self {
        let folder =
            TempDir::with_prefix("crossdock-private-postgres-").expect("a temporary folder can be made");
        let mut server = must(Server::prepare(folder.path()));
        must(server.start().await);
        must(tidy(&server.url("postgres")).await);
        Self {
            server,
            _folder: folder,
        }
    }

    /// Starts it again with TLS and nothing else, showing this certificate; PEM both.
    ///
    /// # Panics
    /// When PostgreSQL refuses the certificate.
    pub async fn require_tls(&mut self, certificate: &str, key: &str) {
        must(self.server.stop().await);
        must(self.server.require_tls(certificate, key));
        must(self.server.start().await);
    }

    /// A new, empty record on this server.
    ///
    /// # Panics
    /// When the server is not running.
    pub async fn database(&self) -> TestDatabase {
        must(TestDatabase::cloned(&self.server.url("postgres")).await)
    }

    /// Stops it in order; it stays down until [`start_again`](Self::start_again).
    ///
    /// # Panics
    /// When it does not stop.
    pub async fn stop(&mut self) {
        must(self.server.stop().await);
    }

    /// Kills it without warning, as a power cut would.
    ///
    /// # Panics
    /// When it is not gone afterwards.
    pub async fn kill(&mut self) {
        must(self.server.kill().await);
    }

    /// Starts a stopped or killed server with its data, at the same address.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_again(&mut self) {
        must(self.server.start().await);
    }

    /// It hangs: connections stay open, and nothing answers.
    pub fn freeze(&self) {
        self.server.freeze();
    }

    /// Ends that.
    pub fn thaw(&self) {
        self.server.thaw();
    }
}

fn must<T>(done: Result<T>) -> T {
    done.unwrap_or_else(|error| panic!("{error:#}"))
}
