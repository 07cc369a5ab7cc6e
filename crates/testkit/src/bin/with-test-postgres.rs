//! Runs a command with a PostgreSQL server for its tests: `with-test-postgres cargo test`. The server ends with it.

use std::process::ExitCode;

use anyhow::{Context, Result};
use crossdock_testkit::{POSTGRES_URL_VARIABLE, lease_free_slot};
use tokio::process::Command;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    let program = words
        .next()
        .context("usage: with-test-postgres COMMAND [ARGUMENT…]")?;
    let lease = lease_free_slot().await?;
    let status = Command::new(&program)
        .args(words)
        .env(POSTGRES_URL_VARIABLE, lease.url().as_str())
        .status()
        .await;
    lease.end().await?;
    let status = status.with_context(|| format!("cannot run {}", program.display()))?;
    let code = status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1);
    Ok(ExitCode::from(code))
}
