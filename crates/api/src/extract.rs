//! Extractors whose refusals are problems: path, query and JSON body.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize as _, Deserializer};

use crate::media_type::MediaType;
use crate::problem::Limit;
use crate::{ApiState, Problem, body, problem_types as kinds};

/// The longest JSON body of a route that takes no events.
pub(crate) const JSON_BODY: Limit = Limit {
    name: "body_bytes",
    maximum: 4 * 1024 * 1024,
};
const JSON: &str = "application/json";
/// How the framework begins what it says of a query.
const NOT_DESERIALIZED: &str = "Failed to deserialize query string: ";

/// Parameters of the path, percent-decoded.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<ApiState> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &ApiState) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, api).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(kinds::MALFORMED_REQUEST.with(rejection.body_text())),
        }
    }
}

/// Parameters of the query; unknown ones are refused by the types that are used here.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<ApiState> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Problem> {
        match axum::extract::Query::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => {
                let said = rejection.body_text();
                let place = said.strip_prefix(NOT_DESERIALIZED).unwrap_or(&said);
                Err(kinds::MALFORMED_REQUEST.with(format!("the query cannot be read: {place}")))
            }
        }
    }
}

/// A time in a query, for `deserialize_with`.
pub(crate) fn time<'de, D: Deserializer<'de>>(text: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    match DateTime::parse_from_rfc3339(&String::deserialize(text)?) {
        Ok(time) => Ok(Some(time.to_utc())),
        Err(_) => Err(D::Error::custom(
            "expected an RFC 3339 time, such as 2026-01-31T12:00:00Z",
        )),
    }
}

/// A JSON body of at most [`JSON_BODY`].
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<ApiState> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &ApiState) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let is_json = MediaType::of(&parts.headers)?
            .is_some_and(|media_type| media_type.essence == JSON && media_type.is_utf8());
        if !is_json {
            return Err(kinds::UNSUPPORTED_MEDIA_TYPE
                .with("the body must be application/json in UTF-8")
                .supported(&[JSON]));
        }
        let body = body::read(api, &parts.headers, body, JSON_BODY).await?;
        serde_json::from_slice(&body.bytes).map(Self).map_err(|error| {
            kinds::MALFORMED_REQUEST.with(format!("the body is not what this route takes: {error}"))
        })
    }
}
