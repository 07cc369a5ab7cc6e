//! How hubs tell each other of changed states over `crossdock.realtime`, and how one that listens notices that it has
//! missed something: whoever announces counts, and a number that is not the next one is a gap.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicI64, Ordering},
};

use bytes::Bytes;
use crossdock_bus::{
    message::{Delivery, HeaderValue, Outgoing, Properties},
    names,
};
use crossdock_model::topic::TopicName;

use super::State;
use crate::keys;

const VERSION_HEADER: &str = "crossdock-version";
/// In milliseconds since 1970; absent: never.
const EXPIRES_HEADER: &str = "crossdock-expires";
const ANNOUNCER_HEADER: &str = "crossdock-announcer";
/// Counts what an announcer has announced, from 1.
const NUMBER_HEADER: &str = "crossdock-number";
/// Announcers that are remembered: one follows the other, when a hub goes or its connection breaks.
const ANNOUNCERS_KEPT: usize = 16;

/// Announces states, for as long as one connection lasts.
pub(super) struct Announcer {
    name: String,
    announced: AtomicI64,
}

impl Announcer {
    pub(super) fn new() -> Self {
        Self {
            name: keys::random(8),
            announced: AtomicI64::new(0),
        }
    }

    /// The message that tells all hubs. It must be published before the next one is made.
    pub(super) fn message(&self, state: &State) -> Outgoing {
        let number = self.announced.fetch_add(1, Ordering::Relaxed) + 1;
        let version = i64::try_from(state.version).unwrap_or(i64::MAX);
        let mut headers = [
            (VERSION_HEADER, version.into()),
            (ANNOUNCER_HEADER, self.name.as_str().into()),
            (NUMBER_HEADER, number.into()),
        ]
        .map(|(name, value): (&str, HeaderValue)| (name.to_owned(), value))
        .into_iter()
        .collect::<crossdock_bus::Headers>();
        if let Some(expires) = state.expires_ms.and_then(|expires| i64::try_from(expires).ok()) {
            headers.insert(EXPIRES_HEADER.to_owned(), expires.into());
        }
        Outgoing {
            exchange: names::REALTIME.to_owned(),
            routing_key: state.topic.to_string(),
            // Where no hub listens, nobody needs it.
            mandatory: false,
            properties: Properties {
                content_type: Some("application/json".to_owned()),
                headers,
                ..Properties::default()
            },
            body: state.payload.clone(),
            ..Outgoing::default()
        }
    }
}

/// What was heard of each announcer, the one heard of last in front.
#[derive(Default)]
pub(super) struct Heard(VecDeque<(String, i64)>);

impl Heard {
    /// Whether this is the next of its announcer.
    fn is_next(&mut self, announcer: &str, number: i64) -> bool {
        let known = self.0.iter().position(|(name, _)| name == announcer);
        let before = known
            .and_then(|place| self.0.remove(place))
            .map(|(_, number)| number);
        self.0.push_front((announcer.to_owned(), number));
        self.0.truncate(ANNOUNCERS_KEPT);
        before.unwrap_or(0) + 1 == number
    }

    /// The state that a message tells of, and whether nothing was missed before it. Nothing, if the message is none
    /// that a hub of this version sends.
    pub(super) fn read(&mut self, delivery: &Delivery) -> Option<(State, bool)> {
        let headers = &delivery.properties.headers;
        let number = |name| headers.get(name).and_then(HeaderValue::as_int);
        let announcer = headers.get(ANNOUNCER_HEADER).and_then(HeaderValue::as_text)?;
        let is_next = self.is_next(announcer, number(NUMBER_HEADER)?);
        let state = State {
            topic: TopicName::new(&delivery.routing_key).ok()?,
            version: u64::try_from(number(VERSION_HEADER)?).ok()?,
            payload: Bytes::clone(&delivery.body),
            expires_ms: number(EXPIRES_HEADER).and_then(|expires| u64::try_from(expires).ok()),
        };
        Some((state, is_next))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn state(version: u64, expires_ms: Option<u64>) -> State {
        State {
            topic: TopicName::new("state/order/7").unwrap(),
            version,
            payload: Bytes::from_static(b"{}"),
            expires_ms,
        }
    }

    fn delivered(message: Outgoing) -> Delivery {
        assert!(message.check_size().is_ok());
        Delivery {
            tag: 1,
            exchange: message.exchange,
            routing_key: message.routing_key,
            redelivered: false,
            properties: message.properties,
            body: message.body,
        }
    }

    #[test]
    fn what_is_announced_is_heard() {
        let (announcer, mut heard) = (Announcer::new(), Heard::default());
        for one in [state(1, None), state(2, Some(1_790_000_000_000))] {
            let delivery = delivered(announcer.message(&one));
            assert_eq!(heard.read(&delivery), Some((one, true)));
        }
    }

    #[test]
    fn a_gap_is_noticed_and_so_is_a_beginning_that_was_missed() {
        let (one, other) = (Announcer::new(), Announcer::new());
        let mut heard = Heard::default();
        let mut hears = |announcer: &Announcer, is_lost: bool| {
            let delivery = delivered(announcer.message(&state(1, None)));
            (!is_lost).then(|| heard.read(&delivery).unwrap().1)
        };
        assert_eq!(hears(&one, false), Some(true));
        assert_eq!(hears(&one, true), None);
        assert_eq!(hears(&one, false), Some(false));
        assert_eq!(hears(&one, false), Some(true));
        assert_eq!(hears(&other, true), None);
        assert_eq!(hears(&other, false), Some(false));
        assert_eq!(hears(&one, false), Some(true));
    }

    #[test]
    fn what_no_hub_sends_is_nothing() {
        let mut delivery = delivered(Announcer::new().message(&state(1, None)));
        delivery.properties.headers.remove(VERSION_HEADER);
        assert_eq!(Heard::default().read(&delivery), None);
        let mut delivery = delivered(Announcer::new().message(&state(1, None)));
        delivery.routing_key = "state/#".to_owned();
        assert_eq!(Heard::default().read(&delivery), None);
    }
}
