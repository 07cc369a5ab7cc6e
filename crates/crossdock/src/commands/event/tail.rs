//! `crossdock event tail`: events as the gate accepts them, over any number of lost connections.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use crossdock_engine::{EventPage, EventView};
use crossdock_model::{
    Event, TypePattern,
    jq::{Input, Mapping, Stopwatch},
};
use reqwest::StatusCode;
use serde::Deserialize;

use crate::{
    Context,
    client::{Client, ClientError, Message, Parser},
    human::printable,
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
    /// A jq expression on the event, as in a manifest: it passes where the first output is anything but false and null
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
        let (mut shown, mut failures) = (0, 0);
        while self.count.is_none_or(|count| shown < count) {
            let message = follower.next().await?;
            let view: EventView = serde_json::from_str(&message.data)
                .context("the hub's stream holds no event of this version")?;
            match self.passes(&message.data) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(reason) => {
                    told_of_failure(&view, &reason, &mut failures);
                    continue;
                }
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

    /// Whether the event in a message of the stream passes, by the rule of the gate: the same filter lets the same
    /// events through in both places. An error says why the filter failed.
    fn passes(&self, message: &str) -> Result<bool, String> {
        #[derive(Deserialize)]
        struct Streamed {
            event: Event,
        }
        let Some(filter) = &self.filter else {
            return Ok(true);
        };
        let streamed: Streamed = serde_json::from_str(message).map_err(|error| error.to_string())?;
        let input = Input::read(streamed.event.to_mapping_input()).map_err(|error| error.detail())?;
        let no_clock = || Duration::ZERO;
        filter
            .passes(&input, &mut Stopwatch::new(&no_clock))
            .map_err(|error| error.detail())
    }
}

/// Says the first time that a filter fails, so that nobody waits in vain for what it hides.
fn told_of_failure(view: &EventView, reason: &str, failures: &mut u64) {
    *failures += 1;
    if *failures == 1 {
        let id = story::attribute(view, "id");
        // A notice that cannot be written must not end the tail.
        let _ = writeln!(
            io::stderr(),
            "the filter fails on event {}: {}; it and others like it are not shown",
            printable(&id),
            printable(reason)
        );
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn passes(filter: &str, event: &str) -> Result<bool, String> {
        let tail = Tail {
            event_type: None,
            filter: Some(compile(filter).unwrap()),
            after: None,
            count: None,
        };
        tail.passes(&format!("{{\"offset\":1,\"event\":{event},\"deliveries\":[]}}"))
    }

    #[test]
    fn a_filter_is_a_manifests_filter() {
        let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"a.b.v1","data":{"n":3,"price":90071992547409.93}}"#;
        for (filter, expected) in [
            (".data.n > 2", Ok(true)),
            (".data.n > 3", Ok(false)),
            ("false, true", Ok(false)),
            ("empty", Ok(false)),
            (".data.price | minor_units(2) == 9007199254740993", Ok(true)),
        ] {
            assert_eq!(passes(filter, event), expected, "{filter}");
        }
        let failed = passes(".data.n.x", event).unwrap_err();
        assert!(failed.contains("raised an error"), "{failed}");
        let xml = json!({
            "specversion": "1.0", "id": "1", "source": "/s", "type": "a.b.v1",
            "datacontenttype": "application/xml", "data_base64": "PGEvPg==",
        });
        assert_eq!(passes(".data == \"<a/>\"", &xml.to_string()), Ok(true));
    }
}
