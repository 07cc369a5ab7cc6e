//! `Revisions` in SQLite.

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;

use super::{Sqlite, failed, rows};
use crate::Result;
use crate::finding::at_most;
use crate::revisions::{NewRevision, Revision, RevisionSummary, Revisions, next_number};
use crate::rows::set_up::RevisionRow;
use crate::stored::number;

#[async_trait]
impl Revisions for Sqlite {
    async fn current_revision(&self) -> Result<Option<Revision>> {
        let mut snapshot = self.snapshot().await?;
        match current_number(&mut snapshot).await? {
            Some(number) => load(&mut snapshot, number).await,
            None => Ok(None),
        }
    }

    async fn revisions(&self, limit: usize) -> Result<Vec<RevisionSummary>> {
        let found: Vec<RevisionRow> = sqlx::query_as(
            "SELECT number, created, author, note, digest FROM revisions ORDER BY number DESC LIMIT ?",
        )
        .bind(at_most(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        found.into_iter().map(RevisionRow::summary).collect()
    }

    async fn revision(&self, number: u32) -> Result<Option<Revision>> {
        load(&mut *self.snapshot().await?, number).await
    }

    async fn append_revision(&self, expected_current: Option<u32>, revision: NewRevision) -> Result<u32> {
        let mut transaction = self.begin().await?;
        let number = next_number(current_number(&mut transaction).await?, expected_current)?;
        insert(&mut transaction, number, &revision).await?;
        transaction.commit().await.map_err(failed)?;
        Ok(number)
    }
}

async fn current_number(connection: &mut SqliteConnection) -> Result<Option<u32>> {
    let current: Option<i64> = sqlx::query_scalar("SELECT max(number) FROM revisions")
        .fetch_one(connection)
        .await
        .map_err(failed)?;
    current.map(|value| number("revisions.number", value)).transpose()
}

async fn insert(connection: &mut SqliteConnection, number: u32, revision: &NewRevision) -> Result<()> {
    sqlx::query("INSERT INTO revisions (number, created, author, note, digest) VALUES (?, ?, ?, ?, ?)")
        .bind(number)
        .bind(revision.created.timestamp_micros())
        .bind(&revision.author)
        .bind(&revision.note)
        .bind(&revision.digest)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    let files: Vec<_> = revision
        .files
        .iter()
        .map(|file| (&file.path, &file.text))
        .collect();
    sqlx::query(
        "INSERT INTO revision_files (revision, path, text)
         SELECT ?, value ->> 0, value ->> 1 FROM json_each(?)",
    )
    .bind(number)
    .bind(rows(&files))
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(())
}

async fn load(connection: &mut SqliteConnection, number: u32) -> Result<Option<Revision>> {
    let summary: Option<RevisionRow> =
        sqlx::query_as("SELECT number, created, author, note, digest FROM revisions WHERE number = ?")
            .bind(number)
            .fetch_optional(&mut *connection)
            .await
            .map_err(failed)?;
    let Some(summary) = summary else { return Ok(None) };
    let files: Vec<(String, String)> =
        sqlx::query_as("SELECT path, text FROM revision_files WHERE revision = ? ORDER BY path")
            .bind(number)
            .fetch_all(connection)
            .await
            .map_err(failed)?;
    summary.revision(files).map(Some)
}
