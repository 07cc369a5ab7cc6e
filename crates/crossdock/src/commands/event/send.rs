//! `crossdock event send`: CloudEvents from a file or standard input to the hub, in order and in batches.

use std::{
    collections::HashMap,
    fmt, fs,
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Args;
use crossdock_model::{Event, Fault};
use serde_json::{json, value::RawValue};
use tokio::sync::mpsc;

use crate::{
    Context,
    client::{ClientError, Problem},
    configuration::unreadable,
    human::{counted, printable},
    output::Tone,
    sending::{Batch, Sender, split_pointer},
};

/// A document that is not JSON lines is read whole; a line may be as long.
const DOCUMENT_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Events read ahead of those under way.
const READ_AHEAD_EVENTS: usize = 400;
/// How long an event waits for company in its batch.
const LINGER: Duration = Duration::from_millis(100);
/// After so many faults the rest of the input is not read.
const FAULTS_MAX: usize = 100;
/// Faults told to people; programs get all.
const FAULTS_TOLD: usize = 20;

/// Send CloudEvents: one structured event, a JSON array of them, or JSON lines
#[derive(Args, Debug)]
#[command(
    long_about = "Send CloudEvents: one structured event, a JSON array of them, or JSON lines. They go in\n\
                  order and in batches; while the hub cannot confirm, the same batch is repeated with the same\n\
                  ids. Sending a file again is safe: the hub recognises the ids.",
    after_help = "Examples:\n  crossdock event send docs/examples/order.json"
)]
pub(crate) struct Send {
    /// The file; - is standard input
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
}

/// Where in the input an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The line it is on or begins on, counted from 1.
    Line(u64),
    /// Its place in an array, counted from 0 as in a JSON pointer.
    Index(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number}"),
            Self::Index(index) => write!(f, "event /{index}"),
        }
    }
}

/// What was read at a place: an event as it is written, or what is wrong with it.
type Item = (Place, Result<Box<RawValue>, Vec<Fault>>);

impl Send {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let client = context.client()?;
        let reader = open(&self.file)?;
        let (items, mut inbox) = mpsc::channel(READ_AHEAD_EVENTS);
        let reading =
            tokio::task::spawn_blocking(move || read_items(reader, |item| items.blocking_send(item).is_ok()));
        let mut dispatch = Dispatch::new(Sender::new(client));
        loop {
            let waited = if dispatch.batch.is_empty() {
                Ok(inbox.recv().await)
            } else {
                tokio::time::timeout(LINGER, inbox.recv()).await
            };
            match waited {
                Ok(Some(item)) => dispatch.take(item).await?,
                Ok(None) => break,
                Err(_) => dispatch.flush().await?,
            }
            if dispatch.faults.len() >= FAULTS_MAX {
                break;
            }
        }
        drop(inbox);
        dispatch.flush().await?;
        if dispatch.faults.len() < FAULTS_MAX {
            reading
                .await?
                .with_context(|| format!("cannot read {}", self.file.display()))?;
        }
        dispatch.finish(context)
    }
}

/// Batches on their way out, until something is wrong with an event.
struct Dispatch {
    sender: Sender,
    batch: Batch<Place>,
    accepted: u64,
    faults: Vec<(Place, Fault)>,
}

impl Dispatch {
    fn new(sender: Sender) -> Self {
        Self {
            sender,
            batch: Batch::new(),
            accepted: 0,
            faults: Vec::new(),
        }
    }

    async fn take(&mut self, (place, read): Item) -> Result<(), ClientError> {
        match read {
            Err(faults) => self.faults.extend(faults.into_iter().map(|fault| (place, fault))),
            Ok(_) if !self.faults.is_empty() => {}
            Ok(event) => {
                if !self.batch.has_room(event.get().len()) {
                    self.flush().await?;
                }
                self.batch.push(event.get().as_bytes(), place);
            }
        }
        Ok(())
    }

    /// Sends what is in the batch; with a fault at hand nothing goes out any more.
    async fn flush(&mut self) -> Result<(), ClientError> {
        if self.batch.is_empty() || !self.faults.is_empty() {
            return Ok(());
        }
        let (json, places) = self.batch.take();
        match self.sender.send(json, say_wait).await {
            Ok(()) => self.accepted += places.len() as u64,
            Err(ClientError::Refused(problem)) if problem.event_faults().next().is_some() => {
                self.faults = located(&problem, &places);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn finish(self, context: &Context) -> anyhow::Result<ExitCode> {
        let Self { accepted, faults, .. } = self;
        if context.output.is_json() {
            let faults: Vec<_> = faults
                .iter()
                .map(|(place, fault)| {
                    let mut told = json!({ "pointer": fault.pointer, "message": fault.message });
                    match place {
                        Place::Line(number) => told["line"] = json!(number),
                        Place::Index(index) => told["index"] = json!(index),
                    }
                    told
                })
                .collect();
            context
                .output
                .json(&json!({ "accepted": accepted, "faults": faults }))?;
            return Ok(if faults.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        let sent = counted(accepted, "event", "events");
        if faults.is_empty() {
            let good = context.output.paint(Tone::Good, "●");
            context.output.line(format!("{good} {sent} accepted"))?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut told: Vec<_> = faults
            .iter()
            .take(FAULTS_TOLD)
            .map(|(place, fault)| printable(&format!("{place}: {fault}")))
            .collect();
        if faults.len() > FAULTS_TOLD {
            told.push(format!("and {} more", faults.len() - FAULTS_TOLD));
        }
        bail!(
            "{}\n{sent} accepted, the rest was not sent. Mend it and send all of it again.",
            told.join("\n")
        )
    }
}

fn say_wait(error: &ClientError, pause: Duration) {
    // A notice that cannot be written must not stop the sending.
    let _ = writeln!(
        io::stderr(),
        "{error}; the same events go again in {} s",
        pause.as_secs()
    );
}

/// The hub's faults with the places of the events they are about.
fn located(problem: &Problem, places: &[Place]) -> Vec<(Place, Fault)> {
    let places: HashMap<usize, Place> = places.iter().copied().enumerate().collect();
    problem
        .event_faults()
        .filter_map(|fault| {
            let (index, pointer) = split_pointer(&fault.pointer)?;
            Some((*places.get(&index)?, Fault::new(pointer, fault.message.clone())))
        })
        .collect()
}

fn open(file: &Path) -> anyhow::Result<Box<dyn BufRead + std::marker::Send>> {
    if file == Path::new("-") {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let opened = fs::File::open(file).map_err(|error| unreadable(file, error))?;
    Ok(Box::new(BufReader::new(opened)))
}

/// Gives every event of the input, until `give` says that nobody listens any more.
fn read_items(mut input: impl BufRead, mut give: impl FnMut(Item) -> bool) -> io::Result<()> {
    let mut number = 0;
    let mut lines_are_events = false;
    while let Some(line) = read_line(&mut input)? {
        number += 1;
        let text = if number == 1 {
            line.trim_start_matches('\u{feff}')
        } else {
            &line
        };
        if text.trim().is_empty() {
            continue;
        }
        if !lines_are_events && !is_whole_event(text) {
            let mut document = text.to_owned();
            let read = input
                .by_ref()
                .take(DOCUMENT_MAX_BYTES)
                .read_to_string(&mut document)?;
            if read as u64 == DOCUMENT_MAX_BYTES {
                return Err(io::Error::other(format!(
                    "a document of more than {} MiB; write longer ones as JSON lines, one event a line",
                    DOCUMENT_MAX_BYTES / 1024 / 1024
                )));
            }
            return read_document(&document, number, give);
        }
        lines_are_events = true;
        if !give((Place::Line(number), judge(text.trim()))) {
            return Ok(());
        }
    }
    if lines_are_events {
        Ok(())
    } else {
        Err(io::Error::other("there is no event in it"))
    }
}

/// A line with its end, or none at the end of the input.
fn read_line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    match input.by_ref().take(DOCUMENT_MAX_BYTES).read_line(&mut line)? {
        0 => Ok(None),
        length if length as u64 == DOCUMENT_MAX_BYTES => Err(io::Error::other("a line is too long")),
        _ => Ok(Some(line)),
    }
}

/// Whether a line is for itself: anything but an array or the first line of something longer.
fn is_whole_event(line: &str) -> bool {
    !line.trim_start().starts_with('[')
        && serde_json::from_str::<&RawValue>(line).map_or_else(|error| !error.is_eof(), |_| true)
}

/// An array of events, or events one after the other over any number of lines.
fn read_document(document: &str, first_line: u64, mut give: impl FnMut(Item) -> bool) -> io::Result<()> {
    let line_at = |offset: usize| first_line + document[..offset].matches('\n').count() as u64;
    let misread = |error: &serde_json::Error| vec![Fault::new("", format!("is not JSON: {error}"))];
    if document.trim_start().starts_with('[') {
        match serde_json::from_str::<Vec<&RawValue>>(document) {
            Ok(events) => {
                let mut events = events.into_iter().enumerate();
                events.all(|(index, event)| give((Place::Index(index), judge(event.get()))));
            }
            Err(error) => {
                let line = first_line + (error.line() as u64).saturating_sub(1);
                give((Place::Line(line), Err(misread(&error))));
            }
        }
        return Ok(());
    }
    let mut values = serde_json::Deserializer::from_str(document).into_iter::<&RawValue>();
    loop {
        let blank =
            document[values.byte_offset()..].len() - document[values.byte_offset()..].trim_start().len();
        let place = Place::Line(line_at(values.byte_offset() + blank));
        let item = match values.next() {
            None => return Ok(()),
            Some(Ok(event)) => judge(event.get()),
            Some(Err(error)) => {
                give((place, Err(misread(&error))));
                return Ok(());
            }
        };
        if !give((place, item)) {
            return Ok(());
        }
    }
}

/// The event as it is written if it is one.
fn judge(text: &str) -> Result<Box<RawValue>, Vec<Fault>> {
    Event::from_structured(text.as_bytes()).map_err(|faults| faults.0)?;
    RawValue::from_string(text.to_owned())
        .map_err(|error| vec![Fault::new("", format!("is not JSON: {error}"))])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn event(id: &str) -> String {
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"/till","type":"cart.updated.v1","data":{{}}}}"#
        )
    }

    fn read(input: &str) -> Vec<(Place, Result<String, String>)> {
        let mut items = Vec::new();
        read_items(input.as_bytes(), |(place, read)| {
            let id = |event: Box<RawValue>| Event::from_structured(event.get().as_bytes()).unwrap().id;
            items.push((place, read.map(id).map_err(|faults| faults[0].pointer.clone())));
            true
        })
        .unwrap();
        items
    }

    fn ok(place: Place, id: &str) -> (Place, Result<String, String>) {
        (place, Ok(id.to_owned()))
    }

    #[test]
    fn json_lines_keep_their_numbers() {
        let input = format!(
            "\u{feff}{}\n\n  {}\r\nnonsense\n{{\"id\":1}}\n",
            event("a"),
            event("b")
        );
        let items = read(&input);
        assert_eq!(items[..2], [ok(Place::Line(1), "a"), ok(Place::Line(3), "b")]);
        assert_eq!((items[2].0, items[3].0), (Place::Line(4), Place::Line(5)));
        assert!(items[2].1.is_err() && items[3].1.is_err());
    }

    #[test]
    fn an_array_counts_its_members() {
        let input = format!("\n[\n{},\n{{\"id\": 2}},\n{}]\n", event("a"), event("c"));
        let items = read(&input);
        assert_eq!(items[0], ok(Place::Index(0), "a"));
        assert!(items[1].1.is_err());
        assert_eq!(items[2], ok(Place::Index(2), "c"));
    }

    #[test]
    fn an_array_that_is_no_json_says_where() {
        let input = format!("[{},\n{{]", event("a"));
        let items = read(&input);
        assert_eq!(items.len(), 1);
        assert_eq!(items[0].0, Place::Line(2));
    }

    #[test]
    fn an_event_may_span_lines() {
        let spread = event("a").replace(',', ",\n");
        let items = read(&format!("{spread}\n\n{}", event("b")));
        assert_eq!(items, [ok(Place::Line(1), "a"), ok(Place::Line(7), "b")]);
    }

    #[test]
    fn an_event_goes_out_as_it_is_written() {
        let text = event("a").replace("{}", r#"{"amount": 12.50, "b": 1E3}"#);
        assert_eq!(judge(&text).unwrap().get(), text);
    }
}
