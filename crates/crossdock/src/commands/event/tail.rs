//! `crossdock event tail`: events as the gate accepts them, over any number of lost connections.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use crossdock_engine::{EventPage, EventView};
use crossdock_model::{TypePattern, jq::Mapping};
use reqwest::StatusCode;
use serde_json::Value;

use crate::{
    Context,
    client::{Client, ClientError, Message, Parser},
    story,
};

const RECONNECT_PAUSE_MIN: Duration = Duration::from_secs(1);
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(10);

/// Watch events as they are accepted, until interrupted
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  crossdock event tail --type 'order.*.v1'\n  \
                        crossdock event tail --filter '.data.total.amount >= 10000' --json")]
pub(crate) struct Tail {
    /// A type, or a pattern such as order.*.v1
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<TypePattern>,
    /// A jq expression on the event; it passes where this yields anything but false and null
    #[arg(long, value_name = "JQ", value_parser = compile)]
    filter: Option<Mapping>,
    /// Begin after this offset of the record instead of now
    #[arg(long, value_name = "OFFSET")]
    after: Option<i64>,
    /// End after this many events
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
}

fn compile(text: &str) -> Result<Mapping, String> {
    Mapping::compile(text).map_err(|fault| fault.to_string())
}

impl Tail {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let client = context.client()?;
        let mut query: Vec<_> = self
            .event_type
            .iter()
            .map(|pattern| ("type", pattern.to_string()))
            .collect();
        let after = match self.after {
            Some(offset) => offset,
            None => newest_offset(&client).await?,
        };
        query.push(("after", after.to_string()));
        let mut follower = Follower::new(client, query);
        let mut shown = 0;
        while self.count.is_none_or(|count| shown < count) {
            let message = follower.next().await?;
            let view: EventView = serde_json::from_str(&message.data)
                .context("the hub's stream holds no event of this version")?;
            if !self.passes(&view.event) {
                continue;
            }
            shown += 1;
            if context.output.is_json() {
                context.output.json_line(&view)?;
            } else {
                context.output.line(story::line(context.output, &view))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// An event on which the filter fails does not pass.
    fn passes(&self, event: &Value) -> bool {
        self.filter.as_ref().is_none_or(|filter| {
            filter.run(event).is_ok_and(|outputs| {
                outputs
                    .iter()
                    .any(|output| !matches!(output, Value::Null | Value::Bool(false)))
            })
        })
    }
}

/// Where the record ends now: from here on nothing is missed, even if the first connection breaks before the
/// first event.
async fn newest_offset(client: &Client) -> Result<i64, ClientError> {
    let newest: EventPage = client
        .get(&["v1", "events"], &[("limit", "1".to_owned())])
        .await?;
    Ok(newest.events.first().map_or(0, |view| view.offset))
}

/// The hub's stream, taken up again after the last message when the connection breaks.
struct Follower {
    client: Client,
    query: Vec<(&'static str, String)>,
    last_id: Option<String>,
    connection: Option<(reqwest::Response, Parser)>,
    messages: std::vec::IntoIter<Message>,
    connected_before: bool,
    pause: Duration,
}

impl Follower {
    fn new(client: Client, query: Vec<(&'static str, String)>) -> Self {
        Self {
            client,
            query,
            last_id: None,
            connection: None,
            messages: Vec::new().into_iter(),
            connected_before: false,
            pause: RECONNECT_PAUSE_MIN,
        }
    }

    async fn next(&mut self) -> anyhow::Result<Message> {
        loop {
            for message in self.messages.by_ref() {
                self.last_id.clone_from(&message.id);
                if message.id.is_some() {
                    return Ok(message);
                }
            }
            let Some((response, parser)) = &mut self.connection else {
                self.connect().await?;
                continue;
            };
            match self.client.chunk(response).await {
                Ok(Some(bytes)) => self.messages = parser.push(&bytes)?.into_iter(),
                Ok(None) => self.lost("the hub ended the stream").await,
                Err(error) => self.lost(&error.to_string()).await,
            }
        }
    }

    async fn connect(&mut self) -> anyhow::Result<()> {
        match self.client.stream(&self.query, self.last_id.as_deref()).await {
            Ok(response) => {
                self.connection = Some((response, Parser::default()));
                self.connected_before = true;
                self.pause = RECONNECT_PAUSE_MIN;
                Ok(())
            }
            Err(error) if self.connected_before && may_pass(&error) => {
                self.lost(&error.to_string()).await;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn lost(&mut self, reason: &str) {
        self.connection = None;
        // A notice that cannot be written must not end the tail.
        let _ = writeln!(
            io::stderr(),
            "{reason}; trying again in {} s",
            self.pause.as_secs()
        );
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(RECONNECT_PAUSE_MAX);
    }
}

fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } | ClientError::Broken { .. } => true,
        ClientError::Refused(problem) => {
            problem.status.is_server_error() || problem.status == StatusCode::TOO_MANY_REQUESTS
        }
        ClientError::Unauthorized { .. } | ClientError::Unexpected { .. } => false,
    }
}
