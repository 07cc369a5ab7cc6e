//! A message as the gate gets it: a line for each property and header up to an empty one, then the body. A line's
//! first byte says what it is: `C`ontent type, content `E`ncoding, or a header of the type that AMQP has for the letter.
#![no_main]

use bytes::Bytes;
use chrono::DateTime;
use crossdock_bus::message::{HeaderValue, Headers, Properties, decode_event, headers_to_json};
use crossdock_fuzz::{assert_goes_round, assert_refused};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|message: &[u8]| {
    let Some((properties, body)) = parsed(message) else { return };
    match decode_event(&properties, &body) {
        Ok(event) => assert_goes_round(&event),
        Err(faults) => assert_refused(&faults),
    }
    // What is refused is kept with its headers.
    assert!(headers_to_json(&properties.headers).is_object());
});

fn parsed(message: &[u8]) -> Option<(Properties, Bytes)> {
    let mut properties = Properties::default();
    let mut rest = message;
    loop {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let (line, after) = (&rest[..end], &rest[end + 1..]);
        rest = after;
        let Some((kind, line)) = line.split_first() else {
            return Some((properties, Bytes::copy_from_slice(rest)));
        };
        let text = String::from_utf8_lossy(line);
        match kind {
            b'C' => properties.content_type = Some(text.into_owned()),
            b'E' => properties.content_encoding = Some(text.into_owned()),
            kind => {
                let (name, value) = text.split_once(' ')?;
                let value = header(*kind, value, line)?;
                properties.headers.insert(name.to_owned(), value);
            }
        }
    }
}

fn header(kind: u8, value: &str, line: &[u8]) -> Option<HeaderValue> {
    Some(match kind {
        b'S' => HeaderValue::Text(value.to_owned()),
        b't' => HeaderValue::Bool(value == "true"),
        b'l' => HeaderValue::Int(value.parse().ok()?),
        b'd' => HeaderValue::Float(value.parse().ok()?),
        b'T' => HeaderValue::Time(DateTime::from_timestamp(value.parse().ok()?, 0)?),
        b'x' => HeaderValue::Bytes(Bytes::copy_from_slice(line)),
        b'A' => HeaderValue::List(value.split(' ').map(HeaderValue::from).collect()),
        b'F' => HeaderValue::Table(Headers::from([(value.to_owned(), HeaderValue::Null)])),
        b'V' => HeaderValue::Null,
        _ => return None,
    })
}
