//! What a packet says, whatever version said it. Fields that 3.1.1 lacks have the value that means
//! "not said" there. Times are seconds, as on the wire.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::{Reason, ReasonString};
use crossdock_model::topic::TopicName;

/// A version of the protocol that is spoken here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1, level 4.
    V4,
    /// MQTT 5.0, level 5.
    V5,
}

/// How surely a message arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum QoS {
    /// Sent and forgotten.
    AtMostOnce = 0,
    /// Sent until it is acknowledged.
    AtLeastOnce = 1,
    /// Taken once, by a handshake of four packets.
    ExactlyOnce = 2,
}

/// When a subscription gets retained messages (MQTT 5.0, section 3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetainHandling {
    /// With every SUBSCRIBE.
    Always,
    /// Only where the subscription is new.
    IfNew,
    /// Not at all.
    Never,
}

/// A packet from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the fields are the specification's: packet identifier and reason"
)]
pub enum Incoming {
    Connect(Box<Connect>),
    Publish(Publish),
    PubAck {
        id: u16,
    },
    PubRec {
        id: u16,
        refused: bool,
    },
    PubRel {
        id: u16,
    },
    PubComp {
        id: u16,
    },
    Subscribe {
        id: u16,
        filters: Vec<SubscribeFilter>,
        subscription_id: Option<u32>,
    },
    Unsubscribe {
        id: u16,
        filters: Vec<String>,
    },
    PingReq,
    Disconnect {
        with_will: bool,
        session_expiry_s: Option<u32>,
    },
}

/// A packet to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the fields are the specification's: packet identifier and reason"
)]
pub enum Outgoing {
    ConnAck(Box<ConnAck>),
    Publish(PublishOut),
    PubAck {
        id: u16,
        reason: Reason,
        said: Option<ReasonString>,
    },
    PubRec {
        id: u16,
        reason: Reason,
        said: Option<ReasonString>,
    },
    PubRel {
        id: u16,
        reason: Reason,
    },
    PubComp {
        id: u16,
        reason: Reason,
    },
    /// One answer for each filter: what was granted, or why not; `said` is about the first that was not.
    SubAck {
        id: u16,
        granted: Vec<Result<QoS, Reason>>,
        said: Option<ReasonString>,
    },
    UnsubAck {
        id: u16,
        reasons: Vec<Reason>,
    },
    PingResp,
    /// 3.1.1 has none: nothing is written, the connection just ends.
    Disconnect {
        reason: Reason,
        said: Option<ReasonString>,
    },
}

/// What a client says of itself at first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// The version that the connection speaks from here on.
    pub version: Version,
    /// Empty where the server shall give one.
    pub client_id: String,
    /// Whether an older session is forgotten.
    pub clean_start: bool,
    /// Seconds between packets, 0 for no bound.
    pub keep_alive_s: u16,
    /// Seconds that the session outlives the connection; `u32::MAX` is for ever. 3.1.1 has it from its clean session flag.
    pub session_expiry_s: u32,
    /// How many QoS 1 and 2 messages the client takes unacknowledged; never 0.
    pub receive_maximum: u16,
    /// The largest packet that the client takes.
    pub max_packet_bytes: Option<u32>,
    /// Whether it wants to be told more than codes (MQTT 5.0, section 3.1.2.11.7).
    pub wants_problems: bool,
    /// Who it says it is.
    pub login: Option<Login>,
    /// What to publish when it goes without a word.
    pub will: Option<Will>,
    /// Whether it asks for enhanced authentication, of which there is none.
    pub wants_authentication: bool,
}

/// A user name and a password; the password is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// May be empty.
    pub user: String,
    /// May be empty.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A message for the time after a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// What is published.
    pub message: Message,
    /// Seconds to wait for the client to come back before.
    pub delay_s: u32,
}

/// What travels from a publisher to subscribers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it was published.
    pub topic: TopicName,
    /// What it carries.
    pub payload: Bytes,
    /// What the publisher asked for.
    pub qos: QoS,
    /// Whether it is the topic's state from now on.
    pub retain: bool,
    /// What goes with it in 5.0.
    pub properties: MessageProperties,
}

/// What MQTT 5.0 lets a publisher add; empty from 3.1.1 and never written to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageProperties {
    /// Whether the payload is declared to be UTF-8.
    pub is_text: bool,
    /// Seconds after which it is worthless.
    pub expiry_s: Option<u32>,
    /// Its media type.
    pub content_type: Option<String>,
    /// Where an answer is wanted.
    pub response_topic: Option<TopicName>,
    /// What the answer has to repeat.
    pub correlation: Option<Bytes>,
    /// Pairs that are passed on in their order.
    pub user: Vec<(String, String)>,
}

/// A message on its way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// None where an alias stands for it.
    pub topic: Option<TopicName>,
    /// The topic alias, never 0.
    pub alias: Option<u16>,
    /// 0 with QoS 0, else never.
    pub id: u16,
    /// Whether it may have come before.
    pub dup: bool,
    /// How surely.
    pub qos: QoS,
    /// Whether it becomes the topic's state.
    pub retain: bool,
    /// What it carries.
    pub payload: Bytes,
    /// What goes with it.
    pub properties: MessageProperties,
}

/// A message on its way out; shared by all who get it, but for what is the receiver's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishOut {
    /// What is sent.
    pub message: Arc<Message>,
    /// 0 with QoS 0, else never.
    pub id: u16,
    /// Whether it was sent before.
    pub dup: bool,
    /// The lower of what was published and what was subscribed to.
    pub qos: QoS,
    /// Whether it is told as retained.
    pub retain: bool,
    /// Seconds that are left of its expiry.
    pub expiry_s: Option<u32>,
    /// The identifiers of the subscriptions that it matches.
    pub subscription_ids: Vec<u32>,
}

/// One filter of a SUBSCRIBE, as text: each is answered by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribeFilter {
    /// What is asked for.
    pub text: String,
    /// The most that is wanted.
    pub qos: QoS,
    /// Whether the client's own messages are left out.
    pub no_local: bool,
    /// Whether the retain flag is passed on as published.
    pub retain_as_published: bool,
    /// When retained messages are sent.
    pub retain_handling: RetainHandling,
}

/// The answer to a CONNECT. What equals the protocol's default is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the specification's")]
pub struct ConnAck {
    pub session_present: bool,
    pub reason: Reason,
    pub said: Option<ReasonString>,
    pub session_expiry_s: Option<u32>,
    pub receive_maximum: Option<u16>,
    pub max_packet_bytes: Option<u32>,
    pub assigned_client_id: Option<String>,
    pub topic_alias_max: Option<u16>,
    pub server_keep_alive_s: Option<u16>,
    pub shared_subscriptions: bool,
}

impl ConnAck {
    /// An answer that says no more than this.
    #[must_use]
    pub fn bare(reason: Reason, said: Option<ReasonString>) -> Self {
        Self {
            session_present: false,
            reason,
            said,
            session_expiry_s: None,
            receive_maximum: None,
            max_packet_bytes: None,
            assigned_client_id: None,
            topic_alias_max: None,
            server_keep_alive_s: None,
            shared_subscriptions: true,
        }
    }
}
