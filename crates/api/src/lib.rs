//! The HTTP door of the hub: routes, authentication, problems, the OpenAPI description and the
//! serving of connections. It turns requests into calls on the hub and what the hub says into
//! responses; it knows nothing of RabbitMQ or the database.

mod access_log;
mod adapters;
mod api_keys;
mod api_state;
mod auth;
mod body;
mod browser_tokens;
mod client;
mod cloud_events;
mod cookie;
mod dead_letters;
mod events;
mod extract;
mod headers;
mod health;
mod journeys;
mod ledger;
mod limits;
mod live;
mod media_type;
mod metrics;
mod openapi;
mod origin;
mod overview;
mod problem;
mod problem_types;
mod quarantine;
mod queues;
mod reader;
mod revisions;
mod serve;
mod session;
mod sse;
mod states;
mod status;
mod stream;
mod trace;
mod users;

use axum::{Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;

pub use api_state::ApiState;
pub use client::address as client_address;
pub use cloud_events::read_events;
pub use openapi::description;
pub use problem::{Problem, ProblemBody};
pub use serve::serve;

/// All routes with everything that stands before them: the limit of concurrent requests, the
/// request log, the security headers. Pages of the allowed origins may call it with what they bear, and never with a
/// cookie. All that holds for `others` too, which know by themselves who may call them. Serve it with [`serve`], which
/// also says who the peer is.
pub fn router(state: ApiState, allowed_origins: &[String], others: Router) -> Router {
    let (routes, description) = openapi::routes().split_for_parts();
    routes
        .merge(openapi::documentation(description))
        .merge(others.with_state(()))
        .fallback(problem_types::no_such_route)
        .method_not_allowed_fallback(problem_types::no_such_method)
        .layer(middleware::from_fn_with_state(state.clone(), limits::admit))
        .layer(CatchPanicLayer::custom(problem::from_panic))
        .layer(middleware::from_fn(access_log::record))
        .layer(middleware::from_fn(headers::secure))
        .layer(headers::for_pages_of(allowed_origins))
        .with_state(state)
}
