//! Runs a command with a RabbitMQ broker for its tests: `with-test-broker cargo test`. The broker ends with it.

use std::process::ExitCode;

use anyhow::{Context, Result};
use crossdock_testkit::{BROKER_URL_VARIABLE, MANAGEMENT_URL_VARIABLE, start_in_free_slot};
use tokio::process::Command;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    let program = words
        .next()
        .context("usage: with-test-broker COMMAND [ARGUMENT…]")?;
    let node = start_in_free_slot().await?;
    let status = Command::new(&program)
        .args(words)
        .env(BROKER_URL_VARIABLE, node.broker_url())
        .env(MANAGEMENT_URL_VARIABLE, node.management_url())
        .status()
        .await;
    node.stop().await;
    let status = status.with_context(|| format!("cannot run {}", program.display()))?;
    let code = status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1);
    Ok(ExitCode::from(code))
}
