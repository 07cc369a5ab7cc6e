//! What RabbitMQ sends, made fit for the AMQP client before the client sees it.
//!
//! The client parses header tables by recursion without a limit, and closes the connection when a
//! routing key or a header's name is not UTF-8. RabbitMQ lets publishers send both, so that one
//! message of a few kilobytes would end the process, or the connection, of everyone who is handed
//! it, again and again. Here such a table becomes a byte array and such bytes become `?`: both keep
//! every length, so a frame is mended where it stands.

use std::io;

use bytes::{Buf, BytesMut};

/// Largest frame agreed with RabbitMQ, in bytes with its 8 bytes of framing.
pub(crate) const FRAME_MAX_BYTES: u32 = 128 * 1024;
/// Tables and arrays inside one another, the header table itself included. RabbitMQ's own headers
/// need four.
const TABLE_MAX_DEPTH: usize = 16;

const FRAME_HEAD_BYTES: usize = 7;
const FRAME_END_BYTES: usize = 1;
const METHOD_FRAME: u8 = 1;
const HEADER_FRAME: u8 = 2;
const CONNECTION_CLOSE: (u16, u16) = (10, 50);
const CHANNEL_CLOSE: (u16, u16) = (20, 40);
const RETURN: (u16, u16) = (60, 50);
const DELIVER: (u16, u16) = (60, 60);
const UNREADABLE: u8 = b'?';

/// Takes bytes from the socket as they come and gives frames as they should be.
#[derive(Default)]
pub(crate) struct InboundFrames {
    /// The beginning of a frame whose end has not come, if it is one to look into.
    held: BytesMut,
    /// What is left of a frame that is passed on without a look.
    passing: usize,
    ready: BytesMut,
}

impl InboundFrames {
    /// Takes what the socket gave.
    ///
    /// # Errors
    /// A frame larger than was agreed.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.passing > 0 {
                self.passing -= move_up_to(self.passing, &mut bytes, &mut self.ready);
                continue;
            }
            let needed = self.needed()?;
            move_up_to(needed - self.held.len(), &mut bytes, &mut self.held);
            if self.held.len() < FRAME_HEAD_BYTES {
                continue;
            }
            let (kind, frame_bytes) = self.frame()?;
            if !matches!(kind, METHOD_FRAME | HEADER_FRAME) {
                self.passing = frame_bytes - self.held.len();
                self.ready.extend_from_slice(&self.held.split());
            } else if self.held.len() == frame_bytes {
                mend(&mut self.held);
                self.ready.extend_from_slice(&self.held.split());
            }
        }
        Ok(())
    }

    /// Moves as much as fits into `target`; the number of bytes moved.
    pub(crate) fn give(&mut self, target: &mut [u8]) -> usize {
        let count = target.len().min(self.ready.len());
        self.ready.copy_to_slice(&mut target[..count]);
        count
    }

    /// How long `held` must grow before anything can be decided.
    fn needed(&self) -> io::Result<usize> {
        if self.held.len() < FRAME_HEAD_BYTES {
            Ok(FRAME_HEAD_BYTES)
        } else {
            Ok(self.frame()?.1)
        }
    }

    /// Type and length in bytes of the frame whose head is held.
    fn frame(&self) -> io::Result<(u8, usize)> {
        let payload = u32::from_be_bytes([self.held[3], self.held[4], self.held[5], self.held[6]]);
        if payload > FRAME_MAX_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a frame larger than was agreed",
            ));
        }
        Ok((
            self.held[0],
            FRAME_HEAD_BYTES + payload as usize + FRAME_END_BYTES,
        ))
    }
}

fn move_up_to(count: usize, from: &mut &[u8], to: &mut BytesMut) -> usize {
    let (moved, rest) = from.split_at(count.min(from.len()));
    to.extend_from_slice(moved);
    *from = rest;
    moved.len()
}

/// Mends a whole method or header frame. One that is not laid out as it should be is left to the
/// client to judge.
fn mend(frame: &mut [u8]) {
    let kind = frame[0];
    let end = frame.len() - FRAME_END_BYTES;
    let mut payload = Payload {
        bytes: &mut frame[FRAME_HEAD_BYTES..end],
        at: 0,
    };
    let _ = if kind == METHOD_FRAME {
        payload.method()
    } else {
        payload.properties()
    };
}

/// A walk over a frame's payload (AMQP 0-9-1, sections 4.2.4 to 4.2.6). `None` is the end of it.
struct Payload<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Payload<'_> {
    fn method(&mut self) -> Option<()> {
        let method = (self.u16()?, self.u16()?);
        match method {
            DELIVER => {
                self.short_string()?; // consumer tag
                self.skip(8 + 1)?; // delivery tag, redelivered
            }
            RETURN | CHANNEL_CLOSE | CONNECTION_CLOSE => {
                self.skip(2)?; // reply code
                self.short_string()?; // reply text
            }
            _ => {}
        }
        if matches!(method, DELIVER | RETURN) {
            self.short_string()?; // exchange
            self.short_string()?; // routing key
        }
        Some(())
    }

    fn properties(&mut self) -> Option<()> {
        self.skip(2 + 2 + 8)?; // class, weight, body size
        let flags = self.u16()?;
        for property in 0..14 {
            if flags & (0x8000 >> property) == 0 {
                continue;
            }
            match property {
                2 => self.table()?,
                3 | 4 => self.skip(1)?, // delivery mode, priority
                9 => self.skip(8)?,     // timestamp
                _ => self.short_string()?,
            }
        }
        Some(())
    }

    fn table(&mut self) -> Option<()> {
        let mut open = vec![(self.block(self.bytes.len())?, true)];
        while let Some(&(end, named)) = open.last() {
            if self.at >= end {
                open.pop();
                continue;
            }
            if named {
                self.short_string()?;
            }
            let kind_at = self.at;
            let kind = self.u8()?;
            match kind {
                b'A' | b'F' => {
                    let inner_end = self.block(end)?;
                    if open.len() < TABLE_MAX_DEPTH {
                        open.push((inner_end, kind == b'F'));
                    } else {
                        self.bytes[kind_at] = b'x';
                        self.at = inner_end;
                    }
                }
                b'S' | b'x' => self.at = self.block(end)?,
                b't' | b'b' | b'B' => self.skip(1)?,
                b's' | b'U' | b'u' => self.skip(2)?,
                b'I' | b'i' | b'f' => self.skip(4)?,
                b'D' => self.skip(5)?,
                b'L' | b'l' | b'd' | b'T' => self.skip(8)?,
                b'V' => {}
                _ => return None,
            }
        }
        Some(())
    }

    /// Reads the length of what follows, which must end at `limit` or before, and says where it ends.
    fn block(&mut self, limit: usize) -> Option<usize> {
        let length = u32::from_be_bytes(self.bytes.get(self.at..self.at + 4)?.try_into().ok()?);
        self.at += 4;
        let end = self.at.checked_add(length as usize)?;
        (end <= limit).then_some(end)
    }

    fn short_string(&mut self) -> Option<()> {
        let length = usize::from(self.u8()?);
        let end = self.at + length;
        make_utf8(self.bytes.get_mut(self.at..end)?);
        self.at = end;
        Some(())
    }

    fn u8(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.u8()?, self.u8()?]))
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.at += count;
        (self.at <= self.bytes.len()).then_some(())
    }
}

fn make_utf8(mut text: &mut [u8]) {
    while let Err(error) = std::str::from_utf8(text) {
        text = &mut text[error.valid_up_to()..];
        let wrong = error.error_len().unwrap_or(text.len());
        text[..wrong].fill(UNREADABLE);
        text = &mut text[wrong..];
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use lapin::BasicProperties;
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[kind, 0, 1], &length[..], payload, &[0xce]].concat()
    }

    fn through(frames: &[u8], piece: usize) -> Vec<u8> {
        let mut inbound = InboundFrames::default();
        let mut out = Vec::new();
        for piece in frames.chunks(piece) {
            inbound.take(piece).unwrap();
            let mut target = [0; 5];
            loop {
                match inbound.give(&mut target) {
                    0 => break,
                    count => out.extend_from_slice(&target[..count]),
                }
            }
        }
        out
    }

    fn block(kind: u8, inner: &[u8]) -> Vec<u8> {
        let length = u32::try_from(inner.len()).unwrap().to_be_bytes();
        [&[kind], &length[..], inner].concat()
    }

    /// A content header with the given value as its only header.
    fn content_header(name: &[u8], value: &[u8]) -> Vec<u8> {
        let entry = [&[u8::try_from(name.len()).unwrap()], name, value].concat();
        let table = &block(0, &entry)[1..];
        frame(
            HEADER_FRAME,
            &[&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 0][..], table].concat(),
        )
    }

    fn nested(levels: usize) -> Vec<u8> {
        (0..levels).fold(vec![b'V'], |inner, _| block(b'A', &inner))
    }

    #[test]
    fn a_table_of_usual_depth_is_left_as_it_is() {
        let header = content_header(b"deep", &nested(TABLE_MAX_DEPTH - 1));
        assert_eq!(through(&header, 3), header);
    }

    #[test]
    fn a_table_too_deep_becomes_bytes_from_there_on() {
        let header = content_header(b"deep", &nested(20_000));
        let mended = through(&header, 4096);
        assert_eq!(mended.len(), header.len());
        let changed: Vec<_> = (0..header.len())
            .filter(|at| header[*at] != mended[*at])
            .collect();
        assert_eq!(changed.len(), 1);
        assert_eq!(mended[changed[0]], b'x');
    }

    #[test]
    fn names_and_routing_keys_that_are_not_utf8_are_made_so() {
        let header = content_header(b"a\xffb\xc3", b"V");
        assert_eq!(through(&header, 1), content_header(b"a?b?", b"V"));
        let deliver = |key: &[u8]| {
            let start = [
                &[0, 60, 0, 60, 1][..],
                b"t",
                &[0, 0, 0, 0, 0, 0, 0, 9, 0, 1],
                b"e",
                &[3],
            ]
            .concat();
            frame(METHOD_FRAME, &[&start, key].concat())
        };
        assert_eq!(through(&deliver(b"k\xe9y"), 7), deliver(b"k?y"));
    }

    #[test]
    fn other_frames_pass_whatever_they_hold() {
        let frames = [
            frame(3, b"\xff\xfe\x00"),
            frame(8, b""),
            frame(METHOD_FRAME, &[0, 10, 0, 10]),
        ]
        .concat();
        for piece in 1..frames.len() {
            assert_eq!(through(&frames, piece), frames);
        }
    }

    #[test]
    fn a_frame_beyond_the_agreed_size_is_an_error() {
        let mut inbound = InboundFrames::default();
        assert!(inbound.take(&[HEADER_FRAME, 0, 1, 0xff, 0, 0, 0]).is_err());
    }

    proptest! {
        #[test]
        fn no_payload_makes_it_stumble_or_change_a_length(payload in prop::collection::vec(any::<u8>(), 0..300), header: bool) {
            let frame = frame(if header { HEADER_FRAME } else { METHOD_FRAME }, &payload);
            prop_assert_eq!(through(&frame, 64).len(), frame.len());
        }

        #[test]
        fn what_the_client_writes_is_left_as_it_is(key in ".{0,60}", text in ".{0,99}", id in "[a-z]{0,9}") {
            let mut table = lapin::types::FieldTable::default();
            table.insert(key.as_str().into(), lapin::types::AMQPValue::LongString(text.into()));
            let properties = BasicProperties::default()
                .with_content_type("application/json".into())
                .with_headers(table)
                .with_delivery_mode(2)
                .with_timestamp(7)
                .with_message_id(id.into());
            let payload = lapin::protocol::basic::gen_properties(&properties)(Vec::new().into()).unwrap().into_inner().0;
            let header = frame(HEADER_FRAME, &[&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &payload].concat());
            prop_assert_eq!(through(&header, 100), header);
        }
    }
}
