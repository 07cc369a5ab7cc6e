//! The catalogue of problems: every `type` that an error response can carry, with what it means
//! and what to do about it. A `type` is the path under which this catalogue explains it.

use axum::extract::Path;
use axum::http::{Method, StatusCode, Uri};
use axum::{Json, response::IntoResponse};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{ApiState, Problem, ProblemBody};

/// One kind of problem. Slug and status never change once published.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ProblemType {
    pub(crate) slug: &'static str,
    pub(crate) status: StatusCode,
    pub(crate) title: &'static str,
    meaning: &'static str,
    remedy: &'static str,
}

macro_rules! catalogue {
    ($($name:ident = $status:ident $slug:literal: $title:literal, $meaning:literal, $remedy:literal;)+) => {
        $(pub(crate) const $name: ProblemType = ProblemType {
            slug: $slug, status: StatusCode::$status, title: $title, meaning: $meaning, remedy: $remedy,
        };)+
        /// Every problem there is.
        pub(crate) const ALL: &[ProblemType] = &[$($name),+];
    };
}

catalogue! {
    MALFORMED_REQUEST = BAD_REQUEST "malformed-request": "The request cannot be read",
        "A path, a query parameter, a header or the JSON of the body is not what the route takes.",
        "Correct what the detail names.";
    INVALID_EVENT = BAD_REQUEST "invalid-event": "Not a valid CloudEvent",
        "At least one event breaks CloudEvents 1.0 or the formats of Crossdock's extensions. Nothing of the request was kept.",
        "Correct every place listed in faults and send the request again.";
    EVENT_NOT_ACCEPTED = UNPROCESSABLE_ENTITY "event-not-accepted": "A valid CloudEvent that this hub does not take",
        "At least one event does not match the schema of its type or a rule of the hub. Nothing of the request was kept.",
        "Correct every place listed in faults and send the request again.";
    INVALID_REQUEST = UNPROCESSABLE_ENTITY "invalid-request": "The request makes no sense",
        "The request is well-formed, but a value in it is not acceptable.",
        "Correct what the detail names.";
    CONFIGURATION_FAULTS = UNPROCESSABLE_ENTITY "configuration-faults": "The configuration is faulty",
        "At least one file has a fault; nothing was applied.",
        "Correct every place listed in faults, by file, line and column, and apply again.";
    API_KEY_MISSING = UNAUTHORIZED "api-key-missing": "No API key",
        "The route needs an API key and the request has none, or not as one `Authorization: Bearer` header.",
        "Send the header `Authorization: Bearer <api key>` once.";
    API_KEY_UNKNOWN = UNAUTHORIZED "api-key-unknown": "Unknown API key",
        "There is no such key, or its secret is wrong.",
        "Check the key for missing characters and that it belongs to this hub.";
    API_KEY_EXPIRED = UNAUTHORIZED "api-key-expired": "The API key has expired",
        "The key had an end, and it has passed.",
        "Ask an administrator for a new key.";
    API_KEY_REVOKED = UNAUTHORIZED "api-key-revoked": "The API key was revoked",
        "Somebody revoked the key, or a rotation replaced it.",
        "Use the key that replaced it, or ask an administrator for a new one.";
    SIGN_IN_REFUSED = UNAUTHORIZED "sign-in-refused": "Not signed in",
        "Nobody has this name, or the password is another.",
        "Try again, or have an administrator set another password.";
    TOO_MANY_SIGN_INS = TOO_MANY_REQUESTS "too-many-sign-ins": "Too many sign-ins have failed",
        "So many sign-ins with this name or from this address have failed that the next has to wait. This one was not looked at.",
        "Repeat after Retry-After seconds, at most a minute.";
    SESSION_ENDED = UNAUTHORIZED "session-ended": "No session",
        "The request shows no session of a person, or one that is over.",
        "Sign in.";
    WRONG_PASSWORD = FORBIDDEN "wrong-password": "The current password is another",
        "Whoever changes their password has to know it. Nothing was changed.",
        "Repeat with the right one, or have an administrator set another password.";
    CROSS_ORIGIN = FORBIDDEN "cross-origin": "Asked for by another site's page",
        "The request would change something, and it does not come from this hub's own pages as far as the browser says.",
        "Use the hub's own pages; programs use an API key.";
    SCOPE_MISSING = FORBIDDEN "scope-missing": "The caller lacks a scope",
        "The key or person is known but may not do this; scope names what the key or the person's role lacks.",
        "Use a key that has the scope, or have an administrator give you another role.";
    EVENT_FORBIDDEN = FORBIDDEN "event-forbidden": "The sender may not send this event",
        "At least one event has a source or a type that this key's adapter may not use, or a source that belongs to an adapter. Nothing of the request was kept.",
        "Send with the key of the adapter that owns the source, or add the type to the adapter's manifest.";
    TOPICS_NOT_GRANTED = FORBIDDEN "topics-not-granted": "The caller may not grant these topics",
        "At least one topic filter lies not wholly within the topics of the API key, or the caller has none. No token was minted.",
        "Ask for less, or use a key that was made with the topics: `crossdock api-key add --scope browser-tokens:write --topics …`.";
    BROWSER_TOKEN_REFUSED = UNAUTHORIZED "browser-token-refused": "The browser token opens nothing",
        "It has ended, was revoked, or is none of this hub's. Which of these, the hub's log says.",
        "Have the shop's backend mint another one.";
    TOPIC_FORBIDDEN = FORBIDDEN "topic-forbidden": "The browser token does not open this topic",
        "No topic filter of the token matches the topic, whether it has a state or not.",
        "Have the shop's backend mint a token for this topic.";
    NOT_FOUND = NOT_FOUND "not-found": "There is no such thing",
        "The path names nothing that exists.",
        "Check the name or id in the path.";
    NO_STATE = NOT_FOUND "no-state": "The topic has no state",
        "No event has made a state of this topic, or the state has expired. It may have one at any time.",
        "Check the topic and the rules of state.toml, or wait for the event.";
    METHOD_NOT_ALLOWED = METHOD_NOT_ALLOWED "method-not-allowed": "The route does not take this method",
        "The path exists, for other methods.",
        "Use a method that the header Allow names.";
    REQUEST_TIMEOUT = REQUEST_TIMEOUT "request-timeout": "The body took too long",
        "The body of the request did not arrive in time; nothing was kept.",
        "Send it again; for events with the same ids.";
    CONFLICT = CONFLICT "conflict": "The present state forbids this",
        "Somebody else was faster, or what exists does not allow the change.",
        "Read the present state and decide again.";
    AMBIGUOUS_EVENT = CONFLICT "ambiguous-event": "Several sources use this event id",
        "CloudEvents ids are unique only within their source; sources lists those that use this one.",
        "Name one of them with ?source=.";
    TOO_LARGE = PAYLOAD_TOO_LARGE "too-large": "Too large",
        "The body, the number of events, the data or the attributes of an event are over a limit; limit names it. Nothing was kept.",
        "Send less at once; keep large data elsewhere and send a reference.";
    UNSUPPORTED_MEDIA_TYPE = UNSUPPORTED_MEDIA_TYPE "unsupported-media-type": "The content type is not taken here",
        "The Content-Type or Content-Encoding of the request is not one that the route takes; supported lists those.",
        "Send one of the supported content types, not compressed, in UTF-8.";
    INTERNAL = INTERNAL_SERVER_ERROR "internal": "A fault of the hub",
        "Something went wrong inside the hub. Its log says what.",
        "Report it, with the time of the request. Events may be sent again with the same ids.";
    UNAVAILABLE = SERVICE_UNAVAILABLE "unavailable": "Not available now",
        "RabbitMQ or the database is away, or did not confirm. An event of this request may or may not have been kept.",
        "Repeat after Retry-After seconds; for events with the same ids, which is safe.";
    OVERLOADED = SERVICE_UNAVAILABLE "overloaded": "Too much at once",
        "The hub is working on as many requests or bodies as it takes at one time; this one was not started.",
        "Repeat after Retry-After seconds.";
    TOO_MANY_STREAMS = SERVICE_UNAVAILABLE "too-many-streams": "Too many streams are open",
        "As many clients read /v1/stream and /v1/live as the hub serves at one time, or as many of one caller.",
        "Close streams that nobody reads, or repeat after Retry-After seconds.";
    NOT_READY = SERVICE_UNAVAILABLE "not-ready": "The hub is not ready",
        "At least one of checks does not hold. The hub carries on by itself when it does.",
        "Mend what the checks name.";
}

impl ProblemType {
    /// The stable `type` of the problem: a path at this hub.
    pub(crate) fn uri(&self) -> String {
        format!("/problems/{}", self.slug)
    }
}

/// An entry of the catalogue.
#[derive(Serialize, ToSchema)]
struct ProblemTypeView {
    /// The `type` that problems of this kind carry.
    r#type: String,
    /// The HTTP status that comes with it.
    status: u16,
    /// The same for every problem of this kind.
    title: &'static str,
    /// What has happened.
    meaning: &'static str,
    /// What to do about it.
    remedy: &'static str,
}

impl From<&ProblemType> for ProblemTypeView {
    fn from(kind: &ProblemType) -> Self {
        Self {
            r#type: kind.uri(),
            status: kind.status.as_u16(),
            title: kind.title,
            meaning: kind.meaning,
            remedy: kind.remedy,
        }
    }
}

/// All problems
#[derive(Serialize, ToSchema)]
struct Catalogue {
    /// Every kind of problem that this API answers with.
    problems: Vec<ProblemTypeView>,
}

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_problem_types))
        .routes(routes!(show_problem_type))
}

/// Every kind of problem
#[utoipa::path(get, path = "/problems", tag = "problems", security(),
    responses((status = 200, description = "The catalogue", body = Catalogue)))]
async fn list_problem_types() -> impl IntoResponse {
    Json(Catalogue {
        problems: ALL.iter().map(ProblemTypeView::from).collect(),
    })
}

/// What one kind of problem means
#[utoipa::path(get, path = "/problems/{slug}", tag = "problems", security(),
    params(("slug" = String, Path, description = "Last part of the problem's `type`", example = "scope-missing")),
    responses(
        (status = 200, description = "Meaning and remedy", body = ProblemTypeView),
        (status = 404, description = "No such problem", body = ProblemBody, content_type = "application/problem+json"),
    ))]
async fn show_problem_type(Path(slug): Path<String>) -> Result<Json<ProblemTypeView>, Problem> {
    ALL.iter()
        .find(|kind| kind.slug == slug)
        .map(|kind| Json(kind.into()))
        .ok_or_else(|| NOT_FOUND.with("there is no problem of this name; /problems lists them"))
}

pub(crate) async fn no_such_route(uri: Uri) -> Problem {
    NOT_FOUND.with(format!("there is no route {:?}; /docs lists them", uri.path()))
}

pub(crate) async fn no_such_method(method: Method) -> Problem {
    METHOD_NOT_ALLOWED.with(format!("the route does not take {method}"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_problem_has_its_own_slug_and_an_error_status() {
        let slugs: HashSet<_> = ALL.iter().map(|kind| kind.slug).collect();
        assert_eq!(slugs.len(), ALL.len());
        for kind in ALL {
            assert!(
                kind.status.is_client_error() || kind.status.is_server_error(),
                "{}",
                kind.slug
            );
            assert!(
                kind.slug
                    .bytes()
                    .all(|byte| byte == b'-' || byte.is_ascii_lowercase()),
                "{}",
                kind.slug
            );
        }
    }
}
