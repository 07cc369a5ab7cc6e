//! What the hub says when it refuses: RFC 9457 problem details, read leniently and printed as sentences.

use std::fmt;

use crossdock_config::ConfigFault;
use crossdock_model::fault::Fault;
use reqwest::{StatusCode, header};
use serde::Deserialize;

use crate::human::printable;

/// A refusal.
#[derive(Debug)]
pub(crate) struct Problem {
    /// HTTP status.
    pub(crate) status: StatusCode,
    /// What the hub said, as far as it said it in the way of RFC 9457.
    pub(crate) details: Details,
    /// Seconds after which a repeat may do better.
    pub(crate) retry_after_s: Option<u64>,
}

/// The members of a problem document that the commands use.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Details {
    title: String,
    detail: String,
    faults: Vec<AnyFault>,
    /// Sources that share the id that was asked for.
    pub(crate) sources: Vec<String>,
}

/// A fault of an event or of a configuration file.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum AnyFault {
    Event(Fault),
    Configuration(ConfigFault),
}

impl Problem {
    /// Reads a refusal to its end.
    pub(crate) async fn read(response: reqwest::Response) -> Self {
        let status = response.status();
        let retry_after_s = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.parse().ok());
        let body = response.bytes().await.unwrap_or_default();
        Self {
            status,
            details: serde_json::from_slice(&body).unwrap_or_default(),
            retry_after_s,
        }
    }

    /// The faults of events: pointers begin with the member's index where a batch was sent.
    pub(crate) fn event_faults(&self) -> impl Iterator<Item = &Fault> {
        self.details.faults.iter().filter_map(|fault| match fault {
            AnyFault::Event(fault) => Some(fault),
            AnyFault::Configuration(_) => None,
        })
    }

    /// The faults of configuration files.
    pub(crate) fn configuration_faults(&self) -> impl Iterator<Item = &ConfigFault> {
        self.details.faults.iter().filter_map(|fault| match fault {
            AnyFault::Event(_) => None,
            AnyFault::Configuration(fault) => Some(fault),
        })
    }

    /// The refusal in one sentence, without its faults.
    pub(crate) fn sentence(&self) -> String {
        let Details { title, detail, .. } = &self.details;
        match (title.is_empty(), detail.is_empty()) {
            (_, false) => printable(detail),
            (false, true) => printable(title),
            (true, true) => format!("the hub answered {}", self.status),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence())?;
        for fault in &self.details.faults {
            let text = match fault {
                AnyFault::Event(fault) => fault.to_string(),
                AnyFault::Configuration(fault) => fault.to_string(),
            };
            write!(f, "\n  {}", printable(&text))?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn problem(status: u16, body: &str) -> Problem {
        let details = serde_json::from_str(body).unwrap_or_default();
        Problem {
            status: StatusCode::from_u16(status).unwrap(),
            details,
            retry_after_s: None,
        }
    }

    #[test]
    fn every_fault_is_told_with_its_place() {
        let refusal = problem(
            400,
            r#"{"type":"/problems/invalid-event","title":"The event is not valid","detail":"2 faults found","status":400,
                "faults":[{"pointer":"/3/data/total","message":"is missing"},
                          {"file":"adapters/erp.toml","line":3,"column":1,"message":"unknown key"}]}"#,
        );
        assert_eq!(
            refusal.to_string(),
            "2 faults found\n  /3/data/total: is missing\n  adapters/erp.toml:3:1: unknown key"
        );
        assert_eq!(refusal.event_faults().count(), 1);
        assert_eq!(refusal.configuration_faults().count(), 1);
    }

    #[test]
    fn an_answer_that_is_no_problem_document_is_named_by_its_status() {
        assert_eq!(
            problem(502, "<html>").to_string(),
            "the hub answered 502 Bad Gateway"
        );
    }
}
