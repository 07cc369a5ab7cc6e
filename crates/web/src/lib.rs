//! The hub's pages, as they were built: scripts and styles that may be kept for ever, since each name changes with what
//! is in it, and one document for every page's address. They are files and nothing else: what a page shows it asks
//! the API for, so that this crate knows no session, no event and no other crate of the hub.

mod embedded;
mod headers;

use axum::{Router, middleware, routing::get};

use embedded::Caching;

/// The addresses of the dashboard's pages. The script reads the address and shows the page.
pub const PAGES: [&str; 10] = [
    "/",
    "/account",
    "/adapters",
    "/adapters/{name}",
    "/dead-letters",
    "/dead-letters/{id}",
    "/events",
    "/journeys/{key}",
    "/queues",
    "/sign-in",
];

/// Serves the pages and what they load. There is a route for each file, so that any other path is left to whom this is
/// merged with.
pub fn router() -> Router {
    let mut router = Router::new();
    for page in PAGES {
        router = router.route(page, get(embedded::answer("index.html", Caching::Asked)));
    }
    for name in embedded::names() {
        let caching = if name.starts_with("assets/") {
            Caching::Immutable
        } else {
            Caching::Asked
        };
        let path = format!("/{name}");
        if path != "/index.html" {
            router = router.route(&path, get(embedded::answer(name, caching)));
        }
    }
    router.layer(middleware::map_response(headers::secure))
}
