//! The suite on SQLite, each case on a file of its own.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod suite;

use suite::Database;
use tempfile::TempDir;

struct SqliteFile {
    url: String,
    folder: TempDir,
}

impl Database for SqliteFile {
    async fn fresh() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("var/record.db").display());
        Self { url, folder }
    }

    fn url(&self) -> &str {
        &self.url
    }
}

conformance!(super::SqliteFile);

#[cfg(unix)]
#[tokio::test]
async fn only_the_hubs_user_reads_the_record() {
    use std::os::unix::fs::PermissionsExt;
    let database = SqliteFile::fresh().await;
    let store = database.open().await;
    store.remove_hub("makes the log").await.unwrap();
    for entry in std::fs::read_dir(database.folder.path().join("var")).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(
            entry.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{:?}",
            entry.path()
        );
    }
}

#[tokio::test]
async fn what_is_no_record_is_said_so() {
    let database = SqliteFile::fresh().await;
    let file = database.folder.path().join("other.db");
    std::fs::write(&file, "name,price\n".repeat(1_000)).unwrap();
    let opened = async |url: String| crossdock_store::open(&url).await.err();
    use crossdock_store::StoreError::{Corrupt, Invalid, Unavailable};
    assert!(matches!(
        opened(format!("sqlite://{}", file.display())).await,
        Some(Corrupt(_))
    ));
    assert!(matches!(
        opened(format!("sqlite://{}/x/y.db", file.display())).await,
        Some(Unavailable(_))
    ));
    for url in ["sqlite::memory:", "var/crossdock.db", "mysql://x"] {
        assert!(matches!(opened(url.into()).await, Some(Invalid(_))), "{url}");
    }
}
