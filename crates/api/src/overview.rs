//! `/v1/overview`: the whole hub at a glance.

use axum::Json;
use axum::extract::State;
use crossdock_engine::OverviewView;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::ApiState;
use crate::auth::{AdaptersRead, Caller};
use crate::problem::Guarded;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(show_overview))
}

/// What needs attention, where events flow, four figures
///
/// While RabbitMQ or the database is away, the figures that come from there are the last good ones: `at` is their
/// time, and `attention` says what failed. What is not known is absent.
#[utoipa::path(get, path = "/v1/overview", tag = "operations", security(("api_key" = ["adapters:read"])),
    responses((status = 200, description = "The hub at a glance", body = OverviewView), Guarded))]
async fn show_overview(State(api): State<ApiState>, _: Caller<AdaptersRead>) -> Json<OverviewView> {
    Json(api.hub().overview().await)
}
