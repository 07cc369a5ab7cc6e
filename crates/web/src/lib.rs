//! The hub's pages, as they were built: scripts and styles that may be kept for ever, since each name changes with what
//! is in it, and one document for every page's address. They are files and nothing else: what a page shows it asks
//! the API for, so that this crate knows no session, no event and no other crate of the hub.

mod embedded;
mod headers;

use axum::{Router, middleware, routing::get};
use rust_embed::RustEmbed;

use embedded::{Caching, Dashboard, Storefront};

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

/// Where the demo's shop is.
pub const SHOP: &str = "/shop";

/// Serves the pages and what they load. There is a route for each file, so that any other path is left to whom this is
/// merged with.
pub fn router() -> Router {
    documents::<Dashboard>(&PAGES, "")
}

/// Serves the page of the demo's shop at [`SHOP`], in the same way. What it asks its own backend for, below `/shop/api`,
/// is left to whom this is merged with, too.
pub fn storefront() -> Router {
    documents::<Storefront>(&[SHOP], SHOP)
}

/// One document at the addresses of its pages, and every other file below `base`.
fn documents<Dist: RustEmbed + 'static>(pages: &[&str], base: &str) -> Router {
    let mut router = Router::new();
    for page in pages {
        router = router.route(page, get(embedded::answer::<Dist>("index.html", Caching::Asked)));
    }
    for name in embedded::names::<Dist>() {
        let caching = if name.starts_with("assets/") {
            Caching::Immutable
        } else {
            Caching::Asked
        };
        if name != "index.html" {
            let path = format!("{base}/{name}");
            router = router.route(&path, get(embedded::answer::<Dist>(name, caching)));
        }
    }
    router.layer(middleware::map_response(headers::secure))
}
