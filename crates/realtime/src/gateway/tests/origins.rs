//! What the log says of pages that may not connect.

use std::sync::atomic::AtomicUsize;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::*;
use crate::{Origins, serve_websocket};

/// Counts what is said.
#[derive(Clone, Default)]
struct Lines(Arc<AtomicUsize>);

impl Subscriber for Lines {
    fn enabled(&self, about: &Metadata<'_>) -> bool {
        about.target().ends_with("websocket")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Relaxed);
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn a_page_that_may_not_connect_is_named_once_however_often_it_tries() {
    let door = Door::default();
    let turned_away = door.turned_away.clone();
    let (gateway, _) = open(door);
    let (lines, peer) = (Lines::default(), [203, 0, 113, 7].into());
    let _said = tracing::subscriber::set_default(lines.clone());
    let said_of = |origin: &str| {
        let request = Request::builder()
            .uri("/mqtt")
            .header(header::HOST, "hub.internal")
            .header(header::ORIGIN, origin);
        let request = request.body(Body::empty()).unwrap();
        let answer = serve_websocket(gateway.clone(), &Origins::default(), peer, request);
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        lines.0.load(Relaxed)
    };
    for _ in 0..300 {
        assert_eq!(said_of("https://shop.example.com"), 1);
    }
    assert_eq!(*locked(&turned_away), vec!["https://shop.example.com"; 300]);
    assert_eq!(said_of("https://other.example.com"), 2);
    for number in 0..300 {
        assert!(said_of(&format!("https://{number}.example.com")) < 20);
    }
}
