//! A WebSocket as the bytes of its messages, over any stream. An idle one holds no buffers.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::frames::{self, Frames};

/// What one message carries to a peer at most.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct Bytestream<S> {
    stream: S,
    frames: Frames,
    /// Frames on their way out, no more than a message and the answer to a ping.
    unsent: BytesMut,
    /// Whether the last frame is among them, or gone.
    ends: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Bytestream<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self {
            stream,
            frames: Frames::default(),
            unsent: BytesMut::new(),
            ends: false,
        }
    }

    /// Ready once all is sent, answers to pings too.
    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while !self.unsent.is_empty() {
                let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unsent))?;
                if sent == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.unsent.advance(sent);
            }
            self.unsent = BytesMut::new();
            match self.frames.take_ping() {
                Some(payload) if !self.ends => {
                    frames::put(OpCode::Control(Control::Pong), &payload, &mut self.unsent);
                }
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Bytestream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.frames.closed().is_none() {
            // Nobody asks for the answers to pings: they go out as they can.
            let _ = Pin::new(&mut *this).poll_flush(cx)?;
            let before = into.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, into))?;
            let came = &mut into.filled_mut()[before..];
            if came.is_empty() {
                break;
            }
            let kept = this.frames.take(came).map_err(io::Error::other)?;
            into.set_filled(before + kept);
            if kept > 0 {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Bytestream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_unsent(cx))?;
        if this.ends {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let bytes = &bytes[..bytes.len().min(MESSAGE_BYTES_MAX)];
        frames::put(OpCode::Data(Data::Binary), bytes, &mut this.unsent);
        let _ = this.poll_unsent(cx)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_unsent(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    /// Says that it ends, or answers that the peer did. Who reads on sees the peer's end; then the stream may go.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.ends {
            this.ends = true;
            let code = this.frames.closed().unwrap_or_default().to_vec();
            frames::put(OpCode::Control(Control::Close), &code, &mut this.unsent);
        }
        Pin::new(this).poll_flush(cx)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const PIPE_BYTES: usize = 64;

    #[tokio::test]
    async fn messages_pings_and_the_end() {
        let (mut peer, near) = duplex(PIPE_BYTES);
        let mut stream = Bytestream::over(near);
        // Half a message, a ping within it, the other half: none has a mask that changes anything.
        peer.write_all(b"\x02\x82\0\0\0\0ab\x89\x81\0\0\0\0p\x80\x81\0\0\0\0c")
            .await
            .unwrap();
        let mut read = [0; 3];
        stream.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"abc");
        let mut answer = [0; 3];
        peer.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"\x8a\x01p");
        stream.write_all(b"hello").await.unwrap();
        let mut answer = [0; 7];
        peer.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"\x82\x05hello");
        peer.write_all(b"\x88\x82\0\0\0\0\x03\xe8").await.unwrap();
        assert_eq!(stream.read(&mut read).await.unwrap(), 0);
        stream.shutdown().await.unwrap();
        drop(stream);
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"\x88\x02\x03\xe8");
    }

    #[tokio::test]
    async fn who_reads_nothing_is_owed_one_answer() {
        let (mut peer, near) = duplex(PIPE_BYTES);
        let mut stream = Bytestream::over(near);
        let pings = b"\x89\x84\0\0\0\0ping".repeat(5_000);
        let sending = tokio::spawn(async move {
            peer.write_all(&pings).await.unwrap();
            peer.write_all(b"\x82\x81\0\0\0\0x").await.unwrap();
            peer
        });
        assert_eq!(stream.read_u8().await.unwrap(), b'x');
        assert!(stream.unsent.len() <= PIPE_BYTES);
        let mut peer = sending.await.unwrap();
        let mut answers = [0; 6];
        peer.read_exact(&mut answers).await.unwrap();
        assert_eq!(&answers, b"\x8a\x04ping");
    }

    #[tokio::test]
    async fn a_long_message_goes_out_in_several() {
        let (peer, near) = duplex(PIPE_BYTES);
        let mut stream = Bytestream::over(near);
        let sent = vec![7; MESSAGE_BYTES_MAX + 1];
        let sending = tokio::spawn(async move {
            stream.write_all(&sent).await.unwrap();
            stream.shutdown().await.unwrap();
        });
        let mut got = Vec::new();
        tokio::io::BufReader::new(peer)
            .read_to_end(&mut got)
            .await
            .unwrap();
        sending.await.unwrap();
        assert_eq!(&got[..10], b"\x82\x7f\0\0\0\0\0\x01\0\0");
        assert_eq!(&got[10 + MESSAGE_BYTES_MAX..], b"\x82\x01\x07\x88\0");
    }
}
