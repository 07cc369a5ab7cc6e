//! `/v1/quarantine`: messages the gate refused, with every reason, and sending them again.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use crossdock_engine::QuarantinedView;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::auth::{AdaptersWrite, Caller, EventsRead};
use crate::events::page_size;
use crate::extract::{Path, Query};
use crate::problem::{Guarded, ProblemBody};
use crate::{ApiState, Problem, problem_types as kinds};

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_quarantined))
        .routes(routes!(show_quarantined))
        .routes(routes!(resend_quarantined))
}

/// A page of refused messages.
#[derive(Serialize, ToSchema)]
struct QuarantinePage {
    /// Newest first, without their bodies.
    quarantined: Vec<QuarantinedView>,
    /// Pass it as `cursor` for the next page; null on the last.
    next: Option<String>,
}

/// Which page.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PageQuery {
    /// Messages on the page: 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// What was refused
#[utoipa::path(get, path = "/v1/quarantine", tag = "quarantine", security(("api_key" = ["events:read"])),
    params(PageQuery),
    responses(
        (status = 200, description = "A page of refused messages", body = QuarantinePage),
        (status = 400, description = "A parameter cannot be read", body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn list_quarantined(
    State(api): State<ApiState>,
    _: Caller<EventsRead>,
    Query(query): Query<PageQuery>,
) -> Result<Json<QuarantinePage>, Problem> {
    let limit = page_size(query.limit)?;
    let before = query.cursor.map(|cursor| cursor.parse()).transpose();
    let before =
        before.map_err(|_| kinds::MALFORMED_REQUEST.with("cursor is not one that a page gave as next"))?;
    let quarantined = api.hub().quarantined(before, limit).await?;
    Ok(Json(QuarantinePage {
        next: next(&quarantined, limit),
        quarantined,
    }))
}

fn next(page: &[QuarantinedView], limit: u32) -> Option<String> {
    let full = u32::try_from(page.len()).is_ok_and(|messages| messages == limit);
    page.last().filter(|_| full).map(|last| last.id.to_string())
}

/// One refused message with its body
#[utoipa::path(get, path = "/v1/quarantine/{id}", tag = "quarantine", security(("api_key" = ["events:read"])),
    params(("id" = i64, Path, description = "Number of the message")),
    responses(
        (status = 200, description = "The message", body = QuarantinedView),
        (status = 404, description = "No such message", body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn show_quarantined(
    State(api): State<ApiState>,
    _: Caller<EventsRead>,
    Path(id): Path<i64>,
) -> Result<Json<QuarantinedView>, Problem> {
    Ok(Json(api.hub().quarantined_one(id).await?))
}

/// Send a refused message again
///
/// It passes the gate once more, as it came, from the producer it came from. Mend the cause first.
#[utoipa::path(post, path = "/v1/quarantine/{id}/resend", tag = "quarantine", security(("api_key" = ["adapters:write"])),
    params(("id" = i64, Path, description = "Number of the message")),
    responses(
        (status = 202, description = "RabbitMQ has confirmed it; the gate judges it again"),
        (status = 404, description = "No such message", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It is a receipt or a failed delivery, not an event", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "It cannot be sent again", body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn resend_quarantined(
    State(api): State<ApiState>,
    caller: Caller<AdaptersWrite>,
    Path(id): Path<i64>,
) -> Result<StatusCode, Problem> {
    let hub = api.hub().clone();
    let principal = caller.principal.clone();
    api.to_the_end(async move { hub.resend(id, &principal).await })
        .await?;
    tracing::info!(
        by = caller.principal.mark(),
        quarantined = id,
        "a quarantined message was sent again"
    );
    Ok(StatusCode::ACCEPTED)
}
