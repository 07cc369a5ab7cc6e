//! Why something was refused, or a connection ends: the code on the wire, and in MQTT 5 a sentence that says what is wrong
//! and what was expected. All of them stand here, those of packets that are none at [`WireError`], and those of
//! logins where logins are decided. What a client is told is about itself and its own token, and about nobody else.

use crossdock_model::topic::{TopicError, TopicFilter, TopicName};

use crate::gateway::{
    CLIENT_ID_BYTES_MAX, PACKET_MAX_MS, SESSION_LIMITS, SESSIONS_MAX, STUCK_MAX_MS, UNREAD_BYTES_MAX,
    WAITING_BYTES_MAX,
};
use crate::session::{
    ALIASED_BYTES_MAX, MAX_SUBSCRIPTION_BYTES, MAX_SUBSCRIPTION_LEVELS, MAX_SUBSCRIPTIONS, TOPIC_ALIAS_MAX,
};
use crate::wire::{Name, REASON_STRING_BYTES_MAX, Reason, ReasonString, WireError};

const MIB: usize = 1024 * 1024;

/// Why somebody was not let in, in the words of whoever decides that: what may be known to whoever shows that login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub reason: Reason,
    /// The sentence.
    pub said: String,
}

/// Why a client was not let in, a packet of it was refused, or its connection ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each says itself what it is")]
pub enum Why {
    #[error("the client said goodbye")]
    Goodbye,
    #[error("{}", .0.said)]
    NotAdmitted(Refusal),
    #[error("enhanced authentication is not offered: show the token as the password")]
    EnhancedAuthentication,
    #[error("the client id has {0} bytes, expected at most {CLIENT_ID_BYTES_MAX}")]
    ClientIdTooLong(usize),
    #[error("a session that is kept wants a client id")]
    NoClientId,
    #[error("the will is for {}, to which this token may not publish", Name(.0.as_str()))]
    WillDenied(TopicName),
    #[error("{SESSIONS_MAX} sessions are kept, and there is no room for more")]
    TooManySessions,
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("a packet was not whole {} s after its first byte", PACKET_MAX_MS / 1_000)]
    NeverWhole,
    #[error("all clients together sent {} MiB of packets that are not whole", UNREAD_BYTES_MAX / MIB)]
    TooMuchUnread,
    #[error("nothing came for one and a half times the keep-alive of {0} s")]
    Silent(u16),
    #[error("nothing of what was sent was taken for {} s", STUCK_MAX_MS / 1_000)]
    Stuck,
    #[error(
        "it reads too slowly: {} messages or {} MiB wait for it",
        SESSION_LIMITS.messages,
        SESSION_LIMITS.bytes / MIB
    )]
    Slow,
    #[error("{} MiB wait for all clients together: what waited for this one was dropped", WAITING_BYTES_MAX / MIB)]
    Unloaded,
    #[error("another connection with this client id and the same subject took the session over")]
    TakenOver,
    #[error("the token has expired")]
    Expired,
    #[error("the token was revoked")]
    Revoked,
    #[error("the hub is stopping")]
    Stopping,
    #[error("this token may not publish to {}", named(.0.as_ref()))]
    PublishDenied(Option<TopicName>),
    #[error("topic alias {0}, expected at most {TOPIC_ALIAS_MAX}")]
    AliasTooHigh(u16),
    #[error("topic alias {0} stands for no topic: name it with the first message")]
    AliasUnknown(u16),
    #[error("a topic of {0} bytes, expected at most {ALIASED_BYTES_MAX} where an alias is to stand for it")]
    AliasedTopicTooLong(usize),
    #[error("a message of QoS 2 while {0} are not released, the most that the CONNACK allows")]
    TooManyOpen(u16),
    #[error("a shared subscription cannot be without the client's own messages")]
    SharedNoLocal,
    #[error("a session that began without an expiry is given none by a DISCONNECT")]
    ExpiryTooLate,
    #[error("a CONNECT comes once")]
    SecondConnect,
}

impl Why {
    /// The code.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Goodbye => Reason::Success,
            Self::NotAdmitted(refusal) => refusal.reason,
            Self::EnhancedAuthentication => Reason::BadAuthenticationMethod,
            Self::ClientIdTooLong(_) | Self::NoClientId => Reason::ClientIdNotValid,
            Self::WillDenied(_) | Self::Expired | Self::Revoked | Self::PublishDenied(_) => {
                Reason::NotAuthorized
            }
            Self::Wire(error) => error.reason(),
            Self::NeverWhole => Reason::MalformedPacket,
            Self::TooManySessions | Self::TooMuchUnread | Self::Stuck | Self::Slow | Self::Unloaded => {
                Reason::QuotaExceeded
            }
            Self::Silent(_) => Reason::KeepAliveTimeout,
            Self::TakenOver => Reason::SessionTakenOver,
            Self::Stopping => Reason::ServerShuttingDown,
            Self::AliasTooHigh(_) | Self::AliasUnknown(_) | Self::AliasedTopicTooLong(_) => {
                Reason::TopicAliasInvalid
            }
            Self::TooManyOpen(_) => Reason::ReceiveMaximumExceeded,
            Self::SharedNoLocal | Self::ExpiryTooLate | Self::SecondConnect => Reason::ProtocolError,
        }
    }

    /// The sentence.
    #[must_use]
    pub fn said(&self) -> Option<ReasonString> {
        self.reason().is_error().then(|| ReasonString::of(self))
    }
}

fn named(topic: Option<&TopicName>) -> String {
    topic.map_or_else(
        || "the topic of this alias".to_owned(),
        |topic| Name(topic.as_str()).to_string(),
    )
}

/// Why one filter was not granted; said after its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotGranted {
    #[error("{0}")]
    Invalid(TopicError),
    #[error("is a shared subscription, and there are none here")]
    Shared,
    #[error("is not within what this token may read")]
    Denied,
    #[error("is more than the {MAX_SUBSCRIPTIONS} subscriptions of a session")]
    TooMany,
    #[error("is more than the {} KiB of all filters of a session", MAX_SUBSCRIPTION_BYTES / 1024)]
    TooManyBytes,
    #[error("is more than the {MAX_SUBSCRIPTION_LEVELS} levels of all filters of a session")]
    TooManyLevels,
    #[error("adds levels to those of all filters, for which there is no room now")]
    NoRoom,
}

impl NotGranted {
    pub(crate) fn reason(self) -> Reason {
        match self {
            Self::Invalid(_) => Reason::TopicFilterInvalid,
            Self::Shared => Reason::SharedSubscriptionsNotSupported,
            Self::Denied => Reason::NotAuthorized,
            Self::TooMany | Self::TooManyBytes | Self::TooManyLevels | Self::NoRoom => Reason::QuotaExceeded,
        }
    }

    /// The sentence. `readable` is what the client may subscribe to, as far as there is room for it.
    pub(crate) fn said(self, filter: &str, readable: &[TopicFilter]) -> ReasonString {
        let mut said = format!("{} {self}", Name(filter));
        if self == Self::Denied {
            for (number, filter) in readable.iter().enumerate() {
                if said.len() > REASON_STRING_BYTES_MAX {
                    break;
                }
                said.push_str(if number == 0 { ": " } else { ", " });
                said.push_str(&Name(filter.as_str()).to_string());
            }
        }
        ReasonString::of(&said)
    }
}
