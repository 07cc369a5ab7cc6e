//! Listeners for MQTT over TCP and over TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Gateway;

/// How long a TLS handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long to wait when no connection can be accepted, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A peer that is silent for this long is asked by the system whether it is still there.
const PROBE_AFTER: Duration = Duration::from_secs(60);

/// A certificate with its key, as rustls takes it.
pub type Tls = Arc<ServerConfig>;

/// Serves MQTT over TCP until `stop`; then waits for its connections to end.
pub async fn serve_tcp(gateway: Gateway, listener: TcpListener, stop: CancellationToken) {
    accept(&listener, &stop, |stream, peer| {
        let gateway = gateway.clone();
        async move { gateway.serve(stream, peer.ip().to_canonical()).await }
    })
    .await;
}

/// Serves MQTT over TLS until `stop`; then waits for its connections to end.
pub async fn serve_tls(gateway: Gateway, listener: TcpListener, tls: Tls, stop: CancellationToken) {
    let acceptor = TlsAcceptor::from(tls);
    accept(&listener, &stop, |stream, peer| {
        let (gateway, acceptor) = (gateway.clone(), acceptor.clone());
        async move {
            match tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => gateway.serve(stream, peer.ip().to_canonical()).await,
                Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS"),
                Err(_) => tracing::debug!(%peer, "no TLS in time"),
            }
        }
    })
    .await;
}

async fn accept<F: Future<Output = ()> + Send + 'static>(
    listener: &TcpListener,
    stop: &CancellationToken,
    serve: impl Fn(TcpStream, SocketAddr) -> F,
) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                if prepare(&stream).is_ok() {
                    connections.spawn(serve(stream, peer));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "an MQTT connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections.close();
    connections.wait().await;
}

/// Sends at once, and notices a peer that has vanished though it promised nothing.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    rustix::net::sockopt::set_socket_keepalive(stream, true)?;
    rustix::net::sockopt::set_tcp_keepidle(stream, PROBE_AFTER)?;
    Ok(())
}
