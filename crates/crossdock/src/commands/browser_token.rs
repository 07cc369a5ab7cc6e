//! `crossdock browser-token …`: the end of tokens with which browsers read live state. Backends mint them over HTTP.

use std::process::ExitCode;

use clap::{ArgGroup, Args, Subcommand};
use serde_json::json;

use crate::{
    Context,
    human::printable,
    output::{Output, Tone},
};

#[derive(Debug, Subcommand)]
pub(crate) enum BrowserTokenCommand {
    Revoke(Revoke),
    Rotate(Rotate),
}

/// End tokens before their time; whoever is connected with one is disconnected
#[derive(Args, Debug)]
#[command(
    group = ArgGroup::new("whose").required(true).args(["subject", "id"]),
    after_help = "Examples:\n  crossdock browser-token revoke --subject customer-42"
)]
pub(crate) struct Revoke {
    /// Whom they were minted for: all that this subject has so far
    #[arg(long)]
    subject: Option<String>,
    /// One token, by the id that it was minted with
    #[arg(long)]
    id: Option<String>,
}

/// Have every hub sign tokens with a new key, as each does by itself once a day
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  crossdock browser-token rotate")]
pub(crate) struct Rotate {
    /// Also end every token that was minted before
    #[arg(long)]
    end_tokens: bool,
}

impl BrowserTokenCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let client = context.client()?;
        let output = context.output;
        match self {
            Self::Revoke(Revoke { subject, id }) => {
                let path = ["v1", "browser-tokens"];
                let (done, said) = if let Some(subject) = subject {
                    client.delete_matching(&path, &[("subject", &subject)]).await?;
                    let said = format!(
                        "whatever tokens the subject {} had open nothing any more",
                        printable(&subject)
                    );
                    (json!({ "subject": subject }), said)
                } else {
                    let id = id.unwrap_or_default();
                    client.delete(&[path[0], path[1], &id]).await?;
                    let said = format!(
                        "if there is a token with the id {}, it opens nothing any more",
                        printable(&id)
                    );
                    (json!({ "id": id }), said)
                };
                report(output, &json!({ "revoked": done }), &said)?;
            }
            Self::Rotate(Rotate { end_tokens }) => {
                let path = ["v1", "browser-tokens", "rotation"];
                client.tell(&path, &json!({ "end_tokens": end_tokens })).await?;
                let said = match end_tokens {
                    true => "browser tokens are signed with new keys; all that were minted before are over",
                    false => {
                        "browser tokens are signed with new keys; what was minted before is good to its end"
                    }
                };
                report(
                    output,
                    &json!({ "rotated": true, "end_tokens": end_tokens }),
                    said,
                )?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn report(output: Output, done: &serde_json::Value, said: &str) -> std::io::Result<()> {
    if output.is_json() {
        output.json(done)
    } else {
        let good = output.paint(Tone::Good, "●");
        output.line(format!("{good} {said}"))
    }
}
