//! `crossdock journey`: what happened to an order, in order, with every attempt.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Args;
use crossdock_engine::{EventView, JourneyView};

use crate::{
    Context,
    client::RECORD_PATIENCE,
    human::{clock_time, count, printable, relative, span},
    output::{Output, Tone},
    story::{attribute, print_deliveries},
};

/// Tell what happened to an order, in order, with every attempt
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  crossdock event send docs/examples/order.json && crossdock journey example-order-1"
)]
pub(crate) struct Journey {
    /// A correlation id, an alias such as erp:4711, or the id of an event
    #[arg(value_name = "CORRELATION_ID|ALIAS")]
    key: String,
}

impl Journey {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let journey: JourneyView = context
            .client()?
            .get_recorded(&["v1", "journeys", &self.key], &[], RECORD_PATIENCE)
            .await?;
        if context.output.is_json() {
            context.output.json(&journey)?;
        } else {
            print(context.output, &journey, Utc::now())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(output: Output, journey: &JourneyView, now: DateTime<Utc>) -> std::io::Result<()> {
    let names: Vec<_> = journey
        .correlation_ids
        .iter()
        .chain(&journey.aliases)
        .filter(|name| **name != journey.key)
        .map(|name| printable(name))
        .collect();
    let also = if names.is_empty() {
        String::new()
    } else {
        format!("  also {}", names.join(", "))
    };
    output.line(format!("{}{also}", output.strong(&printable(&journey.key))))?;
    output.line(printable(&journey.verdict))?;
    let mut before: Option<DateTime<Utc>> = None;
    for view in &journey.events {
        output.line("")?;
        output.line(heading(output, view, before, now))?;
        if let Some(bytes) = view.data_left_out {
            let id = printable(&attribute(view, "id"));
            output.line(format!(
                "    its {} bytes of data: crossdock event show {id}",
                count(bytes)
            ))?;
        }
        print_deliveries(output, view, "    ", now)?;
        before = Some(view.received);
    }
    let (Some(first), Some(last)) = (journey.events.first(), journey.events.last()) else {
        return Ok(());
    };
    if journey.events.len() > 1 {
        let number = count(journey.events.len() as u64);
        let lasted = span(last.received - first.received);
        output.line("")?;
        output.line(output.paint(Tone::Quiet, &format!("{number} events within {lasted}")))?;
    }
    Ok(())
}

/// The first event says how long ago it was, each later one how long after the one before.
fn heading(output: Output, view: &EventView, before: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    let when = match before {
        None => format!(
            "{}, {}",
            view.received.format("%Y-%m-%d"),
            relative(view.received, now)
        ),
        Some(before) => format!("+{}", span(view.received - before)),
    };
    let subject = match attribute(view, "subject") {
        none if none.is_empty() => String::new(),
        subject => format!(" of {}", printable(&subject)),
    };
    format!(
        "{} ({when})  {}{subject} by {}",
        clock_time(view.received),
        output.strong(&printable(&attribute(view, "type"))),
        printable(&view.producer),
    )
}
