//! `/v1/ledger`: whether every event is accounted for.

use axum::Json;
use axum::extract::State;
use crossdock_engine::LedgerView;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::auth::{AdaptersRead, Caller};
use crate::problem::Guarded;
use crate::{ApiState, Problem};

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(show_ledger))
}

/// The ledger
///
/// Counts both sides and names what does not balance. While `settling` is true, work is under way
/// and a later reading may differ.
#[utoipa::path(get, path = "/v1/ledger", tag = "operations", security(("api_key" = ["adapters:read"])),
    responses((status = 200, description = "The ledger at this moment", body = LedgerView), Guarded))]
async fn show_ledger(
    State(api): State<ApiState>,
    _: Caller<AdaptersRead>,
) -> Result<Json<LedgerView>, Problem> {
    Ok(Json(api.hub().ledger().await?))
}
