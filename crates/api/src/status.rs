//! `/v1/status`: one screen about the whole hub.

use axum::Json;
use axum::extract::State;
use crossdock_engine::StatusView;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::ApiState;
use crate::auth::{AdaptersRead, Caller};
use crate::problem::Guarded;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(show_status))
}

/// What runs, what waits, what wants attention
#[utoipa::path(get, path = "/v1/status", tag = "operations", security(("api_key" = ["adapters:read"])),
    responses((status = 200, description = "The hub as it is now, as far as it can see", body = StatusView), Guarded))]
async fn show_status(State(api): State<ApiState>, _: Caller<AdaptersRead>) -> Json<StatusView> {
    Json(api.hub().status().await)
}
