//! The way of a message through the delay queues: which one it waits in next, and what it says of itself there.

use chrono::{DateTime, TimeDelta, Utc};
use crossdock_bus::{
    message::{Delivery, HeaderValue, Outgoing, decode_event, encode_event},
    names,
};
use crossdock_model::{event::Event, fault::Fault};

use super::Progress;

/// The adapter that gets the message in the end.
const ADAPTER_HEADER: &str = "crossdock-adapter";
/// When that is, in milliseconds since 1970.
const DUE_HEADER: &str = "crossdock-due";
/// A person has sent a dead letter on its way again.
const REDRIVE_HEADER: &str = "crossdock-redrive";
/// What is due so soon is due now.
const SOON: TimeDelta = TimeDelta::milliseconds(500);

/// A message between two attempts. Its progress is that of the attempt to come.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Waiting {
    pub(crate) adapter: String,
    /// What is handed over: the event as the adapter gets it.
    pub(crate) event: Event,
    pub(crate) progress: Progress,
    pub(crate) due: DateTime<Utc>,
    pub(crate) redrive: bool,
}

impl Waiting {
    /// The message on its way to the longest delay that does not outlast the wait; to `crossdock.due` when there is
    /// nothing to wait for.
    pub(crate) fn message(&self, now: DateTime<Utc>) -> Outgoing {
        let queue = match delay(self.due - now) {
            Some(seconds) => names::delay_queue(seconds),
            None => names::DUE.to_owned(),
        };
        let (mut properties, body) = encode_event(&self.event);
        let headers = &mut properties.headers;
        self.progress.write(headers);
        headers.insert(ADAPTER_HEADER.to_owned(), self.adapter.as_str().into());
        headers.insert(DUE_HEADER.to_owned(), self.due.timestamp_millis().into());
        if self.redrive {
            headers.insert(REDRIVE_HEADER.to_owned(), true.into());
        }
        Outgoing {
            exchange: String::new(),
            routing_key: queue,
            bcc: Vec::new(),
            mandatory: true,
            properties,
            body,
        }
    }

    /// Reads it again when it comes out of a delay queue.
    pub(crate) fn read(delivery: &Delivery) -> Result<Self, Fault> {
        let headers = &delivery.properties.headers;
        let lacks = |name: &str| {
            Fault::new(
                "",
                format!("it comes from no delay queue of the hub: no {name} header"),
            )
        };
        let adapter = headers
            .get(ADAPTER_HEADER)
            .and_then(HeaderValue::as_text)
            .ok_or_else(|| lacks(ADAPTER_HEADER))?;
        let due = headers
            .get(DUE_HEADER)
            .and_then(HeaderValue::as_int)
            .and_then(DateTime::from_timestamp_millis)
            .ok_or_else(|| lacks(DUE_HEADER))?;
        let event = decode_event(&delivery.properties, &delivery.body)
            .map_err(|faults| Fault::new("", faults.to_string()))?;
        Ok(Self {
            adapter: adapter.to_owned(),
            event,
            progress: Progress::read(headers),
            due,
            redrive: headers.contains_key(REDRIVE_HEADER),
        })
    }

    pub(crate) fn is_due(&self, now: DateTime<Utc>) -> bool {
        delay(self.due - now).is_none()
    }
}

/// The delay to wait out next, in seconds.
fn delay(wait: TimeDelta) -> Option<u32> {
    if wait < SOON {
        return None;
    }
    let fits = |seconds: &&u32| TimeDelta::seconds((**seconds).into()) <= wait;
    let shortest = names::DELAYS_S.first().copied();
    names::DELAYS_S.iter().rev().find(fits).copied().or(shortest)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_700_000_000_123).unwrap()
    }

    fn waiting(wait: TimeDelta) -> Waiting {
        let event =
            br#"{"specversion":"1.0","id":"e-1","source":"/shop","type":"order.shipped.v1","data":{"a":1}}"#;
        Waiting {
            adapter: "erp".into(),
            event: Event::from_structured(event).unwrap(),
            progress: Progress {
                attempt: 3,
                step: 1,
                crashes: 1,
            },
            due: now() + wait,
            redrive: true,
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let waiting = waiting(TimeDelta::milliseconds(91_250));
        let message = waiting.message(now());
        assert_eq!(message.routing_key, "crossdock.delay.30s");
        let delivery = Delivery {
            tag: 1,
            exchange: message.exchange,
            routing_key: names::DUE.into(),
            redelivered: false,
            properties: message.properties,
            body: message.body,
        };
        assert_eq!(Waiting::read(&delivery).unwrap(), waiting);
        let mut stray = delivery;
        stray.properties.headers.remove(DUE_HEADER);
        assert!(
            Waiting::read(&stray)
                .unwrap_err()
                .message
                .contains("crossdock-due")
        );
    }

    #[test]
    fn nothing_to_wait_for_is_due_at_once() {
        for wait in [
            TimeDelta::zero(),
            TimeDelta::days(-3),
            TimeDelta::milliseconds(499),
        ] {
            assert!(waiting(wait).is_due(now()));
            assert_eq!(waiting(wait).message(now()).routing_key, "crossdock.due");
        }
        assert!(!waiting(TimeDelta::milliseconds(500)).is_due(now()));
    }

    proptest! {
        #[test]
        fn every_wait_is_made_up_of_few_delays_and_misses_by_half_a_second_at_most(milliseconds in 0i64..604_800_000) {
            let due = now() + TimeDelta::milliseconds(milliseconds);
            let mut time = now();
            let mut delays = 0;
            while let Some(seconds) = delay(due - time) {
                time += TimeDelta::seconds(seconds.into());
                delays += 1;
            }
            prop_assert!((due - time).num_milliseconds().abs() <= 500);
            prop_assert!(delays <= 28 + 5 + 5 + 4 + 3 + 5 + 5, "{delays}");
        }
    }
}
