//! The demo: the shipped adapters as processes beside the hub, each with its own credentials and log.
//!
//! The kernel ties a process that shall die with its parent to the thread that started it; so one thread, which
//! lives as long as the demo, starts them all.

mod env_file;
mod log_file;
mod process;
pub(super) mod storefront;

use std::{
    env, io,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use crossdock_engine::{EventSearch, Hub};
use tokio::{runtime, sync::oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::data_dir::{DataDir, make_folder};
use crate::output::Output;
use process::Adapter;

const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The running demo.
pub(super) struct Demo {
    stop: CancellationToken,
    ended: oneshot::Receiver<()>,
}

impl Demo {
    /// Starts every adapter of the revision in force whose program lies beside this one, and tells what to try
    /// once the first order is there.
    pub(super) async fn start(
        hub: Hub,
        data_dir: &DataDir,
        output: Output,
        collector: Option<String>,
    ) -> anyhow::Result<Self> {
        let adapters = find(&hub, data_dir, collector).await?;
        let names: Vec<_> = adapters.iter().map(|adapter| adapter.name.as_str()).collect();
        if names.is_empty() {
            tracing::warn!(
                "the demo has no programs beside this one: build them with cargo build --workspace"
            );
        } else {
            let logs = data_dir.log_folder();
            tracing::info!(adapters = names.join(", "), logs = %logs.display(), "the demo starts");
        }
        let stop = CancellationToken::new();
        let (ending, ended) = oneshot::channel();
        let stopping = stop.clone();
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the demo")?;
        thread::Builder::new()
            .name("demo".to_owned())
            .spawn(move || {
                runtime.block_on(supervise(adapters, stopping));
                // Nobody waits any more when the hub has gone first.
                let _ = ending.send(());
            })
            .context("cannot start the demo")?;
        tokio::spawn(stop.clone().run_until_cancelled_owned(recommend(hub, output)));
        Ok(Self { stop, ended })
    }

    /// Resolves when the demo's thread has ended.
    pub(super) async fn ended(&mut self) {
        // A thread that panics drops its end, which counts as well.
        let _ = (&mut self.ended).await;
    }

    /// Ends all processes.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        self.ended().await;
    }
}

async fn supervise(adapters: Vec<Adapter>, stop: CancellationToken) {
    let processes = TaskTracker::new();
    for adapter in adapters {
        processes.spawn(adapter.keep_running(stop.clone()));
    }
    processes.close();
    stop.cancelled().await;
    processes.wait().await;
}

async fn find(hub: &Hub, data_dir: &DataDir, collector: Option<String>) -> anyhow::Result<Vec<Adapter>> {
    let program = env::current_exe().context("cannot tell where this program lies")?;
    let logs = data_dir.log_folder();
    make_folder(&logs)?;
    let tethered = can_tether();
    let adapters = hub
        .adapters()
        .await
        .context("cannot read which adapters there are")?;
    let beside = |name: &str| program.with_file_name(format!("crossdock-adapter-{name}"));
    Ok(adapters
        .into_iter()
        .filter(|adapter| beside(&adapter.name).is_file())
        .map(|adapter| Adapter {
            program: beside(&adapter.name),
            env_file: data_dir.env_file(&adapter.name),
            log_file: logs.join(format!("{}.log", adapter.name)),
            name: adapter.name,
            tethered,
            collector: collector.clone(),
        })
        .collect())
}

/// Whether the system's `setpriv` knows how to tie a process to its parent's life.
fn can_tether() -> bool {
    let status: io::Result<_> = Command::new("setpriv")
        .args(["--pdeathsig", "TERM", "--", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// Waits for an order of the demo and says what can be seen of it.
async fn recommend(hub: Hub, output: Output) {
    let search = || EventSearch {
        event_type: Some("order.numbered.v1".to_owned()),
        limit: 1,
        ..EventSearch::default()
    };
    loop {
        let newest = hub
            .find(search())
            .await
            .ok()
            .and_then(|page| page.events.into_iter().next());
        let order = newest.and_then(|view| view.attribute("correlationid"));
        if let Some(order) = order {
            // Without a reader there is nobody to recommend anything to.
            let _ = if output.is_json() {
                output.json_line(&serde_json::json!({ "order": order }))
            } else {
                output.line(format!("The demo's orders flow. Try: crossdock journey {order}"))
            };
            return;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
