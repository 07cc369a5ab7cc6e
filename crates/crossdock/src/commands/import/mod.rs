//! `crossdock import`: files of rows become events through a mapping. A file's events have the same ids each
//! time, so importing again, or after an interruption, adds nothing that is there already.

mod mapping;
mod reading;
mod rows;

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    io::{self, BufWriter, IsTerminal, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use crossdock_model::{Fault, Faults, jq::Mapping};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::{
    Context,
    client::{ClientError, Problem},
    configuration::unreadable,
    human::{count, counted, printable},
    output::{Output, Tone},
    sending::{Batch, Sender, split_pointer},
};
use mapping::{Mapped, Outcome, Reject};
use reading::{Counts, Reading};

/// Outcomes of the mapping kept ready while events are under way.
const READ_AHEAD: usize = 400;
/// Reasons of rejects told apart; the others are summed up.
const REASONS_MAX: usize = 20;

/// Import rows of CSV or JSON lines as events, through a jq mapping
#[derive(Args, Debug)]
#[command(
    long_about = "Import rows of CSV or JSON lines as events, through a jq mapping. The mapping gets a row, an\n\
                  object of texts keyed by column (with --group-by, the array of a group's rows), and yields\n\
                  events, or {\"reject\": reason, \"row\": …} for what shall become none. An event without id gets\n\
                  one from the file's name and the row or group, so that importing again adds nothing. Exits 1\n\
                  if something was rejected that the mapping itself did not refuse.",
    after_help = "Examples:\n  crossdock import docs/examples/till.csv --map docs/examples/till.jq --group-by receipt \
                  --distinct --rejects var/rejects.jsonl"
)]
pub(crate) struct Import {
    /// The files, in this order
    #[arg(value_name = "DATA", required = true)]
    files: Vec<PathBuf>,
    /// The mapping
    #[arg(long, value_name = "FILE.jq")]
    map: PathBuf,
    /// Give the mapping all rows of a file that have the same value in this column at once
    #[arg(long, value_name = "COLUMN")]
    group_by: Option<String>,
    /// Drop rows that repeat an earlier row of their file to the letter
    #[arg(long)]
    distinct: bool,
    /// Write what becomes no event here, as JSON lines with reasons
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
}

/// The closing account.
#[derive(Debug, Default, Serialize)]
struct Summary {
    files: usize,
    rows: u64,
    repeats_dropped: u64,
    groups: u64,
    events: u64,
    accepted: u64,
    rejected: u64,
    rejected_by_mapping: u64,
    reasons: BTreeMap<String, u64>,
    interrupted: bool,
}

impl Import {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let mapping = self.mapping()?;
        let total = check_files(&self.files)?;
        let client = context.client()?;
        let read = self.files.iter().chain([&self.map]);
        let rejects = self
            .rejects
            .as_deref()
            .map(|path| create(path, read))
            .transpose()?;
        let progress = progress_bar(total);
        let files = self.files.len();
        let reading = Reading {
            files: self.files,
            mapping,
            group_by: self.group_by,
            distinct: self.distinct,
            progress: progress.clone(),
        };
        let (outcomes, mut inbox) = mpsc::channel(READ_AHEAD);
        let thread = tokio::task::spawn_blocking(move || {
            reading.run(&mut |outcome, counts| outcomes.blocking_send((outcome, counts)).is_ok())
        });

        let mut intake = Intake {
            sender: Sender::new(client),
            batch: Batch::new(),
            rejects,
            progress,
            summary: Summary {
                files,
                ..Summary::default()
            },
        };
        let drained = tokio::select! {
            drained = intake.drain(&mut inbox) => drained,
            _ = tokio::signal::ctrl_c() => {
                intake.summary.interrupted = true;
                Ok(())
            }
        };
        drop(inbox);
        let read = thread.await?;
        let summary = intake.close(drained.map_err(anyhow::Error::from).and(read))?;
        summary.tell(context.output)
    }

    fn mapping(&self) -> anyhow::Result<Mapping> {
        let text = fs::read_to_string(&self.map).map_err(|error| unreadable(&self.map, error))?;
        Mapping::compile(&text).map_err(|fault| anyhow!("{}:{fault}", self.map.display()))
    }
}

/// The size of all files together; refuses two that would give their events the same ids.
fn check_files(files: &[PathBuf]) -> anyhow::Result<u64> {
    let mut stems = HashSet::new();
    let mut total = 0;
    for file in files {
        total += fs::metadata(file).map_err(|error| unreadable(file, error))?.len();
        let stem = reading::stem(file);
        if !stems.insert(stem.clone()) {
            bail!(
                "two files are named {stem:?}, and events get their ids from the file's name; import them one by one under different names"
            );
        }
    }
    Ok(total)
}

/// A file to write into, which must be none of those that are `read`.
fn create<'a>(path: &Path, read: impl Iterator<Item = &'a PathBuf>) -> anyhow::Result<BufWriter<File>> {
    let identity = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    if let Some(there) = identity(path) {
        for file in read {
            if identity(file) == Some(there) {
                bail!("{} is read here and cannot take the rejects", file.display());
            }
        }
    }
    Ok(BufWriter::new(
        File::create(path).with_context(|| format!("cannot write {}", path.display()))?,
    ))
}

fn progress_bar(total: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes}  {msg}");
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Takes outcomes and sends the events among them, one batch at a time so that order holds.
struct Intake {
    sender: Sender,
    batch: Batch<Mapped>,
    rejects: Option<BufWriter<File>>,
    progress: ProgressBar,
    summary: Summary,
}

/// Why an import stops.
#[derive(Debug, thiserror::Error)]
enum IntakeError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("cannot write the rejects")]
    Rejects(#[from] io::Error),
}

impl Intake {
    async fn drain(&mut self, inbox: &mut mpsc::Receiver<(Outcome, Counts)>) -> Result<(), IntakeError> {
        while let Some((outcome, counts)) = inbox.recv().await {
            self.summary.count(counts);
            match outcome {
                Outcome::Reject(reject) => self.reject(&reject)?,
                Outcome::Event(event) => {
                    self.summary.events += 1;
                    if !self.batch.has_room(event.json.len()) {
                        self.flush().await?;
                    }
                    let json = event.json.clone();
                    self.batch.push(&json, event);
                }
            }
        }
        self.flush().await
    }

    /// Sends the batch. Events that the hub finds faulty become rejects and the others go again.
    async fn flush(&mut self) -> Result<(), IntakeError> {
        while !self.batch.is_empty() {
            let (json, events) = self.batch.take();
            let progress = self.progress.clone();
            match self
                .sender
                .send(json, |error, pause| say_wait(&progress, error, pause))
                .await
            {
                Ok(()) => self.summary.accepted += events.len() as u64,
                Err(ClientError::Refused(problem)) if problem.event_faults().next().is_some() => {
                    self.set_aside(&problem, events)?;
                }
                Err(error) => return Err(error.into()),
            }
            self.progress
                .set_message(format!("{} accepted", count(self.summary.accepted)));
        }
        Ok(())
    }

    /// Rejects the events that the hub named; the others are the next batch.
    fn set_aside(&mut self, problem: &Problem, events: Vec<Mapped>) -> Result<(), IntakeError> {
        let mut faults: BTreeMap<usize, Vec<Fault>> = BTreeMap::new();
        for fault in problem.event_faults() {
            if let Some((index, pointer)) = split_pointer(&fault.pointer)
                && index < events.len()
            {
                faults
                    .entry(index)
                    .or_default()
                    .push(Fault::new(pointer, fault.message.clone()));
            }
        }
        let nobody_named = faults.is_empty();
        for (index, event) in events.into_iter().enumerate() {
            let reason = match faults.remove(&index) {
                Some(found) => Faults(found).to_string(),
                None if nobody_named => problem.sentence(),
                None => {
                    let json = event.json.clone();
                    self.batch.push(&json, event);
                    continue;
                }
            };
            let row = (*event.input).clone();
            let reason = format!("refused by the hub: {reason}");
            self.reject(&Reject {
                origin: event.origin,
                reason,
                row,
                by_mapping: false,
            })?;
        }
        Ok(())
    }

    /// The account of it all, once everything is read and sent or the import was interrupted.
    fn close(mut self, ended: anyhow::Result<Counts>) -> anyhow::Result<Summary> {
        self.progress.finish_and_clear();
        if let Some(rejects) = &mut self.rejects {
            rejects.flush().context("cannot write the rejects")?;
        }
        let counts = ended.map_err(|error| match self.summary.accepted {
            0 => error,
            sent => error.context(format!(
                "stopped after {}; run the same command again to go on, nothing is added twice",
                counted(sent, "event", "events")
            )),
        })?;
        if !self.summary.interrupted {
            self.summary.count(counts);
        }
        Ok(self.summary)
    }

    fn reject(&mut self, reject: &Reject) -> io::Result<()> {
        self.summary.reject(reject);
        match &mut self.rejects {
            Some(file) => writeln!(file, "{}", reject.to_json()),
            None => Ok(()),
        }
    }
}

fn say_wait(progress: &ProgressBar, error: &ClientError, pause: Duration) {
    progress.suspend(|| {
        // A notice that cannot be written must not stop the import.
        let _ = writeln!(
            io::stderr(),
            "{error}; the same events go again in {} s",
            pause.as_secs()
        );
    });
}

impl Summary {
    fn count(&mut self, counts: Counts) {
        self.rows = counts.rows;
        self.repeats_dropped = counts.repeats;
        self.groups = counts.groups;
    }

    fn reject(&mut self, reject: &Reject) {
        self.rejected += 1;
        self.rejected_by_mapping += u64::from(reject.by_mapping);
        let known = self.reasons.len() < REASONS_MAX || self.reasons.contains_key(&reject.reason);
        let reason = if known {
            reject.reason.clone()
        } else {
            "other reasons".to_owned()
        };
        *self.reasons.entry(reason).or_default() += 1;
    }

    fn tell(&self, output: Output) -> anyhow::Result<ExitCode> {
        let failed = self.interrupted || self.rejected > self.rejected_by_mapping;
        if output.is_json() {
            output.json(self)?;
        } else {
            self.print(output, failed)?;
        }
        Ok(if failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }

    fn print(&self, output: Output, failed: bool) -> io::Result<()> {
        let mut read = format!(
            "{} of {}",
            counted(self.rows, "row", "rows"),
            counted(self.files as u64, "file", "files")
        );
        if self.repeats_dropped > 0 {
            read += &format!(", {} dropped", counted(self.repeats_dropped, "repeat", "repeats"));
        }
        if self.groups > 0 {
            read += &format!(", {}", counted(self.groups, "group", "groups"));
        }
        output.line(format!("  {read}"))?;
        if self.rejected > 0 {
            output.line(format!("  {} rejected:", count(self.rejected)))?;
        }
        for (reason, number) in &self.reasons {
            output.line(format!("    {:>7}  {}", count(*number), printable(reason)))?;
        }
        let sent = format!(
            "{} of {} accepted by the hub",
            count(self.accepted),
            counted(self.events, "event", "events")
        );
        match (self.interrupted, failed) {
            (true, _) => output.line(output.paint(
                Tone::Warning,
                &format!(
                    "▲ interrupted: {sent}; run the same command again to go on, nothing is added twice"
                ),
            )),
            (false, true) => output.line(output.paint(Tone::Bad, &format!("■ {sent}; see the rejects"))),
            (false, false) => output.line(output.paint(Tone::Good, &format!("● {sent}"))),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rejects_never_overwrite_what_is_imported() {
        let folder = tempfile::tempdir().unwrap();
        let (data, link) = (folder.path().join("orders.csv"), folder.path().join("link.csv"));
        fs::write(&data, "a,b\n1,2\n").unwrap();
        fs::hard_link(&data, &link).unwrap();
        for rejects in [&data, &link, &folder.path().join("./orders.csv")] {
            assert!(
                create(rejects, [&data].into_iter()).is_err(),
                "{}",
                rejects.display()
            );
        }
        assert_eq!(fs::read_to_string(&data).unwrap(), "a,b\n1,2\n");
        let other = folder.path().join("rejects.jsonl");
        create(&other, [&data].into_iter()).unwrap();
        create(&other, [&data].into_iter()).unwrap();
    }
}
