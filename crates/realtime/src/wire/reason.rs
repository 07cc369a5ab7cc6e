//! Reason codes of MQTT 5.0 (section 2.4), what is left of them in 3.1.1, and the sentence that may go with them.

use std::fmt;

/// The longest [`ReasonString`], in bytes.
pub const REASON_STRING_BYTES_MAX: usize = 256;
/// How much of a name that a client made up is shown, in bytes.
const NAME_BYTES_MAX: usize = 80;
const CUT: char = '…';

/// Why something was refused or ended; the number is the code on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub enum Reason {
    Success = 0x00,
    DisconnectWithWill = 0x04,
    NoSubscriptionExisted = 0x11,
    UnspecifiedError = 0x80,
    MalformedPacket = 0x81,
    ProtocolError = 0x82,
    UnsupportedProtocolVersion = 0x84,
    ClientIdNotValid = 0x85,
    BadUserNameOrPassword = 0x86,
    NotAuthorized = 0x87,
    ServerUnavailable = 0x88,
    ServerShuttingDown = 0x8B,
    BadAuthenticationMethod = 0x8C,
    KeepAliveTimeout = 0x8D,
    SessionTakenOver = 0x8E,
    TopicFilterInvalid = 0x8F,
    TopicNameInvalid = 0x90,
    PacketIdInUse = 0x91,
    PacketIdNotFound = 0x92,
    ReceiveMaximumExceeded = 0x93,
    TopicAliasInvalid = 0x94,
    PacketTooLarge = 0x95,
    QuotaExceeded = 0x97,
    ConnectionRateExceeded = 0x9F,
    SharedSubscriptionsNotSupported = 0x9E,
}

impl Reason {
    /// The code on the wire.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Whether it says that something was refused.
    #[must_use]
    pub fn is_error(self) -> bool {
        self.code() >= 0x80
    }
}

/// One sentence for whoever has to mend it, which 5.0 has in most answers (section 3.2.2.3.9, …): never longer than
/// [`REASON_STRING_BYTES_MAX`], without control characters. 3.1.1 has no place for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReasonString(Box<str>);

impl ReasonString {
    /// What is too long is cut off.
    #[must_use]
    pub fn of(said: &impl fmt::Display) -> Self {
        Self(cut(&said.to_string(), REASON_STRING_BYTES_MAX).into())
    }

    /// As it is on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name that a client made up, quoted and not longer than a sentence has room for.
pub(crate) struct Name<'a>(pub(crate) &'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "\"{}\"", cut(self.0, NAME_BYTES_MAX))
    }
}

fn cut(text: &str, bytes_max: usize) -> String {
    let (end, rest) = if text.len() <= bytes_max {
        (text.len(), None)
    } else {
        (text.floor_char_boundary(bytes_max - CUT.len_utf8()), Some(CUT))
    };
    let shown = text[..end].chars().map(|c| if c.is_control() { '?' } else { c });
    shown.chain(rest).collect()
}
