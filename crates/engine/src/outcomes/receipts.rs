//! Receipts: what an adapter says in so many words about deliveries of its own.

use chrono::{DateTime, Utc};
use crossdock_bus::{message::Delivery, names};
use crossdock_model::{
    event::{IDENTIFIER_MAX_BYTES, REFERENCE_MAX_BYTES, check_json},
    fault::Fault,
};
use crossdock_store::{Outcome, OutcomeKind};
use serde_json::{Map, Value};

use super::Read;

/// Receipts in one message at most.
const RECEIPTS_MAX: usize = 1_000;
/// Bytes of one message of receipts at most.
const MESSAGE_MAX_BYTES: usize = 1024 * 1024;
/// What is kept of an adapter's words about one event, in characters.
const DETAIL_MAX_CHARS: usize = 2_000;

/// Every receipt of a message that makes sense, and a fault for each that does not. RabbitMQ has verified the
/// `user_id`; whose deliveries these are is told by it alone.
pub(super) fn read(delivery: &Delivery, now: DateTime<Utc>) -> Read {
    let user = delivery.properties.user_id.as_deref();
    let Some((adapter, _generation)) = user.and_then(names::adapter_of_user) else {
        return Read::refused(
            None,
            Fault::new(
                "",
                "a receipt needs the property user_id with the adapter's own RabbitMQ user",
            ),
        );
    };
    let mut read = Read {
        producer: Some(adapter.to_owned()),
        ..Read::default()
    };
    if delivery.body.len() > MESSAGE_MAX_BYTES {
        let message = format!("receipts of more than {MESSAGE_MAX_BYTES} bytes in one message");
        read.faults.push(Fault::new("", message));
        return read;
    }
    let receipts = match serde_json::from_slice(&delivery.body) {
        Ok(_) if let Err(faults) = check_json(&delivery.body, "") => {
            read.faults = faults;
            return read;
        }
        Ok(Value::Array(receipts)) if receipts.len() <= RECEIPTS_MAX => receipts
            .iter()
            .enumerate()
            .map(|(index, receipt)| (format!("/{index}"), receipt.clone()))
            .collect(),
        Ok(Value::Array(receipts)) => {
            let message = format!(
                "{} receipts in one message, expected at most {RECEIPTS_MAX}",
                receipts.len()
            );
            read.faults.push(Fault::new("", message));
            return read;
        }
        Ok(receipt) => vec![(String::new(), receipt)],
        Err(error) => {
            let message = format!(
                "expected a receipt {{\"event\": id, \"outcome\": \"done\" | \"retry\" | \"dead\", …}} or an array \
                 of them; this is no JSON at line {}, column {}",
                error.line(),
                error.column()
            );
            read.faults.push(Fault::new("", message));
            return read;
        }
    };
    for (pointer, receipt) in receipts {
        match outcome(adapter, &receipt, now) {
            Ok(outcome) => read.outcomes.push(outcome),
            Err(faults) => read
                .faults
                .extend(faults.into_iter().map(|fault| fault.within(&pointer))),
        }
    }
    read
}

fn outcome(adapter: &str, receipt: &Value, now: DateTime<Utc>) -> Result<Outcome, Vec<Fault>> {
    let Value::Object(members) = receipt else {
        return Err(vec![Fault::new("", "expected a receipt: a JSON object")]);
    };
    let mut members = Members {
        unread: members.clone(),
        faults: Vec::new(),
    };
    let event_id = members.event_id();
    let source = members.source();
    let kind = members.kind();
    let detail = members.text("detail");
    let retry_after_s = members.number("retry_after_s", u32::MAX.into());
    let duration_ms = members.number("duration_ms", u64::MAX);
    match (event_id, kind, members.faults()) {
        (Some(event_id), Some(kind), faults) if faults.is_empty() => Ok(Outcome {
            adapter: adapter.to_owned(),
            event_id,
            source,
            kind,
            detail: detail.map(|detail| detail.chars().take(DETAIL_MAX_CHARS).collect()),
            retry_after_s: retry_after_s.and_then(|seconds| u32::try_from(seconds).ok()),
            duration_ms,
            attempt: None,
            due: None,
            at: now,
        }),
        (_, _, faults) => Err(faults),
    }
}

/// The members of a receipt that are still to be read, and what was wrong with those that were. Faults name
/// members and expectations, not what the adapter wrote.
struct Members {
    unread: Map<String, Value>,
    faults: Vec<Fault>,
}

impl Members {
    fn event_id(&mut self) -> Option<String> {
        match self.unread.remove("event") {
            Some(Value::String(id))
                if !id.is_empty() && id.len() <= IDENTIFIER_MAX_BYTES && !id.contains(char::is_control) =>
            {
                Some(id)
            }
            _ => self.fault("event", "expected the id of an event"),
        }
    }

    fn source(&mut self) -> Option<String> {
        let source = self.text("source")?;
        if source.len() <= REFERENCE_MAX_BYTES && !source.contains(char::is_control) {
            Some(source)
        } else {
            self.fault("source", "expected the source of an event")
        }
    }

    fn kind(&mut self) -> Option<OutcomeKind> {
        match self.unread.remove("outcome").as_ref().and_then(Value::as_str) {
            Some("done") => Some(OutcomeKind::Done),
            Some("retry") => Some(OutcomeKind::Retry),
            Some("dead") => Some(OutcomeKind::Dead),
            _ => self.fault("outcome", "expected \"done\", \"retry\" or \"dead\""),
        }
    }

    fn text(&mut self, member: &str) -> Option<String> {
        match self.unread.remove(member)? {
            Value::Null => None,
            Value::String(text) => Some(text),
            _ => self.fault(member, "expected a string"),
        }
    }

    /// A number that is not negative; a part of a unit is dropped.
    fn number(&mut self, member: &str, max: u64) -> Option<u64> {
        let value = self.unread.remove(member)?;
        if value.is_null() {
            return None;
        }
        let whole = value
            .as_u64()
            .or_else(|| value.as_f64().filter(|number| *number >= 0.0).map(|n| n as u64));
        match whole {
            Some(number) if number <= max => Some(number),
            _ => self.fault(member, &format!("expected a number from 0 to {max}")),
        }
    }

    fn fault<T>(&mut self, member: &str, message: &str) -> Option<T> {
        self.faults.push(Fault::new(format!("/{member}"), message));
        None
    }

    fn faults(mut self) -> Vec<Fault> {
        if !self.unread.is_empty() {
            let message = format!(
                "{} unknown members; a receipt has event, source, outcome, detail, retry_after_s and duration_ms",
                self.unread.len()
            );
            self.faults.push(Fault::new("", message));
        }
        self.faults
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;
    use crossdock_bus::message::Properties;
    use serde_json::json;

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap()
    }

    fn from(user: Option<&str>, body: impl Into<Bytes>) -> Read {
        let delivery = Delivery {
            tag: 1,
            exchange: names::RECEIPTS.into(),
            routing_key: String::new(),
            redelivered: false,
            properties: Properties {
                user_id: user.map(str::to_owned),
                ..Properties::default()
            },
            body: body.into(),
        };
        read(&delivery, now())
    }

    fn receipt(body: Value) -> Read {
        from(Some("erp.2"), body.to_string())
    }

    fn pointers(read: &Read) -> Vec<&str> {
        read.faults.iter().map(|fault| &*fault.pointer).collect()
    }

    #[test]
    fn a_receipt_speaks_for_the_adapter_of_its_user() {
        let read = receipt(json!({
            "event": "e-1", "outcome": "retry", "source": "/shop", "detail": "busy",
            "retry_after_s": 30, "duration_ms": 12.9,
        }));
        assert!(read.faults.is_empty(), "{:?}", read.faults);
        assert_eq!(
            read.outcomes,
            [Outcome {
                adapter: "erp".into(),
                event_id: "e-1".into(),
                source: Some("/shop".into()),
                kind: OutcomeKind::Retry,
                detail: Some("busy".into()),
                retry_after_s: Some(30),
                duration_ms: Some(12),
                attempt: None,
                due: None,
                at: now(),
            }]
        );
    }

    #[test]
    fn one_or_many_and_members_may_be_null() {
        let read = receipt(json!([
            { "event": "e-1", "outcome": "done", "detail": null, "duration_ms": null, "source": null },
            { "event": "e-2", "outcome": "dead" },
        ]));
        let kinds: Vec<_> = read.outcomes.iter().map(|outcome| outcome.kind).collect();
        assert_eq!(kinds, [OutcomeKind::Done, OutcomeKind::Dead]);
        assert!(receipt(json!([])).outcomes.is_empty());
    }

    #[test]
    fn nobody_speaks_without_a_user_of_an_adapter() {
        for user in [None, Some("crossdock"), Some("erp"), Some("erp.0"), Some("")] {
            let read = from(user, r#"{"event":"e-1","outcome":"done"}"#);
            assert!(read.outcomes.is_empty(), "{user:?}");
            assert_eq!(read.producer, None);
            assert!(read.faults[0].message.contains("user_id"));
        }
    }

    #[test]
    fn every_malformed_kind_is_refused_at_its_place() {
        let good = || json!({ "event": "e-1", "outcome": "done" });
        let with = |member: &str, value: Value| {
            let mut receipt = good();
            receipt[member] = value;
            receipt
        };
        for (body, pointer) in [
            (json!("done"), ""),
            (json!(7), ""),
            (json!(null), ""),
            (json!({}), "/event"),
            (json!({ "outcome": "done" }), "/event"),
            (json!({ "event": "e-1" }), "/outcome"),
            (with("event", json!("")), "/event"),
            (with("event", json!(1)), "/event"),
            (with("event", json!("x".repeat(256))), "/event"),
            (with("event", json!("a\u{0}b")), "/event"),
            (with("outcome", json!("DONE")), "/outcome"),
            (with("outcome", json!(["done"])), "/outcome"),
            (with("source", json!(1)), "/source"),
            (with("source", json!("x".repeat(1025))), "/source"),
            (with("source", json!("/a\u{0}")), "/source"),
            (with("detail", json!({})), "/detail"),
            (with("retry_after_s", json!(-1)), "/retry_after_s"),
            (with("retry_after_s", json!(1_u64 << 32)), "/retry_after_s"),
            (with("retry_after_s", json!("5")), "/retry_after_s"),
            (with("duration_ms", json!("fast")), "/duration_ms"),
            (with("duration_ms", json!(-0.5)), "/duration_ms"),
            (with("retryafter", json!(5)), ""),
        ] {
            let read = receipt(body.clone());
            assert!(read.outcomes.is_empty(), "{body}");
            assert_eq!(read.producer.as_deref(), Some("erp"));
            assert_eq!(pointers(&read)[0], pointer, "{body}");
        }
    }

    #[test]
    fn the_good_receipts_of_a_message_count() {
        let read = receipt(json!([
            { "event": "e-1", "outcome": "done" },
            { "event": "e-2", "outcome": "perhaps" },
            { "event": "e-3", "outcome": "done" },
        ]));
        let ids: Vec<_> = read
            .outcomes
            .iter()
            .map(|outcome| outcome.event_id.as_str())
            .collect();
        assert_eq!(ids, ["e-1", "e-3"]);
        assert_eq!(pointers(&read), ["/1/outcome"]);
    }

    #[test]
    fn a_receipt_that_says_two_things_says_nothing() {
        let read = from(
            Some("erp.1"),
            r#"[{"event":"e-1","outcome":"done","outcome":"dead"}]"#,
        );
        assert!(read.outcomes.is_empty());
        assert_eq!(pointers(&read), ["/0/outcome"]);
    }

    #[test]
    fn what_is_no_json_is_refused_without_an_echo() {
        let deep = "[".repeat(100_000);
        for body in [
            &b""[..],
            b"secret",
            b"{\"event\":\"secret",
            b"\xff",
            deep.as_bytes(),
        ] {
            let read = from(Some("erp.1"), Bytes::copy_from_slice(body));
            assert!(read.outcomes.is_empty());
            assert_eq!(pointers(&read), [""]);
            assert!(!read.faults[0].message.contains("secret"));
        }
        let read = receipt(json!({ "event": "e-1", "outcome": "secret", "secret": "secret" }));
        assert!(
            read.faults
                .iter()
                .all(|fault| !fault.to_string().contains("secret"))
        );
    }

    #[test]
    fn a_message_of_receipts_has_its_limits() {
        let many = vec![json!({ "event": "e", "outcome": "done" }); RECEIPTS_MAX + 1];
        let read = receipt(Value::Array(many));
        assert!(read.outcomes.is_empty() && pointers(&read) == [""]);

        let long = "x".repeat(MESSAGE_MAX_BYTES);
        let read = receipt(json!({ "event": "e", "outcome": "done", "detail": long }));
        assert!(read.outcomes.is_empty() && pointers(&read) == [""]);

        let wordy = "é".repeat(DETAIL_MAX_CHARS + 1);
        let read = receipt(json!({ "event": "e", "outcome": "dead", "detail": wordy }));
        let detail = read.outcomes[0].detail.as_deref().unwrap();
        assert_eq!(detail.chars().count(), DETAIL_MAX_CHARS);
    }
}
