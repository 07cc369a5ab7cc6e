//! `crossdock apply`: the manifests and schemas on the disk become the next revision.

use std::process::ExitCode;

use clap::Args;
use crossdock_config::SourceFile;
use crossdock_engine::Applied;
use serde::Serialize;

use crate::{
    Context,
    client::ClientError,
    configuration::Configuration,
    output::{Output, Tone},
};

/// Make the adapters, schemas and state rules of the configuration folder the next revision; topology and credentials follow
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  crossdock apply --dry-run\n  crossdock apply --note 'ERP takes cancellations'"
)]
pub(crate) struct Apply {
    /// Say what would change and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Why, for those who read the list of revisions later
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

#[derive(Serialize)]
struct Request<'a> {
    files: &'a [SourceFile],
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    dry_run: bool,
}

impl Apply {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let configuration = Configuration::read(context.common.config.as_deref())?;
        configuration.check()?;
        let request = Request {
            files: &configuration.shared_files,
            note: self.note,
            dry_run: self.dry_run,
        };
        let applied: Applied = match context.client()?.post(&["v1", "revisions"], &request).await {
            Ok(applied) => applied,
            Err(ClientError::Refused(problem)) if problem.configuration_faults().next().is_some() => {
                return Err(configuration
                    .place(problem.configuration_faults().cloned().collect())
                    .into());
            }
            Err(error) => return Err(error.into()),
        };
        if context.output.is_json() {
            context.output.json(&applied)?;
        } else {
            print(context.output, &applied)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(output: Output, applied: &Applied) -> std::io::Result<()> {
    let number = applied.number;
    let good = output.paint(Tone::Good, "●");
    if applied.changes.is_empty() {
        output.line(format!(
            "{good} nothing to do: revision {number} is in force and equals these files"
        ))?;
    } else {
        print_changes(output, applied)?;
    }
    if applied.settings_changed {
        output.line(output.paint(
            Tone::Warning,
            "▲ crossdock.toml has changed since the hub started, and is read only then: restart the hub for that",
        ))?;
    }
    Ok(())
}

fn print_changes(output: Output, applied: &Applied) -> std::io::Result<()> {
    let (number, good) = (applied.number, output.paint(Tone::Good, "●"));
    output.line(if applied.dry_run {
        format!(
            "{} this would become revision {number}:",
            output.paint(Tone::Quiet, "○")
        )
    } else {
        format!("{good} revision {number} is in force:")
    })?;
    for change in &applied.changes {
        output.line(format!("  {change}"))?;
    }
    Ok(())
}
