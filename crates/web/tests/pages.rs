//! The pages as a browser asks for them, whether the dashboard was built or not.

#![allow(clippy::unwrap_used)]

use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use tower::ServiceExt;

const PAGE_MAX_BYTES: usize = 64 * 1024;

async fn ask(
    method: Method,
    path: &str,
    headers: &[(header::HeaderName, &str)],
) -> (StatusCode, HeaderMap, Vec<u8>) {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    let response = crossdock_web::router()
        .merge(crossdock_web::storefront())
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, PAGE_MAX_BYTES).await.unwrap();
    (parts.status, parts.headers, body.into())
}

#[tokio::test]
async fn every_page_is_the_one_document_which_is_asked_for_again() {
    let (_, _, document) = ask(Method::GET, "/", &[]).await;
    assert!(document.starts_with(b"<!doctype html>"));
    for path in [
        "/queues",
        "/events",
        "/journeys/web%3AR-1001",
        "/journeys/a%2Fb",
        "/dead-letters",
        "/dead-letters/01890a5d-ac96-774b-bcce-b302099a8057",
        "/adapters",
        "/adapters/erp",
        "/sign-in",
        "/account",
    ] {
        let (status, headers, body) = ask(Method::GET, path, &[]).await;
        assert_eq!((status, &body), (StatusCode::OK, &document), "{path}");
        assert_eq!(
            headers[header::CONTENT_TYPE],
            "text/html; charset=utf-8",
            "{path}"
        );
        assert_eq!(headers[header::CACHE_CONTROL], "no-cache", "{path}");

        let etag = headers[header::ETAG].to_str().unwrap();
        let (status, again, body) = ask(Method::GET, path, &[(header::IF_NONE_MATCH, etag)]).await;
        assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0), "{path}");
        assert_eq!(again[header::ETAG], headers[header::ETAG], "{path}");
    }
}

#[tokio::test]
async fn the_shop_is_a_page_of_its_own_and_only_where_it_is_wanted() {
    let (status, headers, document) = ask(Method::GET, "/shop", &[]).await;
    assert_eq!(status, StatusCode::OK);
    assert!(document.starts_with(b"<!doctype html>"));
    assert_eq!(headers[header::CACHE_CONTROL], "no-cache");
    assert!(headers.contains_key(header::CONTENT_SECURITY_POLICY));
    for path in ["/shop/", "/shop/index.html", "/shop/api/session", "/shop/.built"] {
        let (status, ..) = ask(Method::GET, path, &[]).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    let request = Request::builder().uri("/shop").body(Body::empty()).unwrap();
    let without = crossdock_web::router().oneshot(request).await.unwrap();
    assert_eq!(without.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn browsers_are_told_what_a_page_may_do() {
    for path in ["/", "/adapters/erp"] {
        let (_, headers, _) = ask(Method::GET, path, &[]).await;
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"));
        assert!(policy.contains("frame-ancestors 'none'"));
        assert!(!policy.contains("unsafe"));
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(headers[header::REFERRER_POLICY], "no-referrer");
        assert!(headers.contains_key("permissions-policy"));
    }
}

#[tokio::test]
async fn what_is_no_page_is_left_to_others() {
    for path in [
        "/index.html",
        "/queues/",
        "/adapters/a/b",
        "/assets/none.js",
        "/assets/../index.html",
        "/.built",
        "/v1/events",
        "/healthz",
    ] {
        let (status, ..) = ask(Method::GET, path, &[]).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    let (status, ..) = ask(Method::POST, "/", &[]).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
}
