//! What unit tests share: manifests, events, messages, a hub's shared state without a broker, and a database that
//! refuses what a test wants it to refuse.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use crossdock_bus::{
    Broker, Delivery, Management, Publisher,
    message::{HeaderValue, encode_event},
    names,
};
use crossdock_config::{Retention, SourceFile, load_shared};
use crossdock_model::{clock::FixedClock, event::Event, topic::TopicName};
use crossdock_store::{
    Accepted, AdapterCredential, AdapterTotals, Adapters, ApiKey, ApiKeys, Backend, Batch, DeadLetter,
    DeadLetterCursor, DeadLetters, DeliveryKey, DisabledEndpoint, Endpoints, EventKey, EventQuery, Events,
    EventsForgotten, Figures, ForgetEvents, ForgetQuarantined, Histogram, HistogramQuery, HubBeat, Hubs,
    LatestState, Ledger, NewRevision, Outcome, Outcomes, PendingDelivery, Place, Projected, Quarantine,
    QuarantineBound, QuarantineCutOff, QuarantineForgotten, Quarantined, QuarantinedSummary, RecentAttempts,
    Result, Revision, RevisionSummary, Revisions, Revocation, Session, Sessions, SettleSummary, SignedIn,
    SigningKey, SourceFigures, Standing, StateChange, Store, StoreError, StoredEvent, TokenHash, Totals,
    User, UserChange,
};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    BrokerAddress, alarms::Alarms, alerts::Alerts, browser_tokens::BrowserTokens, gate::ChainsUnderWay,
    keys::Keys, outbound::Outbound, routing::Routing, shared::Shared, users::Users, webhooks::Webhooks,
};

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
        last_seen: Default::default(),
        webhooks: Webhooks::new(outbound, |_| None),
    }
}

/// What a [`Moody`] database answers to a batch or outcome.
pub(crate) type Mood = dyn Fn(&str) -> Option<StoreError> + Send + Sync;

/// A database that refuses the events and outcomes of some ids.
pub(crate) struct Moody {
    pub(crate) inner: Store,
    /// Asked with each id that is to be recorded or settled.
    pub(crate) mood: Box<Mood>,
    pub(crate) refusals: AtomicU32,
    /// Nothing of the quarantine is forgotten while a test holds it.
    pub(crate) quarantine: tokio::sync::Mutex<()>,
}

impl Moody {
    pub(crate) fn store(
        inner: Store,
        mood: impl Fn(&str) -> Option<StoreError> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            inner,
            mood: Box::new(mood),
            refusals: AtomicU32::new(0),
            quarantine: tokio::sync::Mutex::default(),
        })
    }

    fn ask<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> Result<()> {
        match ids.into_iter().find_map(|id| (self.mood)(id)) {
            None => Ok(()),
            Some(error) => {
                self.refusals.fetch_add(1, Ordering::SeqCst);
                Err(error)
            }
        }
    }
}

impl std::fmt::Debug for Moody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Moody")
    }
}

impl Backend for Moody {
    fn place(&self) -> Place {
        self.inner.place()
    }
}

#[async_trait]
impl Events for Moody {
    async fn record(&self, batch: Batch) -> Result<()> {
        let kept = batch
            .quarantined
            .iter()
            .map(|message| message.routing_key.as_str());
        let ids = batch.accepted.iter().map(|accepted| accepted.event.id.as_str());
        self.ask(ids.chain(kept))?;
        self.inner.record(batch).await
    }
    async fn recorded(&self, keys: &[EventKey]) -> Result<HashSet<EventKey>> {
        self.inner.recorded(keys).await
    }
    async fn chain_lengths(&self, ids: &[String]) -> Result<HashMap<String, u32>> {
        self.inner.chain_lengths(ids).await
    }
    async fn event(&self, id: &str, source: Option<&str>) -> Result<Vec<StoredEvent>> {
        self.inner.event(id, source).await
    }
    async fn find(&self, query: EventQuery) -> Result<Vec<StoredEvent>> {
        self.inner.find(query).await
    }
    async fn latest_offset(&self) -> Result<i64> {
        self.inner.latest_offset().await
    }
    async fn journey(&self, key: &str) -> Result<Vec<StoredEvent>> {
        self.inner.journey(key).await
    }

    async fn names_with_number(&self, number: &str) -> Result<Vec<String>> {
        self.inner.names_with_number(number).await
    }
}

#[async_trait]
impl Outcomes for Moody {
    async fn settle(&self, outcomes: &[Outcome]) -> Result<SettleSummary> {
        self.ask(outcomes.iter().map(|outcome| outcome.event_id.as_str()))?;
        self.inner.settle(outcomes).await
    }
    async fn standings(&self, keys: &[DeliveryKey]) -> Result<HashMap<DeliveryKey, Standing>> {
        self.inner.standings(keys).await
    }
}

#[async_trait]
impl DeadLetters for Moody {
    async fn dead_letters(
        &self,
        adapter: Option<&str>,
        after: Option<DeadLetterCursor>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>> {
        self.inner.dead_letters(adapter, after, limit).await
    }
    async fn event_at(&self, event_offset: i64) -> Result<Option<StoredEvent>> {
        self.inner.event_at(event_offset).await
    }
}

#[async_trait]
impl Ledger for Moody {
    async fn totals(&self) -> Result<Totals> {
        self.inner.totals().await
    }
    async fn per_adapter(&self) -> Result<Vec<AdapterTotals>> {
        self.inner.per_adapter().await
    }
    async fn pending_count(&self, adapter: &str, before: DateTime<Utc>) -> Result<u64> {
        self.inner.pending_count(adapter, before).await
    }
    async fn pending_before(&self, adapter: &str, younger: u64) -> Result<Option<DateTime<Utc>>> {
        self.inner.pending_before(adapter, younger).await
    }
    async fn pending(
        &self,
        adapter: &str,
        before: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<PendingDelivery>> {
        self.inner.pending(adapter, before, limit).await
    }
}

#[async_trait]
impl Figures for Moody {
    async fn histogram(&self, query: &HistogramQuery) -> Result<Histogram> {
        self.inner.histogram(query).await
    }
    async fn source_figures(&self, since: DateTime<Utc>) -> Result<SourceFigures> {
        self.inner.source_figures(since).await
    }
    async fn recent_attempts(
        &self,
        adapters: &[String],
        since: DateTime<Utc>,
    ) -> Result<Vec<RecentAttempts>> {
        self.inner.recent_attempts(adapters, since).await
    }
    async fn count_between(&self, after: i64, before: i64) -> Result<u64> {
        self.inner.count_between(after, before).await
    }
}

#[async_trait]
impl Quarantine for Moody {
    async fn quarantine_page(&self, before: Option<i64>, limit: usize) -> Result<Vec<QuarantinedSummary>> {
        self.inner.quarantine_page(before, limit).await
    }
    async fn quarantined(&self, id: i64) -> Result<Option<Quarantined>> {
        self.inner.quarantined(id).await
    }
    async fn mark_resent(&self, id: i64, at: DateTime<Utc>) -> Result<()> {
        self.inner.mark_resent(id, at).await
    }
}

#[async_trait]
impl crossdock_store::Retention for Moody {
    async fn forget_events(&self, step: &ForgetEvents) -> Result<EventsForgotten> {
        self.inner.forget_events(step).await
    }
    async fn quarantine_cut_offs(&self, bound: &QuarantineBound) -> Result<Vec<QuarantineCutOff>> {
        let _turn = self.quarantine.lock().await;
        self.inner.quarantine_cut_offs(bound).await
    }
    async fn forget_quarantined(&self, step: &ForgetQuarantined<'_>) -> Result<QuarantineForgotten> {
        self.inner.forget_quarantined(step).await
    }
    async fn pending_after(&self, adapter: &str, older: u64) -> Result<Option<DateTime<Utc>>> {
        self.inner.pending_after(adapter, older).await
    }
}

#[async_trait]
impl Revisions for Moody {
    async fn current_revision(&self) -> Result<Option<Revision>> {
        self.inner.current_revision().await
    }
    async fn revisions(&self, limit: usize) -> Result<Vec<RevisionSummary>> {
        self.inner.revisions(limit).await
    }
    async fn revision(&self, number: u32) -> Result<Option<Revision>> {
        self.inner.revision(number).await
    }
    async fn append_revision(&self, expected: Option<u32>, revision: NewRevision) -> Result<u32> {
        self.inner.append_revision(expected, revision).await
    }
}

#[async_trait]
impl ApiKeys for Moody {
    async fn add_api_key(&self, key: ApiKey) -> Result<()> {
        self.inner.add_api_key(key).await
    }
    async fn api_key(&self, id: &str) -> Result<Option<ApiKey>> {
        self.ask([id])?;
        self.inner.api_key(id).await
    }
    async fn api_keys(&self) -> Result<Vec<ApiKey>> {
        self.inner.api_keys().await
    }
    async fn revoke_api_key(&self, id: &str, at: DateTime<Utc>) -> Result<()> {
        self.inner.revoke_api_key(id, at).await
    }
    async fn touch_api_keys(&self, uses: &[(String, DateTime<Utc>)]) -> Result<()> {
        self.inner.touch_api_keys(uses).await
    }
}

#[async_trait]
impl crossdock_store::Users for Moody {
    async fn add_user(&self, user: User) -> Result<()> {
        self.inner.add_user(user).await
    }
    async fn add_first_user(&self, user: User) -> Result<bool> {
        self.inner.add_first_user(user).await
    }
    async fn user(&self, name: &str) -> Result<Option<User>> {
        self.ask([name])?;
        self.inner.user(name).await
    }
    async fn users(&self) -> Result<Vec<User>> {
        self.inner.users().await
    }
    async fn change_user(&self, name: &str, change: UserChange, needed: &str) -> Result<()> {
        self.inner.change_user(name, change, needed).await
    }
    async fn remove_user(&self, name: &str, needed: &str) -> Result<()> {
        self.inner.remove_user(name, needed).await
    }
}

#[async_trait]
impl Sessions for Moody {
    async fn add_session(&self, session: Session, password: &str, max: u32) -> Result<bool> {
        self.inner.add_session(session, password, max).await
    }
    async fn session(&self, token_hash: &TokenHash) -> Result<Option<SignedIn>> {
        self.ask(["session"])?;
        self.inner.session(token_hash).await
    }
    async fn end_session(&self, token_hash: &TokenHash) -> Result<()> {
        self.inner.end_session(token_hash).await
    }
    async fn end_sessions_of(&self, user: &str) -> Result<()> {
        self.inner.end_sessions_of(user).await
    }
    async fn touch_sessions(&self, uses: &[(TokenHash, DateTime<Utc>)]) -> Result<()> {
        self.inner.touch_sessions(uses).await
    }
    async fn forget_sessions(
        &self,
        expired_before: DateTime<Utc>,
        used_before: DateTime<Utc>,
    ) -> Result<u64> {
        self.inner.forget_sessions(expired_before, used_before).await
    }
}

#[async_trait]
impl Adapters for Moody {
    async fn adapter_credentials(&self, adapter: Option<&str>) -> Result<Vec<AdapterCredential>> {
        self.inner.adapter_credentials(adapter).await
    }
    async fn add_adapter_credential(&self, credential: AdapterCredential) -> Result<()> {
        self.inner.add_adapter_credential(credential).await
    }
    async fn retire_adapter_credential(
        &self,
        adapter: &str,
        generation: u32,
        at: DateTime<Utc>,
    ) -> Result<()> {
        self.inner
            .retire_adapter_credential(adapter, generation, at)
            .await
    }
}

#[async_trait]
impl Endpoints for Moody {
    async fn disabled_endpoints(&self) -> Result<Vec<DisabledEndpoint>> {
        self.inner.disabled_endpoints().await
    }
    async fn disable_endpoint(&self, endpoint: DisabledEndpoint) -> Result<()> {
        self.inner.disable_endpoint(endpoint).await
    }
    async fn enable_endpoint(&self, adapter: &str, before: Option<u32>) -> Result<bool> {
        self.inner.enable_endpoint(adapter, before).await
    }
}

#[async_trait]
impl crossdock_store::Tokens for Moody {
    async fn environment(&self, candidate: &str) -> Result<String> {
        self.inner.environment(candidate).await
    }
    async fn add_signing_key(&self, key: SigningKey) -> Result<()> {
        self.ask(["signing key"])?;
        self.inner.add_signing_key(key).await
    }
    async fn signing_keys(&self, at: DateTime<Utc>) -> Result<Vec<SigningKey>> {
        self.ask(["signing keys"])?;
        self.inner.signing_keys(at).await
    }
    async fn retire_signing_keys(&self, at: DateTime<Utc>, verifies_until: DateTime<Utc>) -> Result<()> {
        self.inner.retire_signing_keys(at, verifies_until).await
    }
    async fn revoke_tokens(&self, revocation: Revocation, max: u32) -> Result<()> {
        self.inner.revoke_tokens(revocation, max).await
    }
    async fn token_revocations(&self, at: DateTime<Utc>, life: TimeDelta) -> Result<Vec<Revocation>> {
        self.ask(["revocations"])?;
        self.inner.token_revocations(at, life).await
    }
    async fn forget_tokens(&self, before: DateTime<Utc>) -> Result<()> {
        self.inner.forget_tokens(before).await
    }
}

#[async_trait]
impl Hubs for Moody {
    async fn heartbeat(&self, beat: HubBeat) -> Result<()> {
        self.inner.heartbeat(beat).await
    }
    async fn hubs(&self, alive_since: DateTime<Utc>) -> Result<Vec<HubBeat>> {
        self.inner.hubs(alive_since).await
    }
    async fn remove_hub(&self, hub_id: &str) -> Result<()> {
        self.inner.remove_hub(hub_id).await
    }
}

#[async_trait]
impl crossdock_store::States for Moody {
    async fn project(&self, changes: &[StateChange]) -> Result<Projected> {
        self.ask(changes.iter().map(|change| change.event.id.as_str()))?;
        self.inner.project(changes).await
    }
    async fn state(&self, topic: &TopicName, at: DateTime<Utc>) -> Result<Option<LatestState>> {
        self.inner.state(topic, at).await
    }
    async fn states(
        &self,
        prefix: &str,
        after: Option<&TopicName>,
        at: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<LatestState>> {
        self.inner.states(prefix, after, at, limit).await
    }
    async fn forget_states(&self, at: DateTime<Utc>, limit: usize) -> Result<u64> {
        self.inner.forget_states(at, limit).await
    }
}

/// A body that is no event.
pub(crate) fn garbage() -> Bytes {
    Bytes::from_static(b"\xff{")
}
