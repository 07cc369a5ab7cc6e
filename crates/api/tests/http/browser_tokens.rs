//! Browser tokens as a backend gets them, and what ends them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use axum::http::{StatusCode, header};
use crossdock_engine::{Grants, LoginError, MqttView, Scope, TokenFault};
use serde_json::{Value, json};

use crate::support::{Answer, Api, empty, request};

const PATH: &str = "/v1/browser-tokens";

/// A key that may mint for `state/order/#`, with its id.
async fn backend(api: &Api) -> (String, String) {
    let body = json!({"name": "storefront", "scopes": ["browser-tokens:write"], "topics": ["state/order/#"]});
    let made = api.post_json("/v1/api-keys", body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    assert_eq!(made.body["topics"], json!(["state/order/#"]));
    let text = |member: &str| made.body[member].as_str().unwrap().to_owned();
    (text("key"), text("id"))
}

async fn mint(api: &Api, key: &str, body: Value) -> Answer {
    let request = request("POST", PATH, Some(key)).header(header::CONTENT_TYPE, "application/json");
    api.call(request.body(body.to_string().into()).unwrap()).await
}

async fn minted(api: &Api, key: &str, subject: &str) -> Value {
    let body = json!({"topics": ["state/order/1"], "subject": subject, "expires_in_s": 60});
    let answer = mint(api, key, body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    assert_eq!(answer.header(header::CACHE_CONTROL), "no-store");
    answer.body
}

async fn log_in(api: &Api, token: &Value) -> Result<Grants, LoginError> {
    let from = "192.0.2.1".parse().unwrap();
    api.hub
        .log_in_browser(token["token"].as_str().unwrap(), from)
        .await
}

async fn delete(api: &Api, path: &str, key: &str) -> StatusCode {
    api.call(empty("DELETE", path, Some(key))).await.status
}

#[tokio::test]
async fn a_backend_gets_what_a_page_needs_to_connect() {
    let api = Api::without_broker().await;
    let (key, id) = backend(&api).await;
    let token = minted(&api, &key, "customer-42").await;
    assert_eq!(token["url"], "ws://127.0.0.1:8080/mqtt");
    for member in ["client_id", "expires_at", "id"] {
        assert!(!token[member].as_str().unwrap().is_empty(), "{member}");
    }
    let grants = log_in(&api, &token).await.unwrap();
    assert_eq!(grants.principal(), format!("key:{id}/customer-42"));
    let listed = api.get("/v1/api-keys").await;
    assert!(!listed.body.to_string().contains(token["token"].as_str().unwrap()));
}

#[tokio::test]
async fn what_is_not_granted_or_makes_no_sense_is_said_by_place() {
    let api = Api::without_broker().await;
    let (key, _) = backend(&api).await;
    let with = |topics: Value| json!({"topics": topics, "subject": "customer-42"});
    for (body, problem, pointer, says) in [
        (
            with(json!(["state/order/1", "state/#"])),
            (403, "topics-not-granted"),
            "/topics/1",
            "the topic filter \"state/#\" is not granted: this API key may grant what lies wholly within state/order/#",
        ),
        (
            with(json!(["$SYS/#"])),
            (422, "invalid-request"),
            "/topics/0",
            "begins with $",
        ),
        (
            with(json!([])),
            (422, "invalid-request"),
            "/topics",
            "expected 1 to 50",
        ),
        (
            json!({"topics": ["state/order/1"], "subject": "a", "expires_in_s": 7_200}),
            (422, "invalid-request"),
            "/expires_in_s",
            "from 1 to 3600",
        ),
    ] {
        let refused = mint(&api, &key, body).await;
        assert_eq!(refused.problem(), problem);
        assert_eq!(refused.body["faults"][0]["pointer"], pointer);
        assert!(
            refused.body["detail"].as_str().unwrap().contains(says),
            "{}",
            refused.body
        );
    }
    for body in [
        json!({"topics": ["a"]}),
        json!({"topics": "a", "subject": "a"}),
        json!({"topics": ["a"], "subject": "a", "publish": ["b"]}),
    ] {
        assert_eq!(mint(&api, &key, body).await.problem(), (400, "malformed-request"));
    }
    // Scopes alone grant no topics, not even an administrator's.
    let nothing = mint(&api, &api.admin, with(json!(["state/order/1"]))).await;
    assert_eq!(nothing.problem(), (403, "topics-not-granted"));
}

#[tokio::test]
async fn tokens_end_by_id_by_subject_and_with_their_key() {
    let api = Api::without_broker().await;
    let ((key, id), (other, _)) = (backend(&api).await, backend(&api).await);
    let refused = Err(LoginError::Refused(TokenFault::Revoked));
    let state = async |token: &Value| log_in(&api, token).await.map(drop);

    let (first, second) = (minted(&api, &key, "a").await, minted(&api, &key, "a").await);
    let live = log_in(&api, &first).await.unwrap();
    let mut changes = api.hub.token_changes();
    let path = format!("{PATH}/{}", first["id"].as_str().unwrap());
    assert_eq!(delete(&api, &path, &key).await, StatusCode::NO_CONTENT);
    assert!(changes.has_changed().unwrap() && live.revoked());
    changes.mark_unchanged();
    assert_eq!((state(&first).await, state(&second).await), (refused, Ok(())));

    let others = minted(&api, &other, "a").await;
    assert_eq!(
        delete(&api, &format!("{PATH}?subject=a"), &key).await,
        StatusCode::NO_CONTENT
    );
    assert_eq!((state(&second).await, state(&others).await), (refused, Ok(())));
    let early = mint(&api, &key, json!({"topics": ["state/order/1"], "subject": "a"})).await;
    assert_eq!(early.problem(), (409, "conflict"));
    assert_eq!(
        delete(&api, &format!("{PATH}?subject=a"), &api.admin).await,
        StatusCode::NO_CONTENT
    );
    assert_eq!(state(&others).await, refused);

    let last = minted(&api, &key, "b").await;
    let live = log_in(&api, &last).await.unwrap();
    changes.mark_unchanged();
    assert_eq!(
        delete(&api, &format!("/v1/api-keys/{id}"), &api.admin).await,
        StatusCode::NO_CONTENT
    );
    assert!(changes.has_changed().unwrap() && live.revoked());
    assert_eq!(state(&last).await, refused);

    for path in [format!("{PATH}?subject="), format!("{PATH}/{}", "x".repeat(256))] {
        let nobody = api.call(empty("DELETE", &path, Some(&other))).await;
        assert_eq!(nobody.problem(), (422, "invalid-request"));
    }
}

#[tokio::test]
async fn pages_that_do_not_get_in_want_attention_while_nobody_is_connected() {
    let api = Api::without_broker().await;
    let clients = Arc::new(AtomicU64::new(0));
    let here = clients.clone();
    api.hub.show_mqtt(move || MqttView {
        clients: here.load(Relaxed),
        ..MqttView::default()
    });
    let wanted = async || {
        let attention = api.get("/v1/overview").await.body["attention"].clone();
        let mut subjects = attention.as_array().unwrap().iter().map(|one| &one["subject"]);
        subjects.any(|subject| subject == "mqtt")
    };
    let (key, _) = backend(&api).await;
    let token = minted(&api, &key, "a").await["token"].clone();
    let token = token.as_str().unwrap();
    delete(&api, &format!("{PATH}?subject=a"), &key).await;
    for _ in 0..20 {
        let read = api
            .call(empty("GET", "/v1/state/state/order/1", Some(token)))
            .await;
        assert_eq!(read.status, StatusCode::UNAUTHORIZED);
    }
    assert!(!wanted().await, "it reads, and does not connect");
    for _ in 0..20 {
        let login = api.hub.connect_browser(token, [192, 0, 2, 1].into()).await;
        assert!(login.is_err());
    }
    assert!(wanted().await);
    clients.store(1, Relaxed);
    assert!(!wanted().await, "others are in");
}

#[tokio::test]
async fn other_signing_keys_end_what_was_signed_only_where_that_is_asked_for() {
    let api = Api::without_broker().await;
    let (key, _) = backend(&api).await;
    let rotate = async |body: Value| {
        let answer = api.post_json("/v1/browser-tokens/rotation", body).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.body);
    };
    let first = minted(&api, &key, "a").await;
    rotate(json!({})).await;
    let second = minted(&api, &key, "a").await;
    for token in [&first, &second] {
        log_in(&api, token).await.unwrap();
    }
    rotate(json!({"end_tokens": true})).await;
    let third = minted(&api, &key, "a").await;
    for token in [&first, &second] {
        assert!(log_in(&api, token).await.is_err());
    }
    log_in(&api, &third).await.unwrap();
}

#[tokio::test]
async fn topics_and_the_scope_go_together() {
    let api = Api::without_broker().await;
    let mints = Scope::BrowserTokensWrite.as_str();
    for (scopes, topics, says) in [
        (json!([mints]), json!([]), "needs topics"),
        (
            json!(["events:read"]),
            json!(["state/#"]),
            "needs the scope browser-tokens:write",
        ),
        (
            json!([mints]),
            json!(["state/#/x"]),
            "the topic filter \"state/#/x\"",
        ),
        (json!([mints]), json!(["$share/a/state/#"]), "begins with $"),
        (json!([mints]), json!(["x".repeat(1_025)]), "at most 1024"),
        (json!([mints]), json!(vec!["a"; 51]), "expected at most 50"),
    ] {
        let body = json!({"name": "storefront", "scopes": scopes, "topics": topics});
        let refused = api.post_json("/v1/api-keys", body).await;
        assert_eq!(refused.problem(), (422, "invalid-request"));
        assert!(
            refused.body["detail"].as_str().unwrap().contains(says),
            "{}",
            refused.body
        );
    }
}

#[tokio::test]
async fn a_page_reads_the_topics_of_its_token_and_is_told_no_more() {
    let api = Api::without_broker().await;
    let (key, _) = backend(&api).await;
    let token = minted(&api, &key, "a").await;
    let text = token["token"].as_str().unwrap();
    let read = async |topic: &str, token: &str| {
        api.call(empty("GET", &format!("/v1/state/{topic}"), Some(token)))
            .await
    };
    assert_eq!(read("state/order/1", text).await.problem(), (404, "no-state"));
    for topic in ["state/order/2", "state/order/1/", "State/order/1", "$SYS/uptime"] {
        assert_eq!(
            read(topic, text).await.problem(),
            (403, "topic-forbidden"),
            "{topic}"
        );
    }
    let wildcard = read("state/order/%2B", text).await;
    assert_eq!(wildcard.problem(), (400, "malformed-request"));

    // A browser token is no API key.
    let elsewhere = api.call(empty("GET", "/v1/events", Some(&text[..200]))).await;
    assert_eq!(elsewhere.problem(), (401, "api-key-unknown"));

    let path = format!("{PATH}/{}", token["id"].as_str().unwrap());
    assert_eq!(delete(&api, &path, &key).await, StatusCode::NO_CONTENT);
    for dead in [text, "a.b.c", "."] {
        let refused = read("state/order/1", dead).await;
        assert_eq!(refused.problem(), (401, "browser-token-refused"));
        assert_eq!(refused.body["detail"], "this browser token opens nothing");
        assert!(refused.header(header::WWW_AUTHENTICATE).contains("invalid_token"));
    }
    for _ in 0..40 {
        read("state/order/1", "a.b.c").await;
    }
    let held_up = read("state/order/1", "a.b.c").await;
    assert_eq!(held_up.problem(), (429, "too-many-sign-ins"));
    assert!(held_up.body["retry_after_s"].as_u64().unwrap() >= 1);
    let good = minted(&api, &key, "b").await;
    let passes = read("state/order/1", good["token"].as_str().unwrap()).await;
    assert_eq!(passes.problem(), (404, "no-state"));
}
