//! One connection with one channel, and the fence around both.
//!
//! The AMQP client sends `basic.cancel`, `channel.close` and `connection.close` when its handles
//! are dropped. With deliveries unacked, each of these lets the next consumer of the queue overtake
//! them; a connection that just ends does not. So whoever lets go of a [`Link`], in whatever way,
//! shuts its socket down before any of the client's handles is dropped.

use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::Stream;
use lapin::options::ConfirmSelectOptions;
use lapin::tcp::AsyncTcpStream;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind};
use tokio::time::timeout;

use crate::broker::Broker;
use crate::error::BusError;
use crate::frames::FRAME_MAX_BYTES;
use crate::transport;

/// From a connected socket to a channel that can be used.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// AMQP reply codes that mean "not like this", rather than "not now".
const REFUSALS: [u16; 7] = [402, 403, 404, 405, 406, 503, 530];

/// A connection and its only channel.
pub(crate) struct Link {
    // Fields are dropped in this order: the fence must be the first.
    fence: Fence,
    pub(crate) channel: Arc<Channel>,
    connection: Connection,
}

impl Link {
    /// Connects as `name`, which RabbitMQ shows to operators.
    pub(crate) async fn open(broker: &Broker, name: &str) -> Result<Self, BusError> {
        let fence = Fence::default();
        let connection = timeout(
            broker.connect_timeout + HANDSHAKE_DEADLINE,
            connect(broker, name, &fence),
        )
        .await
        .map_err(|_| BusError::Unavailable(format!("no answer from {}", broker.host_port())))?
        .map_err(|error| bus_error(&error))?;
        let channel = within(HANDSHAKE_DEADLINE, connection.create_channel()).await?;
        Ok(Self {
            fence,
            channel: Arc::new(channel),
            connection,
        })
    }

    /// The same, in confirm mode.
    pub(crate) async fn open_confirming(broker: &Broker, name: &str) -> Result<Self, BusError> {
        let link = Self::open(broker, name).await?;
        within(
            HANDSHAKE_DEADLINE,
            link.channel.confirm_select(ConfirmSelectOptions::default()),
        )
        .await?;
        Ok(link)
    }

    /// Whether connection and channel are open, as far as is known.
    pub(crate) fn is_open(&self) -> bool {
        self.connection.status().connected() && self.channel.status().connected()
    }

    /// Blocking, unblocking and errors as they come.
    pub(crate) fn events(&self) -> impl Stream<Item = lapin::Event> + Send + 'static {
        self.connection.events_listener()
    }

    /// Cuts the connection at once. RabbitMQ hands everything unacked to the next consumer, in order.
    pub(crate) fn cut(&self) {
        self.fence.shut();
    }

    /// Says goodbye as AMQP wants it. Only for links without deliveries.
    pub(crate) async fn close(self) {
        let _ = timeout(CLOSE_DEADLINE, self.connection.close(200, "done".into())).await;
    }
}

/// Awaits the client's answer, but not for ever.
pub(crate) async fn within<T>(
    deadline: Duration,
    answer: impl Future<Output = lapin::Result<T>>,
) -> Result<T, BusError> {
    match timeout(deadline, answer).await {
        Ok(answer) => answer.map_err(|error| bus_error(&error)),
        Err(_) => Err(BusError::Unavailable(format!(
            "no answer within {} s",
            deadline.as_secs()
        ))),
    }
}

/// What an error of the client means to us.
pub(crate) fn bus_error(error: &lapin::Error) -> BusError {
    match error.kind() {
        ErrorKind::ProtocolError(refusal) if REFUSALS.contains(&refusal.get_id()) => BusError::Refused {
            code: refusal.get_id(),
            reason: refusal.get_message().to_string(),
        },
        ErrorKind::ProtocolError(end) => {
            BusError::Unavailable(format!("{} {}", end.get_id(), end.get_message()))
        }
        _ => BusError::Unavailable(error.to_string()),
    }
}

async fn connect(broker: &Broker, name: &str, fence: &Fence) -> lapin::Result<Connection> {
    let uri = AMQPUri {
        // TLS is our transport's affair.
        scheme: AMQPScheme::AMQP,
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: broker.user.clone(),
                password: broker.password.clone(),
            },
            host: broker.host.clone(),
            port: broker.port,
        },
        vhost: broker.vhost.clone(),
        query: AMQPQueryString {
            frame_max: Some(FRAME_MAX_BYTES),
            heartbeat: Some(broker.heartbeat_s),
            ..AMQPQueryString::default()
        },
    };
    let properties = ConnectionProperties::default()
        .with_connection_name(name.into())
        .with_client_property("product".into(), "Crossdock".into())
        .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into());
    let broker = broker.clone();
    let handle = Arc::clone(&fence.0);
    let dial = move |_, _| {
        let (broker, handle) = (broker.clone(), Arc::clone(&handle));
        async move {
            let stream = timeout(broker.connect_timeout, transport::dial(&broker, &handle))
                .await
                .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))?;
            Ok(AsyncTcpStream::Plain(stream))
        }
    };
    Connection::connector(uri, transport::runtime(), dial, properties).await
}

/// A second handle of the connection's socket, which is shut down when this is dropped.
#[derive(Default)]
struct Fence(Arc<OnceLock<TcpStream>>);

impl Fence {
    fn shut(&self) {
        if let Some(socket) = self.0.get() {
            // Fails only where there is no connection any more.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        self.shut();
    }
}
