//! A database for one test.

use std::path::Path;

use crossdock_store::Store;

/// A new SQLite database in `folder`, which the test deletes with everything in it.
///
/// # Panics
/// When it cannot be made.
pub async fn database(folder: &Path) -> Store {
    let url = format!("sqlite://{}", folder.join("crossdock.db").display());
    crossdock_store::open(&url)
        .await
        .unwrap_or_else(|error| panic!("no database for the test: {error}"))
}
