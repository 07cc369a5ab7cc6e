//! `/v1/state`: the latest state of a topic.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use crossdock_engine::{EngineError, StateView};
use crossdock_model::topic::{TopicError, TopicName};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::extract::Path;
use crate::problem::{Guarded, ProblemBody};
use crate::reader::Reader;
use crate::{ApiState, Problem, problem_types as kinds};

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(show_state))
}

/// The latest state of a topic
///
/// What the rules of `state.toml` made of events, the same as whoever watches the topic over MQTT gets. The version is
/// the entity tag too: with `If-None-Match` a state that is known already is not sent again.
#[utoipa::path(get, path = "/v1/state/{*topic}", tag = "state", security(("api_key" = ["state:read"]), ("browser_token" = [])),
    params(
        ("topic" = String, Path, description = "The topic, its levels percent-encoded where they must be", example = "stock/LDN1/MUG-330"),
        ("If-None-Match" = Option<String>, Header, description = "Entity tags of states that are known"),
    ),
    responses(
        (status = 200, description = "The state", body = StateView, headers(("ETag" = String, description = "The version in quotes"))),
        (status = 304, description = "The state is one of those that are known"),
        (status = 400, description = "No topic name: it has wildcards, for example", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "The topic has no state", body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn show_state(
    State(api): State<ApiState>,
    reader: Reader,
    Path(topic): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let topic = TopicName::new(&topic).map_err(no_topic)?;
    reader.must_read(&topic)?;
    let state = api.hub().state(&topic).await.map_err(|error| match error {
        EngineError::NotFound(detail) => kinds::NO_STATE.with(detail),
        other => other.into(),
    })?;
    let tag = format!("\"{}\"", state.version);
    let known = headers.get_all(header::IF_NONE_MATCH);
    let is_known = known.iter().any(|known| names_it(known, &tag));
    let (status, body) = match is_known {
        true => (StatusCode::NOT_MODIFIED, Body::empty()),
        false => (StatusCode::OK, Body::from(state.payload)),
    };
    let response = Response::builder().status(status).header(header::ETAG, tag);
    let response = match is_known {
        true => response,
        false => response.header(header::CONTENT_TYPE, "application/json"),
    };
    response
        .body(body)
        .map_err(|_| kinds::INTERNAL.with("the hub's log says more"))
}

fn no_topic(error: TopicError) -> Problem {
    let detail = match error {
        TopicError::WildcardInName(_) => {
            "the topic has a wildcard, expected the name of one topic".to_owned()
        }
        other => format!("the topic {other}"),
    };
    kinds::MALFORMED_REQUEST.with(detail)
}

/// Whether a list of entity tags (RFC 9110, section 13.1.2) has this one.
fn names_it(known: &HeaderValue, tag: &str) -> bool {
    let known = known.to_str().unwrap_or_default();
    let mut tags = known.split(',').map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_tag_is_found_in_lists() {
        let names = |list: &'static str| names_it(&HeaderValue::from_static(list), "\"7\"");
        for list in ["\"7\"", "W/\"7\"", "\"6\", \"7\"", "*"] {
            assert!(names(list), "{list}");
        }
        for list in ["", "7", "\"17\"", "\"6\",\"8\""] {
            assert!(!names(list), "{list}");
        }
    }
}
