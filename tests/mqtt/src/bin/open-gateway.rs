//! The hub's MQTT gateway without the hub, for tests that know no passwords: whoever comes may do everything but
//! subscribe to the filters that are refused by name, and there are no states. Lives only here: the hub has no
//! setting that would open it like this.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use axum::Router;
use axum::extract::{ConnectInfo, Request, State as Shared};
use axum::response::{Html, Response};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use clap::Parser;
use crossdock_model::topic::{TopicFilter, TopicName};
use crossdock_realtime::session::{Action, Rights};
use crossdock_realtime::{
    Arrival, Capacity, Doorkeeper, Gateway, Origins, Refusal, States, StatesError, StatesPage, Tls,
    serve_tcp, serve_tls, serve_websocket,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio_util::sync::CancellationToken;

/// As many as tests hold at a time, with room to spare.
const CONNECTIONS_MAX: usize = 18_000;

/// For browsers, to whom only a page of the same host speaks.
const PAGE: &str = "<!doctype html><title>MQTT</title>";

#[derive(Parser, Debug)]
#[command(about = "The MQTT gateway, open to everybody; for tests")]
struct Cli {
    #[arg(long)]
    tcp: SocketAddr,
    /// MQTT over WebSocket, at /mqtt
    #[arg(long)]
    websocket: Option<SocketAddr>,
    #[arg(long, requires_all = ["certificate", "key"])]
    tls: Option<SocketAddr>,
    /// PEM file with the server's certificate and what signed it
    #[arg(long)]
    certificate: Option<PathBuf>,
    /// PEM file with its key
    #[arg(long)]
    key: Option<PathBuf>,
    /// A filter that nobody may subscribe to, to the letter
    #[arg(long)]
    refuse_filter: Vec<String>,
}

struct Everybody {
    refused: Vec<String>,
}

impl Rights for Everybody {
    fn principal(&self) -> &str {
        "everybody"
    }

    fn may(&self, action: Action<'_>, _now_ms: u64) -> bool {
        match action {
            Action::Subscribe(filter) => !self.refused.iter().any(|refused| refused == filter.as_str()),
            Action::Publish(_) | Action::Receive(_) => true,
        }
    }
}

struct OpenDoor(Arc<Everybody>);

#[async_trait]
impl Doorkeeper for OpenDoor {
    async fn admit(&self, _: Arrival<'_>) -> Result<Arc<dyn Rights>, Refusal> {
        Ok(self.0.clone())
    }
}

struct NoStates;

#[async_trait]
impl States for NoStates {
    async fn page(&self, _: &TopicFilter, _: Option<&TopicName>) -> Result<StatesPage, StatesError> {
        Ok(StatesPage::default())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )?;
    let stop = CancellationToken::new();
    let door = Arc::new(OpenDoor(Arc::new(Everybody {
        refused: cli.refuse_filter,
    })));
    let capacity = Capacity {
        connections: CONNECTIONS_MAX,
    };
    let gateway = Gateway::start(door, Arc::new(NoStates), capacity, stop.clone());

    let mut serving = tokio::task::JoinSet::new();
    if let Some(address) = cli.websocket {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| address.to_string())?;
        serving.spawn(websockets(gateway.clone(), listener, stop.clone()));
    }
    if let (Some(address), Some(certificate), Some(key)) = (cli.tls, &cli.certificate, &cli.key) {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| address.to_string())?;
        serving.spawn(serve_tls(
            gateway.clone(),
            listener,
            tls(certificate, key)?,
            stop.clone(),
        ));
    }
    // The tests knock at this one to see whether it is up, so it comes last.
    let listener = TcpListener::bind(cli.tcp)
        .await
        .with_context(|| cli.tcp.to_string())?;
    serving.spawn(serve_tcp(gateway, listener, stop.clone()));
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    term.recv().await;
    stop.cancel();
    serving.join_all().await;
    Ok(())
}

async fn websockets(gateway: Gateway, listener: TcpListener, stop: CancellationToken) {
    let app = Router::new()
        .route("/mqtt", get(upgrade))
        .route("/", get(async || Html(PAGE)))
        .with_state(gateway)
        .into_make_service_with_connect_info::<SocketAddr>();
    let listener = listener.tap_io(|stream| {
        // A socket that cannot be told has ended, and is found out when it is read.
        let _ = stream.set_nodelay(true);
    });
    let _ = axum::serve(listener, app)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await;
}

async fn upgrade(
    Shared(gateway): Shared<Gateway>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    serve_websocket(gateway, &Origins::default(), peer.ip(), request)
}

fn tls(certificate: &Path, key: &Path) -> anyhow::Result<Tls> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    Ok(Arc::new(
        ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key)?,
    ))
}
