//! `/v1/stream`: accepted events as server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>), read page by page from the
//! record, so that a slow client costs no memory and a client that comes back misses nothing.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName};
use axum::response::IntoResponse;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use crossdock_engine::{AuthError, EngineError, EventView};
use crossdock_model::types::TypePattern;
use futures::stream;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::auth::{Caller, EventsRead, bearer};
use crate::extract::Query;
use crate::limits::STREAMS_MAX;
use crate::problem::{Guarded, ProblemBody};
use crate::{ApiState, Problem, problem_types as kinds};

/// A comment goes out after so long without an event, so that proxies keep the connection.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a client waits before it comes back.
const RECONNECT: Duration = Duration::from_secs(2);
/// The record is looked at this often without being woken: other hubs write to it too.
const POLL: Duration = Duration::from_secs(1);
/// How often the key is checked again, so that a revoked one does not listen on.
const KEY_CHECK: Duration = Duration::from_secs(30);
/// Events in memory for one stream, fewer if they are large.
const PAGE: u32 = 32;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(stream_events))
}

/// Where the stream begins and what it shows.
#[derive(Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct StreamQuery {
    /// Only types that this pattern matches; `*` stands for one whole segment.
    #[param(value_type = Option<String>, example = "order.*.v1")]
    r#type: Option<TypePattern>,
    /// Begin after this offset: 0 for everything. Without it, only what comes from now on.
    #[param(minimum = 0)]
    after: Option<i64>,
}

/// Watch events as they are accepted
///
/// Server-sent events: `id` is the offset, `event` the CloudEvents type, `data` the event with its
/// deliveries at that moment. A client that reconnects with `Last-Event-ID` goes on where it was.
/// A comment comes each 15 s while nothing happens. At most 100 streams are open at one time.
#[utoipa::path(get, path = "/v1/stream", tag = "events", security(("api_key" = ["events:read"])),
    params(StreamQuery, ("Last-Event-ID" = Option<i64>, Header, description = "Offset of the last event seen; goes before `after`")),
    responses(
        (status = 200, description = "Messages whose data is an EventView, until the hub stops or the key ends",
            body = EventView, content_type = "text/event-stream"),
        (status = 400, description = "A parameter cannot be read", body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn stream_events(
    State(api): State<ApiState>,
    _: Caller<EventsRead>,
    Query(query): Query<StreamQuery>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let token = bearer(&headers)?.to_owned();
    let place = api.streams().try_acquire_owned().map_err(|_| {
        kinds::TOO_MANY_STREAMS
            .with(format!("{STREAMS_MAX} streams are open"))
            .retry_after(5)
    })?;
    let after = match start(&headers, query.after)? {
        Some(offset) => offset,
        None => api.hub().latest_offset().await?,
    };
    let reader = Reader {
        recorded: api.hub().recorded(),
        api,
        token,
        pattern: query.r#type,
        after,
        page: VecDeque::new(),
        key_checked: Instant::now(),
        _place: place,
    };
    let hello = Message::default().retry(RECONNECT).comment("open");
    let messages = stream::StreamExt::chain(
        stream::iter([Ok::<_, Infallible>(hello)]),
        stream::unfold(reader, Reader::next),
    );
    let heartbeat = KeepAlive::new().interval(HEARTBEAT).text("alive");
    // nginx would hold the messages back otherwise.
    Ok((
        [("x-accel-buffering", "no")],
        Sse::new(messages).keep_alive(heartbeat),
    ))
}

/// The offset to begin after: `Last-Event-ID` before `after`.
fn start(headers: &HeaderMap, after: Option<i64>) -> Result<Option<i64>, Problem> {
    let offset = match headers.get(LAST_EVENT_ID) {
        None => return refuse_negative(after),
        Some(value) => value.to_str().ok().and_then(|text| text.trim().parse().ok()),
    };
    match offset {
        Some(offset) => refuse_negative(Some(offset)),
        None => Err(kinds::MALFORMED_REQUEST.with("Last-Event-ID is not the id of a message of this stream")),
    }
}

fn refuse_negative(offset: Option<i64>) -> Result<Option<i64>, Problem> {
    match offset {
        Some(..0) => Err(kinds::MALFORMED_REQUEST.with("offsets are not negative")),
        offset => Ok(offset),
    }
}

/// One client's way through the record.
struct Reader {
    api: ApiState,
    token: String,
    pattern: Option<TypePattern>,
    after: i64,
    page: VecDeque<EventView>,
    recorded: watch::Receiver<i64>,
    key_checked: Instant,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    /// The next message; `None` ends the stream.
    async fn next(mut self) -> Option<(Result<Message, Infallible>, Self)> {
        let stop = self.api.stop().clone();
        let view = stop.run_until_cancelled(self.next_event()).await??;
        Some((Ok(message(&view)), self))
    }

    async fn next_event(&mut self) -> Option<EventView> {
        loop {
            if !self.key_holds().await {
                return None;
            }
            if let Some(view) = self.page.pop_front() {
                self.after = view.offset;
                return Some(view);
            }
            self.recorded.borrow_and_update();
            match self.turn_page().await {
                Ok(()) if self.page.is_empty() => self.wait().await,
                Ok(()) => {}
                // The database is away; it is asked again until it answers.
                Err(_) => sleep(POLL).await,
            }
        }
    }

    /// Reads what follows. Where nothing matches, what was passed over is not read again.
    async fn turn_page(&mut self) -> Result<(), EngineError> {
        let newest = self.api.hub().latest_offset().await?;
        if newest > self.after {
            let page = self
                .api
                .hub()
                .events_after(self.after, self.pattern.as_ref(), PAGE)
                .await?;
            self.page = page.into();
            if self.page.is_empty() {
                self.after = newest;
            }
        }
        Ok(())
    }

    async fn wait(&mut self) {
        tokio::select! {
            Ok(()) = self.recorded.changed() => {}
            () = sleep(POLL) => {}
        }
    }

    async fn key_holds(&mut self) -> bool {
        if self.key_checked.elapsed() < KEY_CHECK {
            return true;
        }
        self.key_checked = Instant::now();
        // While the database is away nobody can say that the key was revoked.
        matches!(
            self.api.hub().authenticate(&self.token).await,
            Ok(_) | Err(AuthError::Unavailable)
        )
    }
}

fn message(view: &EventView) -> Message {
    let data = serde_json::to_string(view).expect("a view is plain data with text keys");
    let event_type = view.attribute("type").unwrap_or_default();
    // A line break in a field would end it; no valid type has one.
    let event_type = event_type.replace(['\r', '\n'], " ");
    Message::default()
        .id(view.offset.to_string())
        .event(event_type)
        .data(data)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn with_last_id(value: &str) -> HeaderMap {
        [(LAST_EVENT_ID, value.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn the_last_event_id_goes_before_the_parameter() {
        assert_eq!(start(&HeaderMap::new(), None).unwrap(), None);
        assert_eq!(start(&HeaderMap::new(), Some(7)).unwrap(), Some(7));
        assert_eq!(start(&with_last_id("9"), Some(7)).unwrap(), Some(9));
        for wrong in ["", "x", "-1", "1.5"] {
            assert_eq!(
                start(&with_last_id(wrong), None).unwrap_err().body().status,
                400,
                "{wrong}"
            );
        }
        assert!(start(&HeaderMap::new(), Some(-1)).is_err());
    }
}
