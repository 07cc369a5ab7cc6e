//! `Revisions` in PostgreSQL.

use async_trait::async_trait;
use sqlx::postgres::PgConnection;

use super::error::failed;
use super::text::{bound, bound_if_any, read};
use super::{BESIDE, Postgres, SNAPSHOT};
use crate::Result;
use crate::finding::at_most;
use crate::revisions::{NewRevision, Revision, RevisionFile, RevisionSummary, Revisions, next_number};
use crate::rows::set_up::RevisionRow;
use crate::stored::number;

#[async_trait]
impl Revisions for Postgres {
    async fn current_revision(&self) -> Result<Option<Revision>> {
        self.readers
            .in_time(async {
                let mut snapshot = self.readers.begin(SNAPSHOT).await?;
                let current = match current_number(&mut snapshot).await? {
                    Some(number) => load(&mut snapshot, number).await?,
                    None => None,
                };
                snapshot.commit().await?;
                Ok(current)
            })
            .await
    }

    async fn revisions(&self, limit: usize) -> Result<Vec<RevisionSummary>> {
        let query = sqlx::query_as(
            "SELECT number, created, author, note, digest FROM revisions ORDER BY number DESC LIMIT $1",
        )
        .bind(at_most(limit));
        let found: Vec<RevisionRow> = self.readers.all(query).await?;
        found.into_iter().map(|row| row.summary().map(plain)).collect()
    }

    async fn revision(&self, number: u32) -> Result<Option<Revision>> {
        self.readers
            .in_time(async {
                let mut snapshot = self.readers.begin(SNAPSHOT).await?;
                let found = load(&mut snapshot, number).await?;
                snapshot.commit().await?;
                Ok(found)
            })
            .await
    }

    async fn append_revision(&self, expected_current: Option<u32>, revision: NewRevision) -> Result<u32> {
        self.writers
            .in_time(async {
                let mut transaction = self.writers.begin(BESIDE).await?;
                // Of two who come here at once, the second finds the number taken.
                let number = next_number(current_number(&mut transaction).await?, expected_current)?;
                insert(&mut transaction, number, &revision).await?;
                transaction.commit().await?;
                Ok(number)
            })
            .await
    }
}

async fn current_number(connection: &mut PgConnection) -> Result<Option<u32>> {
    let current: Option<i64> = sqlx::query_scalar("SELECT max(number) FROM revisions")
        .fetch_one(connection)
        .await
        .map_err(failed)?;
    current.map(|value| number("revisions.number", value)).transpose()
}

async fn insert(connection: &mut PgConnection, number: u32, revision: &NewRevision) -> Result<()> {
    let (paths, texts): (Vec<_>, Vec<_>) = revision
        .files
        .iter()
        .map(|file| (bound(&file.path), bound(&file.text)))
        .unzip();
    sqlx::query(
        "WITH revision AS (
            INSERT INTO revisions (number, created, author, note, digest) VALUES ($1, $2, $3, $4, $5)
         )
         INSERT INTO revision_files (revision, path, text)
         SELECT $1, path, text FROM unnest($6::text[], $7::text[]) AS given (path, text)",
    )
    .bind(i64::from(number))
    .bind(revision.created.timestamp_micros())
    .bind(bound(&revision.author))
    .bind(bound_if_any(revision.note.as_deref()))
    .bind(&revision.digest)
    .bind(paths)
    .bind(texts)
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(())
}

async fn load(connection: &mut PgConnection, number: u32) -> Result<Option<Revision>> {
    let row: Option<RevisionRow> =
        sqlx::query_as("SELECT number, created, author, note, digest FROM revisions WHERE number = $1")
            .bind(i64::from(number))
            .fetch_optional(&mut *connection)
            .await
            .map_err(failed)?;
    let Some(row) = row else { return Ok(None) };
    let files: Vec<(String, String)> =
        sqlx::query_as("SELECT path, text FROM revision_files WHERE revision = $1 ORDER BY path")
            .bind(i64::from(number))
            .fetch_all(connection)
            .await
            .map_err(failed)?;
    let revision = row.revision(files)?;
    let files = revision.files.into_iter().map(|file| RevisionFile {
        path: read(file.path),
        text: read(file.text),
    });
    Ok(Some(Revision {
        summary: plain(revision.summary),
        files: files.collect(),
    }))
}

fn plain(summary: RevisionSummary) -> RevisionSummary {
    RevisionSummary {
        author: read(summary.author),
        note: summary.note.map(read),
        ..summary
    }
}
