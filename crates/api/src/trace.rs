//! The span of a request, and the way in and out of it for what is traced beyond: a client's `traceparent` is its
//! parent, and what handlers do for the request belongs under it.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Request};
use axum::http::{HeaderMap, request::Parts};
use axum::response::Response;
use crossdock_model::Traceparent;
use crossdock_telemetry::{Kind, Span, TRACEPARENT_HEADER};

/// The span of the request in hand; none without telemetry.
#[derive(Clone, Copy, Default)]
pub(crate) struct Step(pub(crate) Option<Traceparent>);

impl<S: Sync> FromRequestParts<S> for Step {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or_default())
    }
}

/// Begins the span of a request.
pub(crate) fn begin(request: &mut Request, method: &'static str, route: &str) -> Span {
    let mut span = Span::start(Kind::Server, named(request.headers()), || {
        format!("{method} {route}")
    });
    if span.is_on() {
        span.say("http.request.method", || method);
        span.say("http.route", || route.to_owned());
        request.extensions_mut().insert(Step(span.traceparent()));
    }
    span
}

/// Ends it.
pub(crate) fn end(mut span: Span, response: &Response) {
    let status = response.status();
    span.say("http.response.status_code", || i64::from(status.as_u16()));
    if status.is_server_error() {
        span.fail("server error");
    }
}

/// The step that the client names, if it names one as it should.
fn named(headers: &HeaderMap) -> Option<Traceparent> {
    headers.get(TRACEPARENT_HEADER)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_clients_step_counts_if_it_is_one() {
        let said = |value: &str| {
            let value = HeaderValue::from_str(value).unwrap();
            named(&HeaderMap::from_iter([("traceparent".parse().unwrap(), value)]))
        };
        let valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(said(valid).unwrap().to_string(), valid);
        assert!(said("00-abc").is_none() && said("").is_none() && named(&HeaderMap::new()).is_none());
    }
}
