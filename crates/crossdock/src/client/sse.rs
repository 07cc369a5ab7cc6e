//! Server-sent events as the HTML standard defines them (section 9.2,
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>), read from bytes as they come.
//! Knows nothing of connections.

/// The longest message taken, in bytes: an event of the largest size with everything said about it.
const MESSAGE_MAX_BYTES: usize = 16 * 1024 * 1024;

/// One message of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// The last `id` seen up to this message.
    pub(crate) id: Option<String>,
    /// The name of the kind of message; empty if the stream gave none.
    pub(crate) event: String,
    /// Its lines of data.
    pub(crate) data: String,
}

/// The stream holds a message that is too long.
#[derive(Debug, thiserror::Error)]
#[error("the hub's stream holds a message of more than {MESSAGE_MAX_BYTES} bytes")]
pub(crate) struct TooLong;

/// Takes bytes and gives messages.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    after_carriage_return: bool,
    last_id: Option<String>,
    event: String,
    data: String,
    has_data: bool,
}

impl Parser {
    /// The messages that `bytes` complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Message>, TooLong> {
        let mut messages = Vec::new();
        for &byte in bytes {
            let second_half_of_line_end = self.after_carriage_return && byte == b'\n';
            self.after_carriage_return = byte == b'\r';
            match byte {
                _ if second_half_of_line_end => {}
                b'\r' | b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    messages.extend(self.end_line(&String::from_utf8_lossy(&line)));
                }
                other => self.line.push(other),
            }
            if self.line.len() + self.data.len() > MESSAGE_MAX_BYTES {
                return Err(TooLong);
            }
        }
        Ok(messages)
    }

    fn end_line(&mut self, line: &str) -> Option<Message> {
        if line.is_empty() {
            return self.end_message();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" if !value.contains('\0') => self.last_id = Some(value.to_owned()),
            "event" => self.event = value.to_owned(),
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.has_data = true;
                self.data.push_str(value);
            }
            _ => {}
        }
        None
    }

    fn end_message(&mut self) -> Option<Message> {
        let event = std::mem::take(&mut self.event);
        let data = std::mem::take(&mut self.data);
        std::mem::take(&mut self.has_data).then(|| Message {
            id: self.last_id.clone(),
            event,
            data,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const STREAM: &str = ": hello\n\nid: 7\nevent: order.placed.v1\ndata: {\"a\":\ndata: 1}\n\n\
        event: ping\n\nid:8\r\ndata:x\r\n\r\nretry: 5\ndata\n\ndata: cut off";

    fn messages(pieces: impl Iterator<Item = &'static [u8]>) -> Vec<Message> {
        let mut parser = Parser::default();
        pieces.flat_map(|piece| parser.push(piece).unwrap()).collect()
    }

    fn message(id: &str, event: &str, data: &str) -> Message {
        Message {
            id: Some(id.into()),
            event: event.into(),
            data: data.into(),
        }
    }

    #[test]
    fn the_same_messages_however_the_bytes_are_cut() {
        let expected = vec![
            message("7", "order.placed.v1", "{\"a\":\n1}"),
            message("8", "", "x"),
            message("8", "", ""),
        ];
        assert_eq!(messages([STREAM.as_bytes()].into_iter()), expected);
        assert_eq!(messages(STREAM.as_bytes().chunks(1)), expected);
        assert_eq!(messages(STREAM.as_bytes().chunks(7)), expected);
    }

    #[test]
    fn memory_is_bounded() {
        let mut parser = Parser::default();
        let kilobyte = [b'x'; 1024];
        let refused = (0..=MESSAGE_MAX_BYTES / 1024).any(|_| parser.push(&kilobyte).is_err());
        assert!(refused);
    }
}
