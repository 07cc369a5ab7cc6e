//! `crossdock user …`: people who may sign in to the dashboard.

use std::{
    io::{self, BufRead, IsTerminal, Read},
    process::ExitCode,
};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use comfy_table::Cell;
use crossdock_engine::{Role, UserView, new_password};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Context,
    human::{printable, relative, relative_or_dash},
    output::{Output, Tone},
};

/// Longer than any password.
const LINE_MAX_BYTES: u64 = 1_024;

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    Add(Add),
    List(List),
    Role(SetRole),
    Password(SetPassword),
    Remove(Remove),
}

/// Add a person; their first password is made and shown this once
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  crossdock user add anna --role operator")]
pub(crate) struct Add {
    /// What they sign in with: letters, digits and . _ - @ +
    name: String,
    /// What they may do: viewer, operator or admin
    #[arg(long)]
    role: Role,
}

/// List people with their roles
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  crossdock user list")]
pub(crate) struct List {}

/// Give a person another role
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  crossdock user add ben --role viewer && crossdock user role ben operator"
)]
pub(crate) struct SetRole {
    /// The person
    name: String,
    /// What they may do from now on: viewer, operator or admin
    role: Role,
}

/// Give a person another password; all their sessions end
#[derive(Args, Debug)]
#[command(
    long_about = "Give a person another password, made and shown this once, or the first line of standard input with\n\
                  --stdin. All their sessions end.",
    after_help = "Examples:\n  crossdock user password admin"
)]
pub(crate) struct SetPassword {
    /// The person
    name: String,
    /// Take the password from standard input
    #[arg(long)]
    stdin: bool,
}

/// Remove a person; all their sessions end
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  crossdock user add carla --role viewer && crossdock user remove carla")]
pub(crate) struct Remove {
    /// The person
    name: String,
}

#[derive(Serialize, Deserialize)]
struct People {
    users: Vec<UserView>,
}

/// A person fresh from the hub, with the password that was made.
#[derive(Serialize, Deserialize)]
struct Made {
    password: Option<String>,
    #[serde(flatten)]
    view: UserView,
}

impl UserCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let client = context.client()?;
        let output = context.output;
        let good = output.paint(Tone::Good, "●");
        match self {
            Self::Add(Add { name, role }) => {
                let request = json!({ "name": name, "role": role });
                let made: Made = client.post(&["v1", "users"], &request).await?;
                print_made(output, &made)?;
            }
            Self::List(List {}) => {
                let people: People = client.get(&["v1", "users"], &[]).await?;
                if output.is_json() {
                    output.json(&people)?;
                } else {
                    print_list(output, &people.users, Utc::now())?;
                }
            }
            Self::Role(SetRole { name, role }) => {
                let path = ["v1", "users", &name];
                let view: UserView = client.patch(&path, &json!({ "role": role })).await?;
                if output.is_json() {
                    output.json(&view)?;
                } else {
                    output.line(format!("{good} {} is {} now", printable(&view.name), view.role))?;
                }
            }
            Self::Password(SetPassword { name, stdin }) => {
                let made = if stdin { None } else { Some(new_password()) };
                let password = match &made {
                    Some(made) => made.clone(),
                    None => read_password()?,
                };
                let path = ["v1", "users", &name];
                let view: UserView = client.patch(&path, &json!({ "password": password })).await?;
                print_made(output, &Made { password: made, view })?;
            }
            Self::Remove(Remove { name }) => {
                client.delete(&["v1", "users", &name]).await?;
                if output.is_json() {
                    output.json(&json!({ "removed": name }))?;
                } else {
                    output.line(format!("{good} {} cannot sign in any more", printable(&name)))?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The first line of standard input. A terminal would show what is typed.
fn read_password() -> anyhow::Result<String> {
    let input = io::stdin();
    anyhow::ensure!(
        !input.is_terminal(),
        "the password would be seen: give it by a pipe or a file, as in crossdock user password anna --stdin < file"
    );
    let mut line = String::new();
    input
        .lock()
        .take(LINE_MAX_BYTES)
        .read_line(&mut line)
        .context("cannot read standard input")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn print_made(output: Output, made: &Made) -> io::Result<()> {
    if output.is_json() {
        return output.json(made);
    }
    let name = printable(&made.view.name);
    match &made.password {
        Some(password) => {
            output.line(password)?;
            output.line("")?;
            output.line(format!(
                "Shown this once. {name} ({}) signs in with it, and can change it then.",
                made.view.role
            ))
        }
        None => {
            let good = output.paint(Tone::Good, "●");
            output.line(format!("{good} {name} signs in with the new password"))
        }
    }
}

fn print_list(output: Output, people: &[UserView], now: DateTime<Utc>) -> io::Result<()> {
    let mut table = output.table(&["NAME", "ROLE", "ADDED", "LAST SIGN-IN"]);
    for user in people {
        table.add_row(vec![
            Cell::new(printable(&user.name)),
            Cell::new(user.role),
            Cell::new(relative(user.created, now)),
            Cell::new(relative_or_dash(user.last_sign_in, now)),
        ]);
    }
    output.print_table(&table)
}
