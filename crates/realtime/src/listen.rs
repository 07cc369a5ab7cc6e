//! Listeners for MQTT over TCP and over TLS.

use std::future::ready;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Gateway;
use crate::gateway::Seat;

/// How long to wait when no connection can be accepted, for example for want of file descriptors. It is warned of each
/// time, and who connects meanwhile waits with the system.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// A peer that is silent for this long is asked by the system whether it is still there.
const PROBE_AFTER: Duration = Duration::from_secs(60);

/// A certificate with its key, as rustls takes it.
pub type Tls = Arc<ServerConfig>;

/// Serves MQTT over TCP until `stop`; then waits for its connections to end.
pub async fn serve_tcp(gateway: Gateway, listener: TcpListener, stop: CancellationToken) {
    accept(&gateway, &listener, &stop, |stream, seat| {
        let gateway = gateway.clone();
        async move { gateway.serve(seat, ready(Ok(stream))).await }
    })
    .await;
}

/// Serves MQTT over TLS until `stop`; then waits for its connections to end.
pub async fn serve_tls(gateway: Gateway, listener: TcpListener, tls: Tls, stop: CancellationToken) {
    let acceptor = TlsAcceptor::from(tls);
    accept(&gateway, &listener, &stop, |stream, seat| {
        let (gateway, acceptor) = (gateway.clone(), acceptor.clone());
        async move { gateway.serve(seat, acceptor.accept(stream)).await }
    })
    .await;
}

/// While all places are taken one that was accepted waits for its own; the others wait with the system.
async fn accept<F: Future<Output = ()> + Send + 'static>(
    gateway: &Gateway,
    listener: &TcpListener,
    stop: &CancellationToken,
    serve: impl Fn(TcpStream, Seat) -> F,
) {
    let connections = TaskTracker::new();
    let next = async || {
        let (stream, peer) = listener.accept().await?;
        let seat = gateway.wait_for_seat(peer.ip().to_canonical()).await;
        io::Result::Ok((stream, peer, seat))
    };
    loop {
        let accepted = tokio::select! {
            accepted = next() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer, Ok(seat))) => match prepare(&stream) {
                Ok(()) => drop(connections.spawn(serve(stream, seat))),
                Err(error) => tracing::debug!(%peer, %error, "gone at once"),
            },
            Ok((_, peer, Err(none))) => tracing::debug!(%peer, "{none}"),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "an MQTT connection could not be accepted");
                stop.run_until_cancelled(tokio::time::sleep(ACCEPT_PAUSE)).await;
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
