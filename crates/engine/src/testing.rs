//! What unit tests share: manifests, events, messages, a hub's shared state without a broker, and a
//! [database that refuses](Moody) what a test wants it to refuse.

mod moody;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use crossdock_bus::{
    Broker, Delivery, Management, Publisher,
    message::{HeaderValue, encode_event},
    names,
};
use crossdock_config::{Retention, SourceFile, load_shared};
use crossdock_model::{clock::FixedClock, event::Event};
use crossdock_store::{Accepted, Store};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    BrokerAddress, alarms::Alarms, alerts::Alerts, browser_tokens::BrowserTokens, gate::ChainsUnderWay,
    keys::Keys, outbound::Outbound, routing::Routing, shared::Shared, users::Users, webhooks::Webhooks,
};

pub(crate) use moody::Moody;

/// The hub's RabbitMQ user.
pub(crate) const HUB: &str = "hub";

pub(crate) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).expect("within the calendar")
}

/// Revision 1 with the adapters shop (publishes `thing.sent.v1`) and erp (publishes `thing.seen.v1`), which both
/// get what the other sends.
pub(crate) fn routing() -> Routing {
    let file = |name: &str, publishes: &str, gets: &str| SourceFile {
        path: format!("adapters/{name}.toml"),
        text: format!(
            "name = \"{name}\"\nsource = \"/{name}\"\npublishes = [\"{publishes}\"]\n\
             [[subscribe]]\ntypes = [\"{gets}\"]\n"
        ),
    };
    let files = [
        file("shop", "thing.sent.v1", "thing.seen.v1"),
        file("erp", "thing.seen.v1", "thing.sent.v1"),
    ];
    of_files(&files)
}

fn of_files(files: &[SourceFile]) -> Routing {
    let shared = load_shared(files).unwrap_or_else(|faults| panic!("{faults:?}"));
    Routing::new(1, "digest".into(), shared).expect("the mappings were compiled before")
}

/// Revision 1 of these manifests, by name.
pub(crate) fn routing_of(manifests: &[(&str, &str)]) -> Routing {
    let file = |(name, text): &(&str, &str)| SourceFile {
        path: format!("adapters/{name}.toml"),
        text: (*text).to_owned(),
    };
    of_files(&manifests.iter().map(file).collect::<Vec<_>>())
}

/// A clock by which every run takes `step`.
pub(crate) fn ticking(step: Duration) -> Arc<dyn Fn() -> Duration + Send + Sync> {
    let ticks = AtomicU32::new(0);
    Arc::new(move || step * ticks.fetch_add(1, Ordering::SeqCst))
}

/// An event of the shop; members of `changes` take the place of the defaults, null removes.
pub(crate) fn event(changes: Value) -> Event {
    let mut event = json!({
        "specversion": "1.0", "id": "e-1", "source": "/shop", "type": "thing.sent.v1", "subject": "t-1",
    });
    for (name, value) in changes.as_object().expect("an object") {
        event[name] = value.clone();
    }
    Event::from_structured(event.to_string().as_bytes()).expect("a valid event")
}

/// The message as an adapter's process publishes it.
pub(crate) fn published_by(user: Option<&str>, event: &Event) -> Delivery {
    let (mut properties, body) = encode_event(event);
    properties.user_id = user.map(str::to_owned);
    Delivery {
        tag: 1,
        exchange: names::INGRESS.into(),
        routing_key: event.partition_key().into_owned(),
        redelivered: false,
        properties,
        body,
    }
}

pub(crate) fn with_header(mut delivery: Delivery, name: &str, value: impl Into<HeaderValue>) -> Delivery {
    delivery.properties.headers.insert(name.into(), value.into());
    delivery
}

pub(crate) fn accepted(event: Event, targets: &[&str]) -> Accepted {
    Accepted {
        event,
        producer: "shop".into(),
        received: now(),
        published: now(),
        targets: targets.iter().map(|target| (*target).to_owned()).collect(),
        chain: 0,
    }
}

pub(crate) async fn database(folder: &tempfile::TempDir) -> Store {
    let url = format!("sqlite://{}", folder.path().join("record.db").display());
    crossdock_store::open(&url).await.expect("a database can be made")
}

/// What a hub's tasks share, with no broker behind it.
pub(crate) fn shared(store: Store, folder: &tempfile::TempDir) -> Shared {
    let url = "amqp://hub:secret@127.0.0.1:1/";
    let broker = Broker::new(url).expect("a broker's address");
    let outbound = Outbound::new(Vec::new()).expect("this machine has roots");
    Shared {
        hub_id: "test".into(),
        host: "here".into(),
        started: now(),
        address: BrokerAddress {
            url: url.into(),
            management_url: "http://127.0.0.1:1".into(),
            private: false,
        },
        public_url: "http://127.0.0.1:8080".into(),
        data_dir: folder.path().to_owned(),
        files_digest: ArcSwap::from_pointee("digest".into()),
        keys: Keys::new(store.clone()),
        users: Users::new(store.clone()),
        browser_tokens: BrowserTokens::new(
            store.clone(),
            "crossdock:test".into(),
            "http://127.0.0.1:8080",
            Vec::new(),
            &outbound,
        ),
        store,
        clock: Arc::new(FixedClock::at(now())),
        hub_user: HUB.into(),
        management: Management::for_broker("http://127.0.0.1:1", url).expect("an address"),
        publisher: ArcSwap::from_pointee(Publisher::spawn(
            broker.clone(),
            "test",
            &TaskTracker::new(),
            CancellationToken::new(),
        )),
        broker,
        routing: ArcSwap::from_pointee(routing()),
        in_force: watch::Sender::new(1),
        changing: tokio::sync::Mutex::new(()),
        topology: watch::Sender::new(None),
        round_wanted: Notify::new(),
        rounds: watch::Sender::new(0),
        ingress_is_new: AtomicBool::new(false),
        recorded: watch::Sender::new(0),
        chains: ChainsUnderWay::default(),
        alarms: Alarms::default(),
        alerts: Alerts::default(),
        retention: Retention::default(),
        state_listener: watch::Sender::new(None),
        mqtt: std::sync::OnceLock::new(),
        settings_changed: std::sync::OnceLock::new(),
        last_seen: Default::default(),
        webhooks: Webhooks::new(outbound, |_| None),
    }
}

/// A body that is no event.
pub(crate) fn garbage() -> Bytes {
    Bytes::from_static(b"\xff{")
}
