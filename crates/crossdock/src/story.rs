//! Events and what became of them, told to people: one line, or in full with every attempt.

use std::io;

use chrono::{DateTime, TimeDelta, Utc};
use crossdock_engine::{AttemptView, DeliveryView, EventView};
use serde_json::Value;

use crate::{
    human::{clock_time, count, printable, relative, span},
    output::Output,
};

/// An attribute of the event as text; empty if there is none.
pub(crate) fn attribute(view: &EventView, name: &str) -> String {
    view.attribute(name).unwrap_or_default()
}

/// The event in one line: time, type, subject, producer and the adapters it went to.
pub(crate) fn line(output: Output, view: &EventView) -> String {
    let adapters: Vec<_> = view
        .deliveries
        .iter()
        .map(|delivery| printable(&delivery.adapter))
        .collect();
    let targets = if adapters.is_empty() {
        "nobody".to_owned()
    } else {
        adapters.join(", ")
    };
    let subject = match attribute(view, "subject") {
        none if none.is_empty() => attribute(view, "id"),
        subject => subject,
    };
    format!(
        "{}  {}  {:<28}  {} → {targets}",
        clock_time(view.received),
        output.strong(&format!("{:<22}", printable(&attribute(view, "type")))),
        printable(&subject),
        printable(&view.producer),
    )
}

/// What the event became at each adapter, with every attempt; each line begins with `indent`.
pub(crate) fn print_deliveries(
    output: Output,
    view: &EventView,
    indent: &str,
    now: DateTime<Utc>,
) -> io::Result<()> {
    if view.deliveries.is_empty() {
        return output.line(format!("{indent}no adapter subscribes to it"));
    }
    let width = view
        .deliveries
        .iter()
        .map(|delivery| delivery.adapter.chars().count())
        .max()
        .unwrap_or(0);
    for delivery in &view.deliveries {
        let adapter = printable(&delivery.adapter);
        let state = output.state(&delivery.state);
        output.line(format!("{indent}{adapter:<width$}  {state} {}", outcome(delivery, now)).trim_end())?;
        let attempts = worth_telling(&delivery.tries);
        let tells_more = attempts.len() > 1 || attempts.iter().any(|attempt| attempt.outcome != "done");
        for attempt in attempts.into_iter().filter(|_| tells_more) {
            output.line(format!("{indent}{:width$}    {}", "", attempt_line(attempt)))?;
        }
    }
    Ok(())
}

/// The attempts without the broker's word on those that the adapter itself has spoken of.
fn worth_telling(tries: &[AttemptView]) -> Vec<&AttemptView> {
    let explained = |number| {
        tries
            .iter()
            .any(|other| other.number == number && other.outcome != "rejected")
    };
    tries
        .iter()
        .filter(|attempt| attempt.outcome != "rejected" || !explained(attempt.number))
        .collect()
}

fn outcome(delivery: &DeliveryView, now: DateTime<Utc>) -> String {
    let mut text = match delivery.settled {
        Some(settled) => format!(
            "after {}",
            span((settled - delivery.published).max(TimeDelta::zero()))
        ),
        None => format!("since {}", span(now - delivery.published)),
    };
    if delivery.attempts > 1 {
        text += &format!(", {} attempts", count(delivery.attempts.into()));
    }
    if let Some(detail) = &delivery.detail {
        text += &format!(": {}", printable(detail));
    }
    text
}

pub(crate) fn attempt_line(attempt: &AttemptView) -> String {
    let mut text = format!(
        "{}. {} {}",
        attempt.number,
        clock_time(attempt.at),
        printable(&attempt.outcome).replace('_', " ")
    );
    if let Some(milliseconds) = attempt.duration_ms {
        text += &format!(" in {} ms", count(milliseconds));
    }
    if let Some(detail) = &attempt.detail {
        text += &format!(": {}", printable(detail));
    }
    text
}

/// An event in full: every attribute, the data, the deliveries.
pub(crate) fn print_in_full(output: Output, view: &EventView, now: DateTime<Utc>) -> io::Result<()> {
    output.line(output.strong(&printable(&attribute(view, "type"))))?;
    let received = format!(
        "{} ({})",
        view.received.to_rfc3339(),
        relative(view.received, now)
    );
    let mut rows = vec![
        ("received".to_owned(), received),
        ("producer".to_owned(), printable(&view.producer)),
        ("offset".to_owned(), view.offset.to_string()),
    ];
    let event = view.parsed();
    let attributes = event.as_object().into_iter().flatten();
    rows.extend(
        attributes
            .filter(|(name, _)| !matches!(name.as_str(), "data" | "data_base64" | "type" | "specversion"))
            .map(|(name, value)| (printable(name), printable(&scalar(value)))),
    );
    let width = rows
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    for (name, value) in rows {
        output.line(format!("  {name:<width$}  {value}"))?;
    }
    for name in ["data", "data_base64"] {
        if let Some(data) = event.get(name) {
            output.line(format!("  {name}"))?;
            for line in serde_json::to_string_pretty(data)?.lines() {
                output.line(format!("    {}", printable(line)))?;
            }
        }
    }
    output.line("  deliveries")?;
    print_deliveries(output, view, "    ", now)
}

fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn view() -> EventView {
        serde_json::from_value(json!({
            "offset": 7, "received": "2026-03-01T08:00:00.250Z", "producer": "shop",
            "event": {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.placed.v1", "subject": "SO-1"},
            "deliveries": [
                {"adapter": "erp", "state": "retrying", "attempts": 2, "published": "2026-03-01T08:00:00.250Z",
                 "settled": "2026-03-01T08:00:02.250Z", "detail": "no stock", "tries": []},
                {"adapter": "warehouse", "state": "pending", "attempts": 0, "published": "2026-03-01T08:00:00.250Z",
                 "settled": null, "detail": null, "tries": []},
            ],
        }))
        .unwrap()
    }

    #[test]
    fn an_event_fits_on_a_line() {
        assert_eq!(
            line(Output::plain(), &view()),
            "08:00:00.250Z  order.placed.v1         SO-1                          shop → erp, warehouse"
        );
    }

    #[test]
    fn an_outcome_says_how_long_it_took_and_why() {
        let view = view();
        let now = view.received + TimeDelta::seconds(5);
        assert_eq!(
            outcome(&view.deliveries[0], now),
            "after 2.0 s, 2 attempts: no stock"
        );
        assert_eq!(outcome(&view.deliveries[1], now), "since 5.0 s");
    }

    #[test]
    fn a_reject_is_told_only_where_the_adapter_says_nothing() {
        let attempt = |number, outcome: &str| AttemptView {
            number,
            outcome: outcome.into(),
            detail: None,
            at: view().received,
            duration_ms: None,
        };
        let tries = [
            attempt(1, "rejected"),
            attempt(1, "retry"),
            attempt(2, "rejected"),
            attempt(3, "done"),
        ];
        let told: Vec<_> = worth_telling(&tries)
            .into_iter()
            .map(|told| told.outcome.as_str())
            .collect();
        assert_eq!(told, ["retry", "rejected", "done"]);
    }

    #[test]
    fn an_attempt_says_what_came_of_it() {
        let attempt = AttemptView {
            number: 2,
            outcome: "delivery_limit".into(),
            detail: Some("crashed\u{1b}".into()),
            at: view().received,
            duration_ms: Some(1_200),
        };
        assert_eq!(
            attempt_line(&attempt),
            "2. 08:00:00.250Z delivery limit in 1,200 ms: crashed\u{fffd}"
        );
    }
}
