//! What an answer of an endpoint means: for the event that was sent, and for those that were not.
//!
//! As Standard Webhooks 1.0.0 has it, 2xx alone is success. 410 says that the endpoint is gone; 429, 502, 503 and 504
//! that it wants fewer requests. Everything else may be mended by its owner and is tried again, 400, 401 and 404 too.

use std::time::Duration;

use chrono::{DateTime, Utc};
use crossdock_store::OutcomeKind;

use super::retry_after;
use crate::{
    measures::Answer,
    outbound::{OutboundError, Response, StatusCode, header::RETRY_AFTER},
};

/// What is kept of a response's body, in characters.
const BODY_KEPT_MAX_CHARS: usize = 200;

/// What an attempt comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Done, retry or dead.
    pub(super) kind: OutcomeKind,
    /// The reason, for people who may see the event.
    pub(super) detail: String,
    /// The same without the endpoint's words, which may repeat the event's: for alarms and logs.
    pub(super) in_short: String,
    /// When the endpoint wants the event again, in seconds.
    pub(super) retry_after_s: Option<u32>,
    /// What it says about the endpoint.
    pub(super) health: Health,
    /// How it is counted.
    pub(super) counted: Answer,
}

/// What an attempt says about the endpoint as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    /// It answers.
    Answers,
    /// It said nothing in time: that may be the event's doing.
    Silent,
    /// It wants fewer requests, or cannot be reached: the others wait, for so long if it said so.
    Overloaded(Option<Duration>),
    /// It does not want anything any more.
    Gone,
}

/// Judges an attempt. `now` is the time by which a `Retry-After` with a date counts.
pub(super) fn judge(answer: &Result<Response, OutboundError>, now: DateTime<Utc>) -> Verdict {
    match answer {
        Ok(response) => of_response(response, now),
        Err(error) => of_error(error),
    }
}

/// An event that is out of date is not sent.
pub(super) fn expired(expiry: DateTime<Utc>) -> Verdict {
    let detail = format!(
        "not sent: it was out of date from {} on (expirytime)",
        expiry.to_rfc3339()
    );
    Verdict {
        kind: OutcomeKind::Dead,
        in_short: detail.clone(),
        detail,
        retry_after_s: None,
        health: Health::Silent,
        counted: Answer::Unsent,
    }
}

fn of_response(response: &Response, now: DateTime<Utc>) -> Verdict {
    let status = response.status;
    let said = response
        .headers
        .get(RETRY_AFTER)
        .and_then(|text| text.to_str().ok());
    let retry_after_s = said.and_then(|text| retry_after::seconds(text, now));
    let (kind, health, counted) = match status {
        _ if status.is_success() => (OutcomeKind::Done, Health::Answers, Answer::Success),
        StatusCode::GONE => (OutcomeKind::Dead, Health::Gone, Answer::Gone),
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => {
            let wait = retry_after_s.map(|seconds| Duration::from_secs(seconds.into()));
            (OutcomeKind::Retry, Health::Overloaded(wait), Answer::Overloaded)
        }
        _ => (OutcomeKind::Retry, Health::Answers, Answer::Failure),
    };
    let in_short = in_short(status);
    Verdict {
        detail: detail(&in_short, kind, &response.body),
        in_short,
        retry_after_s: retry_after_s.filter(|_| kind == OutcomeKind::Retry),
        kind,
        health,
        counted,
    }
}

fn of_error(error: &OutboundError) -> Verdict {
    let unreachable = Health::Overloaded(None);
    let (kind, health, counted) = match error {
        OutboundError::TimedOut(_) => (OutcomeKind::Retry, Health::Silent, Answer::TimeOut),
        OutboundError::Tls(_) => (OutcomeKind::Retry, unreachable, Answer::Tls),
        OutboundError::Dns(_) | OutboundError::Connect(_) => {
            (OutcomeKind::Retry, unreachable, Answer::Unreachable)
        }
        OutboundError::Url(_) | OutboundError::Refused { .. } | OutboundError::Plaintext { .. } => {
            (OutcomeKind::Retry, unreachable, Answer::Refused)
        }
        OutboundError::RequestTooLarge { .. } => (OutcomeKind::Dead, Health::Silent, Answer::Unsent),
        OutboundError::ResponseTooLarge(_) | OutboundError::Protocol(_) => {
            (OutcomeKind::Retry, Health::Answers, Answer::Failure)
        }
    };
    Verdict {
        kind,
        detail: error.to_string(),
        in_short: error.to_string(),
        retry_after_s: None,
        health,
        counted,
    }
}

fn in_short(status: StatusCode) -> String {
    let redirects = if status.is_redirection() {
        " (redirects are not followed)"
    } else {
        ""
    };
    format!("HTTP {}{redirects}", status.as_u16())
}

fn detail(in_short: &str, kind: OutcomeKind, body: &[u8]) -> String {
    let said = printable(body);
    if kind == OutcomeKind::Done || said.is_empty() {
        in_short.to_owned()
    } else {
        format!("{in_short}: {said}")
    }
}

/// The beginning of a body as one line of text.
fn printable(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let shown = |c: char| {
        if c.is_control() || c == char::REPLACEMENT_CHARACTER {
            ' '
        } else {
            c
        }
    };
    let words: String = text.chars().map(shown).collect();
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(BODY_KEPT_MAX_CHARS).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        outbound::header::{HeaderMap, HeaderValue},
        testing::now,
    };

    fn response(
        status: u16,
        retry_after: Option<&str>,
        body: &'static [u8],
    ) -> Result<Response, OutboundError> {
        let mut headers = HeaderMap::new();
        if let Some(text) = retry_after {
            headers.insert(RETRY_AFTER, text.parse().unwrap());
        }
        Ok(Response {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: Bytes::from_static(body),
        })
    }

    fn of(status: u16) -> (OutcomeKind, Health, Answer) {
        let verdict = judge(&response(status, None, b""), now());
        (verdict.kind, verdict.health, verdict.counted)
    }

    #[test]
    fn success_is_2xx_alone() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(of(status), (OutcomeKind::Done, Health::Answers, Answer::Success));
        }
        for status in [
            300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 408, 409, 422, 500, 501, 505, 599,
        ] {
            assert_eq!(
                of(status),
                (OutcomeKind::Retry, Health::Answers, Answer::Failure),
                "{status}"
            );
        }
    }

    #[test]
    fn some_answers_are_about_the_endpoint_as_a_whole() {
        assert_eq!(of(410), (OutcomeKind::Dead, Health::Gone, Answer::Gone));
        for status in [429, 502, 503, 504] {
            let expected = (OutcomeKind::Retry, Health::Overloaded(None), Answer::Overloaded);
            assert_eq!(of(status), expected, "{status}");
            let verdict = judge(&response(status, Some("7"), b""), now());
            assert_eq!(verdict.health, Health::Overloaded(Some(Duration::from_secs(7))));
            assert_eq!(verdict.retry_after_s, Some(7));
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_has_an_end() {
        for (text, expected) in [
            ("0", None),
            ("1", Some(1)),
            ("120", Some(120)),
            (" 5 ", Some(5)),
            ("86401", Some(86_400)),
            ("99999999999999999999999", Some(86_400)),
            ("Tue, 14 Nov 2023 22:14:20 GMT", Some(60)),
            ("Tuesday, 14-Nov-23 22:14:20 GMT", Some(60)),
            ("Tue Nov 14 22:14:20 2023", Some(60)),
            ("Tue, 14 Nov 2023 22:00:00 GMT", None),
            ("Mon, 14 Nov 2033 22:14:20 GMT", Some(86_400)),
            ("", None),
            ("-5", None),
            ("5.5", None),
            ("soon", None),
            ("5 s", None),
            ("Tue, 99 Nov 2023 22:14:20 GMT", None),
        ] {
            let verdict = judge(&response(500, Some(text), b""), now());
            assert_eq!(verdict.retry_after_s, expected, "{text:?}");
        }
        assert_eq!(judge(&response(200, Some("5"), b""), now()).retry_after_s, None);
        assert_eq!(judge(&response(410, Some("5"), b""), now()).retry_after_s, None);
    }

    #[test]
    fn the_reason_is_one_printable_line() {
        let said = |status, body| judge(&response(status, None, body), now()).detail;
        assert_eq!(said(204, b"whatever"), "HTTP 204");
        assert_eq!(said(500, b""), "HTTP 500");
        assert_eq!(
            said(500, b"no\r\n\r\n such\t \x1b[31msku\xff\0"),
            "HTTP 500: no such [31msku"
        );
        assert_eq!(
            said(302, b"moved"),
            "HTTP 302 (redirects are not followed): moved"
        );
        assert_eq!(
            said(400, &[b'x'; 1024]).len(),
            "HTTP 400: ".len() + BODY_KEPT_MAX_CHARS
        );
    }

    #[test]
    fn what_does_not_answer_is_told_apart() {
        let of = |error: OutboundError| {
            let verdict = judge(&Err(error), now());
            (verdict.kind, verdict.health, verdict.counted)
        };
        let unreachable = Health::Overloaded(None);
        let retry = OutcomeKind::Retry;
        let address = "127.0.0.1".parse().unwrap();
        for (error, expected) in [
            (
                OutboundError::TimedOut(Duration::from_secs(1)),
                (retry, Health::Silent, Answer::TimeOut),
            ),
            (
                OutboundError::Tls(String::new()),
                (retry, unreachable, Answer::Tls),
            ),
            (
                OutboundError::Dns(String::new()),
                (retry, unreachable, Answer::Unreachable),
            ),
            (
                OutboundError::Connect(String::new()),
                (retry, unreachable, Answer::Unreachable),
            ),
            (
                OutboundError::Refused {
                    address,
                    kind: "loopback",
                },
                (retry, unreachable, Answer::Refused),
            ),
            (
                OutboundError::Plaintext { address },
                (retry, unreachable, Answer::Refused),
            ),
            (
                OutboundError::Protocol(String::new()),
                (retry, Health::Answers, Answer::Failure),
            ),
            (
                OutboundError::RequestTooLarge { limit: 1, actual: 2 },
                (OutcomeKind::Dead, Health::Silent, Answer::Unsent),
            ),
        ] {
            assert_eq!(of(error.clone()), expected, "{error}");
        }
    }

    /// What looks like a `Retry-After`, and what is none.
    fn retry_after() -> impl Strategy<Value = Vec<u8>> {
        let date = "(Mon|Tue), [0-3][0-9] (Nov|Feb) [0-9]{4} [0-2][0-9]:[0-6][0-9]:[0-6][0-9] GMT";
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            "[0-9]{0,30}".prop_map(String::into_bytes),
            date.prop_map(String::into_bytes),
        ]
    }

    proptest! {
        #[test]
        fn whatever_an_endpoint_answers_is_judged_within_bounds(
            status in 100_u16..=999,
            retry_after in retry_after(),
            body in prop::collection::vec(any::<u8>(), 0..1024),
        ) {
            let status = StatusCode::from_u16(status).unwrap();
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&retry_after) {
                headers.insert(RETRY_AFTER, value);
            }
            let body = Bytes::from(body);
            let verdict = judge(&Ok(Response { status, headers, body }), now());
            prop_assert_eq!(verdict.kind == OutcomeKind::Done, status.is_success());
            prop_assert!(verdict.retry_after_s.is_none_or(|seconds| (1..=86_400).contains(&seconds)));
            prop_assert!(verdict.detail.chars().count() <= BODY_KEPT_MAX_CHARS + 60);
            prop_assert!(!verdict.detail.contains(char::is_control), "{:?}", verdict.detail);
        }
    }
}
