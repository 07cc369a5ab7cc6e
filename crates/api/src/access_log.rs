//! One log line and one measurement for each request: method, route, status, time and who called.
//! Never the path as sent, a query, a header or a body, which may hold secrets or personal data.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use crossdock_telemetry::Span;

use crate::{health, metrics::METRICS_PATH, problem::ProblemMark, trace};

/// Where authentication leaves for the log who calls: a key's id, or `user:<name>`.
#[derive(Clone, Default)]
pub(crate) struct CallerSlot(Arc<OnceLock<String>>);

impl CallerSlot {
    pub(crate) fn fill(&self, mark: &str) {
        // A second authentication within one request is by the same caller.
        let _ = self.0.set(mark.to_owned());
    }
}

pub(crate) async fn record(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = known(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let caller = CallerSlot::default();
    request.extensions_mut().insert(caller.clone());
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let span = match is_probe(route) {
        true => Span::default(),
        false => trace::begin(&mut request, method, route),
    };

    let response = next.run(request).await;

    trace::end(span, &response);
    let status = response.status().as_u16();
    let elapsed = started.elapsed();
    let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let by = caller.0.get().map(String::as_str);
    let problem = response
        .extensions()
        .get::<ProblemMark>()
        .map(|mark| mark.0.as_str());
    // What a probe is answered the hub says by itself, once.
    if is_probe(route) {
        tracing::debug!(method, route, status, ms, by, problem, "request");
    } else if response.status().is_server_error() {
        tracing::warn!(method, route, status, ms, by, problem, "request");
    } else {
        tracing::info!(method, route, status, ms, by, problem, "request");
    }
    let route = route.to_owned();
    metrics::counter!("crossdock_http_requests_total", "method" => method, "route" => route.clone(), "status" => status.to_string())
        .increment(1);
    metrics::histogram!("crossdock_http_response_seconds", "method" => method, "route" => route)
        .record(elapsed);
    response
}

/// Routes that machines ask every few seconds.
fn is_probe(route: &str) -> bool {
    [health::ALIVE_PATH, health::READY_PATH, METRICS_PATH].contains(&route)
}

/// The method's name; one word for all that nobody uses here, since clients may invent any number.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use axum::body::Body;
    use axum::routing::get;
    use axum::{Router, middleware};
    use tower::ServiceExt;
    use tracing::instrument::WithSubscriber;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_line_names_the_route_and_nothing_that_the_client_wrote() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_writer(move || writer.clone())
            .finish();
        let routes = Router::new()
            .route(
                "/v1/events/{id}",
                get(|slot: axum::Extension<CallerSlot>| async move { slot.fill("key7") }),
            )
            .layer(middleware::from_fn(record));
        async {
            for (method, path) in [("GET", "/v1/events/jane%0A%FF%1B[31m?q=jane"), ("JANE", "/jane")] {
                let request = Request::builder().method(method).uri(path);
                let request = request
                    .header("authorization", "Bearer jane")
                    .body(Body::empty())
                    .unwrap();
                routes.clone().oneshot(request).await.unwrap();
            }
        }
        .with_subscriber(subscriber)
        .await;
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let logged: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert!(!text.to_lowercase().contains("jane"), "{text}");
        assert_eq!(logged[0]["fields"]["route"], "/v1/events/{id}");
        assert_eq!(logged[0]["fields"]["by"], "key7");
        assert_eq!(logged[1]["fields"]["method"], "other");
        assert_eq!(logged[1]["fields"]["status"], 404);
    }
}
