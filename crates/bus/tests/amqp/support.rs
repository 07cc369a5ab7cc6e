//! What these tests share: queues, numbered messages, and people in the middle of a connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crossdock_bus::management::Permissions;
use crossdock_bus::{Broker, Delivery, Headers, LinkState, Outgoing, PublishError, Publisher};
use crossdock_testkit::TestVhost;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn broker(url: &str) -> Broker {
    Broker::new(url).unwrap()
}

/// The broker behind another port of this machine.
pub(crate) fn by_port(url: &str, port: u16) -> String {
    let mut url = url::Url::parse(url).unwrap();
    url.set_port(Some(port)).unwrap();
    url.into()
}

/// A connection of the client library, without anything of ours.
pub(crate) async fn channel(url: &str) -> (Connection, Channel) {
    let connection = Connection::connect(url, ConnectionProperties::default())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

/// A quorum queue with one active consumer, and further arguments.
pub(crate) async fn declare(url: &str, queue: &str, arguments: &[(&str, AMQPValue)]) {
    let (_connection, channel) = channel(url).await;
    let mut table = FieldTable::default();
    table.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    table.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    for (name, value) in arguments {
        table.insert((*name).into(), value.clone());
    }
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel.queue_declare(queue.into(), options, table).await.unwrap();
}

/// A message to the queue, holding the number.
pub(crate) fn numbered(queue: &str, number: u64) -> Outgoing {
    Outgoing {
        routing_key: queue.into(),
        mandatory: true,
        body: Bytes::from(number.to_string()),
        ..Outgoing::default()
    }
}

pub(crate) fn number(delivery: &Delivery) -> u64 {
    std::str::from_utf8(&delivery.body).unwrap().parse().unwrap()
}

pub(crate) fn with_headers(mut message: Outgoing, headers: Headers) -> Outgoing {
    message.properties.headers = headers;
    message
}

/// A user that no other test connects as.
pub(crate) struct OwnUser {
    pub(crate) name: String,
    pub(crate) url: String,
}

impl OwnUser {
    pub(crate) async fn of(vhost: &TestVhost) -> Self {
        let management = vhost.management();
        let name = vhost.unique("own");
        management.put_user(&name, "p4ssw0rd", &[]).await.unwrap();
        let own = Self {
            url: crossdock_bus::credentials::url_for(&vhost.broker_url, &name, "p4ssw0rd").unwrap(),
            name,
        };
        own.may_read(vhost, ".*").await;
        own
    }

    pub(crate) async fn may_read(&self, vhost: &TestVhost, queues: &str) {
        let (configure, write) = (".*".into(), ".*".into());
        let rights = Permissions {
            configure,
            write,
            read: queues.into(),
        };
        vhost
            .management()
            .set_permissions(&self.name, &rights)
            .await
            .unwrap();
    }

    /// Closes the user's connections until `end` has come. RabbitMQ knows of a connection only some
    /// time after it was made.
    pub(crate) async fn close_connections_until<T>(
        &self,
        vhost: &TestVhost,
        end: impl Future<Output = T>,
    ) -> T {
        let management = vhost.management();
        let closing = async {
            loop {
                management
                    .close_connections(&self.name, "a test wants it so")
                    .await
                    .unwrap();
                sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::select! {
            ended = timeout(DEADLINE, end) => ended.unwrap(),
            () = closing => unreachable!(),
        }
    }
}

/// A publisher and what ends it.
pub(crate) struct Published {
    pub(crate) publisher: Publisher,
    pub(crate) tracker: TaskTracker,
    pub(crate) stop: CancellationToken,
}

pub(crate) fn publisher(url: &str) -> Published {
    let tracker = TaskTracker::new();
    let stop = CancellationToken::new();
    let publisher = Publisher::spawn(broker(url), "test publisher", &tracker, stop.clone());
    Published {
        publisher,
        tracker,
        stop,
    }
}

impl Published {
    pub(crate) async fn fill(&self, queue: &str, numbers: std::ops::RangeInclusive<u64>) {
        for number in numbers {
            self.publisher.publish(numbered(queue, number)).await.unwrap();
        }
    }

    pub(crate) async fn becomes(&self, expected: impl Fn(&LinkState) -> bool) -> LinkState {
        let mut states = self.publisher.watch();
        timeout(DEADLINE, states.wait_for(expected))
            .await
            .unwrap()
            .unwrap()
            .clone()
    }

    /// Publishes until it is confirmed, as callers do.
    pub(crate) async fn insist(&self, message: Outgoing) {
        timeout(DEADLINE, async {
            while let Err(error) = self.publisher.publish(message.clone()).await {
                assert!(
                    !matches!(
                        error,
                        PublishError::Returned { .. } | PublishError::TooLarge { .. }
                    ),
                    "{error}"
                );
            }
        })
        .await
        .unwrap();
    }
}

/// A port of this machine behind which connections to the broker can be held up.
pub(crate) struct Turnpike {
    pub(crate) port: u16,
    open: watch::Sender<bool>,
}

impl Turnpike {
    pub(crate) async fn before(url: &str) -> Self {
        let target = broker(url).host_port();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (open, state) = watch::channel(true);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(&target).await.unwrap();
                let (client, server) = (client.into_split(), server.into_split());
                tokio::spawn(carry(client.0, server.1, state.clone()));
                tokio::spawn(carry(server.0, client.1, state.clone()));
            }
        });
        Self { port, open }
    }

    pub(crate) fn close(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }
}

async fn carry(
    from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut open: watch::Receiver<bool>,
) {
    use tokio::io::AsyncWriteExt;
    let mut bytes = vec![0; 16 * 1024];
    loop {
        if open.wait_for(|open| *open).await.is_err() || from.readable().await.is_err() {
            return;
        }
        match from.try_read(&mut bytes) {
            Ok(0) => return,
            Ok(count) => {
                if open.wait_for(|open| *open).await.is_err() || to.write_all(&bytes[..count]).await.is_err()
                {
                    return;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// A port of this machine where TLS ends before the broker, and the PEM file of its authority.
pub(crate) struct TlsEnd {
    pub(crate) port: u16,
    pub(crate) ca_file: tempfile::NamedTempFile,
}

impl TlsEnd {
    pub(crate) async fn before(url: &str) -> Self {
        let target = broker(url).host_port();
        let signed =
            rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let ca_file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca_file.path(), signed.cert.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![signed.cert.der().clone()], signed.signing_key.into())
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                let target = target.clone();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(&target).await.unwrap();
                    if let Ok(mut client) = acceptor.accept(client).await {
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self { port, ca_file }
    }

    pub(crate) fn url(&self, url: &str) -> String {
        let url = by_port(url, self.port).replacen("amqp://", "amqps://", 1);
        format!("{url}?cacertfile={}", self.ca_file.path().display())
    }
}
