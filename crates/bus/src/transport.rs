//! The byte stream under a connection: TCP, with TLS over it for `amqps`, with what comes in mended
//! by [`InboundFrames`]. It hands out a second handle of the socket, by which the connection can be
//! cut without anybody's consent.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures::Stream;
use futures::io::{AsyncRead, AsyncWrite};
use lapin::tcp::{AsyncTcpStream, RustlsConnector, RustlsConnectorConfig};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::broker::Broker;
use crate::frames::InboundFrames;

const READ_BYTES: usize = 64 * 1024;

type Socket = <Tokio as Reactor>::TcpStream;
/// What the AMQP client runs on: the current Tokio runtime, with our streams.
pub(crate) type Kit = RuntimeParts<Tokio, MendingReactor>;

/// The AMQP client's runtime. Only to be called within a Tokio runtime.
pub(crate) fn runtime() -> Runtime<Kit> {
    let tokio = Tokio::current();
    Runtime::new(RuntimeParts::new(tokio.clone(), MendingReactor(tokio)))
}

/// Connects to the broker and leaves a second handle of the socket in `handle`.
pub(crate) async fn dial(broker: &Broker, handle: &OnceLock<TcpStream>) -> io::Result<MendedStream> {
    let socket = connect(broker).await?;
    let second = socket.get_ref().as_fd().try_clone_to_owned()?;
    handle
        .set(second.into())
        .map_err(|_| io::Error::other("a link connects once"))?;
    let plain = AsyncTcpStream::Plain(socket);
    let stream = if broker.tls {
        plain
            .into_rustls(&tls_connector(broker.ca_file.as_deref())?, &broker.host)
            .await?
    } else {
        plain
    };
    Ok(MendedStream::over(stream))
}

async fn connect(broker: &Broker) -> io::Result<Socket> {
    let tokio = Tokio::current();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in tokio::net::lookup_host((broker.host.as_str(), broker.port)).await? {
        match tokio.tcp_connect_addr(address).await {
            Ok(socket) => return Ok(socket),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn tls_connector(ca_file: Option<&Path>) -> io::Result<RustlsConnector> {
    let mut config = match RustlsConnectorConfig::new_with_native_certs() {
        Ok(config) => config,
        Err(_) if ca_file.is_some() => RustlsConnectorConfig::default(),
        Err(error) => return Err(error),
    };
    if let Some(path) = ca_file {
        config.add_parsable_certificates(certificates(path)?);
    }
    config.connector_with_no_client_auth()
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let unusable = |reason: String| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("cacertfile {}: {reason}", path.display()),
        )
    };
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(error.to_string()))?;
    if certificates.is_empty() {
        return Err(unusable("it holds no certificate in PEM".into()));
    }
    Ok(certificates)
}

/// Tokio's reactor, with our stream as its TCP stream.
#[derive(Clone, Debug)]
pub(crate) struct MendingReactor(Tokio);

impl Reactor for MendingReactor {
    type TcpStream = MendedStream;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: io::Read + io::Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, period: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(period)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(address);
        async move { Ok(MendedStream::over(AsyncTcpStream::Plain(connecting.await?))) }
    }
}

/// A stream whose incoming frames are mended.
pub(crate) struct MendedStream {
    stream: AsyncTcpStream<Socket>,
    inbound: InboundFrames,
    read: Box<[u8]>,
}

impl MendedStream {
    fn over(stream: AsyncTcpStream<Socket>) -> Self {
        Self {
            stream,
            inbound: InboundFrames::default(),
            read: vec![0; READ_BYTES].into(),
        }
    }
}

impl AsyncRead for MendedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        target: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        loop {
            let given = this.inbound.give(target);
            if given > 0 || target.is_empty() {
                return Poll::Ready(Ok(given));
            }
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut this.read))? {
                0 => return Poll::Ready(Ok(0)),
                count => this.inbound.take(&this.read[..count])?,
            }
        }
    }
}

impl AsyncWrite for MendedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
