//! `/v1/browser-tokens`: what a backend gives its pages so that they read live state, and how that ends.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use crossdock_engine::{BrowserToken, MintError, NewBrowserToken, Revoked};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::auth::{Admin, BrowserTokensWrite, Caller};
use crate::extract::{Json, Path, Query};
use crate::problem::{Guarded, ProblemBody, counted};
use crate::{ApiState, Problem, problem_types as kinds};

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(mint_browser_token, revoke_browser_tokens))
        .routes(routes!(revoke_browser_token))
        .routes(routes!(rotate_signing_keys))
}

/// A browser token to be minted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BrowserTokenRequest {
    /// The MQTT topic filters that it opens, 1 to 50, each wholly within the topics of the API key.
    #[schema(example = json!(["state/order/1000", "stock/london/+"]))]
    topics: Vec<String>,
    /// Who the browser is, to the backend that asks: 1 to 255 bytes. A customer or a session of the shop's, no secret.
    #[schema(example = "customer-42")]
    subject: String,
    /// Seconds for which it is good: 1 to 3600, 900 if absent. It never outlives the API key.
    #[schema(example = 900)]
    expires_in_s: Option<u32>,
}

/// Whose tokens end.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RevocationQuery {
    /// The subject that they were minted for.
    #[param(example = "customer-42")]
    subject: String,
}

/// How signing keys change.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SigningKeyRotation {
    /// Also ends every token that was minted before: for when a hub's memory may have been read.
    #[serde(default)]
    end_tokens: bool,
}

/// Mint a browser token
///
/// A backend exchanges its API key for what one of its pages may read, for an hour at most, and hands the answer to that
/// page. Nobody else sees it: it is not kept, here or in any cache.
#[utoipa::path(post, path = "/v1/browser-tokens", tag = "browser-tokens",
    security(("api_key" = ["browser-tokens:write"])),
    request_body = BrowserTokenRequest,
    responses(
        (status = 201, description = "The token, shown this once", body = BrowserToken),
        (status = 400, description = "The body cannot be read", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The API key is gone, or tokens of the subject were revoked a moment ago", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not application/json", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "Such a token makes no sense; faults name each place", body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn mint_browser_token(
    State(api): State<ApiState>,
    caller: Caller<BrowserTokensWrite>,
    Json(request): Json<BrowserTokenRequest>,
) -> Result<impl IntoResponse, Problem> {
    let BrowserTokenRequest {
        topics,
        subject,
        expires_in_s,
    } = request;
    let asked = NewBrowserToken {
        topics,
        subject,
        expires_in_s,
    };
    let token: BrowserToken = api.hub().mint_browser_token(&caller.principal, asked).await?;
    Ok((StatusCode::CREATED, axum::Json(token)))
}

/// Revoke a browser token
///
/// It opens nothing from now on, and whoever is connected with it is disconnected; other hubs notice within 5 seconds.
/// An id that no token has is as good as revoked.
#[utoipa::path(delete, path = "/v1/browser-tokens/{id}", tag = "browser-tokens",
    security(("api_key" = ["browser-tokens:write"])),
    params(("id" = String, Path, description = "The token's own name, as it was minted with")),
    responses(
        (status = 204, description = "Revoked"),
        (status = 409, description = "Too many revocations are in force", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "No token has such an id", body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn revoke_browser_token(
    State(api): State<ApiState>,
    caller: Caller<BrowserTokensWrite>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    revoke(&api, caller, Revoked::Token(id)).await
}

/// Revoke a subject's browser tokens
///
/// Those that the caller's API key minted for the subject so far, or everybody's if the caller is an administrator.
/// Whoever is connected with one is disconnected; other hubs notice within 5 seconds. The subject may get
/// new ones some seconds later.
#[utoipa::path(delete, path = "/v1/browser-tokens", tag = "browser-tokens",
    security(("api_key" = ["browser-tokens:write"])),
    params(RevocationQuery),
    responses(
        (status = 204, description = "Revoked"),
        (status = 400, description = "The query cannot be read", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Too many revocations are in force", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "No token has such a subject", body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn revoke_browser_tokens(
    State(api): State<ApiState>,
    caller: Caller<BrowserTokensWrite>,
    Query(RevocationQuery { subject }): Query<RevocationQuery>,
) -> Result<StatusCode, Problem> {
    revoke(&api, caller, Revoked::Subject(subject)).await
}

async fn revoke<R>(api: &ApiState, caller: Caller<R>, revoked: Revoked) -> Result<StatusCode, Problem> {
    api.hub()
        .revoke_browser_tokens(&caller.principal, &revoked)
        .await?;
    let what = match revoked {
        Revoked::Token(_) => "token",
        Revoked::Subject(_) => "subject",
    };
    tracing::info!(by = caller.principal.mark(), what, "browser tokens were revoked");
    Ok(StatusCode::NO_CONTENT)
}

/// Sign browser tokens with new keys
///
/// Every hub does from now on, within 5 seconds, as each does by itself once a day. What was signed before is good to
/// its end, unless it is to be over.
#[utoipa::path(post, path = "/v1/browser-tokens/rotation", tag = "browser-tokens",
    security(("api_key" = ["admin"])),
    request_body = SigningKeyRotation,
    responses(
        (status = 204, description = "Done"),
        (status = 400, description = "The body cannot be read", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not application/json", body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn rotate_signing_keys(
    State(api): State<ApiState>,
    caller: Caller<Admin>,
    Json(SigningKeyRotation { end_tokens }): Json<SigningKeyRotation>,
) -> Result<StatusCode, Problem> {
    let hub = api.hub().clone();
    api.to_the_end(async move { hub.rotate_signing_keys(end_tokens).await })
        .await?;
    tracing::info!(
        by = caller.principal.mark(),
        end_tokens,
        "browser tokens are signed with new keys"
    );
    Ok(StatusCode::NO_CONTENT)
}

impl From<MintError> for Problem {
    fn from(error: MintError) -> Self {
        let (kind, faults) = match error {
            MintError::Invalid(faults) => (kinds::INVALID_REQUEST, faults),
            MintError::NotGranted(faults) => (kinds::TOPICS_NOT_GRANTED, faults),
            MintError::Failed(error) => return error.into(),
        };
        let detail = match faults.as_slice() {
            [fault] => fault.to_string(),
            _ => format!("{} found; no token was minted", counted(faults.len())),
        };
        kind.with(detail).event_faults(faults)
    }
}
