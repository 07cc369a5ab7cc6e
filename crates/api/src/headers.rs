//! Headers that tell browsers what they may do with a response: nothing, but for the documentation
//! pages, which may use their own scripts and styles.

use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use tower_http::cors::CorsLayer;

use crate::openapi::DOCUMENTATION_PATH;

const API_POLICY: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";
const DOCUMENTATION_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// How long a browser may remember what a page of another origin may do.
const CORS_REMEMBERED: Duration = Duration::from_secs(600);

/// Lets pages of these origins read what they have a token for (the Fetch standard's CORS protocol). Cookies are
/// not among what they may send.
pub(crate) fn for_pages_of(allowed_origins: &[String]) -> CorsLayer {
    let origins = allowed_origins
        .iter()
        .filter_map(|origin| HeaderValue::from_str(origin).ok());
    CorsLayer::new()
        .allow_origin(origins.collect::<Vec<_>>())
        .allow_methods([Method::GET])
        .allow_headers([header::AUTHORIZATION, header::IF_NONE_MATCH])
        .expose_headers([header::ETAG])
        .max_age(CORS_REMEMBERED)
}

pub(crate) async fn secure(request: Request, next: Next) -> Response {
    let documentation = request
        .uri()
        .path()
        .strip_prefix(DOCUMENTATION_PATH)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let mut response = next.run(request).await;
    let policy = if documentation {
        DOCUMENTATION_POLICY
    } else {
        API_POLICY
    };
    let caching = if documentation { "no-cache" } else { "no-store" };
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, caching),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::body::Body;
    use axum::{Router, middleware};
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn scripts_run_on_the_documentation_pages_only() {
        for (path, scripts) in [
            ("/docs", true),
            ("/docs/index.html", true),
            ("/docsx", false),
            ("/v1/events", false),
        ] {
            let request = Request::builder().uri(path).body(Body::empty()).unwrap();
            let response = Router::new()
                .layer(middleware::from_fn(secure))
                .oneshot(request)
                .await
                .unwrap();
            let policy = response.headers()[header::CONTENT_SECURITY_POLICY]
                .to_str()
                .unwrap();
            assert_eq!(policy.contains("script-src 'self'"), scripts, "{path}");
            assert!(!policy.contains("unsafe"), "{path}");
            assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        }
    }
}
