//! A database that refuses what a test wants it to refuse, and passes all else on to a real one.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use crossdock_model::topic::TopicName;
use crossdock_store::{
    AdapterCredential, AdapterTotals, Adapters, ApiKey, ApiKeys, Backend, Batch, DeadLetter,
    DeadLetterCursor, DeadLetters, DeliveryKey, DisabledEndpoint, Endpoints, EventKey, EventQuery, Events,
    EventsForgotten, Figures, ForgetEvents, ForgetQuarantined, Histogram, HistogramQuery, HubBeat, Hubs,
    LatestState, Ledger, NewRevision, Outcome, Outcomes, PendingDelivery, Place, Projected, Quarantine,
    QuarantineBound, QuarantineCutOff, QuarantineForgotten, Quarantined, QuarantinedSummary, RecentAttempts,
    Result, Revision, RevisionSummary, Revisions, Revocation, Session, Sessions, SettleSummary, SignedIn,
    SigningKey, SourceFigures, Standing, StateChange, StatesPage, Store, StoreError, StoredEvent, TokenHash,
    Totals, User, UserChange,
};

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
    /// No signing key is put in while a test holds it.
    pub(crate) signing_key: tokio::sync::Mutex<()>,
    /// Signing keys are read, and not handed out while a test holds it.
    pub(crate) signing_keys: tokio::sync::Mutex<()>,
    /// Told when signing keys were read, or one is about to be put in.
    pub(crate) at_signing_keys: tokio::sync::Notify,
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
            signing_key: tokio::sync::Mutex::default(),
            signing_keys: tokio::sync::Mutex::default(),
            at_signing_keys: tokio::sync::Notify::new(),
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
        self.at_signing_keys.notify_one();
        let _turn = self.signing_key.lock().await;
        self.inner.add_signing_key(key).await
    }
    async fn signing_keys(&self, at: DateTime<Utc>) -> Result<Vec<SigningKey>> {
        self.ask(["signing keys"])?;
        let read = self.inner.signing_keys(at).await;
        self.at_signing_keys.notify_one();
        let _turn = self.signing_keys.lock().await;
        read
    }
    async fn retire_signing_keys(&self, at: DateTime<Utc>, verifies_until: DateTime<Utc>) -> Result<()> {
        self.inner.retire_signing_keys(at, verifies_until).await
    }
    async fn revoke_tokens(&self, revocation: Revocation, revoker: &str, max: u32) -> Result<()> {
        self.ask([revoker])?;
        self.inner.revoke_tokens(revocation, revoker, max).await
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
    ) -> Result<StatesPage> {
        self.inner.states(prefix, after, at, limit).await
    }
    async fn forget_states(&self, at: DateTime<Utc>, limit: usize) -> Result<u64> {
        self.inner.forget_states(at, limit).await
    }
}
