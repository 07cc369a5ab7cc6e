//! The few MQTT 3.1.1 packets that a measuring client needs, and no more.

/// A client that shows a password and wants no session.
pub(super) fn connect(client_id: &str, password: &str) -> Vec<u8> {
    const CLEAN_USER_PASSWORD: u8 = 0xC2;
    let mut body = b"\x00\x04MQTT\x04".to_vec();
    body.push(CLEAN_USER_PASSWORD);
    body.extend([0, 0]);
    for text in [client_id, "bench", password] {
        body.extend(field(text));
    }
    packet(0x10, &body)
}

pub(super) fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    let mut body = vec![0, 1];
    body.extend(field(filter));
    body.push(qos);
    packet(0x82, &body)
}

pub(super) fn publish(topic: &str, qos: u8, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = field(topic);
    if qos > 0 {
        body.extend(id.to_be_bytes());
    }
    body.extend(payload);
    packet(0x30 | qos << 1, &body)
}

pub(super) fn acknowledge(id: u16) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [0x40, 2, high, low]
}

/// The first whole packet in `bytes`: its first byte, its body, and how long it is.
pub(super) fn first(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let mut length = 0;
    for at in 1..=4 {
        let byte = *bytes.get(at)?;
        length |= usize::from(byte & 0x7F) << (7 * (at - 1));
        if byte & 0x80 == 0 {
            let (begin, end) = (at + 1, at + 1 + length);
            return Some((bytes[0], bytes.get(begin..end)?, end));
        }
    }
    None
}

/// What a PUBLISH says: its packet identifier, 0 with QoS 0, and its payload.
pub(super) fn published(first: u8, body: &[u8]) -> Option<(u16, &[u8])> {
    let topic = usize::from(u16::from_be_bytes([*body.first()?, *body.get(1)?]));
    let rest = body.get(2 + topic..)?;
    match first & 6 {
        0 => Some((0, rest)),
        _ => Some((u16::from_be_bytes([*rest.first()?, *rest.get(1)?]), &rest[2..])),
    }
}

fn field(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let low = u8::try_from(length & 0x7F).unwrap_or(0);
        length >>= 7;
        if length == 0 {
            packet.push(low);
            break;
        }
        packet.push(low | 0x80);
    }
    packet.extend(body);
    packet
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (qos, bytes) in [(0, 10), (1, 300), (1, 20_000)] {
            let payload = vec![7; bytes];
            let mut packet = publish("a/b", qos, 5, &payload);
            let whole = packet.len();
            packet.extend(acknowledge(1));
            let (first, body, length) = first(&packet).unwrap();
            assert_eq!(length, whole);
            let id = if qos == 0 { 0 } else { 5 };
            assert_eq!(published(first, body).unwrap(), (id, &payload[..]));
            assert_eq!(super::first(&packet[..whole - 1]), None);
        }
    }
}
