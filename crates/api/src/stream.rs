//! `/v1/stream`: accepted events as server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>), read page by page from the
//! record, so that a slow client costs no memory and a client that comes back misses nothing.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::response::sse::{Event as Message, KeepAlive};
use crossdock_engine::{EngineError, EventView};
use crossdock_model::types::TypePattern;
use futures::stream;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::sleep;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::auth::{Caller, EventsRead, Standing};
use crate::extract::Query;
use crate::problem::{Guarded, ProblemBody};
use crate::sse::{self, Place, STANDING_CHECK};
use crate::{ApiState, Problem};

/// A comment goes out after so long without an event, so that proxies keep the connection.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// The record is looked at this often without being woken: other hubs write to it too.
const POLL: Duration = Duration::from_secs(1);
/// Events in memory for one stream, fewer if they are large.
const PAGE: u32 = 32;

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
/// A comment comes each 15 s while nothing happens. At most 100 streams are open at one time, 16 of one caller.
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
    caller: Caller<EventsRead>,
    Query(query): Query<StreamQuery>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let place = api.places().take(&caller.principal.mark())?;
    let after = match sse::start(&headers, query.after)? {
        Some(offset) => offset,
        None => api.hub().latest_offset().await?,
    };
    let reader = Reader {
        recorded: api.hub().recorded(),
        api,
        standing: caller.standing,
        pattern: query.r#type,
        after,
        page: VecDeque::new(),
        _place: place,
    };
    let (headers, messages) = sse::answer(stream::unfold(reader, Reader::next));
    let heartbeat = KeepAlive::new().interval(HEARTBEAT).text("alive");
    Ok((headers, messages.keep_alive(heartbeat)))
}

/// One client's way through the record.
struct Reader {
    api: ApiState,
    standing: Standing,
    pattern: Option<TypePattern>,
    after: i64,
    page: VecDeque<EventView>,
    recorded: watch::Receiver<i64>,
    _place: Place,
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
            if !self.standing.holds(&self.api, STANDING_CHECK).await {
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
