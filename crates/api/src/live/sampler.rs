//! Looks at the hub for everybody who watches, and only while somebody does. Each topic is written once and shared;
//! it is sent on when it has changed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::response::sse::Event as Message;
use crossdock_engine::{OverviewView, Picture};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::{message, text};
use crate::ApiState;
use crate::adapters::Adapters;
use crate::queues::Queues;

/// How often the hub is looked at. RabbitMQ's own statistics are five seconds apart.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After a look that took long there is a pause of so many times as long: no more than a fifth of a reader's time goes
/// into looking.
const PAUSE_TIMES: u32 = 4;
/// At least so long lies between two looks at the record's end.
const EVENTS_EVERY: Duration = Duration::from_millis(500);
/// The record is looked at this often without being woken: other hubs write to it too.
const POLL: Duration = Duration::from_secs(1);

/// What can be watched beside events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    Overview,
    Queues,
    Adapters,
    DeadLetters,
}

impl Topic {
    pub(super) const ALL: [Self; 4] = [Self::Overview, Self::Queues, Self::Adapters, Self::DeadLetters];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Queues => "queues",
            Self::Adapters => "adapters",
            Self::DeadLetters => "dead-letters",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.name() == name)
    }
}

type Text = Option<Arc<str>>;

/// The events between two offsets, the first left out.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) text: Arc<str>,
}

pub(super) type TailReceiver = watch::Receiver<Option<Arc<Tail>>>;

/// What watchers see now.
pub(crate) struct Live {
    topics: [watch::Sender<Text>; Topic::ALL.len()],
    tail: watch::Sender<Option<Arc<Tail>>>,
    watchers: watch::Sender<usize>,
    /// Whether the sampler runs. Held while the number of watchers changes.
    runs: Mutex<bool>,
}

/// Keeps the sampler at work until it is dropped.
pub(super) struct Watched(ApiState);

/// A topic as one client follows it.
pub(super) struct TopicReceiver {
    topic: Topic,
    texts: watch::Receiver<Text>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            topics: Topic::ALL.map(|_| watch::Sender::new(None)),
            tail: watch::Sender::new(None),
            watchers: watch::Sender::new(0),
            runs: Mutex::new(false),
        }
    }
}

impl Live {
    /// Has the hub looked at from now on.
    pub(super) fn watch(api: &ApiState) -> Watched {
        let live = api.live();
        let mut runs = live.runs();
        live.watchers.send_modify(|watchers| *watchers += 1);
        if !*runs {
            *runs = true;
            api.spawn(run(api.clone()));
        }
        Watched(api.clone())
    }

    fn runs(&self) -> MutexGuard<'_, bool> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sender(&self, topic: Topic) -> &watch::Sender<Text> {
        &self.topics[topic as usize]
    }

    /// Whether anybody watches it. What nobody watches is forgotten, so that nobody begins with what is old.
    fn is_watched(&self, topic: Topic) -> bool {
        let sender = self.sender(topic);
        let is_watched = sender.receiver_count() > 0;
        if !is_watched {
            sender.send_replace(None);
        }
        is_watched
    }

    fn show(&self, topic: Topic, text: Arc<str>) {
        self.sender(topic).send_if_modified(|shown| {
            let is_news = shown.as_ref() != Some(&text);
            if is_news {
                *shown = Some(text);
            }
            is_news
        });
    }

    fn forget(&self) {
        for sender in &self.topics {
            sender.send_replace(None);
        }
        self.tail.send_replace(None);
    }
}

impl Watched {
    pub(super) fn topic(&self, topic: Topic) -> TopicReceiver {
        let mut texts = self.0.live().sender(topic).subscribe();
        texts.mark_changed();
        TopicReceiver { topic, texts }
    }

    pub(super) fn events(&self) -> TailReceiver {
        self.0.live().tail.subscribe()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let live = self.0.live();
        let _runs = live.runs();
        live.watchers.send_modify(|watchers| *watchers -= 1);
    }
}

impl TopicReceiver {
    /// Waits until there is something new.
    pub(super) async fn changed(&mut self) {
        if self.texts.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// What is new; nothing while nothing is known yet.
    pub(super) fn message(&mut self) -> Option<Message> {
        let text = self.texts.borrow_and_update().clone()?;
        Some(message(self.topic.name(), &text))
    }
}

/// Lets another sampler begin, with the next watcher, after one that failed.
struct Failing<'a>(&'a Live);

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            *self.0.runs() = false;
        }
    }
}

/// Looks until nobody watches any more.
async fn run(api: ApiState) {
    let live = api.live();
    let _failing = Failing(live);
    loop {
        let mut watchers = live.watchers.subscribe();
        let nobody_is_left = async {
            // The sender lives as long as this task.
            let _ = watchers.wait_for(|watchers| *watchers == 0).await;
        };
        tokio::select! {
            () = api.stop().cancelled() => {}
            () = nobody_is_left => {}
            () = look_at_the_hub(&api) => {}
            () = follow_the_record(&api) => {}
        }
        let mut runs = live.runs();
        if *live.watchers.borrow() == 0 || api.stop().is_cancelled() {
            *runs = false;
            live.forget();
            return;
        }
    }
}

async fn look_at_the_hub(api: &ApiState) {
    let live = api.live();
    let mut last_overview: Option<OverviewView> = None;
    loop {
        let began = Instant::now();
        if Topic::ALL.map(|topic| live.is_watched(topic)).contains(&true) {
            let picture = api.hub().picture().await;
            show(api, picture, &mut last_overview).await;
        }
        let pause = LOOK_EVERY.max(began.elapsed() * PAUSE_TIMES);
        sleep(pause).await;
    }
}

async fn show(api: &ApiState, picture: Picture, last_overview: &mut Option<OverviewView>) {
    let live = api.live();
    if live.is_watched(Topic::Overview) {
        // That time goes on is no news.
        let mut overview = picture.overview;
        let at = last_overview.as_ref().map_or(overview.at, |last| last.at);
        let now = std::mem::replace(&mut overview.at, at);
        let is_shown = live.sender(Topic::Overview).borrow().is_some();
        if !is_shown || last_overview.as_ref() != Some(&overview) {
            overview.at = now;
            live.show(Topic::Overview, text::json(&overview));
            *last_overview = Some(overview);
        }
    }
    // What cannot be read now stays as it was.
    if let Some(queues) = picture.queues.filter(|_| live.is_watched(Topic::Queues)) {
        live.show(Topic::Queues, text::json(&Queues { queues }));
    }
    if let Some(adapters) = picture.adapters.filter(|_| live.is_watched(Topic::Adapters)) {
        live.show(Topic::Adapters, text::json(&Adapters { adapters }));
    }
    if let Some(total) = picture
        .dead_letters
        .filter(|_| live.is_watched(Topic::DeadLetters))
        && let Ok(news) = api.hub().dead_letter_news(total).await
    {
        live.show(Topic::DeadLetters, text::json(&news));
    }
}

async fn follow_the_record(api: &ApiState) {
    let live = api.live();
    let mut recorded = api.hub().recorded();
    let mut from = None;
    loop {
        recorded.borrow_and_update();
        if live.tail.receiver_count() == 0 {
            from = None;
        } else if let Some(after) = from {
            // While the database is away nothing is news.
            if let Ok((text, to)) = text::news(api.hub(), after).await {
                if let Some(text) = text {
                    live.tail.send_replace(Some(Arc::new(Tail {
                        from: after,
                        to,
                        text,
                    })));
                }
                from = Some(to);
            }
        } else {
            from = api.hub().latest_offset().await.ok();
        }
        sleep(EVENTS_EVERY).await;
        tokio::select! {
            Ok(()) = recorded.changed() => {}
            () = sleep(POLL) => {}
        }
    }
}
