//! The gateway whole, with clients over pipes in memory: rights, states, take-over, slow readers, and a
//! router that dies.

mod back;
mod client;
mod held;
mod origins;
mod reading;
mod said;
mod shares;
mod unread;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use bytes::Bytes;
use crossdock_model::topic::{TopicFilter, TopicName};
use proptest::prelude::*;
use rumqttd::protocol::{DisconnectReasonCode, LastWill, QoS};

use super::*;
use crate::outside::{Arrival, StatesError, StatesPage};
use crate::session::{Action, Rights};
use crate::why::Refusal;
use crate::wire::Reason;
use client::{Client, DEADLINE, hello};

/// May read and write under its filters, until it is revoked.
struct Under {
    user: String,
    filters: Vec<TopicFilter>,
    ends_ms: Option<u64>,
    revoked: Arc<AtomicBool>,
}

impl Rights for Under {
    fn principal(&self) -> &str {
        let first = self.user.split(' ').next().unwrap_or_default();
        if first.starts_with('@') { first } else { &self.user }
    }

    fn may(&self, action: Action<'_>, _now_ms: u64) -> bool {
        self.filters.iter().any(|granted| match action {
            Action::Publish(topic) | Action::Receive(topic) => granted.matches(topic),
            Action::Subscribe(filter) => granted.covers(filter),
        })
    }

    fn readable(&self) -> &[TopicFilter] {
        &self.filters
    }

    fn ends_ms(&self) -> Option<u64> {
        self.ends_ms
    }

    fn are_revoked(&self) -> bool {
        self.revoked.load(Relaxed)
    }
}

/// Users are named by the filters that they have, separated by spaces; nobody has none. Where the first word begins with
/// @ it is who they are, whatever they have.
#[derive(Default)]
pub(super) struct Door {
    revoked: Arc<AtomicBool>,
    ends_ms: Option<u64>,
    /// Origins of pages that were turned away.
    turned_away: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl Doorkeeper for Door {
    async fn admit(&self, arrival: Arrival<'_>) -> Result<Arc<dyn Rights>, Refusal> {
        let refusal = |reason, said: &str| Refusal {
            reason,
            said: said.to_owned(),
        };
        let login = arrival.login;
        let user = &login
            .ok_or_else(|| refusal(Reason::BadUserNameOrPassword, "no login"))?
            .user;
        let filters: Vec<_> = user
            .split(' ')
            .filter_map(|text| TopicFilter::new(text).ok())
            .collect();
        if filters.is_empty() {
            return Err(refusal(Reason::NotAuthorized, "no filter"));
        }
        Ok(Arc::new(Under {
            user: user.clone(),
            filters,
            ends_ms: self.ends_ms,
            revoked: self.revoked.clone(),
        }))
    }

    fn turned_away(&self, origin: &str, _peer: IpAddr) {
        locked(&self.turned_away).push(origin.to_owned());
    }
}

/// States on a page.
const PAGE: usize = 200;

#[derive(Default)]
pub(super) struct Memory {
    states: Mutex<HashMap<TopicName, State>>,
    is_away: AtomicBool,
    /// How often it was asked while it was there.
    reads: AtomicU64,
}

impl Memory {
    fn keep(&self, state: &State) {
        locked(&self.states).insert(state.topic.clone(), state.clone());
    }
}

#[async_trait]
impl States for Memory {
    async fn page(&self, filter: &TopicFilter, after: Option<&TopicName>) -> Result<StatesPage, StatesError> {
        if self.is_away.load(Relaxed) || filter.as_str().starts_with("broken/") {
            return Err(StatesError("away".to_owned()));
        }
        self.reads.fetch_add(1, Relaxed);
        if filter.as_str().starts_with("stuck/") {
            std::future::pending::<()>().await;
        }
        let states = locked(&self.states);
        let mut matching: Vec<_> = states
            .values()
            .filter(|state| filter.matches(&state.topic) && after.is_none_or(|after| state.topic > *after))
            .collect();
        matching.sort_by_key(|state| &state.topic);
        let next = matching.get(PAGE).map(|_| matching[PAGE - 1].topic.clone());
        let page = matching.into_iter().take(PAGE).cloned();
        Ok(StatesPage {
            states: page.collect(),
            next,
        })
    }
}

pub(super) fn open(door: Door) -> (Gateway, Arc<Memory>) {
    let states = Arc::new(Memory::default());
    let capacity = Capacity { connections: 100 };
    let gateway = Gateway::start(Arc::new(door), states.clone(), capacity, CancellationToken::new());
    (gateway, states)
}

fn state(topic: &str, version: u64) -> State {
    State {
        topic: TopicName::new(topic).unwrap(),
        version,
        payload: Bytes::from(format!("v{version}")),
        expires_ms: None,
    }
}

async fn connected(gateway: &Gateway, user: &str, client_id: &str) -> Client {
    let (client, answer) = Client::connect(gateway, hello(user, client_id)).await;
    assert_eq!(answer.1, Reason::Success.code());
    client
}

async fn until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.expect("in time");
}

/// Until nobody has states to be read for it.
async fn all_is_read(gateway: &Gateway) {
    let sessions = &gateway.0.sessions;
    until(|| sessions.all().iter().all(|session| !session.has_reads_due())).await;
}

#[tokio::test]
async fn who_has_no_rights_is_not_let_in() {
    let (gateway, _) = open(Door::default());
    let (_lingers, answer) = Client::connect(&gateway, hello(" ", "x")).await;
    assert_eq!(answer.1, Reason::NotAuthorized.code());
    let figures = gateway.figures();
    assert_eq!((figures.refused, figures.clients), (1, 0));
    let mut elsewhere = hello("mine/#", "x");
    elsewhere.will = Some(LastWill {
        topic: "theirs/x".into(),
        message: "gone".into(),
        qos: QoS::AtMostOnce,
        retain: false,
    });
    let (_, answer) = Client::connect(&gateway, elsewhere).await;
    assert_eq!(answer.1, Reason::NotAuthorized.code());
}

#[tokio::test]
async fn a_router_that_dies_loses_nothing_and_nobody_notices() {
    const MESSAGES: usize = 3_000;
    let (gateway, _) = open(Door::default());
    let mut reader = connected(&gateway, "#", "reader").await;
    reader.subscribe("a/#", QoS::AtMostOnce).await;
    let mut writer = connected(&gateway, "#", "writer").await;
    let sending = async {
        for number in 0..MESSAGES {
            if number % 500 == 250 {
                // There may be none yet.
                let restarts = gateway.figures().router_restarts;
                until(|| {
                    gateway.0.bus.break_router();
                    gateway.figures().router_restarts > restarts
                })
                .await;
            }
            writer.publish("a/b", &number.to_string(), false).await;
            tokio::task::yield_now().await;
        }
        writer.publish("a/b", "end", false).await;
    };
    let (received, ()) = tokio::join!(reader.messages_until_end(), sending);
    let expected: Vec<_> = (0..MESSAGES)
        .map(|number| ("a/b".to_owned(), number.to_string()))
        .collect();
    assert_eq!(received, expected);
    assert!(gateway.figures().router_restarts >= 2, "{:?}", gateway.figures());
}

#[tokio::test]
async fn a_state_never_goes_backwards() {
    let (gateway, states) = open(Door::default());
    states.keep(&state("state/a", 7));
    let mut reader = connected(&gateway, "state/#", "reader").await;
    reader.subscribe("state/a", QoS::AtLeastOnce).await;
    assert_eq!(reader.message().await.unwrap().1, "v7");
    for version in [6, 7, 8, 5, 9, 8] {
        gateway.state_changed(state("state/a", version)).await;
    }
    // What waits is replaced by what is newer, so that 8 may never be seen; 9 is.
    let mut seen = reader.message().await.unwrap().1;
    if seen == "v8" {
        seen = reader.message().await.unwrap().1;
    }
    assert_eq!(seen, "v9");
    states.keep(&state("state/a", 10));
    gateway.states_missed().await;
    assert_eq!(reader.message().await.unwrap().1, "v10");
    let mut late = connected(&gateway, "state/#", "late").await;
    late.subscribe("state/+", QoS::AtLeastOnce).await;
    assert_eq!(late.message().await.unwrap().1, "v10");
}

#[tokio::test]
async fn a_session_is_taken_over_by_its_owner_and_by_nobody_else() {
    let (gateway, _) = open(Door::default());
    let mut first = connected(&gateway, "mine/#", "same").await;
    let mut other = connected(&gateway, "theirs/#", "same").await;
    let _second = connected(&gateway, "mine/#", "same").await;
    assert_eq!(first.ended().await, Some(DisconnectReasonCode::SessionTakenOver));
    assert_eq!(other.subscribe("theirs/a", QoS::AtMostOnce).await, "QoS0");
}

#[tokio::test]
async fn what_comes_while_a_client_is_away_waits_for_it() {
    let (gateway, _) = open(Door::default());
    let mut stays = hello("state/#", "stays");
    stays.expiry_s = 60;
    let (mut client, _) = Client::connect(&gateway, stays.clone()).await;
    client.subscribe("state/#", QoS::AtLeastOnce).await;
    drop(client);
    while gateway.figures().clients > 0 {
        tokio::task::yield_now().await;
    }
    gateway.state_changed(state("state/a", 1)).await;
    stays.clean_start = false;
    let (mut client, answer) = Client::connect(&gateway, stays).await;
    assert!(answer.0);
    assert_eq!(client.message().await.unwrap().1, "v1");
}

#[tokio::test]
async fn rights_that_end_end_the_connection() {
    let revoked = Arc::new(AtomicBool::new(false));
    let (gateway, _) = open(Door {
        revoked: revoked.clone(),
        ends_ms: None,
        ..Door::default()
    });
    let mut client = connected(&gateway, "state/#", "x").await;
    gateway.recheck();
    assert_eq!(client.subscribe("state/a", QoS::AtMostOnce).await, "QoS0");
    revoked.store(true, Relaxed);
    gateway.recheck();
    assert_eq!(client.ended().await, Some(DisconnectReasonCode::NotAuthorized));
    let soon = Door {
        ends_ms: Some(Clock::new().now_ms() + 200),
        ..Door::default()
    };
    let (gateway, _) = open(soon);
    let mut client = connected(&gateway, "state/#", "x").await;
    assert_eq!(client.ended().await, Some(DisconnectReasonCode::NotAuthorized));
}

#[tokio::test]
async fn who_does_not_read_harms_nobody_else() {
    let (gateway, _) = open(Door::default());
    let mut deaf = connected(&gateway, "#", "deaf").await;
    deaf.subscribe("a", QoS::AtMostOnce).await;
    let mut reader = connected(&gateway, "#", "reader").await;
    reader.subscribe("a", QoS::AtMostOnce).await;
    let mut writer = connected(&gateway, "#", "writer").await;
    let text = "x".repeat(10_000);
    let sending = async {
        for _ in 0..2_000 {
            writer.publish("a", &text, false).await;
        }
        writer.publish("a", "end", false).await;
    };
    let both = async { tokio::join!(reader.messages_until_end(), sending) };
    let (received, ()) = tokio::time::timeout(DEADLINE, both).await.unwrap();
    assert_eq!(received.len(), 2_000);
    let figures = gateway.figures();
    assert!(figures.queue_bytes <= SESSION_LIMITS.bytes as u64, "{figures:?}");
    assert!(
        figures
            .dropped
            .iter()
            .any(|(reason, count)| *reason == "slow" && *count > 1_000),
        "{figures:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whoever subscribes to whatever, and whatever is published, retained or a state: nobody gets a
    /// message that its rights do not cover.
    #[test]
    fn nothing_reaches_a_client_whose_rights_do_not_cover_it(
        grants in prop::collection::vec(prop::sample::select(vec!["a/#", "a/b", "b/+", "+/b", "c", "#"]), 3),
        wanted in prop::collection::vec((0_usize..3, prop::sample::select(vec!["#", "+/+", "a/#", "a/b", "b/+", "c", "$SYS/#", "+/b"])), 1..8),
        sent in prop::collection::vec((prop::sample::select(vec!["a/b", "a/c", "b/b", "b/c/d", "c", "$SYS/x"]), 0_u8..3), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (gateway, states) = open(Door::default());
            let mut clients = Vec::new();
            for (number, grant) in grants.iter().enumerate() {
                let user = format!("{grant} end/{number}");
                clients.push(connected(&gateway, &user, &number.to_string()).await);
            }
            let mut writer = connected(&gateway, "# $SYS/#", "writer").await;
            let half = sent.len() / 2;
            for (index, (topic, kind)) in sent.iter().enumerate() {
                if index == half {
                    for (client, filter) in &wanted {
                        clients[*client].subscribe(filter, QoS::AtMostOnce).await;
                    }
                }
                match kind {
                    0 => writer.publish(topic, "x", false).await,
                    1 => writer.publish(topic, "x", true).await,
                    _ => {
                        let state = state(topic, index as u64 + 1);
                        states.keep(&state);
                        gateway.state_changed(state).await;
                    }
                }
            }
            for (number, client) in clients.iter_mut().enumerate() {
                client.subscribe(&format!("end/{number}"), QoS::AtMostOnce).await;
                writer.publish(&format!("end/{number}"), "end", false).await;
                let granted = TopicFilter::new(grants[number]).unwrap();
                for (topic, _) in client.messages_until_end().await {
                    assert!(granted.matches(&TopicName::new(&topic).unwrap()), "{} got {topic}", grants[number]);
                }
            }
        });
    }
}
