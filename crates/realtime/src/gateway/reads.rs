//! Reading states for who subscribed, in steps: each reads a page and puts it on the bus, waits for no client, and gives
//! way to the steps of others. Who has no room for the next page asks for it once it has. What is read goes the way of
//! all messages, so that it is never out of order with what changes meanwhile.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use crossdock_model::topic::{TopicFilter, TopicName};
use tokio::sync::{self, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::bus::{READ_MESSAGES, ReadPlaces};
use super::session::Session;
use super::{Shared, locked};
use crate::outside::{States, StatesPage};

/// Steps that wait; who subscribes waits where there are more.
const WAITING_MAX: usize = 1_024;
/// Steps at a time.
const WORKERS: usize = 8;
/// Steps of one principal among those that wait or are at work: with as many connections as it likes, it leaves workers
/// to the others, and none of them waits for more than these.
const OWN_READS: usize = 4;
/// What one step hands over, about: a quarter of what may wait for a session.
const STEP_BYTES: usize = 1024 * 1024;
/// The most states that one subscription reads, and bytes of them.
const STATES_MAX: usize = 10_000;
const STATES_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How many principals are remembered before it is looked which have nothing to read.
const TIDY_MIN: usize = 64;
/// How long to wait after a failure, at first and at most.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What is to be read, and how far that is done.
#[derive(Debug)]
struct Due {
    filter: TopicFilter,
    /// All up to here is read.
    after: Option<TopicName>,
    states: usize,
    bytes: usize,
}

impl Due {
    fn all_of(filter: TopicFilter) -> Self {
        Self {
            filter,
            after: None,
            states: 0,
            bytes: 0,
        }
    }
}

/// What one connection has to read, and its step that is under way: who subscribes to much waits for itself.
#[derive(Default)]
pub(super) struct OwnReads {
    /// Each is subscribed to, and here once: that bounds them.
    due: VecDeque<Due>,
    /// What waited for the reader up to here is to be sent first, unless there is room enough anyway.
    behind: u64,
    step: Option<Box<Step>>,
}

struct Step {
    /// What it reads, unless that is not wanted any more, or wanted from the beginning: then this step is its last.
    filter: Option<TopicFilter>,
    rest: Pin<Box<dyn Future<Output = Option<Due>> + Send>>,
}

impl OwnReads {
    pub(super) fn of(filters: Vec<TopicFilter>) -> Self {
        Self {
            due: filters.into_iter().map(Due::all_of).collect(),
            ..Self::default()
        }
    }

    /// From the beginning, if it was under way.
    pub(super) fn add(&mut self, filter: TopicFilter) {
        self.forget(&filter);
        self.due.push_back(Due::all_of(filter));
    }

    /// Reads no more of it, but for what a step that is under way finds.
    pub(super) fn remove(&mut self, filter: &TopicFilter, session: &Session, epoch: u64) {
        self.forget(filter);
        if self.step.is_none() {
            self.end_if_done(session, epoch);
        }
    }

    fn forget(&mut self, filter: &TopicFilter) {
        self.due.retain(|due| due.filter != *filter);
        if let Some(step) = &mut self.step {
            step.filter.take_if(|of| of == filter);
        }
    }

    /// Takes steps, by turns, as there is room for what they find. Nothing else waits for that.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Arc<Shared>,
        session: &Arc<Session>,
        epoch: u64,
    ) {
        loop {
            if let Some(step) = &mut self.step {
                let Poll::Ready(rest) = step.rest.as_mut().poll(cx) else {
                    return;
                };
                let rest = rest.filter(|_| step.filter.is_some());
                self.step = None;
                self.due.extend(rest);
                self.behind = session.end_of_waiting();
                self.end_if_done(session, epoch);
            }
            let behind = self.behind;
            let Some(due) = self.due.pop_front_if(|_| session.has_room(behind)) else {
                return;
            };
            let filter = Some(due.filter.clone());
            let (shared, session) = (shared.clone(), session.clone());
            let rest = Box::pin(async move { shared.reads.step(due, session).await });
            self.step = Some(Box::new(Step { filter, rest }));
        }
    }

    /// While no step is under way.
    fn end_if_done(&mut self, session: &Session, epoch: u64) {
        if self.due.is_empty() {
            self.due = VecDeque::new();
            session.reads_done(epoch);
        }
    }
}

/// A step that waits for a worker, and for whom; without a reader the whole read, for all who subscribed.
#[derive(Debug)]
struct Read {
    due: Due,
    reader: Option<Reader>,
    /// The place of its principal, until it is done.
    _place: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
struct Reader {
    session: Arc<Session>,
    answer: oneshot::Sender<Answer>,
}

#[derive(Debug)]
enum Answer {
    /// What is left, and the places of what is on its way.
    Read(Option<Due>, ReadPlaces),
    /// It cannot be read now.
    Failed(Due),
}

#[derive(Debug)]
pub(super) struct Waiting(mpsc::Receiver<Read>);

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
    pub(super) fn new() -> (Self, Waiting) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let places = Mutex::default();
        (Self { sender, places }, Waiting(receiver))
    }

    /// Has all of it read for all who subscribed.
    pub(super) async fn for_all(&self, filter: TopicFilter) {
        self.add(Due::all_of(filter), None).await;
    }

    /// Takes one step for this reader. Once all of it waits for the reader, gives what is left. What cannot be read waits
    /// here, and keeps no worker from what can.
    async fn step(&self, mut due: Due, session: Arc<Session>) -> Option<Due> {
        let mut pause = PAUSE_MIN;
        loop {
            let (answer, answered) = oneshot::channel();
            let session = session.clone();
            self.add(due, Some(Reader { session, answer })).await;
            // Nobody answers only while all ends.
            match answered.await.ok()? {
                Answer::Read(rest, on_the_way) => {
                    on_the_way.settled().await;
                    return rest;
                }
                Answer::Failed(whole) => due = whole,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Waits for a place of its principal, whose sessions get them in turn, and for one among all.
    async fn add(&self, due: Due, reader: Option<Reader>) {
        let principal = reader.as_ref().map(|reader| reader.session.key.principal.clone());
        let free = locked(&self.places).of(principal);
        let place = free.acquire_owned().await.ok();
        let read = Read {
            due,
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
    Waiting(waiting): Waiting,
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

/// One step for a reader who still waits for it; for all, one after the other until there is no more.
async fn read(shared: &Shared, states: &dyn States, read: Read) {
    let Read {
        mut due,
        reader,
        _place,
    } = read;
    let (mut pause, mut places) = (PAUSE_MIN, ReadPlaces::default());
    loop {
        if reader.as_ref().is_some_and(|reader| reader.answer.is_closed()) {
            return;
        }
        let page = match states.page(&due.filter, due.after.as_ref()).await {
            Ok(page) => page,
            Err(error) => {
                if shared.reads_failed.is_news("", shared.clock.now_ms()) {
                    tracing::warn!(%error, "subscribers wait for their states");
                }
                if let Some(reader) = reader {
                    let _ = reader.answer.send(Answer::Failed(due));
                    return;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
                continue;
            }
        };
        pause = PAUSE_MIN;
        let session = reader.as_ref().map(|reader| &reader.session);
        let rest = hand_over(shared, page, due, session, &mut places).await;
        if let Some(reader) = reader {
            let _ = reader.answer.send(Answer::Read(rest, places));
            return;
        }
        match rest {
            Some(rest) => due = rest,
            None => return,
        }
    }
}

/// Puts a page on the bus, or as much of it as one step may, and gives what is left then. A step has places for all of
/// that.
async fn hand_over(
    shared: &Shared,
    page: StatesPage,
    mut due: Due,
    reader: Option<&Arc<Session>>,
    places: &mut ReadPlaces,
) -> Option<Due> {
    let (mut states, mut bytes, mut next) = (0, 0, page.next);
    for state in page.states {
        if states == READ_MESSAGES as usize || bytes >= STEP_BYTES {
            next = due.after.take();
            break;
        }
        states += 1;
        bytes += state.payload.len();
        due.after = Some(state.topic.clone());
        shared.publish_state(state, reader.cloned(), Some(places)).await;
    }
    due.after = Some(next?);
    let Some(reader) = reader else {
        return Some(due);
    };
    due.states += states;
    due.bytes += bytes;
    let is_enough = due.states >= STATES_MAX || due.bytes >= STATES_BYTES_MAX;
    if is_enough
        && shared
            .reads_cut
            .is_news(&reader.key.principal, shared.clock.now_ms())
    {
        tracing::warn!(
            principal = &*reader.key.principal,
            filter = due.filter.as_str(),
            states = due.states,
            "a filter matches more states than are read for one subscription; the rest is left out"
        );
    }
    (!is_enough).then_some(due)
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
