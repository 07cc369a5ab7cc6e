//! How an adapter takes its deliveries: one consumer on a connection of its own, so that a blocked
//! publisher never holds an ack back. It ends as a [`Lane`](crate::Lane) does, by cutting the
//! connection, so that what is unacked stays in order.

use lapin::options::{BasicAckOptions, BasicRejectOptions};

use crate::broker::Broker;
use crate::deliveries::{ANSWER_DEADLINE, Deliveries};
use crate::error::BusError;
use crate::link::{Link, within};
use crate::message::Delivery;

const ACCESS_REFUSED: u16 = 403;

/// A consumer with manual acks.
pub struct AdapterConsumer {
    link: Link,
    deliveries: Deliveries,
}

impl AdapterConsumer {
    /// Connects and consumes from `queue`, at most `prefetch` deliveries unacked. `tag` names the
    /// connection and the consumer to operators.
    ///
    /// # Errors
    /// [`BusError::Paused`] where the user may connect but not read the queue: wait and try again.
    /// [`BusError::Refused`] where the credentials are no longer good or there is no such queue.
    pub async fn open(broker: &Broker, queue: &str, prefetch: u16, tag: &str) -> Result<Self, BusError> {
        let link = Link::open(broker, tag).await?;
        match Deliveries::from(&link, queue, prefetch, tag).await {
            Ok(deliveries) => Ok(Self { link, deliveries }),
            Err(BusError::Refused {
                code: ACCESS_REFUSED,
                reason,
            }) => Err(BusError::Paused {
                queue: queue.to_owned(),
                reason,
            }),
            Err(error) => Err(error),
        }
    }

    /// Waits for the next delivery. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The consumer is over and another must be opened. Deliveries not yet acked come again.
    pub async fn next(&mut self) -> Result<Delivery, BusError> {
        self.deliveries.next().await.inspect_err(|_| self.link.cut())
    }

    /// Done with the delivery.
    ///
    /// # Errors
    /// The consumer is over.
    pub async fn ack(&self, tag: u64) -> Result<(), BusError> {
        within(
            ANSWER_DEADLINE,
            self.link.channel.basic_ack(tag, BasicAckOptions::default()),
        )
        .await
    }

    /// The delivery failed: it goes to the queue's dead-letter target.
    ///
    /// # Errors
    /// The consumer is over.
    pub async fn reject(&self, tag: u64) -> Result<(), BusError> {
        let options = BasicRejectOptions { requeue: false };
        within(ANSWER_DEADLINE, self.link.channel.basic_reject(tag, options)).await
    }
}

impl Drop for AdapterConsumer {
    /// Comes before anything inside is dropped.
    fn drop(&mut self) {
        self.link.cut();
    }
}
