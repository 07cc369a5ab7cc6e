//! Frames of a WebSocket as they come (RFC 6455, section 5). What they carry is handed on at once and not kept until a
//! frame or a message is whole, so that neither takes memory, however large it says it is. Knows no sockets.

use std::io::Cursor;

use bytes::{BufMut, BytesMut};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// The longest head: two bytes, eight of length, four of a mask.
const HEAD_BYTES_MAX: usize = 14;
/// What a ping or another control frame may carry.
const CONTROL_BYTES_MAX: u64 = 125;
/// A close frame begins with its code.
const CLOSE_CODE_BYTES: usize = 2;

/// What a client must not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("the head of a frame says what nobody agreed on")]
    Head,
    #[error("a frame without a mask")]
    NotMasked,
    #[error("a text message, expected binary ones")]
    Text,
    #[error("a message begins within another one, or goes on that never began")]
    Fragments,
    #[error("a control frame in fragments, or with more than {CONTROL_BYTES_MAX} bytes")]
    Control,
}

/// The receiving end: where it is within the frames.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; HEAD_BYTES_MAX],
    /// What is there of a head that is not whole.
    head_bytes: usize,
    /// What is still to come of a frame, once its head is there.
    left: u64,
    mask: [u8; 4],
    /// The control frame that it is, if it is one, and what has come of it.
    control: Option<(Control, Vec<u8>)>,
    is_within_message: bool,
    /// What a ping carried that is not answered: only the last of several has to be.
    ping: Option<Vec<u8>>,
    close: Option<Vec<u8>>,
}

impl Frames {
    /// Takes what has come, and leaves of it the bytes of the messages, at its beginning; gives how many.
    pub(super) fn take(&mut self, bytes: &mut [u8]) -> Result<usize, FrameError> {
        let (mut at, mut kept) = (0, 0);
        while at < bytes.len() && self.close.is_none() {
            if self.left == 0 {
                at += self.take_head(&bytes[at..])?;
            } else {
                let left = usize::try_from(self.left).unwrap_or(usize::MAX);
                let part = at..bytes.len().min(at.saturating_add(left));
                at = part.end;
                self.left -= part.len() as u64;
                for (byte, key) in bytes[part.clone()].iter_mut().zip(self.mask.iter().cycle()) {
                    *byte ^= key;
                }
                let turned = part.len() % self.mask.len();
                self.mask.rotate_left(turned);
                if let Some((_, payload)) = &mut self.control {
                    payload.extend_from_slice(&bytes[part]);
                } else {
                    let length = part.len();
                    bytes.copy_within(part, kept);
                    kept += length;
                }
            }
            if self.left == 0 && self.head_bytes == 0 {
                self.end_frame();
            }
        }
        Ok(kept)
    }

    /// What a ping carried, to be sent back.
    pub(super) fn take_ping(&mut self) -> Option<Vec<u8>> {
        self.ping.take()
    }

    /// The code of the close frame with which the peer ended it, empty where it gave none.
    pub(super) fn closed(&self) -> Option<&[u8]> {
        let payload = self.close.as_deref()?;
        Some(payload.get(..CLOSE_CODE_BYTES).unwrap_or_default())
    }

    /// Gives how many bytes are the head's.
    fn take_head(&mut self, bytes: &[u8]) -> Result<usize, FrameError> {
        let had = self.head_bytes;
        let more = bytes.len().min(HEAD_BYTES_MAX - had);
        self.head[had..had + more].copy_from_slice(&bytes[..more]);
        let mut head = Cursor::new(&self.head[..had + more]);
        let Some((header, length)) = FrameHeader::parse(&mut head).map_err(|_| FrameError::Head)? else {
            self.head_bytes += more;
            return Ok(more);
        };
        let whole = usize::try_from(head.position()).unwrap_or(HEAD_BYTES_MAX);
        self.head_bytes = 0;
        self.begin_frame(&header, length)?;
        Ok(whole - had)
    }

    fn begin_frame(&mut self, header: &FrameHeader, length: u64) -> Result<(), FrameError> {
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(FrameError::Head);
        }
        self.mask = header.mask.ok_or(FrameError::NotMasked)?;
        self.left = length;
        match header.opcode {
            OpCode::Control(control) => {
                if !header.is_final || length > CONTROL_BYTES_MAX {
                    return Err(FrameError::Control);
                }
                self.control = Some((control, Vec::new()));
                return Ok(());
            }
            OpCode::Data(Data::Text) => return Err(FrameError::Text),
            OpCode::Data(Data::Continue) if self.is_within_message => {}
            OpCode::Data(Data::Binary) if !self.is_within_message => {}
            OpCode::Data(_) => return Err(FrameError::Fragments),
        }
        self.is_within_message = !header.is_final;
        Ok(())
    }

    fn end_frame(&mut self) {
        match self.control.take() {
            Some((Control::Ping, payload)) => self.ping = Some(payload),
            Some((Control::Close, payload)) => self.close = Some(payload),
            _ => {}
        }
    }
}

/// Puts a frame of the hub to what is to be sent: whole, and without a mask.
pub(super) fn put(opcode: OpCode, payload: &[u8], to: &mut BytesMut) {
    let header = FrameHeader {
        opcode,
        ..FrameHeader::default()
    };
    to.reserve(HEAD_BYTES_MAX + payload.len());
    // Into memory it does not fail.
    let _ = header.format(payload.len() as u64, &mut to.writer());
    to.extend_from_slice(payload);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BINARY: OpCode = OpCode::Data(Data::Binary);
    const CONTINUED: OpCode = OpCode::Data(Data::Continue);
    const PING: OpCode = OpCode::Control(Control::Ping);

    /// A frame as a client sends it.
    fn frame(opcode: OpCode, is_final: bool, payload: &[u8]) -> Vec<u8> {
        let mask = [0x11, 0x22, 0x33, 0x44];
        let header = FrameHeader {
            is_final,
            opcode,
            mask: Some(mask),
            ..FrameHeader::default()
        };
        let mut bytes = Vec::new();
        header.format(payload.len() as u64, &mut bytes).unwrap();
        bytes.extend(
            payload
                .iter()
                .zip(mask.iter().cycle())
                .map(|(byte, key)| byte ^ key),
        );
        bytes
    }

    /// What comes of it, when it comes in pieces of these sizes.
    fn read(frames: &mut Frames, bytes: &[u8], sizes: &[usize]) -> Result<Vec<u8>, FrameError> {
        let (mut rest, mut read) = (bytes, Vec::new());
        for size in sizes.iter().chain([&bytes.len()]) {
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            let mut piece = piece.to_vec();
            let kept = frames.take(&mut piece)?;
            read.extend_from_slice(&piece[..kept]);
            rest = after;
        }
        Ok(read)
    }

    #[test]
    fn what_is_not_whole_is_handed_on() {
        let mut frames = Frames::default();
        let whole = frame(BINARY, false, &[7; 250_000]);
        assert_eq!(read(&mut frames, &whole[..100_000], &[]).unwrap().len(), 99_986);
        assert_eq!(read(&mut frames, &whole[100_000..], &[]).unwrap(), [7; 150_014]);
        assert!(frames.is_within_message && frames.control.is_none());
    }

    #[test]
    fn what_a_client_must_not_send() {
        let text = OpCode::Data(Data::Text);
        let mut bare = BytesMut::new();
        put(BINARY, b"x", &mut bare);
        let within = [frame(BINARY, false, b"x"), frame(BINARY, true, b"x")].concat();
        let reserved = [&[0xC2][..], &frame(BINARY, true, b"x")[1..]].concat();
        for (bytes, error) in [
            (frame(text, true, b"x"), FrameError::Text),
            (bare.to_vec(), FrameError::NotMasked),
            (frame(CONTINUED, true, b"x"), FrameError::Fragments),
            (within, FrameError::Fragments),
            (frame(PING, false, b"x"), FrameError::Control),
            (frame(PING, true, &[0; 126]), FrameError::Control),
            (reserved, FrameError::Head),
            (vec![0x83, 0x80, 0, 0, 0, 0], FrameError::Head),
        ] {
            assert_eq!(read(&mut Frames::default(), &bytes, &[]), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn nothing_is_read_after_a_close() {
        let close = OpCode::Control(Control::Close);
        for (payload, code) in [(&b"\x03\xe8bye"[..], &b"\x03\xe8"[..]), (b"", b""), (b"x", b"")] {
            let mut frames = Frames::default();
            let bytes = [
                frame(BINARY, true, b"a"),
                frame(close, true, payload),
                frame(BINARY, true, b"b"),
            ];
            assert_eq!(read(&mut frames, &bytes.concat(), &[]).unwrap(), b"a");
            assert_eq!(frames.closed(), Some(code));
        }
    }

    proptest! {
        #[test]
        fn it_is_the_same_bytes_wherever_they_are_cut(
            parts in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..300), any::<bool>()), 1..8),
            sizes in prop::collection::vec(0usize..40, 0..60),
        ) {
            let (mut bytes, mut sent, mut opcode) = (Vec::new(), Vec::new(), BINARY);
            for (payload, is_final) in &parts {
                bytes.extend(frame(opcode, *is_final, payload));
                bytes.extend(frame(PING, true, &payload[..payload.len().min(125)]));
                sent.extend_from_slice(payload);
                opcode = if *is_final { BINARY } else { CONTINUED };
            }
            let mut frames = Frames::default();
            prop_assert_eq!(read(&mut frames, &bytes, &sizes).unwrap(), sent);
            let (last, _) = parts.last().unwrap();
            prop_assert_eq!(frames.take_ping(), Some(last[..last.len().min(125)].to_vec()));
        }

        #[test]
        fn whatever_comes_is_an_answer(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let length = bytes.len();
            if let Ok(kept) = Frames::default().take(&mut bytes) {
                prop_assert!(kept <= length);
            }
        }
    }
}
