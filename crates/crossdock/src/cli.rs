//! The command line: what there is to say and how it is written. What is done lies in `commands`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    adapter, api_key, apply, bench, browser_token, check, dead_letter, event, import, journey, prove, status,
    up, user,
};

/// A self-hosted integration hub for commerce events: RabbitMQ at the centre, vendors as adapters.
#[derive(Debug, Parser)]
#[command(
    name = "crossdock",
    version,
    disable_help_subcommand = true,
    after_help = "\
Operator commands speak to the hub at CROSSDOCK_URL (else the one configured here) with
CROSSDOCK_API_KEY (else the key that the hub wrote to var/admin.key).
Exit status: 0 done, 1 failed, 2 wrong use.

Examples:
  crossdock up --demo
  crossdock status"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Common {
    /// Print JSON, for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The settings file; `state.toml` and the folders `adapters` and `schemas` lie beside it [default: config/crossdock.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Up(up::Up),
    Check(check::Check),
    Apply(apply::Apply),
    Status(status::Status),
    /// Send events, watch them pass, look them up
    #[command(subcommand)]
    Event(event::EventCommand),
    Import(import::Import),
    Journey(journey::Journey),
    /// See what failed for good, and send it on its way again
    #[command(subcommand)]
    DeadLetter(dead_letter::DeadLetterCommand),
    /// See adapters and renew their credentials
    #[command(subcommand)]
    Adapter(adapter::AdapterCommand),
    /// Make, list and revoke API keys
    #[command(subcommand)]
    ApiKey(api_key::ApiKeyCommand),
    /// End tokens with which browsers read live state
    #[command(subcommand)]
    BrowserToken(browser_token::BrowserTokenCommand),
    /// Say who may sign in, and what they may do
    #[command(subcommand)]
    User(user::UserCommand),
    Prove(prove::Prove),
    /// Measure what this machine can do
    #[command(subcommand)]
    Bench(bench::BenchCommand),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Every command that does something, with its full name.
    fn leaves() -> Vec<(String, clap::Command)> {
        fn below(command: &clap::Command, path: &str) -> Vec<(String, clap::Command)> {
            let path = format!("{path} {}", command.get_name()).trim().to_owned();
            if command.get_subcommands().next().is_none() {
                return vec![(path, command.clone())];
            }
            command
                .get_subcommands()
                .flat_map(|child| below(child, &path))
                .collect()
        }
        let mut root = Cli::command();
        root.build();
        below(&root, "")
    }

    fn examples(help: &str) -> Vec<String> {
        let listed = help
            .split_once("Examples:\n")
            .map_or("", |(_, examples)| examples);
        listed
            .lines()
            .take_while(|line| line.starts_with("  "))
            .map(|line| line.trim().to_owned())
            .collect()
    }

    /// The words of a shell command; what is between quotes is one word.
    fn words(command: &str) -> Vec<String> {
        let parts = command.split('\'').enumerate();
        parts
            .flat_map(|(index, part)| match index % 2 {
                0 => part.split_whitespace().map(str::to_owned).collect(),
                _ => vec![part.to_owned()],
            })
            .collect()
    }

    #[test]
    fn every_command_has_an_example_that_the_command_line_accepts() {
        for (path, mut command) in leaves() {
            let examples = examples(&command.render_long_help().to_string());
            assert!(
                examples.iter().any(|example| example.contains(&path)),
                "{path} has no example"
            );
            for step in examples.iter().flat_map(|example| example.split("&&")) {
                if let Err(error) = Cli::try_parse_from(words(step)) {
                    panic!("{step}: {error}");
                }
            }
        }
    }

    #[test]
    fn the_help_reads_as_recorded() {
        let helps = leaves()
            .into_iter()
            .map(|(path, mut command)| format!("==== {path}\n{}\n", command.render_long_help()));
        let text = format!(
            "{}\n{}",
            Cli::command().render_long_help(),
            helps.collect::<String>()
        );
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/help.txt");
        if std::env::var_os("CROSSDOCK_RECORD").is_some() {
            std::fs::write(file, &text).expect("whoever records may write here");
        }
        let recorded = std::fs::read_to_string(file).unwrap_or_default();
        assert!(
            text == recorded,
            "the help changed; record it with CROSSDOCK_RECORD=1 cargo test -p crossdock"
        );
    }
}
