//! The program: the hub (`crossdock up`) and the commands of the people who operate it. It joins the crates
//! to one process, speaks to people, and knows how nothing below it works.

mod cli;
mod client;
mod commands;
mod configuration;
mod human;
mod output;
mod sending;
mod story;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;

use crate::{
    cli::{Cli, Command, Common},
    client::Client,
    output::Output,
};

/// In the data directory: one line, the key with which operators on this machine speak to the hub.
pub(crate) const ADMIN_KEY_FILE: &str = "admin.key";

/// What a command is given.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) common: Common,
    pub(crate) output: Output,
}

impl Context {
    /// The hub that operator commands speak to.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        Client::from_environment(self.common.config.as_deref())
    }
}

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = writeln!(io::stderr(), "no threads to run on: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(carry_out());
    // What was not finished within a command's own limits does not hold the process any longer.
    runtime.shutdown_background();
    code
}

async fn carry_out() -> ExitCode {
    let cli = Cli::parse();
    // The first provider that is installed stays; there is none before this line.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let output = Output::detect(cli.common.json);
    let context = Context {
        common: cli.common,
        output,
    };
    match run(cli.command, &context).await {
        Ok(code) => code,
        Err(error) if reader_left(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Where not even this can be written the exit status has to say it.
            let _ = writeln!(io::stderr(), "{}", sentence(&error));
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command, context: &Context) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(up) => up.run(context).await,
        Command::Check(check) => check.run(context),
        Command::Apply(apply) => apply.run(context).await,
        Command::Status(status) => status.run(context).await,
        Command::Event(event) => event.run(context).await,
        Command::Import(import) => import.run(context).await,
        Command::Journey(journey) => journey.run(context).await,
        Command::DeadLetter(dead_letter) => dead_letter.run(context).await,
        Command::Adapter(adapter) => adapter.run(context).await,
        Command::ApiKey(api_key) => api_key.run(context).await,
        Command::BrowserToken(browser_token) => browser_token.run(context).await,
        Command::User(user) => user.run(context).await,
        Command::Prove(prove) => prove.run(context).await,
        Command::Bench(bench) => bench.run(context).await,
    }
}

/// Whoever read the output has seen enough, as in `crossdock event find | head -1`.
fn reader_left(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// An error with its causes, each said once, fit for a terminal: a cause may quote what came from outside.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text.lines().map(human::printable).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    #[test]
    fn errors_are_sentences() {
        let error = anyhow!("permission denied").context("cannot write var/admin.key");
        assert_eq!(sentence(&error), "cannot write var/admin.key: permission denied");
        let repeated = anyhow!("broken").context("it is broken");
        assert_eq!(sentence(&repeated), "it is broken");
        let hostile = anyhow!("unknown variant `\u{1b}[2J`").context("two\nlines");
        assert_eq!(sentence(&hostile), "two\nlines: unknown variant `\u{fffd}[2J`");
    }

    #[test]
    fn a_reader_that_leaves_is_no_failure() {
        let pipe: io::Result<()> = Err(io::ErrorKind::BrokenPipe.into());
        assert!(reader_left(
            &pipe.context("cannot print").expect_err("it is an error")
        ));
        assert!(!reader_left(&anyhow!("another failure")));
    }
}
