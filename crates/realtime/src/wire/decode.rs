//! From bytes to packets. A frame is measured first, then walked, and only then given to rumqttd's
//! codec, inside a guard: no input may end the task that reads.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::{Buf, Bytes, BytesMut};
use rumqttd::protocol::{self, Packet, Protocol, v4::V4, v5::V5};

use super::walk::{self, walk};
use super::{
    Connect, Incoming, Login, MAX_CONNECT_BYTES, Message, MessageProperties, Publish, QoS, RetainHandling,
    SubscribeFilter, Version, Will, WireError,
};
use crossdock_model::topic::TopicName;

const FIXED_HEADER_MAX_BYTES: usize = 5;
const MQTT: &[u8] = b"\x00\x04MQTT";
const MQTT_3_1: &[u8] = b"\x00\x06MQIsdp";
const DEFAULT_RECEIVE_MAXIMUM: u16 = u16::MAX;
const NEVER_EXPIRES_S: u32 = u32::MAX;

/// The reading side of one connection. The first packet is a CONNECT and says the version of all others.
#[derive(Debug)]
pub struct Decoder {
    version: Option<Version>,
    max_packet_bytes: usize,
}

impl Decoder {
    /// A new connection's; `max_packet_bytes` holds once the CONNECT is in, [`MAX_CONNECT_BYTES`] until then.
    #[must_use]
    pub fn new(max_packet_bytes: usize) -> Self {
        Self {
            version: None,
            max_packet_bytes,
        }
    }

    /// What the connection speaks, known once its CONNECT has said so.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// Takes the next whole packet off `buffer`, or none until there is one. The limit holds for a
    /// packet's announced size, so that a buffer never has to hold more.
    ///
    /// # Errors
    /// Says what is wrong; nothing after it can be read.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Incoming>, WireError> {
        let Some(&first) = buffer.first() else {
            return Ok(None);
        };
        let packet =
            walk::name(first >> 4).ok_or(WireError::Protocol("a packet that only a server sends"))?;
        if self.version.is_some() == (packet == "CONNECT") {
            return Err(WireError::Protocol(
                "a CONNECT is the first packet and comes once",
            ));
        }
        let limit = match self.version {
            Some(_) => self.max_packet_bytes,
            None => self.max_packet_bytes.min(MAX_CONNECT_BYTES),
        };
        let Some((header, body)) = measure(packet, buffer)? else {
            return Ok(None);
        };
        let bytes = header + body;
        if bytes > limit {
            return Err(WireError::TooLarge { bytes, limit });
        }
        if buffer.len() < bytes {
            return Ok(None);
        }
        let frame = buffer.split_to(bytes);
        let version = match self.version {
            Some(version) => version,
            None => announced(&frame[header..])?,
        };
        // Known from here on, if only to be told what is wrong.
        self.version = Some(version);
        walk(version, &frame, header)?;
        let id = publish_id(first, &frame[header..]);
        let decoded = convert(version, first, id, read(version, packet, frame)?)?;
        Ok(Some(decoded))
    }
}

/// The sizes of a packet's fixed header and of what follows, none until the header is in.
fn measure(packet: &'static str, buffer: &[u8]) -> Result<Option<(usize, usize)>, WireError> {
    let mut body = 0;
    for at in 1..FIXED_HEADER_MAX_BYTES {
        let Some(&byte) = buffer.get(at) else {
            return Ok(None);
        };
        body |= usize::from(byte & 0x7F) << (7 * (at - 1));
        if byte & 0x80 == 0 {
            return Ok(Some((at + 1, body)));
        }
    }
    Err(WireError::Malformed {
        packet,
        what: "a length of more than 4 bytes".to_owned(),
    })
}

/// The version that a CONNECT says.
fn announced(body: &[u8]) -> Result<Version, WireError> {
    let level = |name: &[u8]| body.strip_prefix(name).and_then(<[u8]>::first).copied();
    match (level(MQTT), level(MQTT_3_1)) {
        (Some(4), _) => Ok(Version::V4),
        (Some(5), _) => Ok(Version::V5),
        (Some(other), _) | (_, Some(other)) => Err(WireError::Version(other)),
        (None, None) => {
            let what = "the protocol is not named MQTT".to_owned();
            Err(WireError::Malformed {
                packet: "CONNECT",
                what,
            })
        }
    }
}

fn read(version: Version, packet: &'static str, mut frame: BytesMut) -> Result<Packet, WireError> {
    if version == Version::V5 && frame.len() == 3 && frame[0] >> 4 == walk::DISCONNECT {
        // A reason without properties, which rumqttd takes for a packet that is not whole yet.
        frame[1] = 2;
        frame.extend_from_slice(&[0]);
    }
    let decoded = catch_unwind(AssertUnwindSafe(|| match version {
        Version::V4 => V4.read_mut(&mut frame, usize::MAX),
        Version::V5 => V5.read_mut(&mut frame, usize::MAX),
    }));
    let what = match decoded {
        Ok(Ok(read)) => return Ok(read),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the codec gave up".to_owned(),
    };
    Err(WireError::Malformed { packet, what })
}

/// The packet identifier of a walked PUBLISH, which rumqttd keeps to itself; 0 with QoS 0.
fn publish_id(first: u8, mut body: &[u8]) -> u16 {
    if first >> 4 != walk::PUBLISH || first & 6 == 0 {
        return 0;
    }
    let topic = usize::from(body.get_u16());
    body.advance(topic);
    body.get_u16()
}

fn convert(version: Version, first: u8, id: u16, packet: Packet) -> Result<Incoming, WireError> {
    Ok(match packet {
        Packet::Connect(connect, properties, will, will_properties, login) => {
            let will = will.map(|will| convert_will(will, will_properties)).transpose()?;
            Incoming::Connect(Box::new(convert_connect(
                version, connect, properties, will, login,
            )))
        }
        Packet::Publish(publish, properties) => {
            Incoming::Publish(convert_publish(first, id, publish, properties)?)
        }
        Packet::PubAck(ack, _) => Incoming::PubAck { id: ack.pkid },
        Packet::PubRec(rec, _) => {
            use protocol::PubRecReason::{NoMatchingSubscribers, Success};
            Incoming::PubRec {
                id: rec.pkid,
                refused: !matches!(rec.reason, Success | NoMatchingSubscribers),
            }
        }
        Packet::PubRel(rel, _) => Incoming::PubRel { id: rel.pkid },
        Packet::PubComp(comp, _) => Incoming::PubComp { id: comp.pkid },
        Packet::Subscribe(subscribe, properties) => Incoming::Subscribe {
            id: subscribe.pkid,
            filters: subscribe.filters.into_iter().map(convert_filter).collect(),
            subscription_id: properties
                .and_then(|properties| properties.id)
                .and_then(|id| u32::try_from(id).ok()),
        },
        Packet::Unsubscribe(unsubscribe, _) => Incoming::Unsubscribe {
            id: unsubscribe.pkid,
            filters: unsubscribe.filters,
        },
        Packet::PingReq(_) => Incoming::PingReq,
        Packet::Disconnect(disconnect, properties) => Incoming::Disconnect {
            with_will: disconnect.reason_code != protocol::DisconnectReasonCode::NormalDisconnection,
            session_expiry_s: properties.and_then(|properties| properties.session_expiry_interval),
        },
        Packet::ConnAck(..) | Packet::SubAck(..) | Packet::UnsubAck(..) | Packet::PingResp(_) => {
            return Err(WireError::Protocol("a packet that only a server sends"));
        }
    })
}

fn convert_connect(
    version: Version,
    connect: protocol::Connect,
    properties: Option<protocol::ConnectProperties>,
    will: Option<Will>,
    login: Option<protocol::Login>,
) -> Connect {
    let said = properties.as_ref();
    let session_expiry_s = match version {
        Version::V4 if connect.clean_session => 0,
        Version::V4 => NEVER_EXPIRES_S,
        Version::V5 => said.and_then(|said| said.session_expiry_interval).unwrap_or(0),
    };
    Connect {
        version,
        client_id: connect.client_id,
        clean_start: connect.clean_session,
        keep_alive_s: connect.keep_alive,
        session_expiry_s,
        receive_maximum: said
            .and_then(|said| said.receive_maximum)
            .unwrap_or(DEFAULT_RECEIVE_MAXIMUM),
        max_packet_bytes: said.and_then(|said| said.max_packet_size),
        wants_problems: said.and_then(|said| said.request_problem_info) != Some(0),
        login: login.map(|login| Login {
            user: login.username,
            password: login.password,
        }),
        will,
        wants_authentication: said
            .is_some_and(|said| said.authentication_method.is_some() || said.authentication_data.is_some()),
    }
}

fn convert_will(
    will: protocol::LastWill,
    properties: Option<protocol::LastWillProperties>,
) -> Result<Will, WireError> {
    let delay_s = properties
        .as_ref()
        .and_then(|said| said.delay_interval)
        .unwrap_or(0);
    let properties = match properties {
        None => MessageProperties::default(),
        Some(said) => MessageProperties {
            is_text: said.payload_format_indicator == Some(1),
            expiry_s: said.message_expiry_interval,
            content_type: said.content_type,
            response_topic: said.response_topic.as_deref().map(TopicName::new).transpose()?,
            correlation: said.correlation_data.as_ref().map(own),
            user: said.user_properties,
        },
    };
    let message = Message {
        topic: topic(&will.topic)?,
        payload: own(&will.message),
        qos: convert_qos(will.qos),
        retain: will.retain,
        properties,
    };
    Ok(Will { message, delay_s })
}

/// A copy: the codec gives a slice, which would keep all that was read with it for as long as itself.
fn own(slice: &Bytes) -> Bytes {
    Bytes::copy_from_slice(slice)
}

fn convert_publish(
    first: u8,
    id: u16,
    publish: protocol::Publish,
    properties: Option<protocol::PublishProperties>,
) -> Result<Publish, WireError> {
    let said = properties.unwrap_or_default();
    if publish.topic.is_empty() && said.topic_alias.is_none() {
        return Err(WireError::Topic(crossdock_model::topic::TopicError::Empty));
    }
    Ok(Publish {
        topic: (!publish.topic.is_empty())
            .then(|| topic(&publish.topic))
            .transpose()?,
        alias: said.topic_alias,
        id,
        dup: first & 8 != 0,
        qos: match (first >> 1) & 3 {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        },
        retain: publish.retain,
        payload: publish.payload,
        properties: MessageProperties {
            is_text: said.payload_format_indicator == Some(1),
            expiry_s: said.message_expiry_interval,
            content_type: said.content_type,
            response_topic: said.response_topic.as_deref().map(TopicName::new).transpose()?,
            correlation: said.correlation_data.as_ref().map(own),
            user: said.user_properties,
        },
    })
}

fn topic(bytes: &[u8]) -> Result<TopicName, WireError> {
    let malformed = |_| WireError::Malformed {
        packet: "PUBLISH",
        what: "a topic is not UTF-8".to_owned(),
    };
    Ok(TopicName::new(std::str::from_utf8(bytes).map_err(malformed)?)?)
}

fn convert_filter(filter: protocol::Filter) -> SubscribeFilter {
    SubscribeFilter {
        text: filter.path,
        qos: convert_qos(filter.qos),
        no_local: filter.nolocal,
        retain_as_published: filter.preserve_retain,
        retain_handling: match filter.retain_forward_rule {
            protocol::RetainForwardRule::OnEverySubscribe => RetainHandling::Always,
            protocol::RetainForwardRule::OnNewSubscribe => RetainHandling::IfNew,
            protocol::RetainForwardRule::Never => RetainHandling::Never,
        },
    }
}

fn convert_qos(qos: protocol::QoS) -> QoS {
    match qos {
        protocol::QoS::AtMostOnce => QoS::AtMostOnce,
        protocol::QoS::AtLeastOnce => QoS::AtLeastOnce,
        protocol::QoS::ExactlyOnce => QoS::ExactlyOnce,
    }
}
