//! How a task serves a queue for as long as the hub runs: lanes come and go with the broker, the task goes on.

use std::time::{Duration, Instant};

use crossdock_bus::{BusError, lane::Lane, message::Delivery};
use tokio_util::sync::CancellationToken;

use crate::{shared::Shared, storing::PAUSE_MIN};

/// A lane that lasted so long was a good one: the next one is opened at once.
const GOOD_LANE: Duration = Duration::from_secs(10);

/// Bytes of messages that are worked on together: what comes of them must be confirmed within the deadline of a publish.
pub(crate) const BATCH_MAX_BYTES: usize = 8 * 1024 * 1024;

/// A queue and who serves it.
pub(crate) struct Post<'a> {
    pub(crate) queue: &'a str,
    /// Messages RabbitMQ hands over ahead of acks.
    pub(crate) prefetch: u16,
    /// The task's name, as RabbitMQ shows it.
    pub(crate) task: &'a str,
}

/// Opens a lane once the topology stands, has `serve` serve it, and opens another when it is over; until `serve` has
/// stepped down, with its answer, or until `stop`.
pub(crate) async fn keep_serving<T, Fut>(
    shared: &Shared,
    post: Post<'_>,
    stop: &CancellationToken,
    serve: impl Fn(Lane) -> Fut,
) -> Option<T>
where
    Fut: Future<Output = Result<T, BusError>>,
{
    let Post {
        queue,
        prefetch,
        task,
    } = post;
    let mut pause = PAUSE_MIN;
    while !stop.is_cancelled() {
        if shared.wait_for_topology(stop).await.is_err() {
            return None;
        }
        let began = Instant::now();
        let tag = shared.consumer_tag(task);
        let lane = tokio::select! {
            () = stop.cancelled() => return None,
            lane = Lane::open(&shared.broker, queue, prefetch, &tag) => lane,
        };
        match lane {
            Ok(lane) => match serve(lane).await {
                Ok(answer) => return Some(answer),
                Err(error) => tracing::warn!(queue, task, %error, "a lane is lost and another is opened"),
            },
            Err(error) => tracing::debug!(queue, task, %error, "the queue cannot be consumed yet"),
        }
        if began.elapsed() > GOOD_LANE {
            pause = PAUSE_MIN;
        }
        shared.pause(&mut pause, stop).await;
    }
    None
}

/// Batches of no more than [`BATCH_MAX_BYTES`]; a message that is larger by itself stands alone.
pub(crate) fn by_size(deliveries: Vec<Delivery>) -> Vec<Vec<Delivery>> {
    let mut batches: Vec<Vec<Delivery>> = Vec::new();
    let mut bytes = 0;
    for delivery in deliveries {
        bytes += delivery.body.len();
        match batches.last_mut() {
            Some(batch) if bytes <= BATCH_MAX_BYTES => batch.push(delivery),
            _ => {
                bytes = delivery.body.len();
                batches.push(vec![delivery]);
            }
        }
    }
    batches
}
