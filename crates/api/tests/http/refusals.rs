//! What is refused, and how, while RabbitMQ is away.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Response, StatusCode, header};
use crossdock_engine::Scope;
use futures::StreamExt;
use serde_json::json;

use crate::support::{Api, MANIFEST, empty, event, request};

/// Every operation that needs a key: method, path with values, scope.
fn guarded() -> Vec<(String, String, Scope)> {
    let description = serde_json::to_value(crossdock_api::description()).unwrap();
    let mut operations = Vec::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let requirements = operation["security"].as_array().unwrap();
            if let Some(scope) = requirements
                .iter()
                .find_map(|requirement| requirement["api_key"][0].as_str())
            {
                let path = ["{id}", "{name}", "{key}", "{number}", "{topic}"]
                    .iter()
                    .fold(path.clone(), |path, name| path.replace(name, "1"));
                operations.push((method.to_uppercase(), path, scope.parse().unwrap()));
            }
        }
    }
    operations
}

#[tokio::test]
async fn every_guarded_operation_refuses_who_has_no_key_or_not_the_scope() {
    let api = Api::without_broker().await;
    let operations = guarded();
    assert!(operations.len() >= 20);
    for (method, path, scope) in operations {
        let none = api.call(empty(&method, &path, None)).await;
        assert_eq!(none.problem(), (401, "api-key-missing"), "{method} {path}");
        assert_eq!(
            none.header(header::WWW_AUTHENTICATE),
            "Bearer realm=\"crossdock\""
        );

        let wrong = format!("{}x", &api.admin[..api.admin.len() - 1]);
        let unknown = api.call(empty(&method, &path, Some(&wrong))).await;
        assert_eq!(unknown.problem(), (401, "api-key-unknown"), "{method} {path}");
        assert!(unknown.header(header::WWW_AUTHENTICATE).contains("invalid_token"));

        let others: Vec<_> = Scope::ALL
            .into_iter()
            .filter(|other| ![scope, Scope::Admin].contains(other))
            .collect();
        let lacking = api
            .call(empty(&method, &path, Some(&api.key(&others).await)))
            .await;
        assert_eq!(lacking.problem(), (403, "scope-missing"), "{method} {path}");
        assert_eq!(lacking.body["scope"], scope.to_string());
        assert!(
            lacking
                .header(header::WWW_AUTHENTICATE)
                .contains("insufficient_scope")
        );

        let right = api
            .raw(empty(&method, &path, Some(&api.key(&[scope]).await)))
            .await;
        assert!(
            ![401, 403].contains(&right.status().as_u16()),
            "{method} {path}: {}",
            right.status()
        );
    }
    api.hub.stop().await;
}

#[tokio::test]
async fn events_that_cannot_be_taken_are_refused_with_the_reason() {
    let api = Api::without_broker().await;
    let send = |content_type: &'static str, body: String| api.post("/v1/events", content_type, body);
    let structured = |changes| event(changes).to_string();

    let refused = send("application/json", structured(json!({}))).await;
    assert_eq!(refused.problem(), (415, "unsupported-media-type"));
    assert_eq!(refused.body["supported"].as_array().unwrap().len(), 3);

    let refused = send(
        "application/cloudevents+json",
        structured(json!({"time": "yesterday", "id": ""})),
    )
    .await;
    assert_eq!(refused.problem(), (400, "invalid-event"));
    let pointers: Vec<_> = refused.body["faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| &fault["pointer"])
        .collect();
    assert!(
        pointers.contains(&&json!("/time")) && pointers.contains(&&json!("/id")),
        "{pointers:?}"
    );

    let refused = send(
        "application/cloudevents+json",
        structured(json!({"type": "order.placed.v1", "data": {}})),
    )
    .await;
    assert_eq!(refused.problem(), (422, "event-not-accepted"));
    assert!(
        refused.body["faults"][0]["pointer"]
            .as_str()
            .unwrap()
            .starts_with("/data"),
        "{}",
        refused.body
    );

    let batch = json!([
        event(json!({})),
        event(json!({"type": "order.placed.v1", "data": {}}))
    ])
    .to_string();
    let refused = send("application/cloudevents-batch+json", batch).await;
    assert_eq!(refused.problem(), (422, "event-not-accepted"));
    assert!(
        refused.body["faults"][0]["pointer"]
            .as_str()
            .unwrap()
            .starts_with("/1/data"),
        "{}",
        refused.body
    );

    let refused = send(
        "application/cloudevents+json",
        structured(json!({"source": "/erp"})),
    )
    .await;
    assert_eq!(refused.problem(), (403, "event-forbidden"));

    let refused = send(
        "application/cloudevents-batch+json",
        " ".repeat(8 * 1024 * 1024 + 1),
    )
    .await;
    assert_eq!(refused.problem(), (413, "too-large"));
    assert_eq!(
        refused.body["limit"],
        json!({"name": "batch_bytes", "maximum": 8 * 1024 * 1024})
    );

    let binary = request("POST", "/v1/events", Some(&api.admin)).header("ce-specversion", "1.0");
    let refused = api
        .call(
            binary
                .header("ce-id", "1")
                .header("ce-id", "2")
                .body(Body::empty())
                .unwrap(),
        )
        .await;
    assert_eq!(refused.problem(), (400, "invalid-event"));
    api.hub.stop().await;
}

#[tokio::test]
async fn a_good_event_waits_for_rabbitmq_and_an_empty_batch_for_nothing() {
    let api = Api::without_broker().await;
    let away = api
        .post(
            "/v1/events",
            "application/cloudevents+json",
            event(json!({})).to_string(),
        )
        .await;
    assert_eq!(away.problem(), (503, "unavailable"));
    assert!(away.header(header::RETRY_AFTER).parse::<u32>().unwrap() > 0);
    let accepted = api
        .post("/v1/events", "application/cloudevents-batch+json", "[]")
        .await;
    assert_eq!(
        (accepted.status, accepted.body),
        (StatusCode::ACCEPTED, json!({"accepted": 0}))
    );
    let ready = api.get("/readyz").await;
    assert_eq!(ready.problem(), (503, "not-ready"));
    assert!(
        ready.body["checks"]
            .as_array()
            .unwrap()
            .iter()
            .any(|check| check["name"] == "rabbitmq"),
        "{}",
        ready.body
    );
    assert_eq!(api.get("/healthz").await.body, json!({"status": "alive"}));
    api.hub.stop().await;
}

#[tokio::test]
async fn lookups_say_what_is_not_there_and_what_they_do_not_understand() {
    let api = Api::without_broker().await;
    let none = api
        .get("/v1/events?type=order.*.v1&since=2026-01-01T00:00:00Z&limit=200")
        .await;
    assert_eq!(none.body, json!({"events": [], "next": null}));
    assert_eq!(none.header(header::CACHE_CONTROL), "no-store");
    for path in [
        "/v1/events/a%2Fb",
        "/v1/journeys/shop%3A1",
        "/v1/adapters/nobody",
        "/v1/quarantine/7",
        "/v1/revisions/9",
    ] {
        assert_eq!(api.get(path).await.problem(), (404, "not-found"), "{path}");
    }
    for path in [
        "/v1/events?typ=x",
        "/v1/events?limit=0",
        "/v1/events?limit=201",
        "/v1/events?since=yesterday",
        "/v1/events/%FF",
        "/v1/quarantine/x",
        "/v1/quarantine?cursor=x",
        "/v1/stream?after=-1",
        "/v1/stream?type=order..v1",
    ] {
        assert_eq!(
            api.get(path).await.problem(),
            (400, "malformed-request"),
            "{path}"
        );
    }
    let time = api.get("/v1/events?since=yesterday").await;
    assert_eq!(
        time.body["detail"],
        "the query cannot be read: since: expected an RFC 3339 time, such as 2026-01-31T12:00:00Z"
    );
    for path in ["/v1/events/a%00b", "/v1/journeys/a%00b"] {
        assert_eq!(api.get(path).await.problem(), (404, "not-found"), "{path}");
    }
    let long = format!("/v1/events/{}", "x".repeat(32 * 1024));
    let unheard = api.get(&long).await;
    assert_eq!(unheard.problem(), (404, "not-found"));
    assert!(unheard.body["detail"].as_str().unwrap().len() < 100);
    let none = api.get("/v1/events?source=a%00b&subject=x").await;
    assert_eq!(none.body, json!({"events": [], "next": null}));
    assert_eq!(api.get("/v1/nothing").await.problem(), (404, "not-found"));
    let wrong_method = api.call(empty("PUT", "/v1/events", None)).await;
    assert_eq!(wrong_method.problem(), (405, "method-not-allowed"));
    assert!(wrong_method.header(header::ALLOW).contains("POST"));
    api.hub.stop().await;
}

#[tokio::test]
async fn an_api_key_lives_from_its_creation_to_its_revocation() {
    let api = Api::without_broker().await;
    let made = api
        .post_json(
            "/v1/api-keys",
            json!({"name": "reader", "scopes": ["events:read"]}),
        )
        .await;
    assert_eq!(made.status, StatusCode::CREATED);
    let (key, path) = (
        made.body["key"].as_str().unwrap().to_owned(),
        made.header(header::LOCATION).to_owned(),
    );
    assert!(key.starts_with("cdk_"));

    assert_eq!(
        api.call(empty("GET", "/v1/events", Some(&key))).await.status,
        StatusCode::OK
    );
    let list = api.get("/v1/api-keys").await;
    assert!(
        list.body["api_keys"]
            .as_array()
            .unwrap()
            .iter()
            .any(|view| view["id"] == made.body["id"])
    );
    assert!(!list.body.to_string().contains(&key));

    let revoke = || api.call(empty("DELETE", &path, Some(&api.admin)));
    assert_eq!(revoke().await.status, StatusCode::NO_CONTENT);
    assert_eq!(
        api.call(empty("GET", "/v1/events", Some(&key))).await.problem(),
        (401, "api-key-revoked")
    );
    let unknown = api
        .call(empty("DELETE", "/v1/api-keys/none", Some(&api.admin)))
        .await;
    assert_eq!(unknown.problem(), (404, "not-found"));

    for (body, expected) in [
        (
            json!({"name": "x", "scopes": ["everything"]}),
            (400, "malformed-request"),
        ),
        (json!({"name": "x", "scopes": []}), (422, "invalid-request")),
        (
            json!({"name": "x", "scopes": ["admin"], "expires": "2001-01-01T00:00:00Z"}),
            (422, "invalid-request"),
        ),
    ] {
        assert_eq!(api.post_json("/v1/api-keys", body).await.problem(), expected);
    }
    assert_eq!(
        api.post("/v1/api-keys", "text/plain", "{}").await.problem(),
        (415, "unsupported-media-type")
    );
    api.hub.stop().await;
}

#[tokio::test]
async fn a_faulty_configuration_is_refused_with_every_place() {
    let api = Api::without_broker().await;
    let current = api.get("/v1/revisions/current").await;
    assert_eq!(current.body["number"], 1);
    let text = format!("{MANIFEST}\nnonsense = 1\n");
    let files = json!([{"path": "adapters/erp.toml", "text": text}]);
    let faulty = api
        .post_json("/v1/revisions", json!({"files": files, "dry_run": true}))
        .await;
    assert_eq!(faulty.problem(), (422, "configuration-faults"));
    let fault = &faulty.body["faults"][0];
    assert_eq!(fault["file"], "adapters/erp.toml");
    assert!(
        fault["line"].as_u64().unwrap() > 1 && fault["column"].as_u64().unwrap() >= 1,
        "{fault}"
    );
    assert_eq!(
        api.get("/v1/revisions").await.body["revisions"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    api.hub.stop().await;
}

#[tokio::test]
async fn metrics_are_open_to_this_machine_alone() {
    let api = Api::without_broker().await;
    let from = |peer: &str, forwarded: Option<&str>, key: Option<&str>| {
        let mut request = request("GET", "/metrics", key);
        if let Some(forwarded) = forwarded {
            request = request.header("x-forwarded-for", forwarded);
        }
        let peer: SocketAddr = peer.parse().unwrap();
        api.raw(request.extension(ConnectInfo(peer)).body(Body::empty()).unwrap())
    };
    assert_eq!(from("127.0.0.1:1", None, None).await.status(), StatusCode::OK);
    assert_eq!(
        from("127.0.0.1:1", Some("127.0.0.1"), None).await.status(),
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        from("10.0.0.1:1", Some("127.0.0.1"), None).await.status(),
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        from("192.0.2.1:1", None, None).await.status(),
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        from("192.0.2.1:1", None, Some(&api.admin)).await.status(),
        StatusCode::OK
    );
    api.hub.stop().await;
}

#[tokio::test]
async fn streams_are_counted_for_each_caller_and_end_with_the_server() {
    let api = Api::without_broker().await;
    let open = |key: &str| api.raw(empty("GET", "/v1/stream?after=0", Some(key)));
    let refused = |answer: &Response<Body>| {
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers().contains_key(header::RETRY_AFTER));
    };
    let mut streams = Vec::new();
    let mut key = api.admin.clone();
    for number in 0..100 {
        if number > 0 && number % 16 == 0 {
            refused(&open(&key).await);
            key = api.key(&[Scope::EventsRead]).await;
        }
        let stream = open(&key).await;
        assert_eq!(stream.status(), StatusCode::OK);
        assert_eq!(stream.headers()[header::CONTENT_TYPE], "text/event-stream");
        streams.push(stream.into_body().into_data_stream());
    }
    refused(&open(&api.key(&[Scope::EventsRead]).await).await);
    let first = streams[0].next().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("retry: 2000"));

    api.stop.cancel();
    for mut stream in streams {
        let end = tokio::time::timeout(Duration::from_secs(20), async {
            while stream.next().await.is_some() {}
        });
        end.await.expect("a stream ends when the server stops");
    }
    assert_eq!(
        open(&api.admin).await.status(),
        StatusCode::OK,
        "ended streams free their places"
    );
    api.hub.stop().await;
}

#[tokio::test]
async fn the_documentation_is_open_and_comes_from_here() {
    let api = Api::without_broker().await;
    let get = |path: &'static str| api.call(empty("GET", path, None));
    let described = get("/v1/openapi.json").await;
    assert_eq!(described.body["openapi"], "3.1.0");
    let pages = get("/docs/").await;
    assert_eq!(pages.status, StatusCode::OK);
    assert!(!pages.body.as_str().unwrap().contains("://"), "{}", pages.body);
    let setup = get("/docs/swagger-initializer.js").await;
    assert!(setup.body.as_str().unwrap().contains("/v1/openapi.json"));
    let catalogue = get("/problems").await;
    for problem in catalogue.body["problems"].as_array().unwrap() {
        let path: String = problem["type"].as_str().unwrap().into();
        let one = api.call(empty("GET", &path, None)).await;
        assert_eq!(one.body, *problem);
    }
    api.hub.stop().await;
}

#[tokio::test]
async fn a_state_is_asked_for_by_the_name_of_its_topic() {
    let api = Api::without_broker().await;
    for (path, problem, says) in [
        (
            "/v1/state/state/order/R-1",
            (404, "no-state"),
            "the topic \"state/order/R-1\" has no state",
        ),
        (
            "/v1/state/state/order/+",
            (400, "malformed-request"),
            "the topic has a wildcard",
        ),
        (
            "/v1/state/stock/%23",
            (400, "malformed-request"),
            "the topic has a wildcard",
        ),
        (
            "/v1/state/a%00b",
            (400, "malformed-request"),
            "the topic holds the character U+0000",
        ),
        ("/v1/state/a%ffb", (400, "malformed-request"), "Invalid UTF-8"),
        ("/v1/state/", (404, "not-found"), "there is no route"),
        ("/v1/state", (404, "not-found"), "there is no route"),
    ] {
        let answer = api.get(path).await;
        assert_eq!(answer.problem(), problem, "{path}");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains(says), "{path}: {detail}");
    }
    let deep = format!("/v1/state/{}", ["a"; 65].join("/"));
    assert_eq!(api.get(&deep).await.problem(), (400, "malformed-request"));
}
