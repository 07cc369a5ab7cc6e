//! An event's way in over HTTP and out again over every reading route, through a real RabbitMQ.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{StatusCode, header};
use crossdock_config::SourceFile;
use crossdock_engine::BrokerAddress;
use crossdock_testkit::{TestBroker, TestVhost};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::support::{Api, event, request};

const DEADLINE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// A hub with one adapter that takes parcels, ready to work.
async fn started(vhost: &TestVhost, adapter: &str) -> Api {
    let broker = BrokerAddress {
        url: vhost.broker_url.clone(),
        management_url: vhost.management_url.clone(),
        private: false,
    };
    let text = format!(
        "name = \"{adapter}\"\nsource = \"/{adapter}\"\npublishes = []\ndelivery = {{ kind = \"amqp\" }}\n\
         [[subscribe]]\ntypes = [\"parcel.*.v1\"]\n"
    );
    let api = Api::start(
        broker,
        SourceFile {
            path: format!("adapters/{adapter}.toml"),
            text,
        },
    )
    .await;
    let ready = async {
        while api.get("/readyz").await.status != StatusCode::OK {
            sleep(PAUSE).await;
        }
    };
    timeout(DEADLINE, ready).await.expect("the hub becomes ready");
    api
}

fn parcel(id: &str, source: &str) -> Value {
    event(
        json!({"id": id, "source": source, "type": "parcel.seen.v1", "correlationid": "trip-1", "data": {"price": 1}}),
    )
}

/// A stream as a client reads it.
struct Messages {
    body: BodyDataStream,
    text: String,
}

impl Messages {
    async fn open(api: &Api, path: &str, last_id: Option<&str>) -> Self {
        let mut request = request("GET", path, Some(&api.admin));
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let response = api.raw(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK);
        Self {
            body: response.into_body().into_data_stream(),
            text: String::new(),
        }
    }

    /// The next message that has data: its id, type and data.
    async fn next(&mut self) -> (String, String, Value) {
        loop {
            while let Some((message, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    message
                        .lines()
                        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                };
                let found = field("data").map(|data| {
                    let text = |name| field(name).unwrap().to_owned();
                    (text("id"), text("event"), serde_json::from_str(data).unwrap())
                });
                self.text = rest.to_owned();
                if let Some(found) = found {
                    return found;
                }
            }
            let chunk = timeout(DEADLINE, self.body.next())
                .await
                .expect("a message comes");
            self.text
                .push_str(std::str::from_utf8(&chunk.unwrap().unwrap()).unwrap());
        }
    }
}

#[tokio::test]
async fn an_event_is_streamed_found_and_accounted_for() {
    let vhost = TestBroker::vhost().await;
    let adapter = vhost.unique("parcels");
    let api = started(&vhost, &adapter).await;

    let mut watching = Messages::open(&api, "/v1/stream?type=parcel.*.v1", None).await;
    let batch = json!([
        parcel("p1", "/north"),
        event(json!({"id": "o1"})),
        parcel("p1", "/south"),
        parcel("p2", "/south")
    ]);
    let accepted = api
        .post(
            "/v1/events",
            "application/cloudevents-batch+json",
            batch.to_string(),
        )
        .await;
    assert_eq!(
        (accepted.status, accepted.body),
        (StatusCode::ACCEPTED, json!({"accepted": 4}))
    );

    let mut seen = Vec::new();
    for _ in 0..3 {
        let (offset, event_type, view) = watching.next().await;
        assert_eq!(event_type, "parcel.seen.v1");
        assert_eq!(view["offset"].to_string(), offset);
        assert_eq!(view["deliveries"][0]["adapter"], adapter.as_str());
        seen.push(offset);
    }
    let mut back = Messages::open(&api, "/v1/stream?type=parcel.*.v1&after=0", Some(&seen[1])).await;
    assert_eq!(back.next().await.0, seen[2]);

    let page = api.get("/v1/events?type=parcel.*.v1&limit=2").await;
    assert_eq!(page.body["events"].as_array().unwrap().len(), 2);
    let rest = api
        .get(&format!(
            "/v1/events?type=parcel.*.v1&limit=2&cursor={}",
            page.body["next"].as_str().unwrap()
        ))
        .await;
    assert_eq!(rest.body["events"].as_array().unwrap().len(), 1);
    assert_eq!(rest.body["next"], Value::Null);

    let ambiguous = api.get("/v1/events/p1").await;
    assert_eq!(ambiguous.problem(), (409, "ambiguous-event"));
    assert_eq!(ambiguous.body["sources"], json!(["/north", "/south"]));
    let one = api.get("/v1/events/p1?source=/south").await;
    assert_eq!(one.body["event"]["data"], json!({"price": 1}));
    let journey = api.get("/v1/journeys/trip-1").await;
    assert_eq!(journey.body["events"].as_array().unwrap().len(), 3);

    let ledger = api.get("/v1/ledger").await;
    assert_eq!(
        (&ledger.body["received"], &ledger.body["accepted"]),
        (&json!(4), &json!(4)),
        "{}",
        ledger.body
    );
    let view = api.get(&format!("/v1/adapters/{adapter}")).await;
    assert_eq!(view.body["ledger"]["matched"], 3);
    for path in [
        "/v1/adapters",
        "/v1/queues",
        "/v1/status",
        "/v1/revisions/1",
        "/v1/quarantine",
    ] {
        assert_eq!(api.get(path).await.status, StatusCode::OK, "{path}");
    }
    api.hub.stop().await;
}

#[tokio::test]
async fn credentials_rotate_with_an_overlap() {
    let vhost = TestBroker::vhost().await;
    let adapter = vhost.unique("parcels");
    let api = started(&vhost, &adapter).await;
    let api = &api;
    let post = async |action: &str| {
        let path = format!("/v1/adapters/{adapter}/{action}");
        api.post(&path, "application/json", "").await
    };

    let rotated = post("rotate").await;
    assert_eq!(rotated.status, StatusCode::OK, "{}", rotated.body);
    assert_eq!(rotated.header(header::CACHE_CONTROL), "no-store");
    let user = rotated.body["user"].as_str().unwrap().to_owned();
    let key = rotated.body["api_key"].as_str().unwrap();
    let own =
        request("POST", "/v1/events", Some(key)).header(header::CONTENT_TYPE, "application/cloudevents+json");
    let foreign = api
        .call(own.body(Body::from(parcel("p1", "/north").to_string())).unwrap())
        .await;
    assert_eq!(foreign.problem(), (403, "event-forbidden"));

    let users = api.get(&format!("/v1/adapters/{adapter}")).await.body["users"].clone();
    assert_eq!(users.as_array().unwrap().len(), 2, "{users}");
    let finished = post("rotate/finish").await;
    assert_eq!(
        finished.body["deleted_users"].as_array().unwrap().len(),
        1,
        "{}",
        finished.body
    );
    let users = api.get(&format!("/v1/adapters/{adapter}")).await.body["users"].clone();
    assert_eq!(users, json!([user]));
    api.hub.stop().await;
}
