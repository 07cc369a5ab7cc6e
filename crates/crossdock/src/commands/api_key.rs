//! `crossdock api-key …`: keys for people, services and adapters.

use std::process::ExitCode;

use anyhow::bail;
use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand};
use comfy_table::Cell;
use crossdock_engine::{ApiKeyView, Scope};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Context,
    client::Client,
    human::{Moment, printable, relative, relative_or_dash},
    output::{Output, Tone},
};

#[derive(Debug, Subcommand)]
pub(crate) enum ApiKeyCommand {
    Add(Add),
    List(List),
    #[command(visible_alias = "revoke")]
    Remove(Remove),
}

/// Make a key; its secret is shown this once
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  crossdock api-key add till-7 --scope events:write --expires 90d\n  \
                  crossdock api-key add storefront --scope browser-tokens:write --topics 'state/order/#,stock/#'"
)]
pub(crate) struct Add {
    /// What people will call it
    name: String,
    /// What it may do: events:read, events:write, adapters:read, adapters:write, state:read, browser-tokens:write, admin, …;
    /// repeatable
    #[arg(long = "scope", value_name = "SCOPE", required_unless_present = "adapter")]
    scopes: Vec<Scope>,
    /// The topic filters within which it may mint browser tokens, separated by commas; repeatable
    #[arg(long, value_name = "FILTERS", value_delimiter = ',')]
    topics: Vec<String>,
    /// The adapter it belongs to: it then sends as that adapter and nothing else
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
    /// When it ends by itself: 12h, 90d, or a date or time in UTC
    #[arg(long, value_name = "TIME")]
    expires: Option<Moment>,
}

/// List keys, without their secrets
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  crossdock api-key list")]
pub(crate) struct List {}

/// Revoke a key for good
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  crossdock api-key add old-till --scope events:write && crossdock api-key remove old-till"
)]
pub(crate) struct Remove {
    /// The key's id, or its name where one key alone has it
    #[arg(value_name = "ID|NAME")]
    key: String,
}

#[derive(Serialize)]
struct Request {
    name: String,
    scopes: Vec<Scope>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    topics: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    adapter: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

/// A key fresh from the hub: its text and all else about it.
#[derive(Serialize, Deserialize)]
struct Made {
    key: String,
    #[serde(flatten)]
    view: ApiKeyView,
}

#[derive(Serialize, Deserialize)]
struct Keys {
    api_keys: Vec<ApiKeyView>,
}

impl ApiKeyCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let client = context.client()?;
        let output = context.output;
        let now = Utc::now();
        match self {
            Self::Add(add) => {
                let made: Made = client.post(&["v1", "api-keys"], &add.request(now)).await?;
                if output.is_json() {
                    output.json(&made)?;
                } else {
                    print_made(output, &made, now)?;
                }
            }
            Self::List(List {}) => {
                let keys: Keys = client.get(&["v1", "api-keys"], &[]).await?;
                if output.is_json() {
                    output.json(&keys)?;
                } else {
                    print_list(output, &keys.api_keys, now)?;
                }
            }
            Self::Remove(Remove { key }) => {
                let key = find(&client, &key).await?;
                client.delete(&["v1", "api-keys", &key.id]).await?;
                if output.is_json() {
                    output.json(&json!({ "revoked": key.id }))?;
                } else {
                    let good = output.paint(Tone::Good, "●");
                    output.line(format!(
                        "{good} {} ({}) opens nothing any more",
                        printable(&key.name),
                        key.id
                    ))?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Add {
    fn request(self, now: DateTime<Utc>) -> Request {
        let expires = self
            .expires
            .map(|moment| moment.after(now).to_rfc3339_opts(SecondsFormat::Micros, true));
        Request {
            name: self.name,
            scopes: self.scopes,
            topics: self.topics,
            adapter: self.adapter,
            expires,
        }
    }
}

/// The key of this id, else the only key in force of this name.
async fn find(client: &Client, wanted: &str) -> anyhow::Result<ApiKeyView> {
    let keys: Keys = client.get(&["v1", "api-keys"], &[]).await?;
    choose(keys.api_keys, wanted)
}

fn choose(keys: Vec<ApiKeyView>, wanted: &str) -> anyhow::Result<ApiKeyView> {
    if let Some(key) = keys.iter().find(|key| key.id == wanted) {
        return Ok(key.clone());
    }
    let mut named: Vec<_> = keys
        .into_iter()
        .filter(|key| key.name == wanted && key.revoked.is_none())
        .collect();
    match (named.pop(), named.is_empty()) {
        (None, _) => {
            bail!("no API key in force has the id or name {wanted:?}; crossdock api-key list shows all")
        }
        (Some(key), true) => Ok(key),
        (Some(key), false) => {
            let mut ids: Vec<_> = named.into_iter().map(|other| other.id).collect();
            ids.push(key.id);
            bail!(
                "several keys have the name {wanted:?}; name one by its id: {}",
                ids.join(", ")
            )
        }
    }
}

fn print_made(output: Output, made: &Made, now: DateTime<Utc>) -> std::io::Result<()> {
    output.line(&made.key)?;
    output.line("")?;
    let scopes = match (&made.view.adapter, made.view.scopes.is_empty()) {
        (Some(adapter), true) => format!("belongs to the adapter {adapter}"),
        (Some(adapter), false) => format!(
            "belongs to the adapter {adapter} and opens {}",
            made.view.scopes.join(", ")
        ),
        (None, _) => format!("opens {}", made.view.scopes.join(", ")),
    };
    let topics = match made.view.topics.as_slice() {
        [] => String::new(),
        topics => format!(" within the topics {}", printable(&topics.join(", "))),
    };
    let end = match made.view.expires {
        Some(expires) => format!("ends {}", relative(expires, now)),
        None => "does not end by itself".to_owned(),
    };
    output.line(format!(
        "Shown this once. {} ({}) {scopes}{topics}; it {end}.",
        printable(&made.view.name),
        made.view.id
    ))
}

fn print_list(output: Output, keys: &[ApiKeyView], now: DateTime<Utc>) -> std::io::Result<()> {
    let mut table = output.table(&["ID", "NAME", "STATE", "OPENS", "CREATED", "LAST USED"]);
    for key in keys {
        let (tone, state) = match (key.revoked, key.expires) {
            (Some(_), _) => (Tone::Quiet, "– revoked".to_owned()),
            (None, Some(expires)) if expires <= now => (Tone::Quiet, "– expired".to_owned()),
            (None, Some(expires)) => (Tone::Good, format!("● ends {}", relative(expires, now))),
            (None, None) => (Tone::Good, "● in force".to_owned()),
        };
        let mut opens = key.scopes.clone();
        opens.extend(
            key.adapter
                .as_ref()
                .map(|adapter| format!("as adapter {adapter}")),
        );
        if !key.topics.is_empty() {
            opens.push(format!("within {}", key.topics.join(", ")));
        }
        table.add_row(vec![
            Cell::new(printable(&key.id)),
            Cell::new(printable(&key.name)),
            output.toned_cell(tone, &state),
            Cell::new(printable(&opens.join(", "))),
            Cell::new(relative(key.created, now)),
            Cell::new(relative_or_dash(key.last_used, now)),
        ]);
    }
    output.print_table(&table)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn key(id: &str, name: &str, revoked: bool) -> ApiKeyView {
        ApiKeyView {
            id: id.into(),
            name: name.into(),
            scopes: vec!["events:write".into()],
            topics: Vec::new(),
            adapter: None,
            created: DateTime::UNIX_EPOCH,
            expires: None,
            revoked: revoked.then_some(DateTime::UNIX_EPOCH),
            last_used: None,
        }
    }

    #[test]
    fn a_key_is_chosen_by_id_or_by_a_name_that_is_clear() {
        let keys = vec![
            key("a", "till", false),
            key("b", "till", true),
            key("c", "van", false),
            key("d", "van", false),
        ];
        assert_eq!(choose(keys.clone(), "b").unwrap().id, "b");
        assert_eq!(choose(keys.clone(), "till").unwrap().id, "a");
        assert!(
            choose(keys.clone(), "van")
                .unwrap_err()
                .to_string()
                .contains("c, d")
        );
        assert!(choose(keys, "nobody").is_err());
    }
}
