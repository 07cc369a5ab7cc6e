//! Serves connections: so many at one time, each with a deadline for its headers and for a client
//! that stops reading, and an orderly end. Upgrades (WebSocket) pass through.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Sleep, sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Connections open at one time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 1_024;
/// Headers of one request together: attributes of 32 KiB grow threefold when percent-encoded.
const HEADERS_MAX_BYTES: usize = 128 * 1024;
/// Headers of one request by number.
const HEADERS_MAX: usize = 200;
/// How long to wait when the system has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How long the server waits for its clients.
#[derive(Clone, Copy)]
struct Patience {
    /// For the headers of a request; idle between two requests too.
    headers: Duration,
    /// For a client to take what was written to it.
    stalled: Duration,
    /// For requests under way once the server stops.
    drain: Duration,
}

const PATIENCE: Patience = Patience {
    headers: Duration::from_secs(30),
    stalled: Duration::from_secs(60),
    drain: Duration::from_secs(15),
};

/// Serves `router` on `listener` until `stop` is cancelled, then lets requests under way finish
/// for at most 15 s. The router finds the peer as `ConnectInfo<SocketAddr>`.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    serve_with(PATIENCE, listener, router, stop).await;
}

async fn serve_with(patience: Patience, listener: TcpListener, router: Router, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    let abandon = CancellationToken::new();
    while let Some((stream, peer, place)) = stop.run_until_cancelled(accept(&listener, &places)).await {
        let connection = connection(patience, stream, peer, router.clone(), stop.clone());
        let abandon = abandon.clone();
        connections.spawn(async move {
            abandon.run_until_cancelled(connection).await;
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    if timeout(patience.drain, connections.wait()).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "connections were cut: their requests did not end in time"
        );
        abandon.cancel();
        connections.wait().await;
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit) {
    let place = places
        .clone()
        .acquire_owned()
        .await
        .expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, place),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection could be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

async fn connection(
    patience: Patience,
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    stop: CancellationToken,
) {
    // Only latency suffers where the socket refuses this.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let router = router.clone();
        async move { Ok::<_, std::convert::Infallible>(call(router, request.map(axum::body::Body::new)).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.headers)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADERS_MAX_BYTES)
        .serve_connection(
            TokioIo::new(Watched {
                stream,
                patience: patience.stalled,
                stalled: None,
            }),
            service,
        )
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn call(router: Router, request: Request) -> axum::response::Response {
    match tower::ServiceExt::oneshot(router, request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// A connection that fails when its peer does not take what is written to it.
struct Watched {
    stream: TcpStream,
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    fn watch<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);
    /// What only a server that hangs would need.
    const LONG: Duration = Duration::from_secs(20);

    async fn started(patience: Patience, router: Router) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve_with(patience, listener, router, stop.clone()));
        (address, stop, server)
    }

    async fn get_path(address: SocketAddr, path: &str) -> TcpStream {
        let mut client = TcpStream::connect(address).await.unwrap();
        client
            .write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes())
            .await
            .unwrap();
        client
    }

    async fn until_closed(client: &mut TcpStream) -> String {
        let mut answer = Vec::new();
        // A connection that is reset has ended too.
        let _ = timeout(LONG, client.read_to_end(&mut answer))
            .await
            .expect("the server closes the connection");
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn the_handler_knows_the_peer_and_the_end_is_orderly() {
        let router = Router::new().route(
            "/",
            get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }),
        );
        let (address, stop, server) = started(PATIENCE, router).await;
        let mut client = get_path(address, "/").await;
        let own = client.local_addr().unwrap().to_string();
        let mut seen = String::new();
        while !seen.ends_with(&own) {
            let mut part = [0; 512];
            let length = timeout(LONG, client.read(&mut part)).await.unwrap().unwrap();
            assert_ne!(length, 0, "{seen}");
            seen.push_str(&String::from_utf8_lossy(&part[..length]));
        }
        stop.cancel();
        timeout(PATIENCE.drain / 2, server)
            .await
            .expect("an idle connection does not hold the server")
            .unwrap();
        assert_eq!(until_closed(&mut client).await, "");
    }

    #[tokio::test]
    async fn a_request_under_way_is_answered_and_one_without_end_is_cut() {
        let entered = Arc::new(Notify::new());
        let go_on = Arc::new(Notify::new());
        let (mark, wait) = (entered.clone(), go_on.clone());
        let router = Router::new()
            .route(
                "/slow",
                get(move || async move {
                    mark.notify_one();
                    wait.notified().await;
                    "done"
                }),
            )
            .route("/endless", get(std::future::pending::<()>));
        let (address, stop, server) = started(
            Patience {
                drain: SHORT * 10,
                ..PATIENCE
            },
            router,
        )
        .await;
        let mut endless = get_path(address, "/endless").await;
        let mut slow = get_path(address, "/slow").await;
        entered.notified().await;
        stop.cancel();
        go_on.notify_one();
        assert!(until_closed(&mut slow).await.ends_with("done"));
        assert_eq!(until_closed(&mut endless).await, "");
        timeout(LONG, server).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_client_that_sends_no_headers_or_takes_no_answer_is_let_go() {
        let router = Router::new().route("/large", get(|| async { vec![0_u8; 64 * 1024 * 1024] }));
        let (address, stop, server) = started(
            Patience {
                headers: SHORT,
                stalled: SHORT,
                drain: LONG,
            },
            router,
        )
        .await;
        let mut mute = TcpStream::connect(address).await.unwrap();
        mute.write_all(b"GET / HT").await.unwrap();
        until_closed(&mut mute).await;
        let deaf = get_path(address, "/large").await;
        stop.cancel();
        timeout(LONG / 2, server)
            .await
            .expect("a client that does not read does not hold the server")
            .unwrap();
        drop(deaf);
    }
}
