//! Reading states for who subscribed, a few at a time. What is read goes the way of all messages, so
//! that it is never out of order with what changes meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossdock_model::topic::TopicFilter;
use tokio::sync::{self, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::bus::ReadPlaces;
use super::session::Session;
use super::{Shared, locked};
use crate::outside::States;

/// Reads that wait; who subscribes waits where there are more.
const WAITING_MAX: usize = 1_024;
/// Reads at a time.
const WORKERS: usize = 8;
/// Reads of one principal among those that wait or are at work: with as many connections as it likes, it leaves workers
/// to the others, and none of them waits for more than these.
const OWN_READS: usize = 4;
/// How many principals are remembered before it is looked which have nothing to read.
const TIDY_MIN: usize = 64;
/// How long to wait after a failure, at first and at most.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What is to be read, and for whom; for all who subscribed without a reader.
#[derive(Debug)]
pub(super) struct Read {
    filter: TopicFilter,
    reader: Option<Arc<Session>>,
    /// The place of its principal, until it is done.
    _place: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
pub(super) struct Reads {
    sender: mpsc::Sender<Read>,
    places: Mutex<Places>,
}

/// The places of each principal; those of the hub itself, which reads for all, are nobody's.
#[derive(Debug, Default)]
struct Places {
    by_principal: HashMap<Option<Arc<str>>, Arc<Semaphore>>,
    tidy_at: usize,
}

impl Reads {
    pub(super) fn new() -> (Self, mpsc::Receiver<Read>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let places = Mutex::default();
        (Self { sender, places }, receiver)
    }

    /// Waits for a place of its principal, whose sessions get them in turn, and for one among all.
    pub(super) async fn add(&self, filter: TopicFilter, reader: Option<Arc<Session>>) {
        let principal = reader.as_ref().map(|reader| reader.key.principal.clone());
        let free = locked(&self.places).of(principal);
        let place = free.acquire_owned().await.ok();
        let read = Read {
            filter,
            reader,
            _place: place,
        };
        // It is closed only while all ends.
        let _ = self.sender.send(read).await;
    }
}

impl Places {
    fn of(&mut self, principal: Option<Arc<str>>) -> Arc<Semaphore> {
        if self.by_principal.len() >= self.tidy_at.max(TIDY_MIN) {
            // Whoever reads, or waits to, holds them too.
            self.by_principal
                .retain(|_, places| Arc::strong_count(places) > 1);
            self.tidy_at = self.by_principal.len() * 2;
        }
        self.by_principal
            .entry(principal)
            .or_insert_with(|| Arc::new(Semaphore::new(OWN_READS)))
            .clone()
    }
}

pub(super) fn work(
    shared: &Arc<Shared>,
    states: &Arc<dyn States>,
    waiting: mpsc::Receiver<Read>,
    stop: &CancellationToken,
) {
    let waiting = Arc::new(sync::Mutex::new(waiting));
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
                let mut places = ReadPlaces::default();
                for state in found {
                    shared
                        .publish_state(state, read.reader.clone(), Some(&mut places))
                        .await;
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_who_reads_is_remembered() {
        let mut places = Places::default();
        let reading = places.of(Some("reading".into()));
        let _place = reading.clone().try_acquire_owned().unwrap();
        drop(reading);
        for number in 0..10_000 {
            places.of(Some(number.to_string().into()));
        }
        assert!(places.by_principal.len() <= TIDY_MIN);
        assert_eq!(
            places.of(Some("reading".into())).available_permits(),
            OWN_READS - 1
        );
    }
}
