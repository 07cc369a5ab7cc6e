//! `crossdock prove`: the ledger, and by name whatever it cannot account for.
//!
//! RabbitMQ's statistics lag by up to five seconds, so one reading proves no loss: an event is missing when
//! readings over [`CERTAINTY`] agree that it is.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use chrono::{DateTime, Utc};
use clap::Args;
use comfy_table::{Cell, Table};
use crossdock_engine::{LedgerView, MissingDelivery};
use serde::Serialize;
use tokio::time::Instant;

use crate::{
    Context,
    human::{count, counted, printable, relative},
    output::{Output, Tone},
};

/// How long readings must agree on a loss.
const CERTAINTY: Duration = Duration::from_secs(12);
const READING_INTERVAL: Duration = Duration::from_secs(1);
/// The longest wait that can be asked for: a week.
const WAIT_MAX_S: u64 = 7 * 24 * 60 * 60;
/// A loss is named by up to this many events.
const NAMED_MAX: usize = 1_000;

/// Prove that every event is accounted for; name those that are not
#[derive(Args, Debug)]
#[command(
    long_about = "Prove that every event is accounted for: received = accepted + duplicates + quarantined, and\n\
                  for each adapter matched = confirmed + taken + parked + discarded + expired + in flight.\n\
                  Names the events that are not, and then exits 1.",
    after_help = "Examples:\n  crossdock prove\n  crossdock prove --wait 60 --json"
)]
pub(crate) struct Prove {
    /// How long work under way may take to settle
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(..=WAIT_MAX_S))]
    wait: u64,
}

/// The judgement, as programs get it.
#[derive(Serialize)]
struct Proof<'a> {
    proven: bool,
    unaccounted: u64,
    left_side_balances: bool,
    #[serde(flatten)]
    ledger: &'a LedgerView,
}

impl Prove {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let client = context.client()?;
        let started = Instant::now();
        let settle_by = started + Duration::from_secs(self.wait);
        let end_by = settle_by + 2 * CERTAINTY;
        let mut suspicion = Suspicion::default();
        let mut told = false;
        let mut ledger: LedgerView = loop {
            let ledger: LedgerView = client.get(&["v1", "ledger"], &[]).await?;
            let now = Instant::now();
            suspicion.read(&ledger, now);
            let settled = !ledger.settling || now >= settle_by;
            if settled && (suspicion.is_empty() || suspicion.is_certain(now)) || now >= end_by {
                suspicion.keep_certain(now);
                break ledger;
            }
            if !told {
                told = true;
                // A notice that cannot be written must not spoil the proof.
                let _ = writeln!(io::stderr(), "{}", waiting_for(&suspicion));
            }
            tokio::time::sleep(READING_INTERVAL).await;
        };
        suspicion.clear_others(&mut ledger);
        let proof = Proof {
            proven: suspicion.is_empty(),
            unaccounted: ledger.adapters.iter().map(|adapter| adapter.unaccounted).sum(),
            left_side_balances: suspicion.left_side.is_none(),
            ledger: &ledger,
        };
        if context.output.is_json() {
            context.output.json(&proof)?;
        } else {
            print(context.output, &proof, Utc::now())?;
        }
        Ok(if proof.proven {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

fn waiting_for(suspicion: &Suspicion) -> &'static str {
    if suspicion.is_empty() {
        "work is under way; reading again until it settles …"
    } else {
        "something does not balance yet; reading again until that is certain …"
    }
}

/// What has been found wanting in every reading since when.
#[derive(Default)]
struct Suspicion {
    missing: BTreeMap<(String, MissingDelivery), Instant>,
    left_side: Option<Instant>,
}

impl Suspicion {
    fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.left_side.is_none()
    }

    /// Keeps what this reading confirms, drops what it refutes, adds what is new.
    fn read(&mut self, ledger: &LedgerView, now: Instant) {
        let before = std::mem::take(&mut self.missing);
        for adapter in &ledger.adapters {
            for delivery in &adapter.missing {
                let key = (adapter.adapter.clone(), delivery.clone());
                let since = before.get(&key).copied().unwrap_or(now);
                self.missing.insert(key, since);
            }
        }
        self.left_side = if left_side_balances(ledger) {
            None
        } else {
            self.left_side.or(Some(now))
        };
    }

    /// Whether something is wrong, and all of it for long enough.
    fn is_certain(&self, now: Instant) -> bool {
        !self.is_empty()
            && self
                .missing
                .values()
                .chain(&self.left_side)
                .all(|since| now - *since >= CERTAINTY)
    }

    /// Drops what has not been wrong for long enough.
    fn keep_certain(&mut self, now: Instant) {
        self.missing.retain(|_, since| now - *since >= CERTAINTY);
        self.left_side = self.left_side.filter(|since| now - *since >= CERTAINTY);
    }

    /// Leaves in the ledger only the losses that are suspected.
    fn clear_others(&self, ledger: &mut LedgerView) {
        for adapter in &mut ledger.adapters {
            let listed = adapter.missing.len() as u64;
            let name = &adapter.adapter;
            adapter
                .missing
                .retain(|delivery| self.missing.contains_key(&(name.clone(), delivery.clone())));
            let cleared = listed - adapter.missing.len() as u64;
            adapter.unaccounted = adapter.unaccounted.saturating_sub(cleared);
            adapter.in_flight += cleared;
        }
    }
}

fn left_side_balances(ledger: &LedgerView) -> bool {
    ledger.received == ledger.accepted + ledger.duplicates + ledger.quarantined
}

fn print(output: Output, proof: &Proof<'_>, now: DateTime<Utc>) -> io::Result<()> {
    let ledger = proof.ledger;
    output.line(format!(
        "{} received {} {} accepted + {} duplicates + {} quarantined",
        count(ledger.received),
        if proof.left_side_balances { "=" } else { "≠" },
        count(ledger.accepted),
        count(ledger.duplicates),
        count(ledger.quarantined),
    ))?;
    if ledger.forgotten_events + ledger.forgotten_quarantined > 0 {
        output.line(format!(
            "  of these {} and {} are forgotten; they still count",
            counted(ledger.forgotten_events, "old event", "old events"),
            counted(
                ledger.forgotten_quarantined,
                "quarantined message",
                "quarantined messages"
            ),
        ))?;
    }
    if !ledger.adapters.is_empty() {
        output.line("")?;
        output.print_table(&table(output, ledger))?;
    }
    output.line("")?;
    for note in &ledger.notes {
        output.line(format!("  {}", printable(note)))?;
    }
    if proof.proven {
        let settling = if ledger.settling {
            "; work is still under way"
        } else {
            ""
        };
        return output.line(output.paint(
            Tone::Good,
            &format!("● balanced: every event is accounted for{settling}"),
        ));
    }
    if !proof.left_side_balances {
        let judged = ledger.accepted + ledger.duplicates + ledger.quarantined;
        let sentence = format!(
            "■ the left side does not balance: {} received, {} in the record",
            count(ledger.received),
            count(judged)
        );
        output.line(output.paint(Tone::Bad, &sentence))?;
    }
    for adapter in ledger
        .adapters
        .iter()
        .filter(|adapter| !adapter.missing.is_empty())
    {
        let lost = counted(
            adapter.unaccounted.max(adapter.missing.len() as u64),
            "event",
            "events",
        );
        let sentence = format!("■ {}: {lost} unaccounted", printable(&adapter.adapter));
        output.line(output.paint(Tone::Bad, &sentence))?;
        for missing in adapter.missing.iter().take(NAMED_MAX) {
            output.line(format!(
                "    {}  {}  {}  {}",
                printable(&missing.id),
                printable(&missing.r#type),
                printable(&missing.source),
                relative(missing.published, now)
            ))?;
        }
        let unnamed = adapter
            .unaccounted
            .saturating_sub(adapter.missing.len().min(NAMED_MAX) as u64);
        if unnamed > 0 {
            output.line(format!("    and {} more", count(unnamed)))?;
        }
    }
    Ok(())
}

fn table(output: Output, ledger: &LedgerView) -> Table {
    let mut table = output.table(&[
        "ADAPTER",
        ">MATCHED",
        ">CONFIRMED",
        ">TAKEN",
        ">PARKED",
        ">DISCARDED",
        ">EXPIRED",
        ">IN FLIGHT",
        ">UNACCOUNTED",
    ]);
    for adapter in &ledger.adapters {
        let unaccounted = count(adapter.unaccounted);
        table.add_row(vec![
            Cell::new(printable(&adapter.adapter)),
            Cell::new(count(adapter.matched)),
            Cell::new(count(adapter.confirmed)),
            Cell::new(count(adapter.taken)),
            Cell::new(count(adapter.parked)),
            Cell::new(count(adapter.discarded)),
            Cell::new(count(adapter.expired)),
            Cell::new(count(adapter.in_flight)),
            if adapter.unaccounted == 0 {
                Cell::new(unaccounted)
            } else {
                output.toned_cell(Tone::Bad, &unaccounted)
            },
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use crossdock_engine::AdapterLedger;

    use super::*;

    fn missing(id: &str) -> MissingDelivery {
        let published = DateTime::UNIX_EPOCH;
        MissingDelivery {
            id: id.into(),
            source: "/shop".into(),
            r#type: "order.placed.v1".into(),
            published,
        }
    }

    fn ledger(received: u64, ids: &[&str]) -> LedgerView {
        let adapter = AdapterLedger {
            adapter: "erp".into(),
            unaccounted: ids.len() as u64,
            missing: ids.iter().map(|id| missing(id)).collect(),
            ..AdapterLedger::default()
        };
        LedgerView {
            balanced: ids.is_empty(),
            settling: false,
            received,
            accepted: 10,
            duplicates: 2,
            redelivered: 0,
            quarantined: 1,
            forgotten_events: 0,
            forgotten_quarantined: 0,
            waiting_in_ingress: Some(0),
            adapters: vec![adapter],
            notes: Vec::new(),
        }
    }

    #[test]
    fn only_what_every_reading_says_is_certain() {
        let start = Instant::now();
        let mut suspicion = Suspicion::default();
        suspicion.read(&ledger(13, &["a", "b"]), start);
        assert!(!suspicion.is_empty() && !suspicion.is_certain(start));
        let middle = start + Duration::from_secs(6);
        suspicion.read(&ledger(13, &["a"]), middle);
        suspicion.read(&ledger(13, &["a", "b"]), middle + Duration::from_secs(1));
        let end = start + CERTAINTY;
        assert!(!suspicion.is_certain(end), "b came back and may go again");
        let mut last = ledger(13, &["a", "b"]);
        suspicion.keep_certain(end);
        suspicion.clear_others(&mut last);
        assert_eq!(
            (last.adapters[0].missing.as_slice(), last.adapters[0].unaccounted),
            (&[missing("a")][..], 1)
        );
        suspicion.read(&ledger(13, &["a"]), end);
        assert!(suspicion.is_certain(end));
        suspicion.read(&ledger(13, &[]), end);
        assert!(suspicion.is_empty());
    }

    #[test]
    fn the_left_side_is_suspected_too() {
        let start = Instant::now();
        let mut suspicion = Suspicion::default();
        suspicion.read(&ledger(14, &[]), start);
        suspicion.read(&ledger(14, &[]), start + CERTAINTY);
        assert!(suspicion.is_certain(start + CERTAINTY));
        suspicion.read(&ledger(13, &[]), start + CERTAINTY);
        assert!(suspicion.is_empty());
    }
}
