//! The HTTP door while the hub starts: it answers from the first moment, shows the pages, says what it waits for,
//! and from one request to the next becomes the hub's own.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use axum::{
    Json, Router,
    extract::Request,
    response::{IntoResponse, Response},
};
use crossdock_api::Problem;
use crossdock_engine::EngineError;
use serde_json::json;
use tower::ServiceExt;

const RETRY_AFTER_S: u32 = 2;

/// Where requests go.
#[derive(Clone)]
pub(super) struct Door {
    pages: Router,
    waiting_for: Arc<Mutex<&'static str>>,
    hub: Arc<OnceLock<Router>>,
}

impl Door {
    /// A door with pages behind which there is no hub yet, because it waits for something.
    pub(super) fn new(pages: Router, waiting_for: &'static str) -> Self {
        Self {
            pages,
            waiting_for: Arc::new(Mutex::new(waiting_for)),
            hub: Arc::default(),
        }
    }

    /// That is there now; it waits for something else.
    pub(super) fn wait_for(&self, what: &'static str) {
        *self.waiting_for.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    /// From now on `router` answers, for all but the pages.
    pub(super) fn open(&self, router: Router) {
        // The first router stays; there is never a second.
        let _ = self.hub.set(router);
    }

    /// What the listener serves.
    pub(super) fn router(&self) -> Router {
        let (door, same_door) = (self.clone(), self.clone());
        self.pages
            .clone()
            .method_not_allowed_fallback(
                move |request: Request| async move { same_door.answer(request).await },
            )
            .fallback(move |request: Request| async move { door.answer(request).await })
    }

    async fn answer(self, request: Request) -> Response {
        if let Some(hub) = self.hub.get() {
            let answered: Result<Response, Infallible> = hub.clone().oneshot(request).await;
            return answered.into_response();
        }
        if request.uri().path() == "/healthz" {
            return Json(json!({ "status": "alive" })).into_response();
        }
        let waiting_for = *self.waiting_for.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = format!("the hub is starting and waits for {waiting_for}");
        Problem::from(EngineError::Unavailable {
            reason,
            retry_after_s: RETRY_AFTER_S,
        })
        .into_response()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::{body::Body, http::StatusCode, routing};

    use super::*;

    async fn status(router: &Router, path: &str) -> StatusCode {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap().status()
    }

    #[tokio::test]
    async fn says_that_it_is_starting_and_then_lets_in() {
        let pages = Router::new().route("/", routing::get(async || "a page"));
        let door = Door::new(pages, "the private RabbitMQ node");
        let router = door.router();
        assert_eq!(status(&router, "/").await, StatusCode::OK);
        assert_eq!(status(&router, "/healthz").await, StatusCode::OK);
        assert_eq!(status(&router, "/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            status(&router, "/v1/events").await,
            StatusCode::SERVICE_UNAVAILABLE
        );
        door.open(Router::new().route("/v1/events", routing::get(async || "here")));
        assert_eq!(status(&router, "/v1/events").await, StatusCode::OK);
        assert_eq!(status(&router, "/").await, StatusCode::OK);
        assert_eq!(status(&router, "/elsewhere").await, StatusCode::NOT_FOUND);
    }
}
