//! What these tests share: a hall with a hub in it, adapters as their processes would be, and waiting.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use crossdock_bus::{
    AdapterConsumer, Broker, Delivery, Outgoing, Properties, PublishError, Publisher,
    message::{decode_event, encode_event},
    names,
};
use crossdock_config::{Retention, SourceFile};
use crossdock_engine::{
    BrokerAddress, EventView, Holder, Hub, HubOptions, Principal, Scope, outbound::Outbound,
};
use crossdock_model::{clock::Clock, event::Event};
use crossdock_store::Store;
use crossdock_testkit::{TestBroker, TestVhost};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing_subscriber::EnvFilter;

/// How long anything may take on a machine that is busy with other tests.
pub(crate) const DEADLINE: Duration = Duration::from_secs(240);
const GLANCE: Duration = Duration::from_millis(50);
/// The environment of these hubs.
pub(crate) const WEBHOOK_SECRET_VARIABLE: &str = "WEBHOOK_SECRET";
pub(crate) const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Looks until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            sleep(GLANCE).await;
        }
    };
    timeout(DEADLINE, looking)
        .await
        .unwrap_or_else(|_| panic!("not within {} s: {what}", DEADLINE.as_secs()))
}

/// The machine's clock, which can be put forward.
#[derive(Default)]
pub(crate) struct ShiftedClock(AtomicI64);

impl ShiftedClock {
    pub(crate) fn advance(&self, step: TimeDelta) {
        self.0.fetch_add(step.num_milliseconds(), Ordering::SeqCst);
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now() + TimeDelta::milliseconds(self.0.load(Ordering::SeqCst))
    }
}

/// Where hubs of one environment run: a vhost, a database, a data folder.
pub(crate) struct Hall {
    pub(crate) vhost: TestVhost,
    pub(crate) clock: Arc<ShiftedClock>,
    pub(crate) store: Store,
    pub(crate) folder: TempDir,
}

impl Hall {
    pub(crate) async fn new() -> Self {
        Self::on(TestBroker::vhost().await).await
    }

    pub(crate) async fn on(vhost: TestVhost) -> Self {
        // What a hub has logged is shown with a test that fails; RUST_LOG says how much.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::from_default_env().add_directive("lapin=off".parse().unwrap()))
            .with_test_writer()
            .try_init();
        let folder = tempfile::tempdir().unwrap();
        Self {
            vhost,
            clock: Arc::default(),
            store: open(&folder).await,
            folder,
        }
    }

    /// The adapter's name in this hall: RabbitMQ's users belong to the whole broker.
    pub(crate) fn name(&self, name: &str) -> String {
        self.vhost.unique(name)
    }

    /// The manifest of an adapter that publishes and gets these types. Its source is `/<name>`.
    pub(crate) fn manifest(&self, name: &str, publishes: &[&str], gets: &[&str]) -> SourceFile {
        self.manifest_with(name, publishes, gets, "")
    }

    pub(crate) fn manifest_with(
        &self,
        name: &str,
        publishes: &[&str],
        gets: &[&str],
        settings: &str,
    ) -> SourceFile {
        let full = self.name(name);
        let subscription = if gets.is_empty() {
            String::new()
        } else {
            format!("[[subscribe]]\ntypes = {gets:?}\n")
        };
        SourceFile {
            path: format!("adapters/{full}.toml"),
            text: format!(
                "name = \"{full}\"\nsource = \"/{name}\"\npublishes = {publishes:?}\n{settings}\n{subscription}"
            ),
        }
    }

    pub(crate) fn options(&self, files: Vec<SourceFile>) -> HubOptions {
        HubOptions {
            broker: BrokerAddress {
                url: self.vhost.broker_url.clone(),
                management_url: self.vhost.management_url.clone(),
                private: false,
            },
            public_url: "http://127.0.0.1:8080".into(),
            store: self.store.clone(),
            clock: self.clock.clone(),
            data_dir: self.folder.path().join("var"),
            config_files: files,
            host: "here".into(),
            token_issuers: Vec::new(),
            retention: Retention::default(),
            outbound: Outbound::new(vec!["127.0.0.0/8".parse().unwrap()]).unwrap(),
            variable: |name| (name == WEBHOOK_SECRET_VARIABLE).then(|| WEBHOOK_SECRET.to_owned()),
        }
    }

    /// A hub that is ready.
    pub(crate) async fn hub(&self, files: Vec<SourceFile>) -> Hub {
        let hub = Hub::start(self.options(files)).await.unwrap();
        ready(&hub).await;
        hub
    }

    pub(crate) fn env_file(&self, name: &str) -> PathBuf {
        let file = format!("{}.env", self.name(name));
        self.folder.path().join("var/adapters").join(file)
    }

    /// What the hub has written for the adapter's process.
    pub(crate) fn environment(&self, name: &str) -> BTreeMap<String, String> {
        let text = std::fs::read_to_string(self.env_file(name)).unwrap();
        text.lines()
            .map(|line| line.split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// The adapter's process, with the credentials it was given.
    pub(crate) async fn adapter(&self, name: &str) -> Adapter {
        let url = self.environment(name)["CROSSDOCK_AMQP_URL"].clone();
        Adapter::connect(&self.name(name), &url).await
    }

    /// A request to RabbitMQ's management API about something of the vhost: `queues/{vhost}/…`.
    pub(crate) async fn manage(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Value {
        let broker = reqwest::Url::parse(&self.vhost.broker_url).unwrap();
        let path = path.replace("{vhost}", &self.vhost.name);
        let request = reqwest::Client::new()
            .request(method, format!("{}/api/{path}", self.vhost.management_url))
            .basic_auth(broker.username(), broker.password());
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let answer = request.send().await.unwrap().error_for_status().unwrap();
        answer.json().await.unwrap_or_default()
    }

    pub(crate) fn queue(&self, name: &str) -> String {
        names::adapter_queue(&self.name(name))
    }

    /// What RabbitMQ has counted in an adapter's queue, handed out or not.
    pub(crate) async fn depth(&self, name: &str) -> Option<u64> {
        let queue = self.vhost.management().queue(&self.queue(name)).await.unwrap()?;
        Some(queue.ready? + queue.unacked?)
    }
}

pub(crate) async fn open(folder: &TempDir) -> Store {
    let file = folder.path().join("record.db");
    crossdock_store::open(&format!("sqlite://{}", file.display()))
        .await
        .unwrap()
}

/// Waits until the hub can do its work.
pub(crate) async fn ready(hub: &Hub) {
    eventually("the hub is ready", async || {
        hub.readiness().await.iter().all(|check| check.ok).then_some(())
    })
    .await;
}

/// Whoever holds a key named `name`.
pub(crate) fn key(name: &str) -> Principal {
    Principal {
        holder: Holder::Key {
            id: "test".into(),
            name: name.into(),
        },
        scopes: vec![Scope::EventsWrite],
    }
}

/// An event; members of `changes` take the place of the defaults.
pub(crate) fn event(source: &str, event_type: &str, id: &str, changes: Value) -> Event {
    let mut event = json!({
        "specversion": "1.0", "id": id, "source": source, "type": event_type, "subject": id,
    });
    for (name, value) in changes.as_object().unwrap() {
        event[name] = value.clone();
    }
    Event::from_structured(event.to_string().as_bytes()).unwrap()
}

/// A message with an event, as the user of the adapter publishes it.
pub(crate) fn message(event: &Event, user: Option<&str>) -> Outgoing {
    let (mut properties, body) = encode_event(event);
    properties.user_id = user.map(str::to_owned);
    Outgoing {
        exchange: names::INGRESS.into(),
        routing_key: event.partition_key().into_owned(),
        mandatory: true,
        properties,
        body,
        ..Outgoing::default()
    }
}

/// An adapter's process.
pub(crate) struct Adapter {
    pub(crate) name: String,
    pub(crate) user: String,
    pub(crate) url: String,
    pub(crate) publisher: Publisher,
    consumer: Option<AdapterConsumer>,
}

impl Adapter {
    pub(crate) async fn connect(name: &str, url: &str) -> Self {
        let broker = Broker::new(url).unwrap();
        let user = broker.user().to_owned();
        Self {
            name: name.to_owned(),
            user,
            url: url.to_owned(),
            publisher: Publisher::spawn(broker, name, &TaskTracker::new(), CancellationToken::new()),
            consumer: None,
        }
    }

    pub(crate) async fn consumer(&mut self) -> &mut AdapterConsumer {
        if self.consumer.is_none() {
            let broker = Broker::new(&self.url).unwrap();
            let queue = names::adapter_queue(&self.name);
            let consumer = eventually("the adapter may consume", async || {
                AdapterConsumer::open(&broker, &queue, 20, "test").await.ok()
            })
            .await;
            self.consumer = Some(consumer);
        }
        self.consumer.as_mut().unwrap()
    }

    /// Stops without a word.
    pub(crate) fn crash(&mut self) {
        self.consumer = None;
    }

    pub(crate) async fn publish(&self, message: Outgoing) -> Result<(), PublishError> {
        eventually("the broker answers", async || {
            match self.publisher.publish(message.clone()).await {
                Err(PublishError::Unavailable(reason)) if reason == "not connected yet" => None,
                answer => Some(answer),
            }
        })
        .await
    }

    pub(crate) async fn send(&self, event: &Event) {
        self.publish(message(event, Some(&self.user))).await.unwrap();
    }

    pub(crate) async fn next(&mut self) -> Delivery {
        let next = self.consumer().await.next();
        timeout(DEADLINE, next).await.expect("a delivery").unwrap()
    }

    pub(crate) async fn ack(&mut self, delivery: &Delivery) {
        self.consumer().await.ack(delivery.tag).await.unwrap();
    }

    /// The next event, acked.
    pub(crate) async fn take(&mut self) -> Event {
        let delivery = self.next().await;
        self.ack(&delivery).await;
        decoded(&delivery)
    }

    /// A message of receipts, confirmed.
    pub(crate) async fn say(&self, receipts: impl Into<Bytes>) {
        let receipts = Outgoing {
            exchange: names::RECEIPTS.into(),
            mandatory: true,
            properties: Properties {
                user_id: Some(self.user.clone()),
                content_type: Some("application/json".into()),
                ..Properties::default()
            },
            body: receipts.into(),
            ..Outgoing::default()
        };
        self.publish(receipts).await.unwrap();
    }

    pub(crate) async fn say_done(&self, id: &str) {
        self.say(json!({ "event": id, "outcome": "done", "duration_ms": 3 }).to_string())
            .await;
    }
}

pub(crate) fn decoded(delivery: &Delivery) -> Event {
    decode_event(&delivery.properties, &delivery.body).unwrap()
}

/// The event once it is recorded.
pub(crate) async fn recorded(hub: &Hub, id: &str) -> EventView {
    eventually(&format!("{id} is recorded"), async || {
        hub.event(id, None).await.ok()
    })
    .await
}

/// Waits until the event's delivery to the adapter is in a state.
pub(crate) async fn becomes(hub: &Hub, id: &str, adapter: &str, state: &str) -> EventView {
    eventually(&format!("{id} is {state} at {adapter}"), async || {
        let view = hub.event(id, None).await.ok()?;
        let delivery = view
            .deliveries
            .iter()
            .find(|delivery| delivery.adapter == adapter)?;
        (delivery.state == state).then(|| view.clone())
    })
    .await
}

/// Sends until it is accepted, as producers do.
pub(crate) async fn insist(hub: &Hub, who: &Principal, events: &[Event]) {
    eventually("the events are accepted", async || {
        match hub.accept(who, events.to_vec()).await {
            Ok(count) => {
                assert_eq!(count, events.len());
                Some(())
            }
            Err(crossdock_engine::AcceptError::Unavailable { .. }) => None,
            Err(other) => panic!("{other}"),
        }
    })
    .await;
}
