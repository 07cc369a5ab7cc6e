//! A copy of its own of everything that is fanned out: a queue that belongs to one connection and goes with it. Nothing
//! waits in it for anybody: what comes while nobody listens is missed, and where more comes than is taken, the oldest
//! is dropped. Whoever listens has to know another way to learn what it missed.

use lapin::options::{BasicAckOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::broker::Broker;
use crate::deliveries::{ANSWER_DEADLINE, Deliveries};
use crate::error::BusError;
use crate::link::{Link, within};
use crate::message::Delivery;

/// How much such a queue holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Messages in the queue; of more the oldest are dropped.
    pub messages: u32,
    /// Messages RabbitMQ hands over ahead of acks.
    pub prefetch: u16,
}

/// Listens to an exchange.
pub struct Listener {
    link: Link,
    deliveries: Deliveries,
}

impl Listener {
    /// Connects, binds a queue of its own called `queue` to `exchange` and consumes from it. `tag` names the connection
    /// and the consumer to operators.
    ///
    /// # Errors
    /// [`BusError::Refused`] where there is no such exchange, or where another connection has a queue of that name.
    pub async fn open(
        broker: &Broker,
        exchange: &str,
        queue: &str,
        room: Room,
        tag: &str,
    ) -> Result<Self, BusError> {
        let link = Link::open(broker, tag).await?;
        let mut arguments = FieldTable::default();
        let text = |text: &str| AMQPValue::LongString(text.into());
        arguments.insert("x-queue-type".into(), text("classic"));
        arguments.insert("x-overflow".into(), text("drop-head"));
        arguments.insert(
            "x-max-length".into(),
            AMQPValue::LongLongInt(room.messages.into()),
        );
        let options = QueueDeclareOptions {
            exclusive: true,
            auto_delete: true,
            ..QueueDeclareOptions::default()
        };
        let declaring = link.channel.queue_declare(short(queue)?, options, arguments);
        within(ANSWER_DEADLINE, declaring).await?;
        let binding = link.channel.queue_bind(
            short(queue)?,
            short(exchange)?,
            ShortString::default(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        within(ANSWER_DEADLINE, binding).await?;
        let deliveries = Deliveries::from(&link, queue, room.prefetch, tag).await?;
        Ok(Self { link, deliveries })
    }

    /// Waits for the next one. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The queue is gone, and with it what was in it.
    pub async fn next(&mut self) -> Result<Delivery, BusError> {
        self.deliveries.next().await.inspect_err(|_| self.link.cut())
    }

    /// Makes room: done with this delivery and every one before it.
    ///
    /// # Errors
    /// The queue is gone.
    pub async fn done_up_to(&self, tag: u64) -> Result<(), BusError> {
        let options = BasicAckOptions { multiple: true };
        within(ANSWER_DEADLINE, self.link.channel.basic_ack(tag, options)).await
    }
}

impl Drop for Listener {
    /// Comes before anything inside is dropped.
    fn drop(&mut self) {
        self.link.cut();
    }
}

fn short(name: &str) -> Result<ShortString, BusError> {
    ShortString::try_new(name).map_err(|error| BusError::Topology(format!("{name}: {error}")))
}
