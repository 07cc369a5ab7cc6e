//! `crossdock event find`: events of the record, newest first.

use std::process::ExitCode;

use chrono::{SecondsFormat, Utc};
use clap::Args;
use comfy_table::Cell;
use crossdock_engine::{EventPage, EventView};
use crossdock_model::TypePattern;

use crate::{
    Context,
    human::{Moment, printable, relative},
    output::{Output, Tone},
    story::attribute,
};

/// Look events up, newest first
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  crossdock event find --type 'order.*.v1' --since 2h\n  \
                        crossdock event find --adapter erp --limit 5 --json"
)]
pub(crate) struct Find {
    /// A type, or a pattern such as order.*.v1
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<TypePattern>,
    /// CloudEvents source
    #[arg(long)]
    source: Option<String>,
    /// CloudEvents subject
    #[arg(long)]
    subject: Option<String>,
    /// Correlation id or alias
    #[arg(long, value_name = "ID")]
    correlation: Option<String>,
    /// An adapter they went to
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
    /// Accepted at this time or later: 15m, 2h, 3d, or a date or time in UTC
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Accepted before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    /// How many at most
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
    /// Go on where a page ended
    #[arg(long)]
    cursor: Option<String>,
}

impl Find {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let page: EventPage = context.client()?.get(&["v1", "events"], &self.query()).await?;
        if context.output.is_json() {
            context.output.json(&page)?;
        } else {
            print(context.output, &page)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn query(self) -> Vec<(&'static str, String)> {
        let now = Utc::now();
        let exact = |moment: Moment| moment.before(now).to_rfc3339_opts(SecondsFormat::Micros, true);
        [
            ("type", self.event_type.map(|pattern| pattern.to_string())),
            ("source", self.source),
            ("subject", self.subject),
            ("correlation", self.correlation),
            ("adapter", self.adapter),
            ("since", self.since.map(exact)),
            ("until", self.until.map(exact)),
            ("limit", Some(self.limit.to_string())),
            ("cursor", self.cursor),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }
}

fn print(output: Output, page: &EventPage) -> std::io::Result<()> {
    if page.events.is_empty() {
        return output.line("no such events");
    }
    let now = Utc::now();
    let mut table = output.table(&["ACCEPTED", "TYPE", "SUBJECT", "ID", "DELIVERIES"]);
    for view in &page.events {
        table.add_row(vec![
            Cell::new(relative(view.received, now)),
            Cell::new(printable(&attribute(view, "type"))),
            Cell::new(printable(&attribute(view, "subject"))),
            Cell::new(printable(&attribute(view, "id"))),
            Cell::new(deliveries(view)),
        ]);
    }
    output.print_table(&table)?;
    match &page.next {
        Some(cursor) => output.line(format!("There are more: add --cursor {}", printable(cursor))),
        None => Ok(()),
    }
}

fn deliveries(view: &EventView) -> String {
    if view.deliveries.is_empty() {
        return "–".to_owned();
    }
    let each = view.deliveries.iter().map(|delivery| {
        let (_, shape) = Tone::of(&delivery.state);
        format!("{shape} {}", printable(&delivery.adapter))
    });
    each.collect::<Vec<_>>().join(" ")
}
