//! Reading states for who subscribed, a few at a time. What is read goes the way of all messages, so
//! that it is never out of order with what changes meanwhile.

use std::sync::Arc;
use std::time::Duration;

use crossdock_model::topic::TopicFilter;
use tokio::sync::{Mutex, OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::session::Session;
use crate::outside::States;

/// Reads that wait; who subscribes waits where there are more.
const WAITING_MAX: usize = 1_024;
/// Reads at a time.
const WORKERS: usize = 8;
/// How long to wait after a failure, at first and at most.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What is to be read, and for whom; for all who subscribed without a reader.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) filter: TopicFilter,
    pub(super) reader: Option<Arc<Session>>,
    /// The reader's place among all that wait, its own until the read is done.
    pub(super) _place: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
pub(super) struct Reads(mpsc::Sender<Read>);

impl Reads {
    pub(super) fn new() -> (Self, mpsc::Receiver<Read>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(sender), receiver)
    }

    pub(super) async fn add(&self, read: Read) {
        // It is closed only while all ends.
        let _ = self.0.send(read).await;
    }
}

pub(super) fn work(
    shared: &Arc<Shared>,
    states: &Arc<dyn States>,
    waiting: mpsc::Receiver<Read>,
    stop: &CancellationToken,
) {
    let waiting = Arc::new(Mutex::new(waiting));
    for _ in 0..WORKERS {
        let (shared, states, waiting) = (shared.clone(), states.clone(), waiting.clone());
        let working = async move {
            loop {
                let Some(next) = waiting.lock().await.recv().await else {
                    return;
                };
                read(&shared, &*states, next).await;
            }
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(working));
    }
}

/// Again and again until it is read, or nobody waits for it any more.
async fn read(shared: &Shared, states: &dyn States, read: Read) {
    let mut pause = PAUSE_MIN;
    loop {
        if read.reader.as_ref().is_some_and(|reader| !reader.is_there()) {
            return;
        }
        match states.latest(&read.filter).await {
            Ok(found) => {
                for state in found {
                    shared.publish_state(state, read.reader.clone()).await;
                }
                return;
            }
            Err(error) => {
                tracing::warn!(%error, pause_ms = pause.as_millis(), "subscribers wait for their states");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}
