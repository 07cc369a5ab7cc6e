//! `/v1/adapters`: what the adapters do, and fresh credentials for them.

use axum::Json;
use axum::extract::State;
use crossdock_engine::{AdapterView, IssuedCredentials};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::auth::{AdaptersRead, AdaptersWrite, Caller};
use crate::extract::Path;
use crate::problem::{Guarded, ProblemBody};
use crate::{ApiState, Problem};

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_adapters))
        .routes(routes!(show_adapter))
        .routes(routes!(rotate_adapter))
        .routes(routes!(finish_rotation))
        .routes(routes!(resume_adapter))
}

/// All adapters.
#[derive(Serialize, ToSchema)]
pub(crate) struct Adapters {
    /// By name.
    pub(crate) adapters: Vec<AdapterView>,
}

/// The end of a rotation.
#[derive(Serialize, ToSchema)]
struct RotationFinished {
    /// RabbitMQ users that were deleted, and with them their connections.
    deleted_users: Vec<String>,
}

/// What came of a resume.
#[derive(Serialize, ToSchema)]
struct Resumed {
    /// Nothing was sent to it before, and is from now on; `false`: there was nothing to resume.
    resumed: bool,
}

/// All adapters
#[utoipa::path(get, path = "/v1/adapters", tag = "adapters", security(("api_key" = ["adapters:read"])),
    responses((status = 200, description = "The adapters of the revision in force", body = Adapters), Guarded))]
async fn list_adapters(
    State(api): State<ApiState>,
    _: Caller<AdaptersRead>,
) -> Result<Json<Adapters>, Problem> {
    Ok(Json(Adapters {
        adapters: api.hub().adapters().await?,
    }))
}

/// One adapter
#[utoipa::path(get, path = "/v1/adapters/{name}", tag = "adapters", security(("api_key" = ["adapters:read"])),
    params(("name" = String, Path, description = "The adapter's name", example = "erp")),
    responses(
        (status = 200, description = "The adapter, its queue and its line of the ledger", body = AdapterView),
        (status = 404, description = "No such adapter", body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn show_adapter(
    State(api): State<ApiState>,
    _: Caller<AdaptersRead>,
    Path(name): Path<String>,
) -> Result<Json<AdapterView>, Problem> {
    Ok(Json(api.hub().adapter(&name).await?))
}

/// Fresh credentials for an adapter
///
/// Makes the next generation of its RabbitMQ user and API key. The ones before stay valid until the
/// rotation is finished, so that the adapter can change over while it works. The secrets are in
/// this response and in the file it names, and nowhere else.
#[utoipa::path(post, path = "/v1/adapters/{name}/rotate", tag = "adapters", security(("api_key" = ["adapters:write"])),
    params(("name" = String, Path, description = "The adapter's name", example = "erp")),
    responses(
        (status = 200, description = "The new credentials, shown this once", body = IssuedCredentials),
        (status = 404, description = "No such adapter", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "A rotation is under way", body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn rotate_adapter(
    State(api): State<ApiState>,
    caller: Caller<AdaptersWrite>,
    Path(name): Path<String>,
) -> Result<Json<IssuedCredentials>, Problem> {
    let hub = api.hub().clone();
    let issued = api.to_the_end(async move { hub.rotate(&name).await }).await?;
    tracing::info!(
        by = caller.principal.mark(),
        user = issued.user,
        "credentials were rotated"
    );
    Ok(Json(issued))
}

/// End the overlap of a rotation
///
/// Deletes all generations of the adapter's credentials but the newest.
#[utoipa::path(post, path = "/v1/adapters/{name}/rotate/finish", tag = "adapters", security(("api_key" = ["adapters:write"])),
    params(("name" = String, Path, description = "The adapter's name", example = "erp")),
    responses(
        (status = 200, description = "Only the newest credentials are left", body = RotationFinished),
        (status = 404, description = "No such adapter", body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn finish_rotation(
    State(api): State<ApiState>,
    caller: Caller<AdaptersWrite>,
    Path(name): Path<String>,
) -> Result<Json<RotationFinished>, Problem> {
    let hub = api.hub().clone();
    let deleted_users = api
        .to_the_end(async move { hub.finish_rotation(&name).await })
        .await?;
    tracing::info!(
        by = caller.principal.mark(),
        ?deleted_users,
        "a rotation was finished"
    );
    Ok(Json(RotationFinished { deleted_users }))
}

/// Send to an adapter again
///
/// The endpoint of a webhook adapter answered 410 Gone, and nothing was sent there from then on: what waits for it is
/// sent now. A filter or transform was parked because it was slow: the hub that is asked runs it again.
#[utoipa::path(post, path = "/v1/adapters/{name}/resume", tag = "adapters", security(("api_key" = ["adapters:write"])),
    params(("name" = String, Path, description = "The adapter's name", example = "erp")),
    responses(
        (status = 200, description = "Its endpoint is not disabled, and no mapping parked", body = Resumed),
        (status = 404, description = "No such adapter", body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn resume_adapter(
    State(api): State<ApiState>,
    caller: Caller<AdaptersWrite>,
    Path(name): Path<String>,
) -> Result<Json<Resumed>, Problem> {
    let resumed = api.hub().resume_adapter(&name).await?;
    tracing::info!(
        by = caller.principal.mark(),
        adapter = name,
        resumed,
        "an adapter was resumed"
    );
    Ok(Json(Resumed { resumed }))
}
