//! `/v1/users`: people who may sign in.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use crossdock_engine::{NewUser, Role, UserView};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::auth::{Admin, Caller};
use crate::extract::{Json, Path};
use crate::problem::{Guarded, ProblemBody};
use crate::{ApiState, Problem, problem_types as kinds};

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_users, add_user))
        .routes(routes!(change_user, remove_user))
}

/// All people.
#[derive(Serialize, ToSchema)]
struct People {
    /// By name.
    users: Vec<UserView>,
}

/// A person to be added.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserRequest {
    /// 1 to 64 letters (a to z), digits and `. _ - @ +`; capitals are taken as small letters.
    #[schema(example = "anna")]
    name: String,
    /// What they may do.
    role: Role,
    /// At least 12 characters, at most 512 bytes. One is made if it is absent.
    password: Option<String>,
}

/// A person who was added.
#[derive(Serialize, ToSchema)]
struct AddedUser {
    /// The password that was made. It is shown this once and kept nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    #[serde(flatten)]
    view: UserView,
}

/// What becomes different.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserChange {
    /// What they may do from now on.
    role: Option<Role>,
    /// Their password from now on: at least 12 characters, at most 512 bytes. All their sessions end.
    password: Option<String>,
}

/// Everybody who may sign in
#[utoipa::path(get, path = "/v1/users", tag = "people", security(("api_key" = ["admin"])),
    responses((status = 200, description = "People, without their passwords", body = People), Guarded))]
async fn list_users(State(api): State<ApiState>, _: Caller<Admin>) -> Result<axum::Json<People>, Problem> {
    Ok(axum::Json(People {
        users: api.hub().users().await?,
    }))
}

/// Add a person
#[utoipa::path(post, path = "/v1/users", tag = "people", security(("api_key" = ["admin"])),
    request_body = UserRequest,
    responses(
        (status = 201, description = "The person, with the password that was made, shown this once", body = AddedUser,
            headers(("Location" = String, description = "The person's path"))),
        (status = 400, description = "The body cannot be read", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The name is taken", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not application/json", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The name or password will not do", body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn add_user(
    State(api): State<ApiState>,
    caller: Caller<Admin>,
    Json(UserRequest { name, role, password }): Json<UserRequest>,
) -> Result<impl IntoResponse, Problem> {
    let new = NewUser { name, role, password };
    let (view, password) = api.hub().add_user(new).await?;
    tracing::info!(by = caller.principal.mark(), user = view.name, %role, "a person was added");
    let name = utf8_percent_encode(&view.name, NON_ALPHANUMERIC);
    let location = format!("/v1/users/{name}");
    let added = AddedUser { password, view };
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        axum::Json(added),
    ))
}

/// Give a person another role or password
///
/// A role holds at once, on other hubs within 5 seconds. A password ends all their sessions.
#[utoipa::path(patch, path = "/v1/users/{name}", tag = "people", security(("api_key" = ["admin"])),
    params(("name" = String, Path, description = "What they sign in with")),
    request_body = UserChange,
    responses(
        (status = 200, description = "The person as they are now", body = UserView),
        (status = 400, description = "The body cannot be read", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such person", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Nobody of the role admin would be left", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not application/json", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The password will not do, or nothing is to change", body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn change_user(
    State(api): State<ApiState>,
    caller: Caller<Admin>,
    Path(name): Path<String>,
    Json(UserChange { role, password }): Json<UserChange>,
) -> Result<axum::Json<UserView>, Problem> {
    if role.is_none() && password.is_none() {
        return Err(kinds::INVALID_REQUEST.with("nothing is to change: expected a role, a password or both"));
    }
    let with_password = password.is_some();
    let view = api.hub().change_user(&name, role, password).await?;
    let by = caller.principal.mark();
    tracing::info!(by, user = view.name, role = %view.role, with_password, "a person was changed");
    Ok(axum::Json(view))
}

/// Remove a person
///
/// Ends all their sessions.
#[utoipa::path(delete, path = "/v1/users/{name}", tag = "people", security(("api_key" = ["admin"])),
    params(("name" = String, Path, description = "What they sign in with")),
    responses(
        (status = 204, description = "Removed"),
        (status = 404, description = "No such person", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Nobody of the role admin would be left", body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn remove_user(
    State(api): State<ApiState>,
    caller: Caller<Admin>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    api.hub().remove_user(&name).await?;
    tracing::info!(by = caller.principal.mark(), user = ?name, "a person was removed");
    Ok(StatusCode::NO_CONTENT)
}
