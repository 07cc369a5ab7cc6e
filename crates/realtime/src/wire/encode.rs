//! From packets to bytes, as the connection's version has them. rumqttd's writer panics at properties
//! in 3.1.1 and at reasons that a packet cannot carry, so it is given only what it can write; and it
//! loses a DISCONNECT's reason or writes a byte after its end, so that is written here.

use bytes::{BufMut, Bytes, BytesMut};
use rumqttd::protocol::{self, Packet, Protocol, v4::V4, v5::V5};

use super::walk::DISCONNECT;
use super::{ConnAck, Outgoing, PublishOut, QoS, Reason, ReasonString, Version, WireError};

const UNAVAILABLE: u8 = 0;
/// The identifier of a Reason String (MQTT 5.0, section 2.2.2.2).
const REASON_STRING: u8 = 31;

/// What one client takes.
#[derive(Debug, Clone, Copy)]
pub struct Takes {
    /// What it speaks.
    pub version: Version,
    /// The largest packet.
    pub max_packet_bytes: usize,
    /// Whether it is told in words what was refused: if not, only a CONNACK and a DISCONNECT may (MQTT 5.0, section 3.1.2.11.7).
    pub problems: bool,
}

/// Writes a packet after what `buffer` holds, without its Reason String where the client does not want it or the packet
/// would be too large with it (MQTT 5.0, sections 3.1.2.11.7 and 3.2.2.3.9). Gives how many bytes that was.
///
/// # Errors
/// As [`encode`].
pub fn encode_for(takes: Takes, packet: &Outgoing, buffer: &mut BytesMut) -> Result<usize, WireError> {
    let before = buffer.len();
    let always = matches!(packet, Outgoing::ConnAck(_) | Outgoing::Disconnect { .. });
    if takes.problems || always {
        let bytes = encode(takes.version, packet, buffer)?;
        if bytes <= takes.max_packet_bytes {
            return Ok(bytes);
        }
        buffer.truncate(before);
    }
    write(takes.version, packet, false, buffer)
}

/// Writes a packet after what `buffer` holds, and gives how many bytes that was. What a version lacks
/// is left out: in 3.1.1 a DISCONNECT and a CONNACK without a code for its reason write nothing.
///
/// # Errors
/// If the packet is larger than the protocol can frame; `buffer` is as before.
pub fn encode(version: Version, packet: &Outgoing, buffer: &mut BytesMut) -> Result<usize, WireError> {
    write(version, packet, true, buffer)
}

fn write(
    version: Version,
    packet: &Outgoing,
    with_said: bool,
    buffer: &mut BytesMut,
) -> Result<usize, WireError> {
    let before = buffer.len();
    if let (Outgoing::Disconnect { reason, said }, Version::V5) = (packet, version) {
        disconnect(*reason, said.as_ref().filter(|_| with_said), buffer);
        return Ok(buffer.len() - before);
    }
    let Some(packet) = convert(version, packet, with_said)? else {
        return Ok(0);
    };
    let written = match version {
        Version::V4 => V4.write(packet, buffer),
        Version::V5 => V5.write(packet, buffer),
    };
    written.map_err(|error| {
        buffer.truncate(before);
        WireError::Malformed {
            packet: "outgoing packet",
            what: error.to_string(),
        }
    })?;
    Ok(buffer.len() - before)
}

fn disconnect(reason: Reason, said: Option<&ReasonString>, buffer: &mut BytesMut) {
    let mut properties = BytesMut::new();
    if let Some(said) = said.map(ReasonString::as_str) {
        properties.put_u8(REASON_STRING);
        properties.put_u16(u16::try_from(said.len()).unwrap_or(0));
        properties.extend_from_slice(said.as_bytes());
    }
    let mut body = BytesMut::new();
    body.put_u8(reason.code());
    put_length(properties.len(), &mut body);
    body.extend_from_slice(&properties);
    buffer.put_u8(DISCONNECT << 4);
    put_length(body.len(), buffer);
    buffer.extend_from_slice(&body);
}

/// A number in as few bytes as it needs (MQTT 5.0, section 1.5.5).
fn put_length(mut length: usize, buffer: &mut BytesMut) {
    while length > 0x7F {
        buffer.put_u8(0x80 | length.to_le_bytes()[0]);
        length >>= 7;
    }
    buffer.put_u8(length.to_le_bytes()[0]);
}

fn convert(version: Version, packet: &Outgoing, with_said: bool) -> Result<Option<Packet>, WireError> {
    let v5 = version == Version::V5;
    let text = |said: &Option<ReasonString>| {
        let said = said.as_ref().filter(|_| v5 && with_said);
        said.map(|said| said.as_str().to_owned())
    };
    Ok(Some(match packet {
        Outgoing::ConnAck(ack) => {
            let code = if v5 {
                connect_code_v5(ack.reason)
            } else {
                connect_code_v4(ack.reason)
            };
            let Some(code) = code else { return Ok(None) };
            let ack_packet = protocol::ConnAck {
                session_present: ack.session_present,
                code,
            };
            Packet::ConnAck(ack_packet, v5.then(|| connack_properties(ack, text(&ack.said))))
        }
        Outgoing::Publish(publish) => Packet::Publish(
            publish_packet(publish)?,
            v5.then(|| publish_properties(publish)).flatten(),
        ),
        Outgoing::PubAck { id, reason, said } => Packet::PubAck(
            protocol::PubAck {
                pkid: *id,
                reason: puback_reason(*reason),
            },
            text(said).map(|said| protocol::PubAckProperties {
                reason_string: Some(said),
                user_properties: Vec::new(),
            }),
        ),
        Outgoing::PubRec { id, reason, said } => Packet::PubRec(
            protocol::PubRec {
                pkid: *id,
                reason: pubrec_reason(*reason),
            },
            text(said).map(|said| protocol::PubRecProperties {
                reason_string: Some(said),
                user_properties: Vec::new(),
            }),
        ),
        Outgoing::PubRel { id, reason } => {
            use protocol::PubRelReason::{PacketIdentifierNotFound, Success};
            let reason = if reason.is_error() {
                PacketIdentifierNotFound
            } else {
                Success
            };
            Packet::PubRel(protocol::PubRel { pkid: *id, reason }, None)
        }
        Outgoing::PubComp { id, reason } => {
            use protocol::PubCompReason::{PacketIdentifierNotFound, Success};
            let reason = if reason.is_error() {
                PacketIdentifierNotFound
            } else {
                Success
            };
            Packet::PubComp(protocol::PubComp { pkid: *id, reason }, None)
        }
        Outgoing::SubAck { id, granted, said } => {
            let return_codes = granted
                .iter()
                .map(|granted| subscribe_code(v5, *granted))
                .collect();
            Packet::SubAck(
                protocol::SubAck {
                    pkid: *id,
                    return_codes,
                },
                text(said).map(|said| protocol::SubAckProperties {
                    reason_string: Some(said),
                    user_properties: Vec::new(),
                }),
            )
        }
        Outgoing::UnsubAck { id, reasons } => {
            let reasons = reasons.iter().map(|reason| unsubscribe_code(*reason)).collect();
            Packet::UnsubAck(protocol::UnsubAck { pkid: *id, reasons }, None)
        }
        Outgoing::PingResp => Packet::PingResp(protocol::PingResp),
        Outgoing::Disconnect { .. } => return Ok(None),
    }))
}

/// rumqttd keeps a PUBLISH's QoS, identifier and duplicate flag to itself; they are set by its form
/// for storing: flags, identifier, topic with its length, payload.
fn publish_packet(publish: &PublishOut) -> Result<protocol::Publish, WireError> {
    let message = &publish.message;
    let topic = message.topic.as_str().as_bytes();
    let too_long = |_| WireError::Malformed {
        packet: "PUBLISH",
        what: "the topic is too long".to_owned(),
    };
    let topic_bytes = u16::try_from(topic.len()).map_err(too_long)?;
    let mut stored = BytesMut::with_capacity(5 + topic.len());
    let dup = u8::from(publish.dup && publish.qos != QoS::AtMostOnce);
    stored.put_u8(0x30 | dup << 3 | (publish.qos as u8) << 1 | u8::from(publish.retain));
    stored.put_u16(if publish.qos == QoS::AtMostOnce {
        0
    } else {
        publish.id
    });
    stored.put_u16(topic_bytes);
    stored.extend_from_slice(topic);
    let mut packet = protocol::Publish::deserialize(stored.freeze());
    packet.payload = Bytes::clone(&message.payload);
    Ok(packet)
}

fn publish_properties(publish: &PublishOut) -> Option<protocol::PublishProperties> {
    let from = &publish.message.properties;
    let properties = protocol::PublishProperties {
        payload_format_indicator: from.is_text.then_some(1),
        message_expiry_interval: publish.expiry_s,
        topic_alias: None,
        response_topic: from.response_topic.as_ref().map(ToString::to_string),
        correlation_data: from.correlation.clone(),
        user_properties: from.user.clone(),
        subscription_identifiers: publish
            .subscription_ids
            .iter()
            .filter_map(|id| usize::try_from(*id).ok())
            .collect(),
        content_type: from.content_type.clone(),
    };
    (properties != protocol::PublishProperties::default()).then_some(properties)
}

fn connack_properties(ack: &ConnAck, said: Option<String>) -> protocol::ConnAckProperties {
    protocol::ConnAckProperties {
        reason_string: said,
        session_expiry_interval: ack.session_expiry_s,
        receive_max: ack.receive_maximum,
        max_packet_size: ack.max_packet_bytes,
        assigned_client_identifier: ack.assigned_client_id.clone(),
        topic_alias_max: ack.topic_alias_max,
        server_keep_alive: ack.server_keep_alive_s,
        shared_subscription_available: (!ack.shared_subscriptions).then_some(UNAVAILABLE),
        ..protocol::ConnAckProperties::default()
    }
}

fn connect_code_v4(reason: Reason) -> Option<protocol::ConnectReturnCode> {
    use protocol::ConnectReturnCode as Code;
    Some(match reason {
        Reason::Success => Code::Success,
        Reason::UnsupportedProtocolVersion => Code::RefusedProtocolVersion,
        Reason::ClientIdNotValid => Code::ClientIdentifierNotValid,
        Reason::ServerUnavailable | Reason::ConnectionRateExceeded | Reason::QuotaExceeded => {
            Code::ServiceUnavailable
        }
        Reason::BadUserNameOrPassword => Code::BadUserNamePassword,
        Reason::NotAuthorized => Code::NotAuthorized,
        _ => return None,
    })
}

fn connect_code_v5(reason: Reason) -> Option<protocol::ConnectReturnCode> {
    use protocol::ConnectReturnCode as Code;
    Some(match reason {
        Reason::Success => Code::Success,
        Reason::MalformedPacket => Code::MalformedPacket,
        Reason::ProtocolError => Code::ProtocolError,
        Reason::UnsupportedProtocolVersion => Code::UnsupportedProtocolVersion,
        Reason::ClientIdNotValid => Code::ClientIdentifierNotValid,
        Reason::BadUserNameOrPassword => Code::BadUserNamePassword,
        Reason::NotAuthorized => Code::NotAuthorized,
        Reason::ServerUnavailable => Code::ServerUnavailable,
        Reason::BadAuthenticationMethod => Code::BadAuthenticationMethod,
        Reason::TopicNameInvalid => Code::TopicNameInvalid,
        Reason::PacketTooLarge => Code::PacketTooLarge,
        Reason::QuotaExceeded => Code::QuotaExceeded,
        Reason::ConnectionRateExceeded => Code::ConnectionRateExceeded,
        _ => Code::UnspecifiedError,
    })
}

fn puback_reason(reason: Reason) -> protocol::PubAckReason {
    use protocol::PubAckReason as Code;
    match reason {
        Reason::Success => Code::Success,
        Reason::NotAuthorized => Code::NotAuthorized,
        Reason::TopicNameInvalid => Code::TopicNameInvalid,
        Reason::PacketIdInUse => Code::PacketIdentifierInUse,
        Reason::QuotaExceeded => Code::QuotaExceeded,
        _ => Code::UnspecifiedError,
    }
}

fn pubrec_reason(reason: Reason) -> protocol::PubRecReason {
    use protocol::PubRecReason as Code;
    match reason {
        Reason::Success => Code::Success,
        Reason::NotAuthorized => Code::NotAuthorized,
        Reason::TopicNameInvalid => Code::TopicNameInvalid,
        Reason::PacketIdInUse => Code::PacketIdentifierInUse,
        Reason::QuotaExceeded => Code::QuotaExceeded,
        _ => Code::UnspecifiedError,
    }
}

fn subscribe_code(v5: bool, granted: Result<QoS, Reason>) -> protocol::SubscribeReasonCode {
    use protocol::SubscribeReasonCode as Code;
    match granted {
        Ok(QoS::AtMostOnce) => Code::QoS0,
        Ok(QoS::AtLeastOnce) => Code::QoS1,
        Ok(QoS::ExactlyOnce) => Code::QoS2,
        Err(_) if !v5 => Code::Failure,
        Err(Reason::NotAuthorized) => Code::NotAuthorized,
        Err(Reason::TopicFilterInvalid) => Code::TopicFilterInvalid,
        Err(Reason::PacketIdInUse) => Code::PkidInUse,
        Err(Reason::QuotaExceeded) => Code::QuotaExceeded,
        Err(Reason::SharedSubscriptionsNotSupported) => Code::SharedSubscriptionsNotSupported,
        Err(_) => Code::Unspecified,
    }
}

fn unsubscribe_code(reason: Reason) -> protocol::UnsubAckReason {
    use protocol::UnsubAckReason as Code;
    match reason {
        Reason::Success => Code::Success,
        Reason::NoSubscriptionExisted => Code::NoSubscriptionExisted,
        Reason::NotAuthorized => Code::NotAuthorized,
        Reason::TopicFilterInvalid => Code::TopicFilterInvalid,
        Reason::PacketIdInUse => Code::PacketIdentifierInUse,
        _ => Code::UnspecifiedError,
    }
}
