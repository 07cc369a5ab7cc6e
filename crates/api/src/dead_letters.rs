//! `/v1/dead-letters`: deliveries that failed for good, and sending them on their way again.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use crossdock_engine::{DeadLetterDetail, DeadLetterPage, Redriven};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::auth::{Caller, DeadLettersWrite, EventsRead};
use crate::events::page_size;
use crate::extract::{Path, Query};
use crate::problem::{Guarded, ProblemBody};
use crate::{ApiState, Problem};

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_dead_letters))
        .routes(routes!(show_dead_letter))
        .routes(routes!(redrive_dead_letter))
}

/// Which page.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PageQuery {
    /// Only those of this adapter.
    adapter: Option<String>,
    /// Dead letters on the page: 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// What failed for good
#[utoipa::path(get, path = "/v1/dead-letters", tag = "dead-letters", security(("api_key" = ["events:read"])),
    params(PageQuery),
    responses(
        (status = 200, description = "A page of dead letters, the latest to fail first", body = DeadLetterPage),
        (status = 400, description = "A parameter cannot be read", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The cursor is none", body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn list_dead_letters(
    State(api): State<ApiState>,
    _: Caller<EventsRead>,
    Query(query): Query<PageQuery>,
) -> Result<Json<DeadLetterPage>, Problem> {
    let limit = page_size(query.limit)?;
    let page = api
        .hub()
        .dead_letters(query.adapter.as_deref(), query.cursor.as_deref(), limit)
        .await?;
    Ok(Json(page))
}

/// One dead letter with its event and every attempt
#[utoipa::path(get, path = "/v1/dead-letters/{id}", tag = "dead-letters", security(("api_key" = ["events:read"])),
    params(("id" = String, Path, description = "`<offset>.<adapter>`, such as 1042.erp")),
    responses(
        (status = 200, description = "The dead letter", body = DeadLetterDetail),
        (status = 404, description = "No such dead letter", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The id is none", body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn show_dead_letter(
    State(api): State<ApiState>,
    _: Caller<EventsRead>,
    Path(id): Path<String>,
) -> Result<Json<DeadLetterDetail>, Problem> {
    Ok(Json(api.hub().dead_letter(&id).await?))
}

/// Send a dead letter on its way again
///
/// It goes into its adapter's queue, with the whole retry schedule before it. Mend the cause first. Repeating the
/// request before it is there changes nothing.
#[utoipa::path(post, path = "/v1/dead-letters/{id}/redrive", tag = "dead-letters", security(("api_key" = ["dead-letters:write"])),
    params(("id" = String, Path, description = "`<offset>.<adapter>`, such as 1042.erp")),
    responses(
        (status = 202, description = "RabbitMQ has confirmed it", body = Redriven),
        (status = 404, description = "No such delivery", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It is no dead letter, or its adapter is gone", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The id is none", body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn redrive_dead_letter(
    State(api): State<ApiState>,
    caller: Caller<DeadLettersWrite>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<Redriven>), Problem> {
    let hub = api.hub().clone();
    let redriven = api.to_the_end(async move { hub.redrive(&id).await }).await?;
    tracing::info!(
        by = caller.principal.mark(),
        dead_letter = redriven.id,
        attempt = redriven.attempt,
        "a dead letter was sent on its way again"
    );
    Ok((StatusCode::ACCEPTED, Json(redriven)))
}
