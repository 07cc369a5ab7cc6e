//! A hub behind the routes, and requests to them.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::Response;
use crossdock_api::{ApiState, router};
use crossdock_config::{Retention, SourceFile};
use crossdock_engine::{BrokerAddress, Hub, HubOptions, NewKey, Scope, outbound::Outbound};
use crossdock_model::SystemClock;
use crossdock_testkit::database;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub(crate) const MANIFEST: &str = r#"
name = "erp"
source = "/erp"
publishes = ["order.numbered.v1"]
delivery = { kind = "amqp" }

[[subscribe]]
types = ["order.placed.v1"]
"#;

pub(crate) struct Api {
    router: Router,
    pub(crate) hub: Hub,
    pub(crate) stop: CancellationToken,
    pub(crate) admin: String,
    _folder: tempfile::TempDir,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Api {
    /// A hub whose RabbitMQ never comes.
    pub(crate) async fn without_broker() -> Self {
        let nowhere = BrokerAddress {
            url: "amqp://nobody:secret@127.0.0.1:1/%2f".into(),
            management_url: "http://127.0.0.1:1".into(),
            private: false,
        };
        let manifest = SourceFile {
            path: "adapters/erp.toml".into(),
            text: MANIFEST.into(),
        };
        Self::start(nowhere, manifest).await
    }

    /// A hub with one adapter on `broker`.
    pub(crate) async fn start(broker: BrokerAddress, manifest: SourceFile) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let hub = Hub::start(HubOptions {
            broker,
            public_url: "http://127.0.0.1:8080".into(),
            store: database(folder.path()).await,
            clock: Arc::new(SystemClock),
            data_dir: folder.path().to_owned(),
            config_files: vec![manifest],
            host: "here".into(),
            token_issuers: Vec::new(),
            retention: Retention::default(),
            outbound: Outbound::new(Vec::new()).unwrap(),
            variable: |_| None,
        })
        .await
        .unwrap();
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let stop = CancellationToken::new();
        let state = ApiState::new(
            hub.clone(),
            metrics,
            vec!["10.0.0.0/8".parse().unwrap()],
            stop.clone(),
        );
        let mut api = Self {
            router: router(
                state,
                &["https://shop.example.com".to_owned()],
                axum::Router::new(),
            ),
            hub,
            stop,
            admin: String::new(),
            _folder: folder,
        };
        api.admin = api.key(&[Scope::Admin]).await;
        api
    }

    pub(crate) async fn key(&self, scopes: &[Scope]) -> String {
        let key = NewKey {
            name: "test".into(),
            scopes: scopes.to_vec(),
            topics: match scopes.contains(&Scope::BrowserTokensWrite) {
                true => vec!["state/order/#".into()],
                false => Vec::new(),
            },
            adapter: None,
            expires: None,
        };
        self.hub.add_key(key).await.unwrap().1
    }

    pub(crate) async fn raw(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn call(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.raw(request).await.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into());
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(
            request("GET", path, Some(&self.admin))
                .body(Body::empty())
                .unwrap(),
        )
        .await
    }

    pub(crate) async fn post(&self, path: &str, content_type: &str, body: impl Into<Body>) -> Answer {
        let request = request("POST", path, Some(&self.admin)).header(header::CONTENT_TYPE, content_type);
        self.call(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn post_json(&self, path: &str, body: Value) -> Answer {
        self.post(path, "application/json", body.to_string()).await
    }
}

impl Answer {
    pub(crate) fn problem(&self) -> (u16, &str) {
        assert_eq!(
            self.headers[header::CONTENT_TYPE],
            "application/problem+json",
            "{}",
            self.body
        );
        assert_eq!(self.body["status"], self.status.as_u16());
        let slug = self.body["type"]
            .as_str()
            .unwrap()
            .strip_prefix("/problems/")
            .unwrap();
        (self.status.as_u16(), slug)
    }

    pub(crate) fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).unwrap().to_str().unwrap()
    }
}

pub(crate) fn request(method: &str, path: &str, key: Option<&str>) -> axum::http::request::Builder {
    let request = Request::builder().method(method).uri(path);
    match key {
        Some(key) => request.header(header::AUTHORIZATION, format!("Bearer {key}")),
        None => request,
    }
}

pub(crate) fn empty(method: &str, path: &str, key: Option<&str>) -> Request<Body> {
    request(method, path, key).body(Body::empty()).unwrap()
}

pub(crate) fn event(changes: Value) -> Value {
    let mut event = json!({
        "specversion": "1.0", "id": "1", "source": "/visitor", "type": "order.shipped.v9", "data": {"any": "thing"}
    });
    for (name, value) in changes.as_object().unwrap() {
        event[name] = value.clone();
    }
    event
}
