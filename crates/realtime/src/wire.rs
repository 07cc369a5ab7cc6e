//! MQTT packets as bytes: 3.1.1 and 5.0 in, one type of ours out, and back. rumqttd's codecs do the
//! reading and writing; what they let pass, write wrongly or panic at is kept from them here. Knows
//! nothing of sessions or rights, holds no socket.
//!
//! <https://docs.oasis-open.org/mqtt/mqtt/v5.0/os/mqtt-v5.0-os.html>,
//! <https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/os/mqtt-v3.1.1-os.html>

mod decode;
mod encode;
mod packet;
mod reason;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod walk;

pub use decode::Decoder;
pub use encode::{Takes, encode, encode_for};
pub use packet::{
    ConnAck, Connect, Incoming, Login, Message, MessageProperties, Outgoing, Publish, PublishOut, QoS,
    RetainHandling, SubscribeFilter, Version, Will,
};
pub(crate) use reason::Name;
pub use reason::{REASON_STRING_BYTES_MAX, Reason, ReasonString};

use crossdock_model::topic::TopicError;

use walk::{USER_PROPERTIES_BYTES_MAX, USER_PROPERTIES_MAX};

/// The largest packet before a client is known: a CONNECT with a token, a will and room to spare.
pub const MAX_CONNECT_BYTES: usize = 64 * 1024;

/// Why bytes are no packet that is taken here. The connection ends with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Bytes that do not follow the format.
    #[error("malformed {packet}: {what}")]
    Malformed {
        /// The packet's name.
        packet: &'static str,
        /// What is wrong.
        what: String,
    },
    /// A packet that may not come here or now.
    #[error("{0}")]
    Protocol(&'static str),
    /// More bytes than were agreed on.
    #[error("a packet of {bytes} bytes, expected at most {limit}")]
    TooLarge {
        /// Its size with its header.
        bytes: usize,
        /// What is taken.
        limit: usize,
    },
    /// More user properties than are kept.
    #[error(
        "user properties: more than {} or more than {} bytes of them",
        USER_PROPERTIES_MAX,
        USER_PROPERTIES_BYTES_MAX
    )]
    UserProperties,
    /// A CONNECT of another protocol or version.
    #[error("protocol level {0}, expected MQTT 3.1.1 (4) or 5.0 (5)")]
    Version(u8),
    /// A topic that is none.
    #[error("topic name {0}")]
    Topic(#[from] TopicError),
}

impl WireError {
    /// What to tell the client.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Malformed { .. } => Reason::MalformedPacket,
            Self::Protocol(_) => Reason::ProtocolError,
            Self::TooLarge { .. } => Reason::PacketTooLarge,
            Self::UserProperties => Reason::QuotaExceeded,
            Self::Version(_) => Reason::UnsupportedProtocolVersion,
            Self::Topic(_) => Reason::TopicNameInvalid,
        }
    }
}
