//! `/v1/events`: events in, looked up, and one by its id.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use chrono::{DateTime, Utc};
use crossdock_engine::{EventPage, EventSearch, EventView, HistogramView};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::auth::{Caller, EventsRead, EventsWrite};
use crate::cloud_events::Mode;
use crate::extract::{Path, Query, time};
use crate::openapi::CloudEvent;
use crate::problem::{Guarded, ProblemBody};
use crate::trace::Step;
use crate::{ApiState, Problem, body, problem_types as kinds};

/// Events on a page when the client does not say.
const PAGE_DEFAULT: u32 = 50;
/// Events on a page at most.
const PAGE_MAX: u32 = 200;
/// Intervals of a histogram when the client does not say.
const BUCKETS_DEFAULT: u32 = 60;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(send_events, find_events))
        .routes(routes!(count_events))
        .routes(routes!(show_event))
}

/// How many events were accepted.
#[derive(Serialize, ToSchema)]
struct Accepted {
    /// All events of the request.
    accepted: usize,
}

/// Send events
///
/// One event in structured mode, many in batch mode, or one in binary mode of the CloudEvents HTTP
/// binding 1.0.2: attributes as `ce-*` headers, the body is the data, of any content type.
///
/// 202 means that RabbitMQ has confirmed all of them: they are durable. One bad member refuses the
/// whole batch and nothing of it is kept. 503 means not confirmed: repeat with the same ids, which
/// is safe, since an event is known by its source and id.
///
/// At most 1,000 events and 8 MiB in a batch; 1 MiB of data and 32 KiB of attributes in an event.
#[utoipa::path(post, path = "/v1/events", tag = "events", security(("api_key" = ["events:write"])),
    request_body(description = "CloudEvents 1.0", content(
        (CloudEvent = "application/cloudevents+json"),
        (Vec<CloudEvent> = "application/cloudevents-batch+json"),
        ("*/*"),
    )),
    responses(
        (status = 202, description = "All events are durable", body = Accepted),
        (status = 400, description = "Not valid CloudEvents; faults says where", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body did not arrive in time", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "Over a limit; limit names it", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "Neither structured, batch nor binary mode", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "Valid CloudEvents that break the schema of their type or a rule of the hub; faults says where",
            body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn send_events(
    State(api): State<ApiState>,
    caller: Caller<EventsWrite>,
    step: Step,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    let mode = Mode::of(&headers)?;
    let body = body::read(&api, &headers, body, mode.limit()).await?;
    let events = mode.decode(&headers, body.bytes.clone())?;
    if events.is_empty() {
        return Ok((StatusCode::ACCEPTED, Json(Accepted { accepted: 0 })));
    }
    match api.hub().accept_within(&caller.principal, events, step.0).await {
        Ok(accepted) => Ok((StatusCode::ACCEPTED, Json(Accepted { accepted }))),
        Err(error) if mode == Mode::Batch => Err(error.into()),
        Err(error) => Err(Problem::from(error).of_single_event()),
    }
}

/// What to look for; everything given must hold.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EventQuery {
    /// Event type, or a pattern where `*` stands for one whole segment.
    #[param(example = "order.*.v1")]
    r#type: Option<String>,
    /// CloudEvents source.
    #[param(example = "/shop")]
    source: Option<String>,
    /// CloudEvents subject.
    subject: Option<String>,
    /// Correlation id.
    correlation: Option<String>,
    /// Name of an adapter that the event was delivered to.
    adapter: Option<String>,
    /// Accepted at this time or later, RFC 3339.
    #[serde(default, deserialize_with = "time")]
    since: Option<DateTime<Utc>>,
    /// Accepted before this time, RFC 3339.
    #[serde(default, deserialize_with = "time")]
    until: Option<DateTime<Utc>>,
    /// Events on the page: 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Find events
///
/// Newest first. `next` of a page is the `cursor` of the one after it; the last page has none.
#[utoipa::path(get, path = "/v1/events", tag = "events", security(("api_key" = ["events:read"])),
    params(EventQuery),
    responses(
        (status = 200, description = "A page of events with what became of them", body = EventPage),
        (status = 400, description = "A parameter is unknown or cannot be read", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A parameter has a value that makes no sense", body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn find_events(
    State(api): State<ApiState>,
    _: Caller<EventsRead>,
    Query(query): Query<EventQuery>,
) -> Result<Json<EventPage>, Problem> {
    let search = EventSearch {
        event_type: query.r#type,
        source: query.source,
        subject: query.subject,
        correlation: query.correlation,
        adapter: query.adapter,
        since: query.since,
        until: query.until,
        cursor: query.cursor,
        limit: page_size(query.limit)?,
    };
    Ok(Json(api.hub().find(search).await?))
}

/// What to count; everything given must hold.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct HistogramQuery {
    /// Event type, or a pattern where `*` stands for one whole segment.
    #[param(example = "order.*.v1")]
    r#type: Option<String>,
    /// CloudEvents source.
    #[param(example = "/shop")]
    source: Option<String>,
    /// CloudEvents subject.
    subject: Option<String>,
    /// Correlation id.
    correlation: Option<String>,
    /// Name of an adapter that the event was delivered to.
    adapter: Option<String>,
    /// Accepted at this time or later, RFC 3339: an hour before `until` unless given.
    #[serde(default, deserialize_with = "time")]
    since: Option<DateTime<Utc>>,
    /// Accepted before this time, RFC 3339: now unless given.
    #[serde(default, deserialize_with = "time")]
    until: Option<DateTime<Utc>>,
    /// How many intervals at most, each of whole seconds: 60 unless given.
    #[param(minimum = 1, maximum = 500)]
    buckets: Option<u32>,
}

/// Count events over time
///
/// The events that the same conditions find, by the time at which they were accepted. At most 100,000 events are looked
/// at, the newest first; `truncated` says that there were more.
#[utoipa::path(get, path = "/v1/events/histogram", tag = "events", security(("api_key" = ["events:read"])),
    params(HistogramQuery),
    responses(
        (status = 200, description = "How many events came when", body = HistogramView),
        (status = 400, description = "A parameter is unknown or cannot be read", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A parameter has a value that makes no sense", body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn count_events(
    State(api): State<ApiState>,
    _: Caller<EventsRead>,
    Query(query): Query<HistogramQuery>,
) -> Result<Json<HistogramView>, Problem> {
    let search = EventSearch {
        event_type: query.r#type,
        source: query.source,
        subject: query.subject,
        correlation: query.correlation,
        adapter: query.adapter,
        since: query.since,
        until: query.until,
        ..EventSearch::default()
    };
    let buckets = query.buckets.unwrap_or(BUCKETS_DEFAULT);
    Ok(Json(api.hub().histogram(search, buckets).await?))
}

/// The size of a page: what was asked for, if it is allowed.
pub(crate) fn page_size(asked: Option<u32>) -> Result<u32, Problem> {
    match asked.unwrap_or(PAGE_DEFAULT) {
        size @ 1..=PAGE_MAX => Ok(size),
        other => Err(kinds::MALFORMED_REQUEST.with(format!("limit is {other}; expected 1 to {PAGE_MAX}"))),
    }
}

/// Which of several events with one id.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SourceQuery {
    /// CloudEvents source; needed only where several sources use the id.
    source: Option<String>,
}

/// One event by its id
#[utoipa::path(get, path = "/v1/events/{id}", tag = "events", security(("api_key" = ["events:read"])),
    params(("id" = String, Path, description = "CloudEvents id, percent-encoded"), SourceQuery),
    responses(
        (status = 200, description = "The event with what became of it", body = EventView),
        (status = 404, description = "No such event", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Several sources use this id; sources lists them", body = ProblemBody, content_type = "application/problem+json"),
        Guarded,
    ))]
async fn show_event(
    State(api): State<ApiState>,
    _: Caller<EventsRead>,
    Path(id): Path<String>,
    Query(query): Query<SourceQuery>,
) -> Result<Json<EventView>, Problem> {
    Ok(Json(api.hub().event(&id, query.source.as_deref()).await?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_between_one_and_two_hundred_events() {
        assert_eq!(page_size(None).unwrap(), PAGE_DEFAULT);
        assert_eq!(page_size(Some(200)).unwrap(), 200);
        for wrong in [0, 201] {
            assert_eq!(page_size(Some(wrong)).unwrap_err().body().status, 400);
        }
    }
}
