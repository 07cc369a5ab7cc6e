//! Messages that RabbitMQ took from an adapter's queue: rejected, or given up after the delivery limit.

use chrono::{DateTime, Utc};
use crossdock_bus::{
    message::{Delivery, HeaderValue, decode_event},
    names,
};
use crossdock_model::fault::Fault;
use crossdock_store::{Outcome, OutcomeKind};

use super::Read;
use crate::gate::ATTEMPT_HEADER;

/// What became of a delivery: the first entry of `x-death` is the latest death, with the queue it came from and
/// the reason (<https://www.rabbitmq.com/docs/dlx>). Adapters cannot publish to the exchange this came through.
pub(super) fn read(delivery: &Delivery, now: DateTime<Utc>) -> Read {
    match outcome(delivery, now) {
        Ok(outcome) => Read {
            producer: Some(outcome.adapter.clone()),
            outcomes: vec![outcome],
            faults: Vec::new(),
        },
        Err(fault) => Read::refused(None, fault),
    }
}

fn outcome(delivery: &Delivery, now: DateTime<Utc>) -> Result<Outcome, Fault> {
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
    let attempt = headers.get(ATTEMPT_HEADER).and_then(HeaderValue::as_int);
    Ok(Outcome {
        adapter: adapter.to_owned(),
        event_id: event.id,
        source: Some(event.source),
        kind,
        detail,
        retry_after_s: None,
        duration_ms: None,
        attempt: attempt.and_then(|attempt| u32::try_from(attempt).ok()),
        due: None,
        at: now,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;
    use crossdock_bus::message::{Headers, encode_event};
    use crossdock_model::event::Event;

    use super::*;
    use crate::gate;

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
        let mut read = read(&dead(Some(deaths)), now());
        assert!(read.faults.is_empty(), "{:?}", read.faults);
        let outcome = read.outcomes.remove(0);
        assert_eq!((outcome.adapter.as_str(), outcome.attempt), ("erp", Some(1)));
        assert_eq!(
            (outcome.event_id.as_str(), outcome.source.as_deref()),
            ("e-1", Some("/shop"))
        );
        (outcome.kind, outcome.detail)
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
            let read = read(&dead(deaths.clone()), now());
            assert!(read.outcomes.is_empty() && read.faults.len() == 1, "{deaths:?}");
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
        assert_eq!(read(&odd, now()).outcomes[0].attempt, None);

        let mut broken = dead(deaths());
        broken.properties = crossdock_bus::message::Properties {
            headers: Headers::from([("x-death".to_owned(), deaths().unwrap())]),
            ..Default::default()
        };
        broken.body = Bytes::from_static(b"{");
        assert_eq!(read(&broken, now()).faults.len(), 1);
    }
}
