//! `crossdock bench`: what this machine can do, each beside a limit that is measured in the same run. Nothing of a
//! running hub is touched.

mod fanout;
mod packets;

use std::process::ExitCode;

use clap::Subcommand;

use crate::Context;

/// Measure what this machine can do
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    Fanout(fanout::Fanout),
}

impl BenchCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self {
            Self::Fanout(fanout) => fanout.run(context).await,
        }
    }
}
