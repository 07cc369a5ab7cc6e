//! `crossdock status`: one screen that says what runs, what waits and what wants attention.

use std::{io, process::ExitCode};

use chrono::{DateTime, Utc};
use clap::Args;
use comfy_table::Cell;
use crossdock_engine::{DatabaseView, MqttView, QueueView, StatusView};

use crate::{
    Context,
    commands::adapter,
    human::{count, counted, printable, relative, relative_or_dash, span},
    output::{Output, Tone},
};

/// The queues of adapters have a line in the table of adapters already.
const ADAPTER_QUEUE_PREFIX: &str = "crossdock.adapter.";
const INGRESS_QUEUE_PREFIX: &str = "crossdock.ingress.";

/// Say on one screen what runs, what waits and what wants attention
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  crossdock status")]
pub(crate) struct Status {}

impl Status {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let status: StatusView = context.client()?.get(&["v1", "status"], &[]).await?;
        if context.output.is_json() {
            context.output.json(&status)?;
        } else {
            print(context.output, &status, Utc::now())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(output: Output, status: &StatusView, now: DateTime<Utc>) -> io::Result<()> {
    output.line(format!(
        "{} {}, running for {}, revision {}",
        output.strong("crossdock"),
        printable(&status.version),
        span(now - status.started),
        status.revision
    ))?;
    print_checks(output, status)?;
    output.line("")?;
    if status.attention.is_empty() {
        output.line(output.paint(Tone::Good, "● all is well"))?;
    }
    for sentence in &status.attention {
        output.line(output.paint(Tone::Warning, &format!("▲ {}", printable(sentence))))?;
    }
    output.line("")?;
    match status.adapters.as_deref() {
        None => output.line("adapters: unknown while the database does not answer")?,
        Some([]) => output.line("no adapters")?,
        Some(adapters) => output.print_table(&adapter::table(output, adapters, now))?,
    }
    output.line("")?;
    print_queues(output, &status.queues)?;
    output.line(totals(status, now))?;
    print_hubs(output, status, now)
}

/// What is unknown is "–", never 0.
fn totals(status: &StatusView, now: DateTime<Utc>) -> String {
    let known = |figure: Option<u64>| figure.map_or_else(|| "–".to_owned(), count);
    let accepted = match status.accepted {
        Some(accepted) => counted(accepted, "event", "events"),
        None => "– events".to_owned(),
    };
    format!(
        "{accepted} accepted (newest {}), {} in quarantine, {} parked",
        relative_or_dash(status.newest_event, now),
        known(status.quarantined),
        known(status.parked),
    )
}

fn print_checks(output: Output, status: &StatusView) -> io::Result<()> {
    for check in &status.checks {
        let state = output.paint(
            if check.ok { Tone::Good } else { Tone::Bad },
            &format!(
                "{} {:<9}",
                if check.ok { "●" } else { "■" },
                printable(&check.name)
            ),
        );
        let mut detail = printable(&check.detail);
        if let Some(broker) = status
            .broker
            .as_ref()
            .filter(|_| check.name == "rabbitmq" && check.ok)
        {
            let private = if broker.private { ", private node" } else { "" };
            detail = format!(
                "RabbitMQ {} at {}{private}",
                printable(&broker.version),
                printable(&broker.address)
            );
            if !broker.alarms.is_empty() {
                detail += &format!(", alarms: {}", printable(&broker.alarms.join(", ")));
            }
        }
        if check.name == "database" {
            let database = database_named(&status.database);
            detail = if check.ok {
                database
            } else {
                format!("{database}: {detail}")
            };
        }
        output.line(format!("{state} {detail}").trim_end())?;
    }
    match &status.mqtt {
        Some(mqtt) => {
            let state = output.paint(Tone::Good, &format!("● {:<9}", "mqtt"));
            output.line(format!("{state} {}", live(mqtt)))
        }
        None => Ok(()),
    }
}

fn live(mqtt: &MqttView) -> String {
    let mut parts = vec![
        counted(mqtt.clients, "client", "clients"),
        format!(
            "{} out within the last second",
            counted(mqtt.out_per_s, "message", "messages")
        ),
    ];
    let slow = mqtt.dropped.get("slow").copied().unwrap_or(0);
    if slow > 0 {
        parts.push(format!("{} dropped for slow clients", count(slow)));
    }
    parts.join(", ")
}

fn database_named(database: &DatabaseView) -> String {
    let kind = match database.kind.as_str() {
        "sqlite" => "SQLite",
        "postgres" => "PostgreSQL",
        other => other,
    };
    format!("{} at {}", printable(kind), printable(&database.place))
}

/// The hub's own queues: the partitions in one sum, the others only while something lies in them.
fn print_queues(output: Output, queues: &[QueueView]) -> io::Result<()> {
    let (ingress, others): (Vec<_>, Vec<_>) = queues
        .iter()
        .filter(|queue| !queue.name.starts_with(ADAPTER_QUEUE_PREFIX))
        .partition(|queue| queue.name.starts_with(INGRESS_QUEUE_PREFIX));
    if queues.is_empty() {
        return Ok(());
    }
    let waiting: u64 = ingress.iter().map(|queue| queue.ready).sum();
    let in_hand: u64 = ingress.iter().map(|queue| queue.unacked).sum();
    let mut parts = vec![format!(
        "ingress {} waiting, {} in hand",
        count(waiting),
        count(in_hand)
    )];
    parts.extend(
        others
            .iter()
            .filter(|queue| queue.ready + queue.unacked > 0)
            .map(|queue| {
                let name = queue.name.strip_prefix("crossdock.").unwrap_or(&queue.name);
                format!("{} {}", printable(name), count(queue.ready + queue.unacked))
            }),
    );
    output.line(parts.join("; "))
}

/// Hubs are named when there is more than one or when one's files differ.
fn print_hubs(output: Output, status: &StatusView, now: DateTime<Utc>) -> io::Result<()> {
    if status.hubs.len() < 2 && status.hubs.iter().all(|hub| hub.files_match_revision) {
        return Ok(());
    }
    output.line("")?;
    let mut table = output.table(&["HUB", "HOST", "VERSION", "FILES", "SEEN"]);
    for hub in &status.hubs {
        let files = if hub.files_match_revision {
            output.toned_cell(Tone::Good, "● as applied")
        } else {
            output.toned_cell(Tone::Warning, "▲ differ (crossdock apply)")
        };
        table.add_row(vec![
            Cell::new(printable(&hub.id)),
            Cell::new(printable(&hub.host)),
            Cell::new(printable(&hub.version)),
            files,
            Cell::new(relative(hub.seen, now)),
        ]);
    }
    output.print_table(&table)
}
