//! Messages that RabbitMQ took from an adapter's queue: rejected, or given up after the delivery limit; and what
//! follows for each.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use chrono::{DateTime, Utc};
use crossdock_bus::{
    message::{Delivery, HeaderValue, decode_event},
    names,
};
use crossdock_model::{event::Event, fault::Fault};
use crossdock_store::{DeliveryKey, DeliveryState, Outcome, OutcomeKind, Standing, Word};

use super::Read;
use crate::{
    retry::{
        Progress,
        ladder::Waiting,
        policy::{self, Next},
    },
    routing::Routing,
};

/// A delivery that came back.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) adapter: String,
    /// As the adapter got it.
    pub(super) event: Event,
    pub(super) kind: OutcomeKind,
    pub(super) detail: Option<String>,
    pub(super) progress: Progress,
}

/// What follows: a word for the record, and the message for the next attempt if there is one.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) outcome: Outcome,
    pub(super) again: Option<Waiting>,
}

/// What became of a delivery: the first entry of `x-death` is the latest death, with the queue it came from and
/// the reason (<https://www.rabbitmq.com/docs/dlx>). Adapters cannot publish to the exchange this came through.
pub(super) fn read(delivery: &Delivery) -> Read {
    match failure(delivery) {
        Ok(failure) => Read {
            producer: Some(failure.adapter.clone()),
            failure: Some(failure),
            ..Read::default()
        },
        Err(fault) => Read::refused(None, fault),
    }
}

fn failure(delivery: &Delivery) -> Result<Failure, Fault> {
    let headers = &delivery.properties.headers;
    let Some(HeaderValue::List(deaths)) = headers.get("x-death") else {
        return Err(Fault::new(
            "",
            "this message was not dead-lettered by RabbitMQ: it has no x-death header",
        ));
    };
    let Some(HeaderValue::Table(death)) = deaths.first() else {
        return Err(Fault::new("", "the x-death header names no queue"));
    };
    let text = |key: &str| death.get(key).and_then(HeaderValue::as_text);
    let Some(adapter) = text("queue").and_then(names::adapter_of_queue) else {
        return Err(Fault::new(
            "",
            "it was dead-lettered from a queue that belongs to no adapter",
        ));
    };
    let event = decode_event(&delivery.properties, &delivery.body)
        .map_err(|faults| Fault::new("", faults.to_string()))?;
    let (kind, detail) = match text("reason") {
        Some("delivery_limit") => (OutcomeKind::DeliveryLimit, None),
        Some("rejected") => (OutcomeKind::Rejected, None),
        other => {
            let reason = other.unwrap_or("without a reason");
            (
                OutcomeKind::Rejected,
                Some(format!("taken from its queue by RabbitMQ: {reason}")),
            )
        }
    };
    Ok(Failure {
        adapter: adapter.to_owned(),
        event,
        kind,
        detail,
        progress: Progress::read(headers),
    })
}

/// Decides about each failure, in their order; nothing about what was decided before: the record knows it, or it is
/// here twice. An adapter that `routing` does not have is gone, if that is `certain`.
pub(super) fn decide(
    failures: Vec<Failure>,
    standings: &HashMap<DeliveryKey, Standing>,
    (routing, certain): (&Routing, bool),
    now: DateTime<Utc>,
    mut luck: impl FnMut() -> f64,
) -> Vec<Option<Decided>> {
    let mut seen = HashSet::new();
    let decide = |failure: Failure| {
        let standing = standings.get(&failure.key());
        let attempt = failure.progress.attempt;
        let is_known = standing.is_some_and(|standing| {
            let same = |word: &Word| word.attempt == attempt && word.kind == failure.kind;
            standing.words.iter().any(same)
        });
        if is_known || !seen.insert((failure.key(), attempt, failure.kind)) {
            return None;
        }
        let schedule = match routing.adapters.get(&failure.adapter) {
            Some(manifest) => Schedule::Of(&manifest.retry.schedule),
            None if certain => Schedule::Gone,
            None => Schedule::NotKnownYet,
        };
        Some(failure.follow_up(standing, schedule, now, luck()))
    };
    failures.into_iter().map(decide).collect()
}

/// When an adapter wants its deliveries again.
enum Schedule<'a> {
    Of(&'a [Duration]),
    /// There is no such adapter any more.
    Gone,
    /// A revision may have it that this hub cannot read, now or ever: another hub will know.
    NotKnownYet,
}

impl Failure {
    pub(super) fn key(&self) -> DeliveryKey {
        DeliveryKey::of(&self.adapter, &self.event)
    }

    fn follow_up(
        self,
        standing: Option<&Standing>,
        schedule: Schedule<'_>,
        now: DateTime<Utc>,
        luck: f64,
    ) -> Decided {
        let next = match (self.is_over(standing), schedule) {
            (true, _) => Next::Never(None),
            (false, Schedule::Gone) => {
                Next::Never(Some(format!("there is no adapter {} any more", self.adapter)))
            }
            (false, Schedule::NotKnownYet) => policy::later(self.progress, now),
            (false, Schedule::Of(schedule)) => {
                let attempt = self.progress.attempt;
                let all = standing.map_or(&[][..], |standing| standing.words.as_slice());
                let words: Vec<&Word> = all.iter().filter(|word| word.attempt == attempt).collect();
                policy::after(self.kind, self.progress, &words, schedule, now, luck)
            }
        };
        let mut outcome = Outcome {
            detail: self.detail.clone(),
            attempt: Some(self.progress.attempt),
            ..Outcome::about(self.key(), self.kind, now)
        };
        let again = match next {
            Next::Never(why) => {
                outcome.detail = outcome.detail.or(why);
                None
            }
            Next::Again { due, progress } => {
                outcome.due = Some(due);
                Some(Waiting {
                    adapter: self.adapter,
                    event: self.event,
                    progress,
                    due,
                    redrive: false,
                })
            }
        };
        Decided { outcome, again }
    }

    /// Nobody waits for another attempt of it, or one is under way.
    fn is_over(&self, standing: Option<&Standing>) -> bool {
        use DeliveryState::{Confirmed, Discarded, Expired};
        standing.is_some_and(|standing| {
            matches!(standing.state, Confirmed | Discarded | Expired)
                || standing
                    .words
                    .iter()
                    .any(|word| word.kind == OutcomeKind::HandedOver && word.attempt > self.progress.attempt)
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;
    use crossdock_bus::message::{Headers, encode_event};

    use super::*;
    use crate::{gate, retry::ATTEMPT_HEADER, testing};

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap()
    }

    fn death(queue: &str, reason: &str) -> HeaderValue {
        HeaderValue::Table(Headers::from([
            ("queue".to_owned(), queue.into()),
            ("reason".to_owned(), reason.into()),
            ("count".to_owned(), 1.into()),
        ]))
    }

    fn dead(deaths: Option<HeaderValue>) -> Delivery {
        let event = br#"{"specversion":"1.0","id":"e-1","source":"/shop","type":"order.shipped.v1"}"#;
        let event = Event::from_structured(event).unwrap();
        let mut properties = gate::message(&event, &["erp".into()]).properties;
        if let Some(deaths) = deaths {
            properties.headers.insert("x-death".into(), deaths);
        }
        Delivery {
            tag: 1,
            exchange: names::DEAD.into(),
            routing_key: "erp".into(),
            redelivered: false,
            properties,
            body: encode_event(&event).1,
        }
    }

    fn kind_and_detail(reason: &str) -> (OutcomeKind, Option<String>) {
        let deaths = HeaderValue::List(vec![
            death("crossdock.adapter.erp", reason),
            death("crossdock.adapter.shop", "rejected"),
        ]);
        let read = read(&dead(Some(deaths)));
        assert!(read.faults.is_empty(), "{:?}", read.faults);
        let failure = read.failure.unwrap();
        assert_eq!((failure.adapter.as_str(), failure.progress.attempt), ("erp", 1));
        assert_eq!(
            (failure.event.id.as_str(), failure.event.source.as_str()),
            ("e-1", "/shop")
        );
        (failure.kind, failure.detail)
    }

    #[test]
    fn the_latest_death_says_whose_and_why() {
        assert_eq!(kind_and_detail("rejected"), (OutcomeKind::Rejected, None));
        assert_eq!(
            kind_and_detail("delivery_limit"),
            (OutcomeKind::DeliveryLimit, None)
        );
        let (kind, detail) = kind_and_detail("expired");
        assert_eq!(kind, OutcomeKind::Rejected);
        assert!(detail.unwrap().contains("expired"));
    }

    #[test]
    fn what_did_not_die_in_an_adapters_queue_is_refused() {
        for deaths in [
            None,
            Some("x".into()),
            Some(HeaderValue::List(Vec::new())),
            Some(HeaderValue::List(vec!["erp".into()])),
            Some(HeaderValue::List(vec![death("crossdock.failed", "rejected")])),
            Some(HeaderValue::List(vec![death("other", "rejected")])),
        ] {
            let read = read(&dead(deaths.clone()));
            assert!(read.failure.is_none() && read.faults.len() == 1, "{deaths:?}");
        }
    }

    #[test]
    fn an_attempt_that_is_no_number_and_a_body_that_is_no_event_stop_nothing() {
        let deaths = || {
            Some(HeaderValue::List(vec![death(
                "crossdock.adapter.erp",
                "rejected",
            )]))
        };
        let mut odd = dead(deaths());
        odd.properties
            .headers
            .insert(ATTEMPT_HEADER.into(), HeaderValue::Int(-1));
        assert_eq!(read(&odd).failure.unwrap().progress.attempt, 1);

        let mut broken = dead(deaths());
        broken.properties = crossdock_bus::message::Properties {
            headers: Headers::from([("x-death".to_owned(), deaths().unwrap())]),
            ..Default::default()
        };
        broken.body = Bytes::from_static(b"{");
        assert_eq!(read(&broken).faults.len(), 1);
    }

    fn rejected(attempt: u32) -> Failure {
        Failure {
            adapter: "erp".into(),
            event: testing::event(serde_json::json!({})),
            kind: OutcomeKind::Rejected,
            detail: None,
            progress: Progress::starting_with(attempt),
        }
    }

    fn word(attempt: u32, kind: OutcomeKind) -> Word {
        Word {
            attempt,
            kind,
            detail: None,
            retry_after_s: None,
        }
    }

    /// What is decided about a reject of attempt 2 when this is known: the word's kind and whether it is tried again.
    fn decided(state: DeliveryState, words: &[Word]) -> Vec<(OutcomeKind, bool)> {
        let failure = rejected(2);
        let standing = Standing {
            state,
            words: words.to_vec(),
        };
        let standings = HashMap::from([(failure.key(), standing)]);
        decide(
            vec![failure],
            &standings,
            (&testing::routing(), true),
            now(),
            || 0.0,
        )
        .into_iter()
        .flatten()
        .map(|decided| {
            assert_eq!(decided.outcome.due, decided.again.as_ref().map(|again| again.due));
            (decided.outcome.kind, decided.again.is_some())
        })
        .collect()
    }

    #[test]
    fn nothing_is_given_up_for_an_adapter_that_another_hub_may_know() {
        let given_up = |certain| {
            let stranger = Failure {
                adapter: "newcomer".into(),
                ..rejected(2)
            };
            let decided = decide(
                vec![stranger],
                &HashMap::new(),
                (&testing::routing(), certain),
                now(),
                || 0.0,
            );
            decided
                .into_iter()
                .flatten()
                .next()
                .and_then(|decided| decided.again)
        };
        assert!(given_up(true).is_none());
        let again = given_up(false).unwrap();
        assert_eq!((again.progress.attempt, again.progress.step), (3, 0));
        assert!(again.due > now());
    }

    #[test]
    fn each_failure_is_decided_once() {
        use DeliveryState::{Confirmed, Pending, Retrying};
        use OutcomeKind::{Dead, HandedOver, Rejected, Retry};
        let begun = word(2, HandedOver);
        assert_eq!(decided(Pending, std::slice::from_ref(&begun)), [(Rejected, true)]);
        assert_eq!(
            decided(Pending, &[begun.clone(), word(2, Retry)]),
            [(Rejected, true)]
        );
        assert_eq!(decided(Retrying, &[begun.clone(), word(2, Rejected)]), []);
        assert_eq!(
            decided(Pending, &[begun.clone(), word(3, HandedOver)]),
            [(Rejected, false)]
        );
        assert_eq!(
            decided(Confirmed, std::slice::from_ref(&begun)),
            [(Rejected, false)]
        );
        assert_eq!(
            decided(Pending, &[begun.clone(), word(2, Dead)]),
            [(Rejected, false)]
        );
        assert_eq!(decided(Pending, &[begun, word(1, Dead)]), [(Rejected, true)]);

        let twice = vec![rejected(1), rejected(1), rejected(2)];
        let decided = decide(twice, &HashMap::new(), (&testing::routing(), true), now(), || 0.0);
        let decided: Vec<bool> = decided.iter().map(Option::is_some).collect();
        assert_eq!(decided, [true, false, true], "not recorded yet");
    }

    #[test]
    fn an_adapter_that_is_gone_gets_nothing_again() {
        let mut failure = rejected(1);
        failure.adapter = "gone".into();
        let decided = decide(
            vec![failure],
            &HashMap::new(),
            (&testing::routing(), true),
            now(),
            || 0.0,
        );
        let decided = decided[0].as_ref().unwrap();
        assert!(decided.again.is_none());
        assert!(decided.outcome.detail.as_deref().unwrap().contains("gone"));
    }
}
