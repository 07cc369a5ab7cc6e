//! `/metrics` for Prometheus. Open to this machine; anyone else needs a key.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header;
use axum::response::IntoResponse;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::auth::{AdaptersRead, Caller};
use crate::problem::Guarded;
use crate::{ApiState, Problem, client};

pub(crate) const METRICS_PATH: &str = "/metrics";
/// The Prometheus text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(show_metrics))
}

/// Metrics for Prometheus
///
/// No key is needed from the hub's own machine, unless a proxy stands between.
#[utoipa::path(get, path = "/metrics", tag = "operations", security((), ("api_key" = ["adapters:read"])),
    responses((status = 200, description = "Prometheus text format 0.0.4", body = String, content_type = "text/plain"), Guarded))]
async fn show_metrics(State(api): State<ApiState>, request: Request) -> Result<impl IntoResponse, Problem> {
    let (mut parts, _) = request.into_parts();
    if !client::is_local(&parts.extensions, &parts.headers) {
        Caller::<AdaptersRead>::from_request_parts(&mut parts, &api).await?;
    }
    Ok(([(header::CONTENT_TYPE, TEXT_FORMAT)], api.metrics().render()))
}
