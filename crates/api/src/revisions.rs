//! `/v1/revisions`: the numbered configurations, and applying the next.

use axum::extract::State;
use crossdock_config::SourceFile;
use crossdock_engine::{Applied, RevisionView};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::auth::{AdaptersRead, Admin, Caller};
use crate::extract::{Json, Path};
use crate::problem::{Guarded, ProblemBody};
use crate::{ApiState, Problem};

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_revisions, apply_revision))
        .routes(routes!(show_current_revision))
        .routes(routes!(show_revision))
}

/// All revisions.
#[derive(Serialize, ToSchema)]
struct Revisions {
    /// Newest first, without their files.
    revisions: Vec<RevisionView>,
}

/// A configuration to be applied.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ApplyRequest {
    /// Every file of the configuration folder that the hubs share.
    files: Vec<ConfigurationFile>,
    /// Why, for those who read the history.
    note: Option<String>,
    /// Only say what would change.
    #[serde(default)]
    dry_run: bool,
}

/// A file of the configuration.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ConfigurationFile {
    /// Relative to the configuration folder, with `/` between its parts.
    #[schema(example = "adapters/erp.toml")]
    path: String,
    /// The whole text.
    text: String,
}

/// All revisions
#[utoipa::path(get, path = "/v1/revisions", tag = "revisions", security(("api_key" = ["adapters:read"])),
    responses((status = 200, description = "The revisions", body = Revisions), Guarded))]
async fn list_revisions(
    State(api): State<ApiState>,
    _: Caller<AdaptersRead>,
) -> Result<axum::Json<Revisions>, Problem> {
    Ok(axum::Json(Revisions {
        revisions: api.hub().revisions().await?,
    }))
}

/// The revision in force
#[utoipa::path(get, path = "/v1/revisions/current", tag = "revisions", security(("api_key" = ["adapters:read"])),
    responses(
        (status = 200, description = "The revision with its files", body = RevisionView),
        (status = 404, description = "There is none yet", body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn show_current_revision(
    State(api): State<ApiState>,
    _: Caller<AdaptersRead>,
) -> Result<axum::Json<RevisionView>, Problem> {
    Ok(axum::Json(api.hub().revision(None).await?))
}

/// One revision
#[utoipa::path(get, path = "/v1/revisions/{number}", tag = "revisions", security(("api_key" = ["adapters:read"])),
    params(("number" = u32, Path, description = "Counts from 1")),
    responses(
        (status = 200, description = "The revision with its files", body = RevisionView),
        (status = 404, description = "No such revision", body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn show_revision(
    State(api): State<ApiState>,
    _: Caller<AdaptersRead>,
    Path(number): Path<u32>,
) -> Result<axum::Json<RevisionView>, Problem> {
    Ok(axum::Json(api.hub().revision(Some(number)).await?))
}

/// Apply a configuration
///
/// Makes the files the next revision: adapters, subscriptions, schemas, topology and credentials follow,
/// and every hub routes by it. Files equal to the revision in force change nothing.
#[utoipa::path(post, path = "/v1/revisions", tag = "revisions", security(("api_key" = ["admin"])),
    request_body = ApplyRequest,
    responses(
        (status = 200, description = "The revision in force, and what changed", body = Applied),
        (status = 400, description = "The body cannot be read", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Another revision came between", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "Over 4 MiB", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not application/json", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The configuration is faulty, or changes a schema by more than optional additions within its version; \
            faults says in which file, line and column",
            body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn apply_revision(
    State(api): State<ApiState>,
    caller: Caller<Admin>,
    Json(request): Json<ApplyRequest>,
) -> Result<axum::Json<Applied>, Problem> {
    let ApplyRequest { files, note, dry_run } = request;
    let files = files
        .into_iter()
        .map(|file| SourceFile {
            path: file.path,
            text: file.text,
        })
        .collect();
    let hub = api.hub().clone();
    let author = caller.principal.name();
    let applied = api
        .to_the_end(async move { hub.apply(files, &author, note, dry_run).await })
        .await?;
    let (by, revision, changes) = (caller.principal.mark(), applied.number, applied.changes.len());
    if dry_run {
        tracing::info!(
            by,
            would_be = revision,
            changes,
            "a dry run of a configuration; nothing was applied"
        );
    } else {
        tracing::info!(by, revision, changes, "a configuration was applied");
    }
    Ok(axum::Json(applied))
}
