//! `crossdock dead-letter …`: what failed for good, why, and sending it on its way again.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use chrono::Utc;
use clap::{Args, Subcommand};
use comfy_table::Cell;
use crossdock_engine::{DeadLetterDetail, DeadLetterPage, Redriven};
use reqwest::StatusCode;

use crate::{
    Context,
    client::{Client, ClientError},
    human::{count, printable, relative},
    output::Output,
    story::attempt_line,
};

/// How long a dead letter usually needs at most into its adapter's queue.
const HAND_OVER_PATIENCE: Duration = Duration::from_secs(5);
const HAND_OVER_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLetterCommand {
    List(List),
    Show(Show),
    Redrive(Redrive),
}

/// List what failed for good, the latest first
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  crossdock dead-letter list\n  crossdock dead-letter list --adapter erp --limit 5"
)]
pub(crate) struct List {
    /// Only those of this adapter
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
    /// How many at most
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
    /// Go on where a page ended
    #[arg(long)]
    cursor: Option<String>,
}

/// Show one dead letter: the reason, every attempt, the event
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  crossdock dead-letter show 1042.erp")]
pub(crate) struct Show {
    /// As `dead-letter list` gives it, such as 1042.erp
    id: String,
}

/// Send a dead letter on its way again, with the whole retry schedule before it
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  crossdock dead-letter redrive 1042.erp")]
pub(crate) struct Redrive {
    /// As `dead-letter list` gives it, such as 1042.erp
    id: String,
}

impl DeadLetterCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let client = context.client()?;
        let output = context.output;
        match self {
            Self::List(list) => {
                let page: DeadLetterPage = client.get(&["v1", "dead-letters"], &list.query()).await?;
                if output.is_json() {
                    output.json(&page)?;
                } else {
                    print_page(output, &page)?;
                }
            }
            Self::Show(Show { id }) => {
                let letter: DeadLetterDetail = client.get(&["v1", "dead-letters", &id], &[]).await?;
                if output.is_json() {
                    output.json(&letter)?;
                } else {
                    print_one(output, &letter)?;
                }
            }
            Self::Redrive(Redrive { id }) => {
                let redriven: Redriven = client.post_empty(&["v1", "dead-letters", &id, "redrive"]).await?;
                let is_there = wait_for_hand_over(&client, &redriven).await;
                if output.is_json() {
                    output.json(&redriven)?;
                } else {
                    output.line(outcome(&redriven, is_there))?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    fn query(self) -> Vec<(&'static str, String)> {
        let optional = [("adapter", self.adapter), ("cursor", self.cursor)];
        let given = optional
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        given.chain([("limit", self.limit.to_string())]).collect()
    }
}

/// Whether the hub says within a few seconds that it is no dead letter any more.
async fn wait_for_hand_over(client: &Client, redriven: &Redriven) -> bool {
    let began = Instant::now();
    while began.elapsed() < HAND_OVER_PATIENCE {
        let found = client
            .get::<DeadLetterDetail>(&["v1", "dead-letters", &redriven.id], &[])
            .await;
        match found {
            Err(ClientError::Refused(problem)) if problem.status == StatusCode::NOT_FOUND => return true,
            // It stands there still, it has failed again, or nobody can say.
            Ok(_) | Err(_) => {}
        }
        tokio::time::sleep(HAND_OVER_INTERVAL).await;
    }
    false
}

fn outcome(redriven: &Redriven, is_there: bool) -> String {
    let id = printable(&redriven.id);
    let attempt = redriven.attempt;
    if is_there {
        format!("{id} is in its adapter's queue, attempt {attempt}")
    } else {
        format!("{id} is on its way to its adapter's queue, attempt {attempt}")
    }
}

fn print_page(output: Output, page: &DeadLetterPage) -> std::io::Result<()> {
    if page.dead_letters.is_empty() {
        return output.line("no dead letters");
    }
    let now = Utc::now();
    let mut table = output.table(&["ID", "FAILED", "TYPE", "SUBJECT", ">ATTEMPTS", "REASON"]);
    for letter in &page.dead_letters {
        table.add_row(vec![
            Cell::new(printable(&letter.id)),
            Cell::new(relative(letter.failed, now)),
            Cell::new(printable(&letter.r#type)),
            Cell::new(printable(letter.subject.as_deref().unwrap_or(&letter.event_id))),
            Cell::new(count(letter.attempts.into())),
            Cell::new(printable(letter.detail.as_deref().unwrap_or("–"))),
        ]);
    }
    output.print_table(&table)?;
    match &page.next {
        Some(cursor) => output.line(format!("There are more: add --cursor {}", printable(cursor))),
        None => output.line("Mend the cause, then: crossdock dead-letter redrive ID"),
    }
}

fn print_one(output: Output, detail: &DeadLetterDetail) -> std::io::Result<()> {
    let letter = &detail.letter;
    let now = Utc::now();
    output.line(format!(
        "{}  {} at {}",
        output.strong(&printable(&letter.id)),
        printable(&letter.r#type),
        printable(&letter.adapter)
    ))?;
    output.line(printable(
        letter.detail.as_deref().unwrap_or("no reason was given"),
    ))?;
    output.line("")?;
    output.line(format!("  received  {}", relative(letter.received, now)))?;
    output.line(format!("  failed    {}", relative(letter.failed, now)))?;
    for attempt in &detail.tries {
        output.line(format!("    {}", attempt_line(attempt)))?;
    }
    output.line("  event")?;
    for line in serde_json::to_string_pretty(&detail.event)?.lines() {
        output.line(format!("    {}", printable(line)))?;
    }
    Ok(())
}
