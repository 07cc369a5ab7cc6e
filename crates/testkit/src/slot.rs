//! Folders for shared nodes, used again by later processes: a test process ends without a chance to tidy up, and
//! so no more of them pile up than ever ran at once.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use crossdock_bus::Management;
use crossdock_bus::node::{Node, NodeError, NodeOptions};

use crate::vhost::NAME_PREFIX;

const SLOTS: u32 = 32;

/// Starts a node in the first folder that no living process uses, without vhosts and users of earlier tests.
///
/// # Errors
/// When RabbitMQ is not installed or does not start, even with an empty folder.
pub async fn start_in_free_slot() -> Result<Node> {
    let user = rustix::process::getuid().as_raw();
    for slot in 0..SLOTS {
        let folder = std::env::temp_dir()
            .join(format!("crossdock-test-brokers-{user}"))
            .join(slot.to_string());
        if let Some(node) = start_in(folder).await? {
            tidy(&node.management()?)
                .await
                .context("tidying up after earlier tests")?;
            return Ok(node);
        }
    }
    bail!("{SLOTS} test brokers run already")
}

async fn start_in(folder: PathBuf) -> Result<Option<Node>> {
    match Node::start(NodeOptions::new(&folder)).await {
        Ok(node) => Ok(Some(node)),
        Err(NodeError::InUse(_)) => Ok(None),
        Err(error @ NodeError::NotInstalled { .. }) => Err(error.into()),
        Err(_) => {
            // Whatever an earlier run left there is worth nothing.
            fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
            Ok(Some(Node::start(NodeOptions::new(&folder)).await?))
        }
    }
}

async fn tidy(management: &Management) -> Result<()> {
    for vhost in management.vhosts().await? {
        if vhost.starts_with(NAME_PREFIX) {
            management.with_vhost(&vhost).delete_vhost().await?;
        }
    }
    for user in management.users().await? {
        if user.name != management.user() {
            management.delete_user(&user.name).await?;
        }
    }
    Ok(())
}
