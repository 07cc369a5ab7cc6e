//! What every handler shares: the hub, and the limits of this process's HTTP side.

use std::future::Future;
use std::sync::Arc;

use crossdock_config::IpRange;
use crossdock_engine::Hub;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::live::Live;
use crate::sse::Places;
use crate::{Problem, limits, problem_types as kinds};

/// The state of the API; cheap to clone.
#[derive(Clone)]
pub struct ApiState(Arc<Shared>);

struct Shared {
    hub: Hub,
    metrics: PrometheusHandle,
    trusted_proxies: Vec<IpRange>,
    stop: CancellationToken,
    tasks: TaskTracker,
    places: Places,
    live: Live,
    requests: Semaphore,
    body_room: Arc<Semaphore>,
}

impl ApiState {
    /// The API of `hub`. `metrics` renders the process's recorder; `X-Forwarded-For` is believed
    /// from `trusted_proxies` only; streams end when `stop` is cancelled.
    pub fn new(
        hub: Hub,
        metrics: PrometheusHandle,
        trusted_proxies: Vec<IpRange>,
        stop: CancellationToken,
    ) -> Self {
        Self(Arc::new(Shared {
            hub,
            metrics,
            trusted_proxies,
            stop,
            tasks: TaskTracker::new(),
            places: Places::default(),
            live: Live::default(),
            requests: Semaphore::new(limits::REQUESTS_MAX),
            body_room: Arc::new(Semaphore::new(limits::BODY_ROOM_KIB)),
        }))
    }

    /// Waits until changes that were begun for clients, who may have gone meanwhile, are done.
    /// Call it after [`crate::serve`] has returned and before the hub stops.
    pub async fn drained(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.0.hub
    }

    pub(crate) fn metrics(&self) -> &PrometheusHandle {
        &self.0.metrics
    }

    pub(crate) fn trusted_proxies(&self) -> &[IpRange] {
        &self.0.trusted_proxies
    }

    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.0.stop
    }

    /// The places of open streams.
    pub(crate) fn places(&self) -> &Places {
        &self.0.places
    }

    /// What those who watch the hub see.
    pub(crate) fn live(&self) -> &Live {
        &self.0.live
    }

    /// Runs a task that ends when `stop` is cancelled.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.tasks.spawn(task);
    }

    pub(crate) fn requests(&self) -> &Semaphore {
        &self.0.requests
    }

    /// Room for request bodies, one permit for each KiB.
    pub(crate) fn body_room(&self) -> Arc<Semaphore> {
        self.0.body_room.clone()
    }

    /// Does `change` to its end even if the client goes away in the middle.
    pub(crate) async fn to_the_end<T, E, F>(&self, change: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        E: Into<Problem> + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        match self.0.tasks.spawn(change).await {
            Ok(result) => result.map_err(Into::into),
            Err(_) => Err(kinds::INTERNAL.with("the hub's log says more")),
        }
    }
}
