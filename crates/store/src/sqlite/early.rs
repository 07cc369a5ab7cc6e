//! Outcomes that came before their event: kept by `settle`, applied by `record`.

use sqlx::sqlite::SqliteConnection;

use super::outcomes::{known_deliveries, write};
use super::{failed, rows};
use crate::Result;
use crate::outcomes::Outcome;
use crate::rows::outcomes::{EarlyRow, duration};
use crate::settlement::{EARLY_MAX_PER_ADAPTER, judge_kept};
use crate::stored::to_word;

/// Keeps outcomes, and of each adapter only the latest.
pub(super) async fn keep(connection: &mut SqliteConnection, outcomes: &[Outcome]) -> Result<()> {
    for outcome in outcomes {
        sqlx::query(
            "INSERT INTO early_outcomes
                (adapter, event_id, source, outcome, detail, retry_after_s, duration_ms, attempt, due, at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&outcome.adapter)
        .bind(&outcome.event_id)
        .bind(&outcome.source)
        .bind(to_word(&outcome.kind))
        .bind(&outcome.detail)
        .bind(outcome.retry_after_s)
        .bind(outcome.duration_ms.map(duration))
        .bind(outcome.attempt)
        .bind(outcome.due.map(|due| due.timestamp_micros()))
        .bind(outcome.at.timestamp_micros())
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    }
    let mut adapters: Vec<_> = outcomes.iter().map(|outcome| &outcome.adapter).collect();
    adapters.sort_unstable();
    adapters.dedup();
    for adapter in adapters {
        sqlx::query(
            "DELETE FROM early_outcomes WHERE adapter = ?1 AND arrival <= (
                SELECT arrival FROM early_outcomes WHERE adapter = ?1 ORDER BY arrival DESC LIMIT 1 OFFSET ?2)",
        )
        .bind(adapter)
        .bind(EARLY_MAX_PER_ADAPTER)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    }
    Ok(())
}

/// Applies what was kept to the events that were recorded from `first_offset` on.
pub(super) async fn apply(connection: &mut SqliteConnection, first_offset: i64) -> Result<()> {
    let kept = kept_for_events_from(connection, first_offset).await?;
    if kept.is_empty() {
        return Ok(());
    }
    let outcomes = kept.iter().map(|(_, outcome)| outcome);
    let deliveries = known_deliveries(connection, outcomes, first_offset).await?;
    let (settlement, used_up) = judge_kept(&kept, deliveries);
    write(connection, &settlement).await?;
    sqlx::query("DELETE FROM early_outcomes WHERE arrival IN (SELECT value FROM json_each(?))")
        .bind(rows(&used_up))
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

async fn kept_for_events_from(
    connection: &mut SqliteConnection,
    first_offset: i64,
) -> Result<Vec<(i64, Outcome)>> {
    let kept: Vec<EarlyRow> = sqlx::query_as(
        "SELECT DISTINCT early.*
         FROM events
         CROSS JOIN early_outcomes AS early ON early.event_id = events.id
         WHERE events.event_offset >= ?
         ORDER BY early.arrival",
    )
    .bind(first_offset)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    kept.into_iter()
        .map(|row| Ok((row.arrival, row.outcome()?)))
        .collect()
}
