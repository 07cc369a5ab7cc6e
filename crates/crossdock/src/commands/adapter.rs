//! `crossdock adapter …`: who is plugged in, how they fare, and fresh credentials.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use comfy_table::{Cell, Table};
use crossdock_engine::{AdapterView, IssuedCredentials};
use serde::{Deserialize, Serialize};

use crate::{
    Context,
    human::{count, printable, relative, relative_or_dash},
    output::{Output, Tone},
};

#[derive(Debug, Subcommand)]
pub(crate) enum AdapterCommand {
    List(List),
    Show(Show),
    Rotate(Rotate),
    Resume(Resume),
}

/// List adapters with their state and what waits for them
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  crossdock adapter list")]
pub(crate) struct List {}

/// Show one adapter: what it takes and gives, its queue, its side of the ledger
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  crossdock adapter show erp")]
pub(crate) struct Show {
    /// The adapter's name
    name: String,
}

/// Issue fresh credentials; the old ones work until --finish
#[derive(Args, Debug)]
#[command(
    long_about = "Issue fresh credentials: a RabbitMQ user and an API key, shown this once and written to the\n\
                  adapter's env file on the hub's machine. The old ones keep working, so that the adapter can\n\
                  be restarted with the new ones at leisure; --finish then ends them.",
    after_help = "Examples:\n  crossdock adapter rotate warehouse\n  crossdock adapter rotate warehouse --finish"
)]
pub(crate) struct Rotate {
    /// The adapter's name
    name: String,
    /// End the credentials that the latest rotation replaced
    #[arg(long)]
    finish: bool,
}

/// Send to an adapter again whose endpoint was disabled, or run its parked mappings again
#[derive(Args, Debug)]
#[command(
    long_about = "Send to a webhook adapter again. Its endpoint is disabled when it answers 410 Gone; what came for it\n\
                  since waits in its queue. Another address in its manifest does the same.\n\n\
                  A filter or transform that was parked because it was slow is run again by the hub that is asked.",
    after_help = "Examples:\n  crossdock adapter resume warehouse"
)]
pub(crate) struct Resume {
    /// The adapter's name
    name: String,
}

#[derive(Serialize, Deserialize)]
struct Adapters {
    adapters: Vec<AdapterView>,
}

#[derive(Serialize, Deserialize)]
struct RotationFinished {
    deleted_users: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Resumed {
    resumed: bool,
}

impl AdapterCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let client = context.client()?;
        let output = context.output;
        match self {
            Self::List(List {}) => {
                let list: Adapters = client.get(&["v1", "adapters"], &[]).await?;
                if output.is_json() {
                    output.json(&list)?;
                } else {
                    output.print_table(&table(output, &list.adapters, Utc::now()))?;
                }
            }
            Self::Show(Show { name }) => {
                let adapter: AdapterView = client.get(&["v1", "adapters", &name], &[]).await?;
                if output.is_json() {
                    output.json(&adapter)?;
                } else {
                    print_one(output, &adapter, Utc::now())?;
                }
            }
            Self::Rotate(Rotate { name, finish: false }) => {
                let issued: IssuedCredentials =
                    client.post_empty(&["v1", "adapters", &name, "rotate"]).await?;
                if output.is_json() {
                    output.json(&issued)?;
                } else {
                    print_issued(output, &name, &issued)?;
                }
            }
            Self::Rotate(Rotate { name, finish: true }) => {
                let finished: RotationFinished = client
                    .post_empty(&["v1", "adapters", &name, "rotate", "finish"])
                    .await?;
                if output.is_json() {
                    output.json(&finished)?;
                } else {
                    print_finished(output, &name, &finished)?;
                }
            }
            Self::Resume(Resume { name }) => {
                let resumed: Resumed = client.post_empty(&["v1", "adapters", &name, "resume"]).await?;
                if output.is_json() {
                    output.json(&resumed)?;
                } else {
                    print_resumed(output, &name, &resumed)?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The adapters, a line each, within 100 columns.
pub(crate) fn table(output: Output, adapters: &[AdapterView], now: DateTime<Utc>) -> Table {
    let mut table = output.table(&[
        "ADAPTER",
        "STATE",
        ">WAITING",
        ">IN HAND",
        ">MATCHED",
        ">CONFIRMED",
        ">TAKEN",
        ">PARKED",
        "LAST WORD",
    ]);
    for adapter in adapters {
        let queue = |of: fn(&crossdock_engine::QueueView) -> u64| {
            adapter
                .queue
                .as_ref()
                .map_or_else(|| "?".to_owned(), |queue| count(of(queue)))
        };
        let ledger = &adapter.ledger;
        table.add_row(vec![
            Cell::new(printable(&adapter.name)),
            output.state_cell(&adapter.state),
            Cell::new(queue(|queue| queue.ready)),
            Cell::new(queue(|queue| queue.unacked)),
            Cell::new(count(ledger.matched)),
            Cell::new(count(ledger.confirmed)),
            Cell::new(count(ledger.taken)),
            Cell::new(count(ledger.parked)),
            Cell::new(relative_or_dash(adapter.last_settled, now)),
        ]);
    }
    table
}

fn print_one(output: Output, adapter: &AdapterView, now: DateTime<Utc>) -> std::io::Result<()> {
    output.line(format!(
        "{}  {}",
        output.strong(&printable(&adapter.name)),
        output.state(&adapter.state)
    ))?;
    if let Some(description) = &adapter.description {
        output.line(format!("  {}", printable(description)))?;
    }
    let or_nothing = |names: &[String]| {
        if names.is_empty() {
            "nothing".to_owned()
        } else {
            names.join(", ")
        }
    };
    let ledger = &adapter.ledger;
    let mut rows = vec![
        ("source", adapter.source.clone()),
        ("publishes", or_nothing(&adapter.publishes)),
        ("subscribes", or_nothing(&adapter.subscribes)),
        ("delivery", adapter.delivery.clone()),
    ];
    match &adapter.endpoint {
        Some(endpoint) => rows.push(("endpoint", endpoint.address.clone())),
        None => rows.push(("users", or_nothing(&adapter.users))),
    }
    rows.push(match &adapter.queue {
        Some(queue) => (
            "queue",
            format!(
                "{}: {} waiting, {} in hand, {}",
                queue.name,
                count(queue.ready),
                count(queue.unacked),
                crate::human::counted(queue.consumers, "consumer", "consumers")
            ),
        ),
        None => ("queue", "RabbitMQ does not answer".to_owned()),
    });
    let sums = [
        ("confirmed", ledger.confirmed),
        ("taken", ledger.taken),
        ("parked", ledger.parked),
        ("discarded", ledger.discarded),
        ("expired", ledger.expired),
        ("in flight", ledger.in_flight),
        ("unaccounted", ledger.unaccounted),
    ];
    let sums: Vec<_> = sums
        .iter()
        .filter(|(_, sum)| *sum > 0)
        .map(|(name, sum)| format!("{} {name}", count(*sum)))
        .collect();
    let split = if sums.is_empty() {
        String::new()
    } else {
        format!(": {}", sums.join(", "))
    };
    rows.push(("matched", format!("{}{split}", count(ledger.matched))));
    rows.push(("oldest open", relative_or_dash(adapter.oldest_pending, now)));
    rows.push(("last word", relative_or_dash(adapter.last_settled, now)));
    for (name, value) in rows {
        output.line(format!("  {name:<12} {}", printable(&value)))?;
    }
    if let Some(trouble) = adapter
        .endpoint
        .as_ref()
        .and_then(|endpoint| endpoint.trouble.as_deref())
    {
        let disabled = adapter.endpoint.as_ref().and_then(|endpoint| endpoint.disabled);
        let warning = match disabled {
            Some(since) => format!(
                "▲ disabled {}: {}; `crossdock adapter resume {}` sends again",
                relative(since, now),
                printable(trouble),
                printable(&adapter.name)
            ),
            None => format!("▲ takes no events for now: {}", printable(trouble)),
        };
        output.line(format!("  {}", output.paint(Tone::Warning, &warning)))?;
    }
    if !adapter.auto_ack_consumers.is_empty() {
        let consumers = printable(&adapter.auto_ack_consumers.join(", "));
        let warning = format!("▲ acks by itself and loses what it holds when it crashes: {consumers}");
        output.line(format!("  {}", output.paint(Tone::Warning, &warning)))?;
    }
    Ok(())
}

fn print_issued(output: Output, name: &str, issued: &IssuedCredentials) -> std::io::Result<()> {
    if let Some(url) = &issued.amqp_url {
        output.line(format!("CROSSDOCK_AMQP_URL={url}"))?;
    }
    output.line(format!("CROSSDOCK_API_KEY={}", issued.api_key))?;
    output.line("")?;
    output.line(format!(
        "Shown this once; the hub's machine has the same in {}.",
        issued.env_file
    ))?;
    output.line(format!(
        "Restart the adapter with them, then end the old ones: crossdock adapter rotate {name} --finish"
    ))
}

fn print_finished(output: Output, name: &str, finished: &RotationFinished) -> std::io::Result<()> {
    let good = output.paint(Tone::Good, "●");
    if finished.deleted_users.is_empty() {
        return output.line(format!(
            "{good} {name}: nothing to end, only the latest credentials are in force"
        ));
    }
    output.line(format!(
        "{good} {name}: ended {}",
        printable(&finished.deleted_users.join(", "))
    ))
}

fn print_resumed(output: Output, name: &str, resumed: &Resumed) -> std::io::Result<()> {
    let good = output.paint(Tone::Good, "●");
    let said = if resumed.resumed {
        "it gets its events again"
    } else {
        "it was not disabled and none of its mappings is parked, there is nothing to resume"
    };
    output.line(format!("{good} {}: {said}", printable(name)))
}
