//! `/v1/queues`: what waits where.

use axum::Json;
use axum::extract::State;
use crossdock_engine::QueueView;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::auth::{AdaptersRead, Caller};
use crate::problem::Guarded;
use crate::{ApiState, Problem};

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_queues))
}

/// All queues.
#[derive(Serialize, ToSchema)]
pub(crate) struct Queues {
    /// By name.
    pub(crate) queues: Vec<QueueView>,
}

/// All queues of the hub and the adapters
#[utoipa::path(get, path = "/v1/queues", tag = "operations", security(("api_key" = ["adapters:read"])),
    responses((status = 200, description = "The queues with their depths", body = Queues), Guarded))]
async fn list_queues(State(api): State<ApiState>, _: Caller<AdaptersRead>) -> Result<Json<Queues>, Problem> {
    Ok(Json(Queues {
        queues: api.hub().queues().await?,
    }))
}
