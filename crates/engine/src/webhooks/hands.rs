//! What a sender holds of its lane: events that wait for their request, requests under way, and what has come back and
//! is not in the record yet. Bounded by what RabbitMQ hands out.

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};

use crossdock_bus::message::{Delivery, HeaderValue, decode_event};
use crossdock_model::{Traceparent, event::Event, fault::Faults};
use crossdock_store::EventKey;
use crossdock_telemetry::{Kind, Span, TRACEPARENT_HEADER};
use futures::{future::BoxFuture, stream::FuturesUnordered};
use url::Url;

use super::verdict::Verdict;
use crate::retry::Progress;

/// See the module.
pub(super) struct Hands {
    /// Whether events of one key are sent one after the other.
    ordered: bool,
    waiting: VecDeque<Held>,
    /// The keys of events that are not let go yet.
    busy: HashSet<String>,
    bytes_under_way: usize,
    pub(super) under_way: FuturesUnordered<BoxFuture<'static, Finished>>,
    pub(super) finished: Vec<Finished>,
    pub(super) noting: Option<Noting>,
}

/// What is just being noted in the record.
pub(super) struct Noting {
    since: Instant,
    pub(super) done: BoxFuture<'static, Option<Vec<Finished>>>,
}

/// An event that waits for its request.
pub(super) struct Held {
    tag: u64,
    key: Option<String>,
    attempt: u32,
    bytes: usize,
    /// What the message holds, if it is an event.
    pub(super) event: Result<Event, Faults>,
    /// The step of the event's trace that the request belongs under.
    traceparent: Option<Traceparent>,
}

/// An attempt that is over.
pub(super) struct Finished {
    pub(super) tag: u64,
    key: Option<String>,
    bytes: usize,
    /// None of a message that is no event.
    pub(super) event: Option<EventKey>,
    pub(super) attempt: u32,
    pub(super) began: Instant,
    pub(super) took: Duration,
    /// None of a message that is no event: where rejects are read, that is quarantined.
    pub(super) verdict: Option<Verdict>,
}

impl Hands {
    pub(super) fn of(ordered: bool) -> Self {
        Self {
            ordered,
            waiting: VecDeque::new(),
            busy: HashSet::new(),
            bytes_under_way: 0,
            under_way: FuturesUnordered::new(),
            finished: Vec::new(),
            noting: None,
        }
    }

    pub(super) fn take(&mut self, delivery: Delivery) {
        let event = decode_event(&delivery.properties, &delivery.body);
        let key = match &event {
            Ok(event) if self.ordered => Some(event.partition_key().into_owned()),
            _ => None,
        };
        self.waiting.push_back(Held {
            tag: delivery.tag,
            key,
            attempt: Progress::read(&delivery.properties.headers).attempt,
            bytes: delivery.body.len(),
            event,
            traceparent: step_of(&delivery),
        });
    }

    /// Events that are not sent yet or under way.
    pub(super) fn held(&self) -> usize {
        self.waiting.len() + self.under_way.len()
    }

    /// Whether one waits that may be sent.
    pub(super) fn has_one_to_send(&self) -> bool {
        self.first_free().is_some()
    }

    /// The next event to send: the oldest whose key is not busy, if it fits in beside those under way.
    pub(super) fn next_to_send(&mut self, max_bytes: usize) -> Option<Held> {
        let index = self.first_free()?;
        let bytes = self.waiting[index].bytes;
        if self.bytes_under_way > 0 && self.bytes_under_way + bytes > max_bytes {
            return None;
        }
        let held = self.waiting.remove(index)?;
        self.bytes_under_way += held.bytes;
        self.busy.extend(held.key.clone());
        Some(held)
    }

    fn first_free(&self) -> Option<usize> {
        let mut earlier = HashSet::new();
        self.waiting.iter().position(|held| match &held.key {
            None => true,
            Some(key) => !self.busy.contains(key) && earlier.insert(key.as_str()),
        })
    }

    /// It is acked or rejected.
    pub(super) fn is_let_go(&mut self, finished: &Finished) {
        self.bytes_under_way = self.bytes_under_way.saturating_sub(finished.bytes);
        if let Some(key) = &finished.key {
            self.busy.remove(key);
        }
    }

    pub(super) fn note(&mut self, done: BoxFuture<'static, Option<Vec<Finished>>>) {
        self.noting = Some(Noting {
            since: Instant::now(),
            done,
        });
    }

    /// Whether the record has been taking something in for so long.
    pub(super) fn record_is_late(&self, limit: Duration) -> bool {
        self.noting
            .as_ref()
            .is_some_and(|noting| noting.since.elapsed() > limit)
    }
}

/// The step that published the delivery, where that is traced.
fn step_of(delivery: &Delivery) -> Option<Traceparent> {
    match delivery.properties.headers.get(TRACEPARENT_HEADER)? {
        HeaderValue::Text(text) => text.parse().ok(),
        _ => None,
    }
}

impl Held {
    /// Begins the span of its request.
    pub(super) fn span(&self, event: &Event, adapter: &str, url: &Url) -> Span {
        let parent = self.traceparent.or_else(|| event.traceparent());
        let mut span = Span::start(Kind::Client, parent, || "POST");
        span.say("http.request.method", || "POST");
        span.say("server.address", || url.host_str().unwrap_or_default().to_owned());
        span.say("crossdock.adapter", || adapter.to_owned());
        span.say("crossdock.attempt", || i64::from(self.attempt));
        span.say("cloudevents.event_id", || event.id.clone());
        span.say("cloudevents.event_type", || event.event_type.clone());
        span
    }

    /// It was sent, and this came of it.
    pub(super) fn answered(self, began: Instant, took: Duration, verdict: Verdict) -> Finished {
        Finished {
            began,
            took,
            ..self.unsent(Some(verdict))
        }
    }

    /// It is not sent at all.
    pub(super) fn unsent(self, verdict: Option<Verdict>) -> Finished {
        Finished {
            tag: self.tag,
            key: self.key,
            bytes: self.bytes,
            event: self.event.ok().map(|event| EventKey::of(&event)),
            attempt: self.attempt,
            began: Instant::now(),
            took: Duration::ZERO,
            verdict,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        retry::ATTEMPT_HEADER,
        testing::{self, event},
    };

    fn delivery(tag: u64, key: &str, bytes: usize) -> Delivery {
        let event = event(json!({ "id": tag.to_string(), "subject": key, "data": "x".repeat(bytes) }));
        let mut delivery = testing::published_by(None, &event);
        delivery.tag = tag;
        testing::with_header(delivery, ATTEMPT_HEADER, 3)
    }

    fn tags(hands: &mut Hands, max_bytes: usize) -> Vec<u64> {
        std::iter::from_fn(|| hands.next_to_send(max_bytes))
            .map(|held| held.tag)
            .collect()
    }

    #[test]
    fn without_order_everything_may_go_at_once() {
        let mut hands = Hands::of(false);
        for tag in 1..=3 {
            hands.take(delivery(tag, "same", 1));
        }
        assert_eq!(hands.held(), 3);
        assert_eq!(tags(&mut hands, 1_000), [1, 2, 3]);
        assert!(!hands.has_one_to_send());
    }

    #[test]
    fn one_of_a_key_at_a_time_and_in_order() {
        let mut hands = Hands::of(true);
        for (tag, key) in [(1, "a"), (2, "a"), (3, "b"), (4, "a"), (5, "b")] {
            hands.take(delivery(tag, key, 1));
        }
        let first = hands.next_to_send(1_000).unwrap();
        let second = hands.next_to_send(1_000).unwrap();
        assert_eq!((first.tag, second.tag), (1, 3));
        assert!(hands.next_to_send(1_000).is_none());

        let over = first.unsent(None);
        assert_eq!(over.event.as_ref().map(|key| key.id.as_str()), Some("1"));
        assert_eq!(over.attempt, 3);
        assert!(hands.next_to_send(1_000).is_none(), "it is over, but not let go");
        hands.is_let_go(&over);
        assert_eq!(tags(&mut hands, 1_000), [2]);
        hands.is_let_go(&second.unsent(None));
        assert_eq!(tags(&mut hands, 1_000), [5]);
    }

    #[test]
    fn what_is_under_way_has_a_size_unless_it_is_alone() {
        let mut hands = Hands::of(false);
        for tag in 1..=3 {
            hands.take(delivery(tag, "k", 400));
        }
        let first = hands.next_to_send(300).unwrap();
        assert!(hands.next_to_send(300).is_none() && hands.has_one_to_send());
        hands.is_let_go(&first.unsent(None));
        assert_eq!(tags(&mut hands, 900), [2, 3]);
    }

    #[test]
    fn a_message_that_is_no_event_holds_up_nobody() {
        let mut hands = Hands::of(true);
        let mut broken = delivery(1, "a", 1);
        broken.properties = crossdock_bus::message::Properties::default();
        hands.take(broken);
        hands.take(delivery(2, "a", 1));
        let held = hands.next_to_send(1_000).unwrap();
        assert!(held.event.is_err());
        assert_eq!(held.unsent(None).event, None);
        assert_eq!(tags(&mut hands, 1_000), [2]);
    }
}
