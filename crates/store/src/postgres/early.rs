//! Outcomes that came before their event: kept by `settle`, applied by `record`.

use sqlx::postgres::PgConnection;

use super::error::failed;
use super::outcomes::{known_deliveries, write};
use super::text::{bound_if_any, read};
use crate::Result;
use crate::outcomes::Outcome;
use crate::rows::outcomes::{EarlyRow, duration};
use crate::settlement::{EARLY_MAX_PER_ADAPTER, judge_kept};
use crate::stored::to_word;

/// Keeps outcomes, and of each adapter only the latest.
pub(super) async fn keep(connection: &mut PgConnection, outcomes: &[Outcome]) -> Result<()> {
    if outcomes.is_empty() {
        return Ok(());
    }
    let column = |value: fn(&Outcome) -> Option<i64>| outcomes.iter().map(value).collect::<Vec<_>>();
    let text = |value: fn(&Outcome) -> &str| outcomes.iter().map(value).collect::<Vec<_>>();
    let adapters = text(|outcome| &outcome.adapter);
    let sources: Vec<_> = outcomes
        .iter()
        .map(|outcome| bound_if_any(outcome.source.as_deref()))
        .collect();
    let kinds: Vec<_> = outcomes.iter().map(|outcome| to_word(&outcome.kind)).collect();
    let details: Vec<_> = outcomes.iter().map(|outcome| outcome.detail.as_deref()).collect();
    sqlx::query(
        "INSERT INTO early_outcomes
            (adapter, event_id, source, outcome, detail, retry_after_s, duration_ms, attempt, due, at)
         SELECT adapter, event_id, source, outcome, detail, retry_after_s, duration_ms, attempt, due, at
         FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
                     $8::bigint[], $9::bigint[], $10::bigint[])
            WITH ORDINALITY
            AS given (adapter, event_id, source, outcome, detail, retry_after_s, duration_ms, attempt, due, at, place)
         ORDER BY place",
    )
    .bind(&adapters)
    .bind(text(|outcome| &outcome.event_id))
    .bind(sources)
    .bind(kinds)
    .bind(details)
    .bind(column(|outcome| outcome.retry_after_s.map(i64::from)))
    .bind(column(|outcome| outcome.duration_ms.map(duration)))
    .bind(column(|outcome| outcome.attempt.map(i64::from)))
    .bind(column(|outcome| outcome.due.map(|due| due.timestamp_micros())))
    .bind(column(|outcome| Some(outcome.at.timestamp_micros())))
    .execute(&mut *connection)
    .await
    .map_err(failed)?;
    let mut speakers = adapters;
    speakers.sort_unstable();
    speakers.dedup();
    sqlx::query(
        "WITH beyond AS MATERIALIZED (
            SELECT adapter, (
                SELECT arrival FROM early_outcomes AS kept WHERE kept.adapter = spoke.adapter
                ORDER BY arrival DESC LIMIT 1 OFFSET $2) AS arrival
            FROM unnest($1::text[]) AS spoke (adapter)
         )
         DELETE FROM early_outcomes USING beyond
         WHERE early_outcomes.adapter = beyond.adapter AND early_outcomes.arrival <= beyond.arrival",
    )
    .bind(speakers)
    .bind(i64::from(EARLY_MAX_PER_ADAPTER))
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(())
}

/// Applies what was kept to the events that were recorded from `first_offset` on.
pub(super) async fn apply(connection: &mut PgConnection, first_offset: i64) -> Result<()> {
    let kept = kept_for_events_from(connection, first_offset).await?;
    if kept.is_empty() {
        return Ok(());
    }
    let outcomes = kept.iter().map(|(_, outcome)| outcome);
    let deliveries = known_deliveries(connection, outcomes, first_offset).await?;
    let (settlement, used_up) = judge_kept(&kept, deliveries);
    write(connection, &settlement, &[]).await?;
    sqlx::query("DELETE FROM early_outcomes WHERE arrival = ANY ($1)")
        .bind(used_up)
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

async fn kept_for_events_from(
    connection: &mut PgConnection,
    first_offset: i64,
) -> Result<Vec<(i64, Outcome)>> {
    let kept: Vec<EarlyRow> = sqlx::query_as(
        "SELECT early.* FROM early_outcomes AS early
         WHERE early.event_id IN (SELECT id FROM events WHERE event_offset >= $1)
         ORDER BY early.arrival",
    )
    .bind(first_offset)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    kept.into_iter()
        .map(|row| {
            let arrival = row.arrival;
            let outcome = row.outcome()?;
            let source = outcome.source.map(read);
            Ok((arrival, Outcome { source, ..outcome }))
        })
        .collect()
}
