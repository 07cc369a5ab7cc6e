//! A lane: consuming from a queue and publishing what came of it, on ONE channel of ONE connection,
//! so that a holder who has lost the queue cannot publish any more either.
//!
//! A lane never says goodbye. Cancelling the consumer or closing the channel while deliveries are
//! unacked would let the queue's next consumer overtake them. However a lane ends, by
//! [`Lane::step_down`], by being dropped or by a panic, its connection is cut first; RabbitMQ then
//! hands everything unacked to the next consumer, in order.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{FutureExt, future};
use lapin::options::{BasicAckOptions, BasicQosOptions, BasicRejectOptions};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::broker::Broker;
use crate::deliveries::{ANSWER_DEADLINE, Deliveries};
use crate::error::{BusError, PublishError};
use crate::link::{Link, within};
use crate::message::{Delivery, Outgoing};
use crate::pipeline::{Pipeline, pipeline};
use crate::publisher::LinkState;

const STEP_DOWN_DEADLINE: Duration = Duration::from_secs(2);

/// A consumer and a publisher on one channel, fenced.
pub struct Lane {
    link: Arc<Link>,
    deliveries: Deliveries,
    prefetch: u16,
    received: VecDeque<Delivery>,
    unacked: Mutex<BTreeSet<u64>>,
    pipeline: Pipeline,
    _publishing: AbortOnDropHandle<()>,
}

impl Lane {
    /// Connects and consumes from `queue` with manual acks, at most `prefetch` deliveries unacked.
    /// `tag` names the connection and the consumer to operators.
    ///
    /// # Errors
    /// [`BusError::Refused`] where the queue does not exist or may not be read.
    pub async fn open(broker: &Broker, queue: &str, prefetch: u16, tag: &str) -> Result<Self, BusError> {
        let link = Arc::new(Link::open_confirming(broker, tag).await?);
        // Before the pump, which would cut the connection of a refused consumer while the refusal is still on its way.
        let deliveries = Deliveries::from(&link, queue, prefetch, tag).await?;
        let (pipeline, mut pump) = pipeline(LinkState::Connected);
        let publishing = AbortOnDropHandle::new(tokio::spawn({
            let link = Arc::clone(&link);
            async move {
                pump.run(&link, &CancellationToken::new()).await;
                link.cut();
            }
        }));
        Ok(Self {
            link,
            deliveries,
            prefetch,
            received: VecDeque::new(),
            unacked: Mutex::default(),
            pipeline,
            _publishing: publishing,
        })
    }

    /// Waits for a delivery, then up to `linger` for more, until there are `max`. Dropping the
    /// future loses nothing: the next call gives what this one had gathered.
    ///
    /// # Errors
    /// The lane is over: the connection is lost, the channel closed or the consumer cancelled.
    /// Deliveries not yet acked come again, to whoever consumes next.
    pub async fn next_batch(&mut self, max: usize, linger: Duration) -> Result<Vec<Delivery>, BusError> {
        if self.received.is_empty() {
            let next = self.deliveries.next().await;
            self.receive(next)?;
        }
        let end = Instant::now() + linger;
        while self.received.len() < max {
            let next = match self.deliveries.next().now_or_never() {
                Some(next) => next,
                None => match timeout_at(end, self.deliveries.next()).await {
                    Ok(next) => next,
                    Err(_) => break,
                },
            };
            self.receive(next)?;
        }
        let count = max.min(self.received.len());
        Ok(self.received.drain(..count).collect())
    }

    /// Publishes all messages in their order, without waiting for one before the next; the results
    /// are in the same order. See [`Publisher::publish`](crate::Publisher::publish).
    pub async fn publish_all(&self, messages: Vec<Outgoing>) -> Vec<Result<(), PublishError>> {
        let mut tickets = Vec::with_capacity(messages.len());
        for message in messages {
            tickets.push(self.pipeline.submit(message).await);
        }
        let outcomes = tickets
            .into_iter()
            .map(async |ticket| self.pipeline.outcome(ticket?).await);
        future::join_all(outcomes).await
    }

    /// Acks the deliveries with these tags, whatever order they are in. Tags acked before are passed over.
    ///
    /// # Errors
    /// The lane is over.
    pub async fn ack(&self, tags: &[u64]) -> Result<(), BusError> {
        let acks = Acks::of(&mut self.unacked(), tags);
        let up_to = acks.up_to.map(|tag| (tag, true));
        let sent = up_to
            .into_iter()
            .chain(acks.single.into_iter().map(|tag| (tag, false)))
            .map(|(tag, multiple)| self.link.channel.basic_ack(tag, BasicAckOptions { multiple }));
        within(ANSWER_DEADLINE, future::try_join_all(sent))
            .await
            .map(drop)
            .inspect_err(|_| self.link.cut())
    }

    /// The deliveries with these tags failed: they go to the queue's dead-letter target. Tags acked or
    /// rejected before are passed over.
    ///
    /// # Errors
    /// The lane is over.
    pub async fn reject(&self, tags: &[u64]) -> Result<(), BusError> {
        let held: Vec<u64> = {
            let unacked = self.unacked();
            tags.iter().copied().filter(|tag| unacked.contains(tag)).collect()
        };
        let options = BasicRejectOptions { requeue: false };
        let sent = held
            .iter()
            .map(|tag| self.link.channel.basic_reject(*tag, options));
        within(ANSWER_DEADLINE, future::try_join_all(sent))
            .await
            .inspect_err(|_| self.link.cut())?;
        // Not before the rejects are on their way: an ack of "this one and every one before it" must not run
        // ahead of them and cover them.
        let mut unacked = self.unacked();
        held.iter().for_each(|tag| {
            unacked.remove(tag);
        });
        Ok(())
    }

    /// The state of the connection now.
    pub fn state(&self) -> LinkState {
        self.pipeline.state()
    }

    /// Leaves the queue to the next consumer, once RabbitMQ has taken in every ack and reject that was sent.
    pub async fn step_down(self) {
        // The answer comes after everything sent before has been worked off.
        let round_trip = self
            .link
            .channel
            .basic_qos(self.prefetch, BasicQosOptions::default());
        let _ = within(STEP_DOWN_DEADLINE, round_trip).await;
    }

    fn receive(&mut self, next: Result<Delivery, BusError>) -> Result<(), BusError> {
        match next {
            Ok(delivery) => {
                self.unacked().insert(delivery.tag);
                self.received.push_back(delivery);
                Ok(())
            }
            Err(over) => {
                self.link.cut();
                self.received.clear();
                Err(over)
            }
        }
    }

    fn unacked(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.unacked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lane {
    /// Comes before anything inside is dropped.
    fn drop(&mut self) {
        self.link.cut();
    }
}

/// The fewest acks for a set of deliveries.
#[derive(Debug, PartialEq, Eq)]
struct Acks {
    /// This one and every one before it.
    up_to: Option<u64>,
    single: Vec<u64>,
}

impl Acks {
    /// Takes `tags` out of `unacked`.
    fn of(unacked: &mut BTreeSet<u64>, tags: &[u64]) -> Self {
        let mut acked: BTreeSet<u64> = tags.iter().copied().filter(|tag| unacked.remove(tag)).collect();
        let up_to = match unacked.first() {
            Some(oldest) => acked.range(..*oldest).next_back().copied(),
            None => acked.last().copied(),
        };
        let single = acked.split_off(&up_to.map_or(0, |up_to| up_to + 1));
        Self {
            up_to,
            single: single.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acks(unacked: &mut BTreeSet<u64>, tags: &[u64]) -> (Option<u64>, Vec<u64>) {
        let acks = Acks::of(unacked, tags);
        (acks.up_to, acks.single)
    }

    #[test]
    fn acks_are_as_few_as_can_be() {
        let mut unacked = (1..=9).collect();
        assert_eq!(acks(&mut unacked, &[3, 1, 2]), (Some(3), vec![]));
        assert_eq!(acks(&mut unacked, &[5, 7]), (None, vec![5, 7]));
        assert_eq!(acks(&mut unacked, &[4, 6, 9]), (Some(6), vec![9]));
        assert_eq!(acks(&mut unacked, &[8]), (Some(8), vec![]));
        assert_eq!(acks(&mut unacked, &[8, 1]), (None, vec![]));
        assert!(unacked.is_empty());
    }
}
