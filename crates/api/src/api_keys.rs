//! `/v1/api-keys`: who may call this API.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use crossdock_engine::{ApiKeyView, NewKey, Scope};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::auth::{Admin, Caller};
use crate::extract::{Json, Path};
use crate::problem::{Guarded, ProblemBody};
use crate::{ApiState, Problem};

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_api_keys, add_api_key))
        .routes(routes!(revoke_api_key))
}

/// All keys.
#[derive(Serialize, ToSchema)]
struct ApiKeys {
    /// Revoked and expired ones too.
    api_keys: Vec<ApiKeyView>,
}

/// A key to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ApiKeyRequest {
    /// What people will call it: 1 to 100 characters.
    #[schema(example = "storefront")]
    name: String,
    /// What it may do: `events:read`, `events:write`, `adapters:read`, `adapters:write`,
    /// `dead-letters:write`, `state:read`, `browser-tokens:write`, `devices:write`, `admin`.
    #[serde(default)]
    #[schema(value_type = Vec<String>, example = json!(["events:write"]))]
    scopes: Vec<Scope>,
    /// The MQTT topic filters within which it may mint browser tokens, up to 50: for keys with the scope
    /// `browser-tokens:write`, which need them.
    #[serde(default)]
    #[schema(example = json!([]))]
    topics: Vec<String>,
    /// The adapter it belongs to; it then sends only that adapter's types under its source.
    adapter: Option<String>,
    /// When it ends by itself, RFC 3339. Never, if absent.
    expires: Option<DateTime<Utc>>,
}

/// A key fresh from the press.
#[derive(Serialize, ToSchema)]
struct NewApiKey {
    /// The whole key. It is shown this once and kept nowhere.
    #[schema(example = "cdk_<id>_<secret>")]
    key: String,
    #[serde(flatten)]
    view: ApiKeyView,
}

/// All API keys
#[utoipa::path(get, path = "/v1/api-keys", tag = "api-keys", security(("api_key" = ["admin"])),
    responses((status = 200, description = "The keys without their secrets", body = ApiKeys), Guarded))]
async fn list_api_keys(
    State(api): State<ApiState>,
    _: Caller<Admin>,
) -> Result<axum::Json<ApiKeys>, Problem> {
    Ok(axum::Json(ApiKeys {
        api_keys: api.hub().keys().await?,
    }))
}

/// Make an API key
#[utoipa::path(post, path = "/v1/api-keys", tag = "api-keys", security(("api_key" = ["admin"])),
    request_body = ApiKeyRequest,
    responses(
        (status = 201, description = "The key, shown this once", body = NewApiKey,
            headers(("Location" = String, description = "The key's path"))),
        (status = 400, description = "The body cannot be read", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not application/json", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "Such a key makes no sense", body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn add_api_key(
    State(api): State<ApiState>,
    caller: Caller<Admin>,
    Json(request): Json<ApiKeyRequest>,
) -> Result<impl IntoResponse, Problem> {
    let ApiKeyRequest {
        name,
        scopes,
        topics,
        adapter,
        expires,
    } = request;
    let (view, key) = api
        .hub()
        .add_key(NewKey {
            name,
            scopes,
            topics,
            adapter,
            expires,
        })
        .await?;
    tracing::info!(
        by = caller.principal.mark(),
        made = view.id,
        "an API key was made"
    );
    let location = format!("/v1/api-keys/{}", view.id);
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        axum::Json(NewApiKey { key, view }),
    ))
}

/// Revoke an API key
///
/// It opens nothing from now on, nor do browser tokens that it minted; other hubs notice within seconds.
#[utoipa::path(delete, path = "/v1/api-keys/{id}", tag = "api-keys", security(("api_key" = ["admin"])),
    params(("id" = String, Path, description = "The public half of the key")),
    responses(
        (status = 204, description = "Revoked"),
        (status = 404, description = "No such key", body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn revoke_api_key(
    State(api): State<ApiState>,
    caller: Caller<Admin>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    api.hub().revoke_key(&id).await?;
    tracing::info!(by = caller.principal.mark(), revoked = ?id, "an API key was revoked");
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_known_scopes_and_members_only() {
        let read =
            |json: &str| serde_json::from_str::<ApiKeyRequest>(json).map_err(|error| error.to_string());
        let request =
            read(r#"{"name":"x","scopes":["events:write"],"expires":"2030-01-01T00:00:00Z"}"#).unwrap();
        assert_eq!(request.scopes, [Scope::EventsWrite]);
        assert!(
            read(r#"{"name":"x","scopes":["event:write"]}"#)
                .err()
                .unwrap()
                .contains("events:write")
        );
        assert!(
            read(r#"{"name":"x","scope":[]}"#)
                .err()
                .unwrap()
                .contains("scopes")
        );
    }
}
