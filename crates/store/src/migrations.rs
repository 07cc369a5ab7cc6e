//! What migrations say when they cannot run, whatever the database.

use sqlx::migrate::MigrateError;

use crate::StoreError;

/// Sorts the errors of migrations; `failed` sorts those of the driver.
pub(crate) fn not_migrated(error: MigrateError, failed: fn(sqlx::Error) -> StoreError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => failed(error),
        MigrateError::VersionMissing(version) => StoreError::Corrupt(format!(
            "its schema has version {version}, which this version of crossdock does not know: use a newer one"
        )),
        other => StoreError::Corrupt(other.to_string()),
    }
}
