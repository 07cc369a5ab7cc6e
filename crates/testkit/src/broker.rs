//! The broker that tests share.

use std::env;
use std::sync::LazyLock;
use std::sync::mpsc;
use std::time::Duration;

use crossdock_bus::node::Node;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::OnceCell;

use crate::{BROKER_URL_VARIABLE, MANAGEMENT_URL_VARIABLE, TestVhost, start_in_free_slot};

const TIDYING_DEADLINE: Duration = Duration::from_secs(30);

static SHARED: OnceCell<TestBroker> = OnceCell::const_new();

/// Each test has a runtime of its own, which ends with it; what outlives a test lives on this one.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("test broker")
        .enable_all()
        .build()
        .expect("a runtime with one thread can be made")
});

/// A broker shared by tests; what they keep apart are vhosts.
pub struct TestBroker {
    broker_url: String,
    management_url: String,
    /// Ends with the process.
    _node: Option<Node>,
}

impl TestBroker {
    /// A new, empty vhost on the shared broker, which is started by the first test that asks.
    ///
    /// # Panics
    /// When there is no RabbitMQ to share, with the reason.
    pub async fn vhost() -> TestVhost {
        let broker = SHARED.get_or_init(|| on_lasting_runtime(Self::find())).await;
        TestVhost::create(&broker.broker_url, &broker.management_url).await
    }

    async fn find() -> Self {
        match (env::var(BROKER_URL_VARIABLE), env::var(MANAGEMENT_URL_VARIABLE)) {
            (Ok(broker_url), Ok(management_url)) => Self {
                broker_url,
                management_url,
                _node: None,
            },
            (Err(_), Err(_)) => {
                let node = start_in_free_slot()
                    .await
                    .unwrap_or_else(|error| panic!("{error:#}"));
                Self {
                    broker_url: node.broker_url().to_owned(),
                    management_url: node.management_url().to_owned(),
                    _node: Some(node),
                }
            }
            _ => {
                panic!("{BROKER_URL_VARIABLE} and {MANAGEMENT_URL_VARIABLE} belong together; only one is set")
            }
        }
    }
}

/// Runs the future where it is not ended with the test that waits for it.
pub(crate) async fn on_lasting_runtime<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> T {
    match RUNTIME.spawn(future).await {
        Ok(output) => output,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// The same for destructors, which cannot wait otherwise; gives up after half a minute.
pub(crate) fn finish(future: impl Future<Output = ()> + Send + 'static) {
    let (done, finished) = mpsc::channel();
    RUNTIME.spawn(async move {
        future.await;
        let _ = done.send(());
    });
    let _ = finished.recv_timeout(TIDYING_DEADLINE);
}
