//! MQTT over WebSocket (MQTT 5.0, section 6): binary messages, whose bounds mean nothing to MQTT, with
//! the subprotocol `mqtt`. A page of another origin is refused: a browser would lend it what it knows.

mod bytestream;
mod frames;

use std::io;
use std::net::IpAddr;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::TokioIo;
use tungstenite::handshake::server::create_response_with_body;

use crate::gateway::NoSeat;
use crate::{Gateway, Origins};
pub(crate) use bytestream::Bytestream;

const SUBPROTOCOL: &str = "mqtt";
/// Bytes that the log shows of an origin.
const ORIGIN_SHOWN_MAX: usize = 200;

/// Takes the upgrade of a request to `/mqtt`, and serves the connection. Refuses with 403 a page of an
/// origin that is not allowed, with 400 what is no request for a WebSocket and a client that does not offer the subprotocol
/// `mqtt`, with 429 an address that has its share of all connections, and with 503 anybody while there are as many as fit.
pub fn serve_websocket(gateway: Gateway, origins: &Origins, peer: IpAddr, mut request: Request) -> Response {
    let headers = request.headers();
    if !origins.allow(headers) {
        // A browser hides the answer from the page and from whoever wrote it.
        let origin = headers
            .get(header::ORIGIN)
            .and_then(|origin| origin.to_str().ok());
        let origin = origin.and_then(|origin| origin.get(..ORIGIN_SHOWN_MAX.min(origin.len())));
        if gateway.turns_away(origin.unwrap_or_default(), peer) {
            tracing::info!(%peer, origin, "a page may not connect: its origin is not in [http] allowed_origins");
        }
        let refusal = "this page's origin may not connect here; allow it in [http] allowed_origins\n";
        return (StatusCode::FORBIDDEN, refusal).into_response();
    }
    let mut accepted = match create_response_with_body(&request, Body::empty) {
        Ok(accepted) => accepted,
        Err(error) => {
            let refusal = format!("expected a request for a WebSocket: {error}\n");
            return (StatusCode::BAD_REQUEST, refusal).into_response();
        }
    };
    if !offers(headers, SUBPROTOCOL) {
        return (
            StatusCode::BAD_REQUEST,
            "expected the WebSocket subprotocol mqtt\n",
        )
            .into_response();
    }
    accepted.headers_mut().insert(
        header::SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(SUBPROTOCOL),
    );
    let seat = match gateway.take_seat(peer) {
        Ok(seat) => seat,
        Err(none) => {
            let status = match none {
                NoSeat::Share => StatusCode::TOO_MANY_REQUESTS,
                NoSeat::Full => StatusCode::SERVICE_UNAVAILABLE,
            };
            return (status, format!("{none}\n")).into_response();
        }
    };
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let opening = async {
            let upgraded = upgraded.await.map_err(io::Error::other)?;
            Ok(Bytestream::over(TokioIo::new(upgraded)))
        };
        gateway.serve(seat, opening).await;
    });
    accepted
}

/// Whether it is among the subprotocols that a client offers.
fn offers(headers: &HeaderMap, subprotocol: &str) -> bool {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    offered
        .filter_map(|offered| offered.to_str().ok())
        .flat_map(|offered| offered.split(','))
        .any(|offered| offered.trim() == subprotocol)
}
