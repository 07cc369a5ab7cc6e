//! How much this process does at one time for HTTP clients, and for how long. Beyond that a
//! request is refused at once with 503, so that those under way come to an end.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use crate::{ApiState, health, problem_types as kinds};

/// Requests worked on at one time. An open stream counts only until it begins.
pub(crate) const REQUESTS_MAX: usize = 512;
/// Open streams.
pub(crate) const STREAMS_MAX: usize = 100;
/// Open streams of one caller, so that others find a place.
pub(crate) const STREAMS_OF_A_CALLER_MAX: usize = 16;
/// Bodies up to this size are in memory without further ado: with [`REQUESTS_MAX`] of them 32 MiB.
pub(crate) const SMALL_BODY_BYTES: usize = 64 * 1024;
/// Larger request bodies in memory at one time, in KiB: 64 MiB.
pub(crate) const BODY_ROOM_KIB: usize = 64 * 1024;
/// How long a request waits for room for a large body.
pub(crate) const BODY_ROOM_WAIT: Duration = Duration::from_secs(5);
/// How long a body may take to arrive.
pub(crate) const BODY_DEADLINE: Duration = Duration::from_secs(30);
/// How long a request may take until its response begins: body, confirms and all.
const RESPONSE_DEADLINE: Duration = Duration::from_secs(60);

/// Lets a request in, or says that there are too many. Whether the process lives is always answered.
pub(crate) async fn admit(State(api): State<ApiState>, request: Request, next: Next) -> Response {
    if request.uri().path() == health::ALIVE_PATH {
        return next.run(request).await;
    }
    let Ok(_admitted) = api.requests().try_acquire() else {
        let detail = format!("{REQUESTS_MAX} requests are being worked on");
        return kinds::OVERLOADED.with(detail).retry_after(1).into_response();
    };
    timeout(RESPONSE_DEADLINE, next.run(request))
        .await
        .unwrap_or_else(|_| {
            let detail = format!(
                "no answer within {} s; what was begun may still be done",
                RESPONSE_DEADLINE.as_secs()
            );
            kinds::UNAVAILABLE.with(detail).retry_after(5).into_response()
        })
}
