//! `crossdock event …`: events in, out and looked up.

mod find;
mod send;
mod show;
mod tail;

use std::process::ExitCode;

use clap::Subcommand;

use crate::Context;

#[derive(Debug, Subcommand)]
pub(crate) enum EventCommand {
    Send(send::Send),
    Tail(tail::Tail),
    Find(find::Find),
    Show(show::Show),
}

impl EventCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self {
            Self::Send(send) => send.run(context).await,
            Self::Tail(tail) => tail.run(context).await,
            Self::Find(find) => find.run(context).await,
            Self::Show(show) => show.run(context).await,
        }
    }
}
