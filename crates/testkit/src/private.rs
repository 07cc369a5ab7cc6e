//! A broker of a test's own, to do bad things to.

use crossdock_bus::node::{Node, NodeOptions, NodeState};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::TestVhost;
use crate::broker::{finish, on_lasting_runtime};

/// A RabbitMQ node for one test; dropping it ends it and deletes its data. Starting one takes seconds.
pub struct PrivateBroker {
    node: Option<Node>,
    broker_url: String,
    management_url: String,
    folder: TempDir,
}

impl PrivateBroker {
    /// Starts a node with empty data.
    ///
    /// # Panics
    /// When RabbitMQ is not installed or does not start.
    pub async fn start() -> Self {
        let folder =
            TempDir::with_prefix("crossdock-private-broker-").expect("a temporary folder can be made");
        let node = start(NodeOptions::new(folder.path())).await;
        Self {
            broker_url: node.broker_url().to_owned(),
            management_url: node.management_url().to_owned(),
            node: Some(node),
            folder,
        }
    }

    /// A new, empty vhost on this broker.
    ///
    /// # Panics
    /// When the broker is not running.
    pub async fn vhost(&self) -> TestVhost {
        TestVhost::create(&self.broker_url, &self.management_url).await
    }

    /// Stops RabbitMQ in order; it stays down until [`start_again`](Self::start_again).
    pub async fn stop(&mut self) {
        if let Some(node) = self.node.take() {
            on_lasting_runtime(node.stop()).await;
        }
    }

    /// Starts a stopped broker with its data, at the same addresses.
    ///
    /// # Panics
    /// When RabbitMQ does not start, or no longer finds its ports free.
    pub async fn start_again(&mut self) {
        if self.node.is_none() {
            let node = start(NodeOptions::new(self.folder.path())).await;
            assert_eq!(
                node.broker_url(),
                self.broker_url,
                "another program took the broker's ports"
            );
            self.node = Some(node);
        }
    }

    /// Kills RabbitMQ without warning and waits until its supervisor has seen it; it comes back by itself.
    ///
    /// # Panics
    /// When it is not running.
    pub async fn kill(&self) {
        let node = self.node.as_ref().expect("the broker is running");
        let mut state = node.watch();
        kill(node);
        let _ = state.wait_for(|state| *state != NodeState::Running).await;
    }

    /// Waits until RabbitMQ serves clients.
    ///
    /// # Panics
    /// When it was stopped.
    pub async fn wait_until_running(&self) {
        let mut state = self.node.as_ref().expect("the broker is not stopped").watch();
        let _ = state.wait_for(|state| *state == NodeState::Running).await;
    }
}

impl Drop for PrivateBroker {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            kill(&node);
            finish(node.stop());
        }
    }
}

async fn start(options: NodeOptions) -> Node {
    on_lasting_runtime(Node::start(options))
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

fn kill(node: &Node) {
    let pid = node.pid().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    if let Some(pid) = pid {
        let _ = kill_process(pid, Signal::KILL);
    }
}
