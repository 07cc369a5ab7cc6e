//! What the kernel says of the broker's process.

use std::fs;

use anyhow::Context as _;

/// Linux counts processor time in these, whatever the kernel's own tick is.
const TICKS_PER_S: f64 = 100.0;

/// Bytes of memory in use.
pub(crate) fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .with_context(|| format!("{path}: no VmRSS"))?;
    Ok(kib.trim().parse::<u64>()? * 1024)
}

/// Seconds of processor time used so far.
pub(crate) fn processor_s(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| path.clone())?;
    let fields = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_whitespace();
    // utime and stime are fields 14 and 15; the first two are before the bracket.
    let ticks: Vec<u64> = fields
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<u64>() as f64 / TICKS_PER_S)
}
