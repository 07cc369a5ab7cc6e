//! `/v1/journeys`: the whole story of an order or whatever else events are correlated by.

use axum::Json;
use axum::extract::State;
use crossdock_engine::JourneyView;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::auth::{Caller, EventsRead};
use crate::extract::Path;
use crate::problem::{Guarded, ProblemBody};
use crate::{ApiState, Problem};

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(show_journey))
}

/// The whole story
///
/// Everything known under a correlation id, an alias (`system:id`) or an event id, followed through
/// aliases and correlation ids, in the order it was accepted, with every attempt of every delivery.
/// An id without its system is enough where only one journey has it.
#[utoipa::path(get, path = "/v1/journeys/{key}", tag = "events", security(("api_key" = ["events:read"])),
    params(("key" = String, Path, description = "Correlation id, alias or event id, percent-encoded", example = "shop:1000")),
    responses(
        (status = 200, description = "The journey", body = JourneyView),
        (status = 404, description = "Nothing is known under this key", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Several journeys have this number; the detail names them", body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn show_journey(
    State(api): State<ApiState>,
    _: Caller<EventsRead>,
    Path(key): Path<String>,
) -> Result<Json<JourneyView>, Problem> {
    Ok(Json(api.hub().journey(&key).await?))
}
