//! MQTT in the hub: the gateway with its listeners, what it asks the engine, and what the engine tells it.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use axum::{
    Router,
    extract::{Request, State as Shared},
    response::Response,
    routing,
};
use chrono::DateTime;
use crossdock_config::{IpRange, Mqtt as MqttSettings, MqttTls, Settings};
use crossdock_engine::{Grants, Hub, LiveState, LoginError, MqttView, State as EngineState, TokenFault};
use crossdock_model::topic::{TopicFilter, TopicName};
use crossdock_realtime::{
    Arrival, Capacity, Doorkeeper, Figures, Gateway, Origins, Refusal, State, States, StatesError,
    StatesPage, Tls, serve_tcp, serve_tls, serve_websocket,
    session::{Action, Rights},
    wire::Reason,
};
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{net::TcpListener, sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::listen;

/// Where browsers come.
pub(super) const WEBSOCKET_PATH: &str = "/mqtt";
/// File descriptors that the hub keeps for other things than MQTT clients.
const DESCRIPTORS_KEPT: u64 = 1_000;
/// How old a figure may be that Prometheus reads.
const MEASURE_INTERVAL: Duration = Duration::from_secs(1);
/// MQTT clients at a time, where the system allows as many.
const CONNECTIONS_MAX: usize = 50_000;

/// What listens, bound before anything starts.
pub(super) struct Listeners {
    tcp: TcpListener,
    tls: Option<(TcpListener, Tls)>,
}

impl Listeners {
    pub(super) async fn bind(settings: &MqttSettings) -> anyhow::Result<Self> {
        let tls = match &settings.tls {
            None => None,
            Some(tls) => {
                let config = read_certificate(tls)?;
                let listener = listen(tls.listen, "listen in [mqtt.tls]").await?;
                Some((listener, config))
            }
        };
        let tcp = listen(settings.listen, "listen in [mqtt], or CROSSDOCK_MQTT__LISTEN").await?;
        Ok(Self { tcp, tls })
    }

    /// Where MQTT over TCP is.
    pub(super) fn address(&self) -> anyhow::Result<SocketAddr> {
        self.tcp.local_addr().context("the MQTT listener has no address")
    }
}

/// Starts the gateway; its tasks end with `stop`. Gives the route for browsers.
pub(super) fn start(
    hub: &Hub,
    listeners: Listeners,
    settings: &Settings,
    tasks: &mut JoinSet<&'static str>,
    stop: &CancellationToken,
) -> Router {
    let capacity = Capacity {
        connections: raise_descriptors(),
    };
    let asked = Arc::new(Asked(hub.clone()));
    let gateway = Gateway::start(asked.clone(), asked, capacity, stop.clone());
    let serving = serve_tcp(gateway.clone(), listeners.tcp, stop.clone());
    tasks.spawn(async {
        serving.await;
        "the MQTT listener"
    });
    if let Some((listener, tls)) = listeners.tls {
        let serving = serve_tls(gateway.clone(), listener, tls, stop.clone());
        tasks.spawn(async {
            serving.await;
            "the MQTT listener with TLS"
        });
    }
    let telling = tell_states(hub.clone(), gateway.clone());
    tasks.spawn(stopped(telling, stop.clone(), "the way of states to MQTT"));
    let rechecking = recheck(hub.clone(), gateway.clone());
    tasks.spawn(stopped(rechecking, stop.clone(), "the check of revoked tokens"));
    describe();
    let measured = measure(gateway.clone());
    tasks.spawn(stopped(measured, stop.clone(), "the measures of MQTT"));
    let shown = gateway.clone();
    hub.show_mqtt(move || view(&shown.figures()));
    let route = Websocket {
        gateway,
        origins: Arc::new(Origins::new(
            settings.http.allowed_origins.clone(),
            settings.http.public_url.as_ref().map(|url| url.as_str()),
        )),
        trusted_proxies: settings.http.trusted_proxies.clone().into(),
    };
    Router::new()
        .route(WEBSOCKET_PATH, routing::any(upgrade))
        .with_state(route)
}

async fn stopped(
    work: impl Future<Output = ()>,
    stop: CancellationToken,
    name: &'static str,
) -> &'static str {
    stop.run_until_cancelled(work).await;
    name
}

/// What the gateway asks, answered by the engine.
struct Asked(Hub);

#[async_trait]
impl Doorkeeper for Asked {
    async fn admit(&self, arrival: Arrival<'_>) -> Result<Arc<dyn Rights>, Refusal> {
        let token = arrival.login.map_or("", |login| login.password.as_str());
        match self.0.connect_browser(token, arrival.peer).await {
            Ok(grants) => Ok(Arc::new(Granted(grants))),
            Err(error) => Err(refusal(token, error)),
        }
    }

    fn turned_away(&self, origin: &str, peer: IpAddr) {
        self.0.note_refused_origin(origin, peer);
    }
}

/// What a client is told that shows this token.
fn refusal(token: &str, error: LoginError) -> Refusal {
    let reason = match error {
        LoginError::TooSoon { .. } => Reason::ConnectionRateExceeded,
        LoginError::Refused(TokenFault::KeysUnavailable) => Reason::ServerUnavailable,
        LoginError::Refused(_) => Reason::NotAuthorized,
    };
    let said = match error {
        LoginError::TooSoon { .. } => error.to_string(),
        LoginError::Refused(_) if token.is_empty() => "no token was shown: it is the password".to_owned(),
        LoginError::Refused(fault) => format!("the token is not taken: {}", fault.told()),
    };
    Refusal { reason, said }
}

#[async_trait]
impl States for Asked {
    async fn page(&self, filter: &TopicFilter, after: Option<&TopicName>) -> Result<StatesPage, StatesError> {
        let page = self.0.latest_page(filter, after).await;
        let page = page.map_err(|error| StatesError(error.to_string()))?;
        Ok(StatesPage {
            states: page.states.into_iter().map(told).collect(),
            next: page.next,
        })
    }
}

fn told(state: EngineState) -> State {
    State {
        topic: state.topic,
        version: state.version,
        payload: state.payload,
        expires_ms: state.expires_ms,
    }
}

struct Granted(Grants);

impl Rights for Granted {
    fn principal(&self) -> &str {
        self.0.principal()
    }

    fn may(&self, action: Action<'_>, now_ms: u64) -> bool {
        let now = i64::try_from(now_ms)
            .ok()
            .and_then(DateTime::from_timestamp_millis);
        let holds = now.is_some_and(|now| self.0.hold(now));
        holds
            && match action {
                Action::Publish(topic) => self.0.may_publish(topic),
                Action::Subscribe(filter) => self.0.may_subscribe(filter),
                Action::Receive(topic) => self.0.may_receive(topic),
            }
    }

    fn readable(&self) -> &[TopicFilter] {
        self.0.filters()
    }

    fn ends_ms(&self) -> Option<u64> {
        u64::try_from(self.0.expires().timestamp_millis()).ok()
    }

    fn are_revoked(&self) -> bool {
        self.0.revoked()
    }
}

/// States as they change. What may have been missed is read anew meanwhile, once more for all that is missed during that.
async fn tell_states(hub: Hub, gateway: Gateway) {
    let mut states = hub.live_states();
    let missed = Notify::new();
    let telling = async {
        while let Some(state) = states.recv().await {
            match state {
                LiveState::Changed(state) => gateway.state_changed(told(state)).await,
                LiveState::Missed => missed.notify_one(),
            }
        }
    };
    let reading = async {
        loop {
            missed.notified().await;
            gateway.states_missed().await;
        }
    };
    tokio::select! {
        () = telling => {}
        () = reading => {}
    }
}

async fn recheck(hub: Hub, gateway: Gateway) {
    let mut changes = hub.token_changes();
    while changes.changed().await.is_ok() {
        gateway.recheck();
    }
}

/// Tells Prometheus what the gateway counts.
async fn measure(gateway: Gateway) {
    let mut ticks = tokio::time::interval(MEASURE_INTERVAL);
    loop {
        ticks.tick().await;
        let figures = gateway.figures();
        #[allow(clippy::cast_precision_loss, reason = "no gauge comes near 2^52")]
        let show = |name: &'static str, value: u64| gauge!(name).set(value as f64);
        show("crossdock_mqtt_clients", figures.clients);
        show("crossdock_mqtt_sessions", figures.sessions);
        show("crossdock_mqtt_subscriptions", figures.subscriptions);
        show("crossdock_mqtt_retained", figures.retained);
        show("crossdock_mqtt_queue_bytes", figures.queue_bytes);
        counter!("crossdock_mqtt_messages_total", "direction" => "in").absolute(figures.messages_in);
        counter!("crossdock_mqtt_messages_total", "direction" => "out").absolute(figures.messages_out);
        for (reason, count) in figures.dropped {
            counter!("crossdock_mqtt_dropped_total", "reason" => reason).absolute(count);
        }
        counter!("crossdock_mqtt_refused_total").absolute(figures.refused);
        for (reason, count) in figures.ended {
            counter!("crossdock_mqtt_ended_total", "reason" => reason).absolute(count);
        }
        counter!("crossdock_mqtt_router_restarts_total").absolute(figures.router_restarts);
    }
}

/// Says what each name means.
fn describe() {
    describe_gauge!("crossdock_mqtt_clients", "MQTT clients connected");
    describe_gauge!(
        "crossdock_mqtt_sessions",
        "MQTT sessions kept, with their client or without"
    );
    describe_gauge!(
        "crossdock_mqtt_subscriptions",
        "Subscriptions of all MQTT sessions"
    );
    describe_gauge!(
        "crossdock_mqtt_retained",
        "Retained messages that MQTT clients published"
    );
    describe_gauge!(
        "crossdock_mqtt_queue_bytes",
        Unit::Bytes,
        "What waits for MQTT clients"
    );
    describe_counter!(
        "crossdock_mqtt_messages_total",
        "Messages that came to the MQTT gateway and that it wrote to clients"
    );
    describe_counter!(
        "crossdock_mqtt_dropped_total",
        "Messages that an MQTT client did not get: slow, denied, too_large, outdated, no_room"
    );
    describe_counter!(
        "crossdock_mqtt_refused_total",
        "MQTT clients that were not let in"
    );
    describe_counter!(
        "crossdock_mqtt_ended_total",
        "MQTT connections that were ended: slow, no_room, bad_packet"
    );
    describe_counter!(
        "crossdock_mqtt_router_restarts_total",
        "MQTT routers that ended and were replaced"
    );
}

fn view(figures: &Figures) -> MqttView {
    let named = |counts: &[(&'static str, u64)]| {
        counts
            .iter()
            .map(|(reason, count)| ((*reason).to_owned(), *count))
            .collect()
    };
    MqttView {
        clients: figures.clients,
        sessions: figures.sessions,
        subscriptions: figures.subscriptions,
        retained: figures.retained,
        queue_bytes: figures.queue_bytes,
        out_per_s: figures.out_per_s,
        messages_in: figures.messages_in,
        messages_out: figures.messages_out,
        dropped: named(&figures.dropped),
        refused: figures.refused,
        ended: named(&figures.ended),
        router_restarts: figures.router_restarts,
    }
}

#[derive(Clone)]
struct Websocket {
    gateway: Gateway,
    origins: Arc<Origins>,
    trusted_proxies: Arc<[IpRange]>,
}

async fn upgrade(Shared(shared): Shared<Websocket>, request: Request) -> Response {
    let (headers, extensions) = (request.headers(), request.extensions());
    let peer = crossdock_api::client_address(extensions, headers, &shared.trusted_proxies);
    let peer = peer.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
    serve_websocket(shared.gateway, &shared.origins, peer, request)
}

fn read_certificate(tls: &MqttTls) -> anyhow::Result<Tls> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect)
        .with_context(|| unreadable("certificate", &tls.certificate))?;
    if certificates.is_empty() {
        bail!(
            "mqtt.tls.certificate: {} holds no certificate in PEM",
            tls.certificate.display()
        );
    }
    let key = PrivateKeyDer::from_pem_file(&tls.key).with_context(|| unreadable("key", &tls.key))?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .context("mqtt.tls: certificate and key do not go together")?;
    Ok(Arc::new(config))
}

fn unreadable(key: &str, file: &Path) -> String {
    format!(
        "mqtt.tls.{key}: cannot read {}, expected a PEM file",
        file.display()
    )
}

/// As many as the system lets this process have: each client is one. Gives how many clients that are.
pub(crate) fn raise_descriptors() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limits = getrlimit(Resource::Nofile);
    if limits.current < limits.maximum || limits.maximum.is_none() {
        let raised = Rlimit {
            current: limits.maximum,
            maximum: limits.maximum,
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the limit of open files stays as it is");
        }
    }
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(descriptors.saturating_sub(DESCRIPTORS_KEPT))
        .unwrap_or(CONNECTIONS_MAX)
        .clamp(1, CONNECTIONS_MAX)
}
