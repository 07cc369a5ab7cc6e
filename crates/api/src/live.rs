//! `/v1/live`: what the dashboard shows, pushed when it changes, as server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>). One sampler ([`sampler`]) looks at the hub
//! for all streams, and only while there are any; a stream holds no more than the message under way, so that a slow
//! client costs a place and no memory. It gets the newest state when it is ready, not every state between.

mod sampler;
mod text;

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::response::sse::Event as Message;
use chrono::{DateTime, Utc};
use crossdock_engine::{DeadLetterNews, EventNews, OverviewView, Scope};
use futures::future::select_all;
use futures::stream;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::sampler::{Topic, TopicReceiver, Watched};
use crate::adapters::Adapters;
use crate::auth::{AdaptersRead, Caller, Standing};
use crate::extract::Query;
use crate::problem::{Guarded, ProblemBody};
use crate::queues::Queues;
use crate::sse::{self, Place, STANDING_CHECK};
use crate::{ApiState, Problem, problem_types as kinds};

pub(crate) use sampler::Live;

/// A beat comes this often: a client that misses three knows that it sees old figures.
const BEAT: Duration = Duration::from_secs(2);
/// At least so long lies between two messages about events.
const EVENTS_GAP: Duration = Duration::from_millis(500);

/// The name of the messages about events.
const EVENTS: &str = "events";
const BEATS: &str = "beat";

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(watch_live))
}

/// What to watch.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct LiveQuery {
    /// Some of `overview`, `queues`, `adapters`, `dead-letters`, `events`, separated by commas.
    #[param(example = "overview,events")]
    topics: String,
    /// The id of the last message seen, where it cannot be sent as `Last-Event-ID`: a browser sends that only when it
    /// connects again by itself.
    #[param(minimum = 0)]
    after: Option<i64>,
}

/// A sign of life.
#[derive(Serialize, ToSchema)]
struct Beat {
    /// The hub's time.
    at: DateTime<Utc>,
}

/// The data of a message; its `event` says which.
#[derive(ToSchema)]
#[schema(as = LiveData)]
#[expect(dead_code, reason = "only describes what the sampler writes")]
enum LiveData {
    #[schema(rename = "overview")]
    Overview(OverviewView),
    #[schema(rename = "queues")]
    Queues(Queues),
    #[schema(rename = "adapters")]
    Adapters(Adapters),
    #[schema(rename = "dead-letters")]
    DeadLetters(DeadLetterNews),
    #[schema(rename = "events")]
    Events(EventNews),
    #[schema(rename = "beat")]
    Beat(Beat),
}

/// Watch the hub at work
///
/// Server-sent events. `event` is the topic, or `beat`. `overview`, `queues` and `adapters` carry what their `GET`
/// gives, `dead-letters` the latest ones and how many there are: first as it is, then whenever it changed, at most twice
/// a second each. `events` carries the newest events since the last message, at most 50, and how many older ones were
/// left out. A `beat` comes every 2 s. `id` is an offset of the record: a client that comes back with `Last-Event-ID`
/// misses no event. It ends when the key or the session ends.
///
/// At most 100 streams are open at one time, 16 of one caller. The topics `dead-letters` and `events` need `events:read`, too.
#[utoipa::path(get, path = "/v1/live", tag = "operations", security(("api_key" = ["adapters:read"])),
    params(LiveQuery, ("Last-Event-ID" = Option<i64>, Header, description = "The id of the last message seen")),
    responses(
        (status = 200, description = "Messages until the hub stops or the key ends", body = LiveData, content_type = "text/event-stream"),
        (status = 400, description = "A parameter cannot be read", body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn watch_live(
    State(api): State<ApiState>,
    caller: Caller<AdaptersRead>,
    Query(query): Query<LiveQuery>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let wanted = Wanted::read(&query.topics)?;
    if wanted.events || wanted.topics.contains(&Topic::DeadLetters) {
        caller.must(Scope::EventsRead)?;
    }
    let last_id = sse::start(&headers, query.after)?;
    let place = api.places().take(&caller.principal.mark())?;
    // Without a database nothing comes in, so that nothing is missed either.
    let newest = api.hub().latest_offset().await.ok();
    let after = match (last_id, newest) {
        // An id of another record, or of one that was put back, is beyond this one's end.
        (Some(seen), Some(newest)) => Some(seen.min(newest)),
        (seen, newest) => seen.or(newest),
    };
    let watched = Live::watch(&api);
    let watcher = Watcher {
        topics: wanted.topics.iter().map(|topic| watched.topic(*topic)).collect(),
        events: wanted.events.then(|| EventsSide {
            tail: watched.events(),
            is_behind: true,
            not_before: Instant::now(),
        }),
        after,
        beat: beats(),
        standing: caller.standing,
        api,
        _watched: watched,
        _place: place,
    };
    Ok(sse::answer(stream::unfold(watcher, Watcher::next)))
}

fn beats() -> Interval {
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beats
}

/// What a client asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    topics: Vec<Topic>,
    events: bool,
}

impl Wanted {
    fn read(text: &str) -> Result<Self, Problem> {
        let mut wanted = Self::default();
        for name in text.split(',') {
            match Topic::named(name) {
                Some(topic) if wanted.topics.contains(&topic) => {}
                Some(topic) => wanted.topics.push(topic),
                None if name == EVENTS => wanted.events = true,
                None => {
                    let known: Vec<_> = Topic::ALL.map(Topic::name).into_iter().chain([EVENTS]).collect();
                    let detail = format!("topics: {name:?} is none; expected some of {}", known.join(", "));
                    return Err(kinds::MALFORMED_REQUEST.with(detail));
                }
            }
        }
        Ok(wanted)
    }
}

/// One client.
struct Watcher {
    api: ApiState,
    standing: Standing,
    topics: Vec<TopicReceiver>,
    events: Option<EventsSide>,
    /// Every event up to this offset was shown, or left out and counted. Unknown until the database answers.
    after: Option<i64>,
    beat: Interval,
    _watched: Watched,
    _place: Place,
}

/// What a client that watches events waits for.
struct EventsSide {
    tail: sampler::TailReceiver,
    /// What the sampler shows next does not follow what this client has seen: it reads for itself.
    is_behind: bool,
    not_before: Instant,
}

/// What a client is woken by.
enum Woken {
    Beat,
    Topic(usize),
    Events,
}

impl Watcher {
    /// The next message; `None` ends the stream.
    async fn next(mut self) -> Option<(Result<Message, Infallible>, Self)> {
        let stop = self.api.stop().clone();
        let message = stop.run_until_cancelled(self.next_message()).await??;
        Some((Ok(message), self))
    }

    async fn next_message(&mut self) -> Option<Message> {
        loop {
            if !self.standing.holds(&self.api, STANDING_CHECK).await {
                return None;
            }
            let message = match self.woken().await {
                Woken::Beat => Some(self.beat()),
                Woken::Topic(index) => self.topics[index].message(),
                Woken::Events => self.events().await,
            };
            if message.is_some() {
                return message;
            }
        }
    }

    async fn woken(&mut self) -> Woken {
        let topics = self.topics.iter_mut().map(|topic| Box::pin(topic.changed()));
        let topics: Vec<_> = topics.collect();
        let topic = async {
            match topics.is_empty() {
                true => std::future::pending().await,
                false => select_all(topics).await.1,
            }
        };
        let events = async {
            match &mut self.events {
                Some(events) => events.wait().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.beat.tick() => Woken::Beat,
            index = topic => Woken::Topic(index),
            () = events => Woken::Events,
        }
    }

    fn beat(&self) -> Message {
        let beat = Beat { at: Utc::now() };
        self.with_id(message(BEATS, &text::json(&beat)))
    }

    fn with_id(&self, message: Message) -> Message {
        match self.after {
            Some(offset) => message.id(offset.to_string()),
            None => message,
        }
    }

    /// The events that followed what this client has seen, if there are any.
    async fn events(&mut self) -> Option<Message> {
        let events = self.events.as_mut()?;
        let tail = events.tail.borrow_and_update().clone();
        let text = match (self.after, tail) {
            (None, Some(tail)) => {
                self.after = Some(tail.from);
                return self.follow(&tail);
            }
            (None, None) => {
                self.after = self.api.hub().latest_offset().await.ok();
                events.is_behind = self.after.is_none();
                None
            }
            (Some(_), Some(tail)) if !events.is_behind => return self.follow(&tail),
            (Some(after), _) => match text::news(self.api.hub(), after).await {
                Ok((text, newest)) => {
                    self.after = Some(newest);
                    events.is_behind = false;
                    text
                }
                // The database is away; it is asked again until it answers.
                Err(_) => None,
            },
        };
        events.not_before = Instant::now() + EVENTS_GAP;
        let text = text?;
        Some(self.with_id(message(EVENTS, &text)))
    }

    /// Takes what the sampler read for everybody, if it follows what this client has seen.
    fn follow(&mut self, tail: &sampler::Tail) -> Option<Message> {
        let (events, after) = (self.events.as_mut()?, self.after?);
        if tail.to <= after {
            return None;
        }
        if tail.from != after {
            events.is_behind = true;
            return None;
        }
        self.after = Some(tail.to);
        events.not_before = Instant::now() + EVENTS_GAP;
        Some(self.with_id(message(EVENTS, &tail.text)))
    }
}

impl EventsSide {
    async fn wait(&mut self) {
        sleep_until(self.not_before).await;
        if !self.is_behind && self.tail.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn message(topic: &str, data: &str) -> Message {
    Message::default().event(topic).data(data)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_named() {
        let wanted = Wanted::read("overview,events,queues,overview").unwrap();
        assert_eq!(wanted.topics, [Topic::Overview, Topic::Queues]);
        assert!(wanted.events);
        for topic in Topic::ALL {
            assert_eq!(Wanted::read(topic.name()).unwrap().topics, [topic]);
        }
        for wrong in ["", "overview,", "Overview", "overview queues", "beat"] {
            let problem = Wanted::read(wrong).unwrap_err();
            assert_eq!(problem.body().status, 400, "{wrong}");
        }
    }
}
