//! The few packets of MQTT 3.1.1 that the load needs, as bytes, and WebSocket's frames around them.

/// Packet types, as the upper half of the first byte.
pub(crate) const CONNACK: u8 = 2;
pub(crate) const PUBLISH: u8 = 3;
pub(crate) const SUBACK: u8 = 9;

/// A CONNECT with a clean session and no keep-alive.
pub(crate) fn connect(client_id: &str, login: Option<(&str, &str)>) -> Vec<u8> {
    const CLEAN: u8 = 0x02;
    const USER_AND_PASSWORD: u8 = 0xC0;
    let flags = CLEAN | if login.is_some() { USER_AND_PASSWORD } else { 0 };
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, flags, 0, 0];
    text(&mut body, client_id);
    if let Some((user, password)) = login {
        text(&mut body, user);
        text(&mut body, password);
    }
    packet(0x10, &body)
}

/// A SUBSCRIBE to one filter.
pub(crate) fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    let mut body = vec![0, 1];
    text(&mut body, filter);
    body.push(qos);
    packet(0x82, &body)
}

/// A PUBLISH; `id` counts only with QoS 1.
pub(crate) fn publish(topic: &str, qos: u8, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(topic.len() + payload.len() + 4);
    text(&mut body, topic);
    if qos > 0 {
        body.extend(id.to_be_bytes());
    }
    body.extend(payload);
    packet(0x30 | (qos << 1), &body)
}

/// The acknowledgement of a PUBLISH with QoS 1.
pub(crate) fn puback(id: u16) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [0x40, 2, high, low]
}

fn text(body: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("texts of the load are short");
    body.extend(length.to_be_bytes());
    body.extend(text.as_bytes());
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut left = body.len();
    loop {
        let digit = (left % 128) as u8;
        left /= 128;
        bytes.push(if left > 0 { digit | 0x80 } else { digit });
        if left == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

/// Where the first packet of `bytes` has its body and ends; none while it is not whole.
pub(crate) fn first_packet(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0_usize;
    for at in 1..=4 {
        let digit = *bytes.get(at)?;
        length |= usize::from(digit & 0x7F) << (7 * (at - 1));
        if digit & 0x80 == 0 {
            let end = at + 1 + length;
            return (bytes.len() >= end).then_some((at + 1, end));
        }
    }
    None
}

/// A PUBLISH taken apart: its packet identifier (0 with QoS 0) and its payload.
pub(crate) fn published(packet: &[u8], body: usize) -> Option<(u16, &[u8])> {
    let topic = usize::from(u16::from_be_bytes([*packet.get(body)?, *packet.get(body + 1)?]));
    let after = body + 2 + topic;
    if packet[0] & 0x06 == 0 {
        return Some((0, packet.get(after..)?));
    }
    let id = u16::from_be_bytes([*packet.get(after)?, *packet.get(after + 1)?]);
    Some((id, packet.get(after + 2..)?))
}

/// The request that turns HTTP into WebSocket.
pub(crate) fn upgrade(host: &str, path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
    )
    .into_bytes()
}

/// A masked binary frame; the mask is nought, which leaves the bytes as they are.
pub(crate) fn frame(bytes: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82];
    match u16::try_from(bytes.len()) {
        Ok(length) if length < 126 => frame.push(0x80 | length as u8),
        Ok(length) => {
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
        Err(_) => panic!("packets over WebSocket are short here"),
    }
    frame.extend([0; 4]);
    frame.extend(bytes);
    frame
}
