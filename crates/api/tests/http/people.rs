//! People: sign-in, cookies, sessions in place of keys, other sites' pages.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use crossdock_engine::{NewUser, Role};
use serde_json::{Value, json};

use crate::support::{Answer, Api, request};

const PASSWORD: &str = "correct horse battery";
const SAME_ORIGIN: (&str, &str) = ("sec-fetch-site", "same-origin");

async fn with_people() -> Api {
    let api = Api::without_broker().await;
    for (name, role) in [
        ("vera", Role::Viewer),
        ("otto", Role::Operator),
        ("anna", Role::Admin),
    ] {
        let new = NewUser {
            name: name.into(),
            role,
            password: Some(PASSWORD.into()),
        };
        api.hub.add_user(new).await.unwrap();
    }
    api
}

fn json_request(method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Request<Body> {
    let request = request(method, path, None).header(header::CONTENT_TYPE, "application/json");
    let request = headers
        .iter()
        .fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(body.to_string().into()).unwrap()
}

async fn sign_in(api: &Api, name: &str, password: &str) -> Answer {
    let body = json!({ "name": name, "password": password });
    api.call(json_request("POST", "/v1/session", &[], &body)).await
}

/// The cookie header of somebody who has signed in.
async fn cookie_of(api: &Api, name: &str) -> String {
    let answer = sign_in(api, name, PASSWORD).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let (cookie, _) = answer.header(header::SET_COOKIE).split_once(';').unwrap();
    cookie.to_owned()
}

async fn as_one(api: &Api, cookie: &str, method: &str, path: &str, body: Value) -> Answer {
    let headers = [("cookie", cookie), SAME_ORIGIN];
    api.call(json_request(method, path, &headers, &body)).await
}

#[tokio::test]
async fn a_sign_in_gives_a_cookie_that_scripts_and_other_sites_never_see() {
    let api = with_people().await;
    let answer = sign_in(&api, "Vera", PASSWORD).await;
    assert_eq!(answer.status, StatusCode::OK);
    let cookie = answer.header(header::SET_COOKIE).to_owned();
    let (pair, attributes) = cookie.split_once(';').unwrap();
    assert!(pair.starts_with("crossdock_session=cds_"));
    assert_eq!(attributes, " Path=/; HttpOnly; SameSite=Strict; Max-Age=604800");
    assert_eq!(answer.header(header::CACHE_CONTROL), "no-store");
    assert_eq!(
        (&answer.body["name"], &answer.body["role"]),
        (&json!("vera"), &json!("viewer"))
    );
    assert_eq!(
        answer.body["scopes"],
        json!(["events:read", "adapters:read", "state:read"])
    );

    let shown = as_one(&api, pair, "GET", "/v1/session", json!({})).await;
    assert_eq!(shown.body, answer.body);
    let one = sign_in(&api, "vera", "another password").await;
    let other = sign_in(&api, "nobody", "another password").await;
    assert_eq!(
        (one.problem(), &one.body),
        ((401, "sign-in-refused"), &other.body)
    );
    assert!(!one.headers.contains_key(header::SET_COOKIE));
    api.hub.stop().await;
}

#[tokio::test]
async fn a_key_is_no_session_and_goes_before_one() {
    let api = with_people().await;
    assert_eq!(api.get("/v1/session").await.problem(), (401, "session-ended"));
    let none = api
        .call(request("GET", "/v1/session", None).body(Body::empty()).unwrap())
        .await;
    assert_eq!(none.problem(), (401, "session-ended"));

    let cookie = cookie_of(&api, "anna").await;
    let both = |key: &str| {
        let request = request("GET", "/v1/users", Some(key)).header(header::COOKIE, &cookie);
        request.body(Body::empty()).unwrap()
    };
    assert_eq!(
        api.call(both("cdk_wrong")).await.problem(),
        (401, "api-key-unknown")
    );
    assert_eq!(api.call(both(&api.admin)).await.status, StatusCode::OK);
    api.hub.stop().await;
}

#[tokio::test]
async fn what_changes_something_has_to_come_from_the_hubs_own_pages() {
    let api = with_people().await;
    let cookie = cookie_of(&api, "anna").await;
    let new = json!({ "name": "carla", "role": "viewer" });
    let refused: [&[(&str, &str)]; 6] = [
        &[],
        &[("sec-fetch-site", "cross-site")],
        &[
            ("sec-fetch-site", "same-site"),
            ("origin", "http://hub:8080"),
            ("host", "hub:8080"),
        ],
        &[("origin", "http://hub:3000"), ("host", "hub:8080")],
        &[("origin", "null"), ("host", "hub:8080")],
        &[("host", "hub:8080")],
    ];
    for from in refused {
        let headers = [from, &[("cookie", cookie.as_str())]].concat();
        for (method, path) in [
            ("POST", "/v1/users"),
            ("DELETE", "/v1/session"),
            ("DELETE", "/v1/users/vera"),
        ] {
            let answer = api.call(json_request(method, path, &headers, &new)).await;
            assert_eq!(
                answer.problem(),
                (403, "cross-origin"),
                "{method} {path} {from:?}"
            );
        }
    }
    let from_elsewhere = [("sec-fetch-site", "cross-site")];
    let body = json!({ "name": "anna", "password": PASSWORD });
    let answer = api
        .call(json_request("POST", "/v1/session", &from_elsewhere, &body))
        .await;
    assert_eq!(answer.problem(), (403, "cross-origin"));

    let own = [
        ("origin", "http://hub:8080"),
        ("host", "hub:8080"),
        ("cookie", cookie.as_str()),
    ];
    let added = api.call(json_request("POST", "/v1/users", &own, &new)).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.body);
    let made = added.body["password"].as_str().unwrap();
    assert_eq!(sign_in(&api, "carla", made).await.status, StatusCode::OK);
    api.hub.stop().await;
}

#[tokio::test]
async fn sessions_end_by_signing_out_and_by_a_new_password() {
    let api = with_people().await;
    let (one, other) = (cookie_of(&api, "otto").await, cookie_of(&api, "otto").await);
    let holds =
        async |cookie: &str| as_one(&api, cookie, "GET", "/v1/session", json!({})).await.status == 200;

    let body = json!({ "current": "no idea at all", "new": "staple in the stable" });
    let wrong = as_one(&api, &one, "PUT", "/v1/session/password", body).await;
    assert_eq!(wrong.problem(), (403, "wrong-password"));
    let body = json!({ "current": PASSWORD, "new": "short" });
    let short = as_one(&api, &one, "PUT", "/v1/session/password", body).await;
    assert_eq!(short.problem(), (422, "invalid-request"));
    assert!(holds(&one).await && holds(&other).await);
    let body = json!({ "current": PASSWORD, "new": "staple in the stable" });
    let changed = as_one(&api, &one, "PUT", "/v1/session/password", body).await;
    assert_eq!(changed.status, StatusCode::NO_CONTENT, "{}", changed.body);
    assert!(holds(&one).await && !holds(&other).await);

    let out = as_one(&api, &one, "DELETE", "/v1/session", json!({})).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert!(out.header(header::SET_COOKIE).starts_with("crossdock_session=; "));
    assert!(out.header(header::SET_COOKIE).contains("Max-Age=0"));
    assert!(!holds(&one).await);
    let again = as_one(&api, &one, "GET", "/v1/status", json!({})).await;
    assert_eq!(again.problem(), (401, "session-ended"));
    api.hub.stop().await;
}

#[tokio::test]
async fn signing_out_everywhere_and_another_role_hold_at_once() {
    let api = with_people().await;
    let (one, other) = (cookie_of(&api, "vera").await, cookie_of(&api, "vera").await);
    let anna = cookie_of(&api, "anna").await;
    let path = "/v1/dead-letters/1.erp/redrive";
    assert_eq!(
        as_one(&api, &one, "POST", path, json!({})).await.problem(),
        (403, "scope-missing")
    );
    let body = json!({ "role": "operator" });
    let changed = as_one(&api, &anna, "PATCH", "/v1/users/VERA", body).await;
    assert_eq!(
        (changed.status, &changed.body["role"]),
        (StatusCode::OK, &json!("operator"))
    );
    assert_ne!(
        as_one(&api, &one, "POST", path, json!({})).await.status,
        StatusCode::FORBIDDEN
    );

    let out = as_one(&api, &one, "DELETE", "/v1/session?everywhere=true", json!({})).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    for cookie in [&one, &other] {
        let shown = as_one(&api, cookie, "GET", "/v1/session", json!({})).await;
        assert_eq!(shown.problem(), (401, "session-ended"));
    }
    for (method, path, body, expected) in [
        ("DELETE", "/v1/users/anna", json!({}), (409, "conflict")),
        (
            "PATCH",
            "/v1/users/anna",
            json!({ "role": "viewer" }),
            (409, "conflict"),
        ),
        ("PATCH", "/v1/users/anna", json!({}), (422, "invalid-request")),
        (
            "PATCH",
            "/v1/users/nobody",
            json!({ "role": "viewer" }),
            (404, "not-found"),
        ),
        ("DELETE", "/v1/users/nobody", json!({}), (404, "not-found")),
        (
            "POST",
            "/v1/users",
            json!({ "name": "a b", "role": "viewer" }),
            (422, "invalid-request"),
        ),
        (
            "POST",
            "/v1/users",
            json!({ "name": "Vera", "role": "viewer" }),
            (409, "conflict"),
        ),
        (
            "POST",
            "/v1/users",
            json!({ "name": "ben", "role": "king" }),
            (400, "malformed-request"),
        ),
    ] {
        let answer = as_one(&api, &anna, method, path, body).await;
        assert_eq!(answer.problem(), expected, "{method} {path}");
    }
    let gone = as_one(&api, &anna, "DELETE", "/v1/users/vera", json!({})).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    api.hub.stop().await;
}

#[tokio::test]
async fn too_many_failures_say_when_to_come_back() {
    let api = with_people().await;
    for _ in 0..5 {
        let refused = sign_in(&api, "otto", "no idea at all").await;
        assert_eq!(refused.problem(), (401, "sign-in-refused"));
    }
    let early = sign_in(&api, "otto", PASSWORD).await;
    assert_eq!(early.problem(), (429, "too-many-sign-ins"));
    assert_eq!(early.header(header::RETRY_AFTER), "1");
    assert_eq!(sign_in(&api, "vera", PASSWORD).await.status, StatusCode::OK);
    api.hub.stop().await;
}
