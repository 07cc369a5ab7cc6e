//! Folders for shared nodes, used again by later processes: a test process ends without a chance to tidy up, and
//! so no more of them pile up than ever ran at once.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, bail};
use crossdock_bus::node::{Node, NodeError, NodeOptions};

const SLOTS: u32 = 32;

/// Starts a node, with nothing in it, in the first folder that no living process uses. Once a process has a folder,
/// it has it until it ends.
///
/// # Errors
/// When RabbitMQ is not installed or does not start.
pub async fn start_in_free_slot() -> Result<Node> {
    let user = rustix::process::getuid().as_raw();
    let slots = std::env::temp_dir().join(format!("crossdock-test-nodes-{user}"));
    fs::create_dir_all(&slots).with_context(|| slots.display().to_string())?;
    for slot in 0..SLOTS {
        let lock = slots.join(format!("{slot}.lock"));
        let lock = File::create(&lock).with_context(|| lock.display().to_string())?;
        match lock.try_lock() {
            Ok(()) => {
                std::mem::forget(lock);
                return start_in(&slots.join(slot.to_string())).await;
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
    bail!("{SLOTS} test brokers run already")
}

/// What an earlier run left there is worth nothing, and does harm: a node that loses its vhosts while their queues
/// elect leaders goes on without the supervisor of dead-lettering, and no queue with it works from then on.
async fn start_in(folder: &Path) -> Result<Node> {
    let start = async || match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| folder.display().to_string())
        }
        _ => Ok(Node::start(NodeOptions::new(folder)).await),
    };
    match start().await? {
        Ok(node) => Ok(node),
        Err(error @ NodeError::NotInstalled { .. }) => Err(error.into()),
        // A node that a killed process left running may have written there meanwhile. Now it is ended.
        Err(_) => Ok(start().await??),
    }
}
