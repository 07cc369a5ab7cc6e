//! What comes from a queue on a link: a consumer with manual acks that knows when it is over.

use std::time::Duration;

use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};

use crate::error::BusError;
use crate::link::{Link, within};
use crate::message::{Delivery, delivery};

/// How long RabbitMQ may take to answer, or an ack to leave.
pub(crate) const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// A consumer of one queue.
pub(crate) struct Deliveries {
    consumer: lapin::Consumer,
    over: Option<BusError>,
}

impl Deliveries {
    /// Consumes from `queue`, at most `prefetch` deliveries unacked.
    pub(crate) async fn from(link: &Link, queue: &str, prefetch: u16, tag: &str) -> Result<Self, BusError> {
        let (queue, tag) = (short(queue)?, short(tag)?);
        let channel = &link.channel;
        within(
            ANSWER_DEADLINE,
            channel.basic_qos(prefetch, BasicQosOptions::default()),
        )
        .await?;
        let consuming =
            channel.basic_consume(queue, tag, BasicConsumeOptions::default(), FieldTable::default());
        let consumer = within(ANSWER_DEADLINE, consuming).await?;
        Ok(Self { consumer, over: None })
    }

    /// Waits for the next one. Dropping the future loses nothing. An error is final.
    pub(crate) async fn next(&mut self) -> Result<Delivery, BusError> {
        if let Some(over) = &self.over {
            return Err(over.clone());
        }
        let reason = match self.consumer.next().await {
            Some(Ok(next)) => return Ok(delivery(next)),
            Some(Err(error)) => error.to_string(),
            None => "the consumer was cancelled".to_owned(),
        };
        Err(self.over.insert(BusError::Unavailable(reason)).clone())
    }
}

fn short(name: &str) -> Result<ShortString, BusError> {
    ShortString::try_new(name).map_err(|error| BusError::Topology(format!("{name}: {error}")))
}
