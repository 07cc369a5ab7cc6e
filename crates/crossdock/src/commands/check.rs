//! `crossdock check`: every fault of the configuration, nothing touched.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::{Context, configuration::Configuration, output::Tone};

/// Read the configuration and say every fault in it; touches nothing
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  crossdock check\n  crossdock check --config config/crossdock.toml --json"
)]
pub(crate) struct Check {}

impl Check {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let output = context.output;
        let configuration = Configuration::read(context.common.config.as_deref())?;
        match configuration.check() {
            Ok((_, warnings)) => {
                if output.is_json() {
                    output.json(&json!({ "faults": [], "warnings": warnings }))?;
                } else {
                    for warning in warnings {
                        output.line(format!("{} {warning}", output.paint(Tone::Warning, "▲")))?;
                    }
                    let summary = configuration.summary();
                    output.line(format!("{} {summary}: no faults", output.paint(Tone::Good, "●")))?;
                }
                Ok(ExitCode::SUCCESS)
            }
            Err(faults) => {
                if output.is_json() {
                    output.json(&json!({ "faults": faults.0, "warnings": [] }))?;
                } else {
                    for fault in &faults.0 {
                        output.line(fault.to_string())?;
                    }
                }
                Ok(ExitCode::FAILURE)
            }
        }
    }
}
