//! Walks a whole packet and holds it to the format before a codec sees it: lengths, strings, flags,
//! properties. rumqttd checks a part of that only: it takes bytes after the end, properties twice and
//! beyond their section, reserved bits, an UNSUBSCRIBE of nothing.

use super::{Version, WireError};

pub(super) const CONNECT: u8 = 1;
pub(super) const PUBLISH: u8 = 3;
pub(super) const PUBACK: u8 = 4;
pub(super) const PUBREC: u8 = 5;
pub(super) const PUBREL: u8 = 6;
pub(super) const PUBCOMP: u8 = 7;
pub(super) const SUBSCRIBE: u8 = 8;
pub(super) const UNSUBSCRIBE: u8 = 10;
pub(super) const PINGREQ: u8 = 12;
pub(super) const DISCONNECT: u8 = 14;

const WILL: u8 = 0;
const USER_PROPERTY: u8 = 38;
/// User properties of a packet, and of a will.
pub(super) const USER_PROPERTIES_MAX: usize = 64;
/// What they take together, in bytes on the wire. Each takes many times as much in memory when it is tiny.
pub(super) const USER_PROPERTIES_BYTES_MAX: usize = 4 * 1024;

/// How a property's value is laid out (MQTT 5.0, section 2.2.2.2).
#[derive(Clone, Copy)]
enum Value {
    Flag,
    TwoBytes,
    FourBytes,
    Number,
    Text,
    Binary,
    Pair,
}

/// A property's identifier, its layout, the packets of a client that may carry it, and whether 0 is no value.
const PROPERTIES: &[(u8, Value, &[u8], bool)] = &[
    (1, Value::Flag, &[PUBLISH, WILL], false),
    (2, Value::FourBytes, &[PUBLISH, WILL], false),
    (3, Value::Text, &[PUBLISH, WILL], false),
    (8, Value::Text, &[PUBLISH, WILL], false),
    (9, Value::Binary, &[PUBLISH, WILL], false),
    (11, Value::Number, &[SUBSCRIBE], true),
    (17, Value::FourBytes, &[CONNECT, DISCONNECT], false),
    (21, Value::Text, &[CONNECT], false),
    (22, Value::Binary, &[CONNECT], false),
    (23, Value::Flag, &[CONNECT], false),
    (24, Value::FourBytes, &[WILL], false),
    (25, Value::Flag, &[CONNECT], false),
    (
        31,
        Value::Text,
        &[PUBACK, PUBREC, PUBREL, PUBCOMP, DISCONNECT],
        false,
    ),
    (33, Value::TwoBytes, &[CONNECT], true),
    (34, Value::TwoBytes, &[CONNECT], false),
    (35, Value::TwoBytes, &[PUBLISH], true),
    (
        USER_PROPERTY,
        Value::Pair,
        &[
            CONNECT,
            WILL,
            PUBLISH,
            PUBACK,
            PUBREC,
            PUBREL,
            PUBCOMP,
            SUBSCRIBE,
            UNSUBSCRIBE,
            DISCONNECT,
        ],
        false,
    ),
    (39, Value::FourBytes, &[CONNECT], true),
];

/// The packet's name, or none where a client may not send it.
pub(super) fn name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        CONNECT => "CONNECT",
        PUBLISH => "PUBLISH",
        PUBACK => "PUBACK",
        PUBREC => "PUBREC",
        PUBREL => "PUBREL",
        PUBCOMP => "PUBCOMP",
        SUBSCRIBE => "SUBSCRIBE",
        UNSUBSCRIBE => "UNSUBSCRIBE",
        PINGREQ => "PINGREQ",
        DISCONNECT => "DISCONNECT",
        _ => return None,
    })
}

/// Holds a packet to its format. `header` is how many of its bytes its kind and length are.
pub(super) fn walk(version: Version, frame: &[u8], header: usize) -> Result<(), WireError> {
    let (kind, flags) = (frame[0] >> 4, frame[0] & 0x0F);
    let packet = name(kind).ok_or(WireError::Protocol("a packet that only a server sends"))?;
    let mut rest = Rest {
        packet,
        bytes: &frame[header..],
        ends_at: frame.len(),
    };
    match (kind, flags) {
        (PUBLISH, _) | (PUBREL | SUBSCRIBE | UNSUBSCRIBE, 2) => {}
        (PUBREL | SUBSCRIBE | UNSUBSCRIBE, _) | (_, 1..) => return rest.fail("reserved flags are set"),
        _ => {}
    }
    match kind {
        CONNECT => return connect(version, rest),
        PUBLISH => return publish(version, flags, rest),
        SUBSCRIBE | UNSUBSCRIBE => return subscriptions(version, kind, rest),
        PUBACK | PUBREC | PUBREL | PUBCOMP => rest.id()?,
        _ => {}
    }
    if version == Version::V5 && kind != PINGREQ && !rest.bytes.is_empty() {
        rest.byte()?;
        if !rest.bytes.is_empty() {
            rest.properties(kind)?;
        }
    }
    rest.end()
}

fn connect(version: Version, mut rest: Rest<'_>) -> Result<(), WireError> {
    const WILL_FLAG: u8 = 0x04;
    const PASSWORD: u8 = 0x40;
    const USER: u8 = 0x80;
    rest.text()?;
    rest.byte()?;
    let flags = rest.byte()?;
    let password_alone = version == Version::V4 && flags & PASSWORD != 0 && flags & USER == 0;
    if flags & 1 != 0
        || flags & 0x18 == 0x18
        || (flags & WILL_FLAG == 0 && flags & 0x38 != 0)
        || password_alone
    {
        return rest.fail(&format!("connect flags {flags:#04x}"));
    }
    rest.number(2)?;
    if version == Version::V5 {
        rest.properties(CONNECT)?;
    }
    rest.name()?;
    if flags & WILL_FLAG != 0 {
        if version == Version::V5 {
            rest.properties(WILL)?;
        }
        rest.name()?;
        rest.binary()?;
    }
    if flags & USER != 0 {
        rest.name()?;
    }
    if flags & PASSWORD != 0 {
        rest.binary()?;
    }
    rest.end()
}

fn publish(version: Version, flags: u8, mut rest: Rest<'_>) -> Result<(), WireError> {
    match (flags >> 1) & 3 {
        3 => return rest.fail("QoS 3"),
        0 if flags & 8 != 0 => return rest.fail("a duplicate of QoS 0"),
        _ => {}
    }
    rest.name()?;
    if flags & 6 != 0 {
        rest.id()?;
    }
    if version == Version::V5 {
        rest.properties(PUBLISH)?;
    }
    Ok(())
}

fn subscriptions(version: Version, kind: u8, mut rest: Rest<'_>) -> Result<(), WireError> {
    rest.id()?;
    if version == Version::V5 {
        rest.properties(kind)?;
    }
    if rest.bytes.is_empty() {
        return Err(WireError::Protocol("a SUBSCRIBE or UNSUBSCRIBE without a filter"));
    }
    while !rest.bytes.is_empty() {
        if rest.name()? == 0 {
            return rest.fail("an empty filter");
        }
        if kind == SUBSCRIBE {
            let options = rest.byte()?;
            let reserved = if version == Version::V4 { 0xFC } else { 0xC0 };
            if options & reserved != 0 || options & 3 == 3 || options & 0x30 == 0x30 {
                return rest.fail(&format!("subscription options {options:#04x}"));
            }
        }
    }
    Ok(())
}

struct Rest<'a> {
    packet: &'static str,
    bytes: &'a [u8],
    /// The place of its end in the packet.
    ends_at: usize,
}

impl<'a> Rest<'a> {
    /// Says what is wrong, and up to where the packet was read.
    fn fail<T>(&self, what: &str) -> Result<T, WireError> {
        let read = self.ends_at - self.bytes.len();
        Err(WireError::Malformed {
            packet: self.packet,
            what: format!("{what}, {read} bytes into the packet"),
        })
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        match self.bytes.split_at_checked(count) {
            Some((taken, rest)) => {
                self.bytes = rest;
                Ok(taken)
            }
            None => self.fail(&format!("{} bytes are left, expected {count}", self.bytes.len())),
        }
    }

    fn byte(&mut self) -> Result<u8, WireError> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self, bytes: usize) -> Result<usize, WireError> {
        Ok(self
            .take(bytes)?
            .iter()
            .fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    fn id(&mut self) -> Result<(), WireError> {
        match self.number(2)? {
            0 => Err(WireError::Protocol("packet identifier 0")),
            _ => Ok(()),
        }
    }

    fn binary(&mut self) -> Result<&'a [u8], WireError> {
        let length = self.number(2)?;
        self.take(length)
    }

    fn text(&mut self) -> Result<&'a str, WireError> {
        match std::str::from_utf8(self.binary()?) {
            Ok(text) if !text.contains('\0') => Ok(text),
            Ok(_) => self.fail("a string holds U+0000"),
            Err(_) => self.fail("a string is not UTF-8"),
        }
    }

    /// A client id, user name, topic or filter: without control characters, which the specification lets a
    /// receiver refuse (section 1.5.4), and which nobody could read in a log. Gives how many bytes it has.
    fn name(&mut self) -> Result<usize, WireError> {
        match self.text()? {
            name if name.contains(char::is_control) => self.fail("a name holds a control character"),
            name => Ok(name.len()),
        }
    }

    fn variable(&mut self) -> Result<usize, WireError> {
        let mut number = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            number |= usize::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        self.fail("a number of more than 4 bytes")
    }

    fn properties(&mut self, carrier: u8) -> Result<(), WireError> {
        let length = self.variable()?;
        let mut section = Rest {
            packet: self.packet,
            bytes: self.take(length)?,
            ends_at: self.ends_at - self.bytes.len(),
        };
        let mut seen = 0_u64;
        let (mut pairs, mut pair_bytes) = (0, 0);
        while !section.bytes.is_empty() {
            let id = section.byte()?;
            let Some((_, value, carriers, positive)) = PROPERTIES.iter().find(|known| known.0 == id) else {
                return section.fail(&format!("property {id}"));
            };
            if !carriers.contains(&carrier) {
                return Err(WireError::Protocol("a property that this packet may not carry"));
            }
            if id != USER_PROPERTY && seen & 1 << id != 0 {
                return Err(WireError::Protocol("a property twice"));
            }
            seen |= 1 << id;
            if id == USER_PROPERTY {
                pairs += 1;
                pair_bytes += section.pair()?;
                if pairs > USER_PROPERTIES_MAX || pair_bytes > USER_PROPERTIES_BYTES_MAX {
                    return Err(WireError::UserProperties);
                }
                continue;
            }
            if section.value(*value)? == Some(0) && *positive {
                return Err(WireError::Protocol("a property that is 0 where 0 is no value"));
            }
        }
        Ok(())
    }

    /// How many bytes it takes.
    fn pair(&mut self) -> Result<usize, WireError> {
        let before = self.bytes.len();
        self.text()?;
        self.text()?;
        Ok(before - self.bytes.len())
    }

    /// The value where it is a number.
    fn value(&mut self, value: Value) -> Result<Option<usize>, WireError> {
        match value {
            Value::Flag => match self.byte()? {
                flag @ (0 | 1) => return Ok(Some(flag.into())),
                _ => return Err(WireError::Protocol("a flag that is neither 0 nor 1")),
            },
            Value::TwoBytes => return self.number(2).map(Some),
            Value::FourBytes => return self.number(4).map(Some),
            Value::Number => return self.variable().map(Some),
            Value::Text => {
                self.text()?;
            }
            Value::Binary => _ = self.binary()?,
            Value::Pair => _ = self.pair()?,
        }
        Ok(None)
    }

    fn end(&self) -> Result<(), WireError> {
        match self.bytes.len() {
            0 => Ok(()),
            left => self.fail(&format!("{left} bytes after the end")),
        }
    }
}
