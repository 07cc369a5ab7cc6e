//! MQTT over WebSocket (MQTT 5.0, section 6): binary messages, whose bounds mean nothing to MQTT, with
//! the subprotocol `mqtt`. A page of another origin is refused: a browser would lend it what it knows.

use std::future::ready;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Buf, Bytes};
use futures::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::gateway::{NoSeat, PACKET_BYTES_MAX};
use crate::{Gateway, Origins};

const SUBPROTOCOL: &str = "mqtt";
/// Bytes that the log shows of an origin.
const ORIGIN_SHOWN_MAX: usize = 200;
/// What a connection reads into; it is held while the connection lasts.
const READ_BYTES: usize = 4 * 1024;

/// What one message carries to a peer at most.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// What waits for a peer that does not read, beside what the connection keeps: one message with its head, and the
/// answers to pings, which nobody asks the connection about.
const WRITE_BUFFER_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;

/// Takes the upgrade of a request to `/mqtt`, and serves the connection. Refuses with 403 a page of an
/// origin that is not allowed, with 400 a client that does not offer the subprotocol `mqtt`, with 429 an address that has
/// its share of all connections, and with 503 anybody while there are as many as fit.
pub fn serve_websocket(
    gateway: Gateway,
    origins: &Origins,
    peer: IpAddr,
    headers: &HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if !origins.allow(headers) {
        // A browser hides the answer from the page and from whoever wrote it.
        let origin = headers
            .get(header::ORIGIN)
            .and_then(|origin| origin.to_str().ok());
        let origin = origin.and_then(|origin| origin.get(..ORIGIN_SHOWN_MAX.min(origin.len())));
        tracing::info!(%peer, origin, "a page may not connect: its origin is not in [http] allowed_origins");
        let refusal = "this page's origin may not connect here; allow it in [http] allowed_origins\n";
        return (StatusCode::FORBIDDEN, refusal).into_response();
    }
    let upgrade = upgrade
        .protocols([SUBPROTOCOL])
        .max_message_size(PACKET_BYTES_MAX)
        .max_frame_size(PACKET_BYTES_MAX)
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX);
    if upgrade.selected_protocol().is_none() {
        return (
            StatusCode::BAD_REQUEST,
            "expected the WebSocket subprotocol mqtt\n",
        )
            .into_response();
    }
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
    upgrade.on_upgrade(move |socket| async move {
        gateway.serve(seat, ready(Ok(Bytestream::new(socket)))).await;
    })
}

/// A WebSocket as the bytes of its messages.
struct Bytestream {
    socket: WebSocket,
    unread: Bytes,
}

impl Bytestream {
    fn new(socket: WebSocket) -> Self {
        Self {
            socket,
            unread: Bytes::new(),
        }
    }
}

impl AsyncRead for Bytestream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.unread = bytes,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(())),
                Some(Ok(Message::Text(_))) => {
                    return Poll::Ready(Err(io::Error::other("a text message, expected binary ones")));
                }
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
            }
        }
        let bytes = self.unread.len().min(into.remaining());
        into.put_slice(&self.unread[..bytes]);
        self.unread.advance(bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bytestream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut socket = Pin::new(&mut self.socket);
        // Not only until it takes a message: answers to pings wait there too, and would leave no room for it.
        ready!(socket.as_mut().poll_flush(cx)).map_err(io::Error::other)?;
        let bytes = &bytes[..bytes.len().min(MESSAGE_BYTES_MAX)];
        let message = Message::Binary(Bytes::copy_from_slice(bytes));
        socket.start_send(message).map_err(io::Error::other)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket)
            .poll_flush(cx)
            .map_err(io::Error::other)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket)
            .poll_close(cx)
            .map_err(io::Error::other)
    }
}
