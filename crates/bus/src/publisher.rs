//! A publisher with a connection of its own that is there for good: it connects, and connects again,
//! by itself. Whoever publishes learns of each message whether RabbitMQ confirmed it, and of the
//! link what state it is in. It never publishes a message twice: that is for the caller to decide.

use std::time::Duration;

use chrono::{DateTime, Utc};
use crossdock_model::{Clock, SystemClock};
use futures::future;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::error::PublishError;
use crate::link::Link;
use crate::message::Outgoing;
use crate::pipeline::{Pipeline, Pump, pipeline};

/// Publishes that may be unconfirmed at the same time; further ones wait.
pub const WINDOW: usize = 1_000;
/// How long a publish may take from the call to the confirm.
pub const CONFIRM_DEADLINE: Duration = Duration::from_secs(10);

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A link that lasted so long was a good one: the next pause is a short one again.
const GOOD_LINK: Duration = Duration::from_secs(10);

/// What can be said about a connection to RabbitMQ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// Messages flow.
    Connected,
    /// Connected, but RabbitMQ takes nothing, for want of memory or disk.
    Blocked {
        /// RabbitMQ's own words.
        reason: String,
    },
    /// There is no connection.
    Down {
        /// Since when there is none.
        since: DateTime<Utc>,
        /// Why there is none.
        reason: String,
    },
}

/// Publishes with confirms. Clones share one connection and one window.
#[derive(Clone)]
pub struct Publisher {
    pipeline: Pipeline,
}

impl Publisher {
    /// Starts the task that keeps the connection, shown in RabbitMQ as `name`, and returns at once.
    /// The task ends when `stop` is cancelled and everything under way is answered, or when the
    /// last clone is gone.
    pub fn spawn(broker: Broker, name: &str, tracker: &TaskTracker, stop: CancellationToken) -> Self {
        let (pipeline, pump) = pipeline(LinkState::Down {
            since: SystemClock.now(),
            reason: "not connected yet".into(),
        });
        tracker.spawn(keep_connected(broker, name.to_owned(), pump, stop));
        Self { pipeline }
    }

    /// Publishes, and resolves when RabbitMQ has confirmed that the message is routed and safe.
    /// Without a connection it fails within a second, at the latest after [`CONFIRM_DEADLINE`].
    /// Dropping the future calls back a message that
    /// still waits, but none that is on its way.
    ///
    /// # Errors
    /// Every reason for which the message is not known to be safe.
    pub async fn publish(&self, message: Outgoing) -> Result<(), PublishError> {
        let ticket = self.pipeline.submit(message).await?;
        self.pipeline.outcome(ticket).await
    }

    /// Publishes all messages in their order, without waiting for one before the next, and resolves when RabbitMQ
    /// has confirmed every one. Once a message could not be handed over, no later one is.
    ///
    /// Many calls of [`publish`](Self::publish) at once keep no order: each waits its turn by itself.
    ///
    /// # Errors
    /// The first reason for which a message is not known to be safe. Others may have arrived.
    pub async fn publish_all(&self, messages: Vec<Outgoing>) -> Result<(), PublishError> {
        let mut tickets = Vec::with_capacity(messages.len());
        let mut published = Ok(());
        for message in messages {
            match self.pipeline.submit(message).await {
                Ok(ticket) => tickets.push(ticket),
                Err(error) => {
                    published = Err(error);
                    break;
                }
            }
        }
        let outcomes = tickets.into_iter().map(|ticket| self.pipeline.outcome(ticket));
        let confirmed = future::join_all(outcomes).await;
        confirmed.into_iter().collect::<Result<(), _>>().and(published)
    }

    /// The state of the connection now.
    pub fn state(&self) -> LinkState {
        self.pipeline.state()
    }

    /// The state of the connection and its changes.
    pub fn watch(&self) -> watch::Receiver<LinkState> {
        self.pipeline.watch()
    }
}

async fn keep_connected(broker: Broker, name: String, mut pump: Pump, stop: CancellationToken) {
    let mut pause = FIRST_PAUSE;
    let mut logged = String::new();
    while !stop.is_cancelled() {
        let opened = tokio::select! {
            opened = Link::open_confirming(&broker, &name) => opened,
            () = stop.cancelled() => break,
        };
        let reason = match opened {
            Ok(link) => {
                tracing::info!(
                    connection = name,
                    broker = broker.host_port(),
                    "connected to RabbitMQ"
                );
                let connected = Instant::now();
                let reason = pump.run(&link, &stop).await;
                link.close().await;
                if connected.elapsed() > GOOD_LINK {
                    pause = FIRST_PAUSE;
                }
                logged.clear();
                reason
            }
            Err(error) => error.to_string(),
        };
        if stop.is_cancelled() || pump.is_abandoned() {
            break;
        }
        pump.set_down(reason.clone());
        if logged != reason {
            tracing::warn!(connection = name, reason, "no connection to RabbitMQ");
            logged.clone_from(&reason);
        }
        tokio::select! {
            _ = timeout(jittered(pause), pump.refuse(&reason)) => {}
            () = stop.cancelled() => {}
        }
        pause = LONGEST_PAUSE.min(pause * 2);
    }
    pump.set_down("the publisher has stopped".into());
}

/// Between half of `pause` and all of it, so that many do not come back at the same moment.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.5..=1.0))
}
