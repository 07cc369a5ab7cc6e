//! `/v1/session`: people sign in, see who they are, sign out and change their password.

use std::net::{IpAddr, Ipv4Addr};

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use crossdock_engine::{SessionView, SignInError};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::auth::OwnSession;
use crate::extract::{Json, Query};
use crate::origin::Silence;
use crate::problem::{Guarded, ProblemBody};
use crate::{ApiState, Problem, client, cookie, origin, problem_types as kinds};

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(sign_in, show_session, sign_out))
        .routes(routes!(change_password))
}

/// What a person signs in with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SignIn {
    /// Capitals and small letters are the same.
    #[schema(example = "admin")]
    name: String,
    /// At most 512 bytes.
    password: String,
}

/// A new password with the one before.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordChange {
    /// The password as it is.
    current: String,
    /// At least 12 characters, at most 512 bytes.
    new: String,
}

/// Which sessions end.
#[derive(Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SignOutQuery {
    /// All sessions of this person, wherever they signed in.
    #[serde(default)]
    everywhere: bool,
}

/// Where a request comes from that is no other site's doing.
struct Visitor {
    address: IpAddr,
    /// A session that the browser had before.
    session: Option<String>,
}

impl FromRequestParts<ApiState> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &ApiState) -> Result<Self, Problem> {
        origin::check(parts, api, Silence::Accepted)?;
        let address = client::address(&parts.extensions, &parts.headers, api.trusted_proxies());
        Ok(Self {
            // Without a peer all are one.
            address: address.unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
            session: cookie::session(&parts.headers, api).map(str::to_owned),
        })
    }
}

/// Sign in
///
/// For browsers: the answer sets a cookie, with which every other route does what the person's role allows. An
/// unknown name and a wrong password get the same answer. After a few failures the next has to wait, up to a minute.
#[utoipa::path(post, path = "/v1/session", tag = "people", security(),
    request_body = SignIn,
    responses(
        (status = 200, description = "Signed in", body = SessionView,
            headers(("Set-Cookie" = String, description = "The session: HttpOnly, SameSite=Strict"))),
        (status = 400, description = "The body cannot be read", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The name or the password is wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "Another site's page asked for it", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not application/json", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many have failed; see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The database is away, or too many are signing in; see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
    ))]
async fn sign_in(
    State(api): State<ApiState>,
    visitor: Visitor,
    Json(SignIn { name, password }): Json<SignIn>,
) -> Result<impl IntoResponse, Problem> {
    let (view, token) = api.hub().sign_in(&name, &password, visitor.address).await?;
    if let Some(before) = &visitor.session {
        // It has no cookie any more, and nobody would miss it.
        let _ = api.hub().sign_out(before).await;
    }
    Ok((
        [(header::SET_COOKIE, cookie::set(&token, &api))],
        axum::Json(view),
    ))
}

/// Who is signed in
///
/// It is about browsers: a request with an API key has no session.
#[utoipa::path(get, path = "/v1/session", tag = "people", security(("session" = [])),
    responses((status = 200, description = "The session", body = SessionView), Guarded))]
async fn show_session(own: OwnSession) -> axum::Json<SessionView> {
    axum::Json(own.view)
}

/// Sign out
///
/// The session opens nothing from now on; other hubs notice within 5 seconds.
#[utoipa::path(delete, path = "/v1/session", tag = "people", security(("session" = [])),
    params(SignOutQuery),
    responses((status = 204, description = "Signed out"), Guarded))]
async fn sign_out(
    State(api): State<ApiState>,
    own: OwnSession,
    Query(SignOutQuery { everywhere }): Query<SignOutQuery>,
) -> Result<impl IntoResponse, Problem> {
    if everywhere {
        api.hub().sign_out_everywhere(&own.token).await?;
    } else {
        api.hub().sign_out(&own.token).await?;
    }
    tracing::info!(user = own.view.name, everywhere, "somebody has signed out");
    Ok((
        StatusCode::NO_CONTENT,
        [(header::SET_COOKIE, cookie::forget(&api))],
    ))
}

/// Change one's own password
///
/// Ends the person's other sessions.
#[utoipa::path(put, path = "/v1/session/password", tag = "people", security(("session" = [])),
    request_body = PasswordChange,
    responses(
        (status = 204, description = "Changed"),
        (status = 400, description = "The body cannot be read", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It was changed by somebody else meanwhile", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not application/json", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The new password is too short or too long", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many have failed; see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn change_password(
    State(api): State<ApiState>,
    own: OwnSession,
    visitor: Visitor,
    Json(PasswordChange { current, new }): Json<PasswordChange>,
) -> Result<StatusCode, Problem> {
    let hub = api.hub().clone();
    let token = own.token;
    let changed = api
        .to_the_end(async move { hub.change_password(&token, &current, &new, visitor.address).await })
        .await;
    changed.map_err(
        |problem: Problem| match problem.body().r#type == kinds::SIGN_IN_REFUSED.uri() {
            // The session is as good as before; it is the request that is refused.
            true => kinds::WRONG_PASSWORD.with("the current password is another"),
            false => problem,
        },
    )?;
    tracing::info!(user = own.view.name, "somebody has changed their password");
    Ok(StatusCode::NO_CONTENT)
}

impl From<SignInError> for Problem {
    fn from(error: SignInError) -> Self {
        let text = error.to_string();
        match error {
            SignInError::Refused => kinds::SIGN_IN_REFUSED
                .with(text)
                .header(header::WWW_AUTHENTICATE, crate::auth::CHALLENGE),
            SignInError::TooSoon { retry_after_s } => {
                kinds::TOO_MANY_SIGN_INS.with(text).retry_after(retry_after_s)
            }
            SignInError::Session(error) => error.into(),
            SignInError::Failed(error) => error.into(),
        }
    }
}
