//! The packets of one connection, in and out of its stream, and why it ends. An idle one holds no buffers.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::PACKET_BYTES_MAX;
use super::connection::UNWRITTEN_MAX;
use crate::why::Why;
use crate::wire::{self, Decoder, Incoming, Outgoing, Takes, Will};

/// How long a client may take to read its last packet and close.
const GOODBYE_MAX: Duration = Duration::from_secs(1);
/// What is read at once.
const READ_BYTES: usize = 16 * 1024;

thread_local! {
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// A stream of packets.
pub(super) struct Wire<S> {
    pub(super) stream: S,
    pub(super) decoder: Decoder,
    pub(super) unread: BytesMut,
    pub(super) unwritten: BytesMut,
}

/// Why a connection is over.
pub(super) enum Over {
    /// The stream ended.
    Lost,
    /// It is to be ended.
    Ended(Why),
    /// A packet of the client ends it, and says what becomes of its will.
    Said(Box<(Why, Option<Will>)>),
}

impl From<io::Error> for Over {
    fn from(_: io::Error) -> Self {
        Self::Lost
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn over(stream: S) -> Self {
        Self {
            stream,
            decoder: Decoder::new(PACKET_BYTES_MAX),
            unread: BytesMut::new(),
            unwritten: BytesMut::new(),
        }
    }

    /// The next packet. `count` is told what there is of it, and may end it.
    pub(super) async fn packet(
        &mut self,
        mut count: impl FnMut(usize) -> Result<(), Over>,
    ) -> Result<Incoming, Over> {
        loop {
            if let Some(packet) = self.decode()? {
                return Ok(packet);
            }
            count(self.unread.len())?;
            poll_fn(|cx| self.poll_read(cx)).await?;
        }
    }

    pub(super) fn decode(&mut self) -> Result<Option<Incoming>, Over> {
        let decoded = self
            .decoder
            .decode(&mut self.unread)
            .map_err(|error| Over::Ended(Why::Wire(error)))?;
        if decoded.is_none() && self.unread.is_empty() {
            self.unread = BytesMut::new();
        }
        Ok(decoded)
    }

    /// Reads what there is into `unread`.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Over>> {
        READ.with_borrow_mut(|space| {
            let mut space = ReadBuf::new(space);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut space))?;
            if space.filled().is_empty() {
                return Poll::Ready(Err(Over::Lost));
            }
            self.unread.extend_from_slice(space.filled());
            Poll::Ready(Ok(()))
        })
    }

    /// Writes what was queued.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Over>> {
        while !self.unwritten.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unwritten))?;
            if written == 0 {
                return Poll::Ready(Err(Over::Lost));
            }
            self.unwritten.advance(written);
        }
        self.unwritten = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    /// Puts a packet to what is to be written. One that cannot be framed is left out. Who takes none of what waits is told
    /// codes only: nobody makes it grow by asking for what is refused.
    pub(super) fn queue(&mut self, mut takes: Takes, packet: &Outgoing) {
        takes.problems &= self.unwritten.len() < UNWRITTEN_MAX;
        if let Err(error) = wire::encode_for(takes, packet, &mut self.unwritten) {
            tracing::warn!(%error, "a packet could not be written");
        }
    }

    /// Writes what is queued and closes. What the client still sends is read for a moment and dropped:
    /// to close on unread bytes would reset the connection, and take the last packet with it.
    pub(super) async fn goodbye(&mut self) {
        let last = async {
            poll_fn(|cx| self.poll_write(cx)).await?;
            self.stream.shutdown().await?;
            loop {
                poll_fn(|cx| self.poll_read(cx)).await?;
                self.unread.clear();
            }
        };
        let _: Result<Result<Infallible, Over>, _> = tokio::time::timeout(GOODBYE_MAX, last).await;
    }
}
