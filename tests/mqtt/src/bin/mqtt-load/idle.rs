//! Clients that connect and do nothing, and what each of them costs the broker.

use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::client::{self, Door};
use crate::server::resident_bytes;

/// Clients before the count begins, so that what the first ones make is not counted as theirs.
const FIRST: usize = 100;

#[derive(Serialize)]
pub(crate) struct Report {
    clients: usize,
    connects_per_s: f64,
    /// How many were still connected at the end.
    held: usize,
    rss_bytes: Option<u64>,
    rss_bytes_per_client: Option<f64>,
}

pub(crate) fn run(door: &Door, clients: usize, hold: Duration, pid: Option<u32>) -> anyhow::Result<Report> {
    let first = client::connect(door, "first", FIRST.min(clients), None)?;
    let before = pid.map(resident_bytes).transpose()?;
    let rest = client::connect(door, "idle", clients - first.streams.len(), None)?;
    thread::sleep(hold);
    let after = pid.map(resident_bytes).transpose()?;
    let added = rest.streams.len().max(1) as f64;
    let all = first.streams.iter().chain(&rest.streams);
    Ok(Report {
        clients,
        connects_per_s: rest.per_s.round(),
        held: all.filter(|stream| is_open(stream)).count(),
        rss_bytes: after,
        rss_bytes_per_client: before
            .zip(after)
            .map(|(before, after)| ((after as f64 - before as f64) / added).round()),
    })
}

/// Nothing is sent to an idle client, so anything to read is an end.
fn is_open(stream: &std::net::TcpStream) -> bool {
    let quiet = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
    matches!(quiet, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}
