//! A client for the gateway's tests, over a pipe in memory, with rumqttd's codec of MQTT 5.

use std::future::ready;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use rumqttd::protocol::{
    Connect, ConnectProperties, Disconnect, DisconnectReasonCode, Error, Filter, LastWill, Login, Packet,
    Protocol, PubAck, PubAckReason, Publish, QoS, RetainForwardRule, Subscribe, Unsubscribe, v5::V5,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::Gateway;

/// How long anything may take.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);
const PIPE_BYTES: usize = 64 * 1024;

pub(super) struct Client {
    pipe: DuplexStream,
    unread: BytesMut,
    last_id: u16,
    /// What the answer to its CONNECT, or of late to a SUBSCRIBE, or the goodbye says in words.
    pub(super) said: Option<String>,
}

/// How a client comes.
#[derive(Clone)]
pub(super) struct Hello {
    pub(super) user: String,
    pub(super) client_id: String,
    pub(super) clean_start: bool,
    pub(super) expiry_s: u32,
    pub(super) will: Option<LastWill>,
    pub(super) max_packet_bytes: Option<u32>,
    /// Whether it wants to be told more than codes, where it says so.
    pub(super) problems: Option<u8>,
}

pub(super) fn hello(user: &str, client_id: &str) -> Hello {
    Hello {
        user: user.to_owned(),
        client_id: client_id.to_owned(),
        clean_start: true,
        expiry_s: 0,
        will: None,
        max_packet_bytes: None,
        problems: None,
    }
}

impl Client {
    /// Connects; gives whether the session was there, and the reason code.
    pub(super) async fn connect(gateway: &Gateway, hello: Hello) -> (Self, (bool, u8)) {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let gateway = gateway.clone();
        let seat = gateway.take_seat([127, 0, 0, 1].into()).unwrap();
        tokio::spawn(async move { gateway.serve(seat, ready(Ok(far))).await });
        let mut client = Self {
            pipe: near,
            unread: BytesMut::new(),
            last_id: 0,
            said: None,
        };
        let connect = Connect {
            keep_alive: 60,
            client_id: hello.client_id,
            clean_session: hello.clean_start,
        };
        let properties = ConnectProperties {
            session_expiry_interval: Some(hello.expiry_s),
            receive_maximum: None,
            max_packet_size: hello.max_packet_bytes,
            topic_alias_max: None,
            request_response_info: None,
            request_problem_info: hello.problems,
            user_properties: Vec::new(),
            authentication_method: None,
            authentication_data: None,
        };
        let login = Login {
            username: hello.user,
            password: String::new(),
        };
        let packet = Packet::Connect(connect, Some(properties), hello.will, None, Some(login));
        client.send(packet).await;
        let answer = tokio::time::timeout(DEADLINE, client.answer())
            .await
            .expect("an answer in time");
        (client, answer)
    }

    /// The CONNACK, which rumqttd's codec cannot read.
    async fn answer(&mut self) -> (bool, u8) {
        loop {
            if let [0x20, rest @ ..] = &self.unread[..]
                && let Some((length, rest)) = number(rest)
                && let Some((ack, _)) = rest.split_at_checked(length)
            {
                let answer = (ack[0] == 1, ack[1]);
                let properties = number(&ack[2..]).unwrap().1;
                // A refusal carries nothing else.
                self.said = properties
                    .strip_prefix(&[31])
                    .map(|text| String::from_utf8(text[2..].to_vec()).unwrap());
                let bytes = self.unread.len() - rest.len() + length;
                self.unread.advance(bytes);
                return answer;
            }
            assert_ne!(
                self.pipe.read_buf(&mut self.unread).await.unwrap(),
                0,
                "closed without an answer"
            );
        }
    }

    pub(super) async fn send(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        V5.write(packet, &mut bytes).unwrap();
        self.send_bytes(&bytes).await;
    }

    pub(super) async fn send_bytes(&mut self, bytes: &[u8]) {
        // It may be gone already.
        let _ = self.pipe.write_all(bytes).await;
    }

    /// The next packet, none when the connection is over.
    pub(super) async fn packet(&mut self) -> Option<Packet> {
        let next = async {
            loop {
                match V5.read_mut(&mut self.unread, usize::MAX) {
                    Ok(packet) => return Some(packet),
                    Err(Error::InsufficientBytes(_)) => {}
                    Err(error) => panic!("{error}"),
                }
                if self.pipe.read_buf(&mut self.unread).await.unwrap_or(0) == 0 {
                    return None;
                }
            }
        };
        tokio::time::timeout(DEADLINE, next)
            .await
            .expect("a packet in time")
    }

    /// Gives the code of the answer.
    pub(super) async fn subscribe(&mut self, filter: &str, qos: QoS) -> String {
        self.last_id += 1;
        let filter = Filter {
            path: filter.to_owned(),
            qos,
            nolocal: false,
            preserve_retain: false,
            retain_forward_rule: RetainForwardRule::OnEverySubscribe,
        };
        let subscribe = Subscribe {
            pkid: self.last_id,
            filters: vec![filter],
        };
        self.send(Packet::Subscribe(subscribe, None)).await;
        loop {
            match self.packet().await {
                Some(Packet::SubAck(ack, properties)) => {
                    self.said = properties.and_then(|said| said.reason_string);
                    return format!("{:?}", ack.return_codes[0]);
                }
                Some(_) => {}
                None => return "closed".to_owned(),
            }
        }
    }

    /// Until it is acknowledged, which rumqttd's codec cannot read. Messages that come meanwhile are let go.
    pub(super) async fn unsubscribe(&mut self, filter: &str) {
        self.last_id += 1;
        let unsubscribe = Unsubscribe {
            pkid: self.last_id,
            filters: vec![filter.to_owned()],
        };
        self.send(Packet::Unsubscribe(unsubscribe, None)).await;
        let acknowledged = async {
            loop {
                match self.unread[..] {
                    [0xB0, length, ref rest @ ..] if rest.len() >= usize::from(length) => {
                        return self.unread.advance(2 + usize::from(length));
                    }
                    [0xB0, ..] | [] => {
                        let bytes = self.pipe.read_buf(&mut self.unread).await.unwrap();
                        assert_ne!(bytes, 0, "closed without an answer");
                    }
                    _ => drop(self.packet().await),
                }
            }
        };
        let acknowledged = tokio::time::timeout(DEADLINE, acknowledged);
        acknowledged.await.expect("an answer in time");
    }

    pub(super) async fn publish(&mut self, topic: &str, payload: &str, retain: bool) {
        let publish = Publish::new(
            Bytes::copy_from_slice(topic.as_bytes()),
            Bytes::copy_from_slice(payload.as_bytes()),
            retain,
        );
        self.send(Packet::Publish(publish, None)).await;
    }

    /// The next message as topic and payload; acknowledged where that is asked for.
    pub(super) async fn message(&mut self) -> Option<(String, String)> {
        loop {
            match self.packet().await? {
                Packet::Publish(publish, _) => {
                    let (id, qos) = id_and_qos(&publish);
                    if qos == 1 {
                        let reason = PubAckReason::Success;
                        self.send(Packet::PubAck(PubAck { pkid: id, reason }, None)).await;
                    }
                    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                    return Some((text(&publish.topic), text(&publish.payload)));
                }
                Packet::Disconnect(..) => return None,
                _ => {}
            }
        }
    }

    /// All messages until one says `end`.
    pub(super) async fn messages_until_end(&mut self) -> Vec<(String, String)> {
        let mut messages = Vec::new();
        while let Some(message) = self.message().await {
            if message.1 == "end" {
                break;
            }
            messages.push(message);
        }
        messages
    }

    /// Waits for the goodbye, and gives its reason.
    pub(super) async fn ended(&mut self) -> Option<DisconnectReasonCode> {
        loop {
            if let Packet::Disconnect(Disconnect { reason_code }, properties) = self.packet().await? {
                self.said = properties.and_then(|said| said.reason_string);
                return Some(reason_code);
            }
        }
    }
}

/// A number of variable length, and what follows it.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let end = bytes.iter().take(4).position(|byte| byte & 0x80 == 0)?;
    let digits = bytes[..=end].iter().rev();
    let number = digits.fold(0, |number, digit| number << 7 | usize::from(digit & 0x7F));
    Some((number, &bytes[end + 1..]))
}

/// What rumqttd keeps to itself, out of what it shows.
fn id_and_qos(publish: &Publish) -> (u16, u8) {
    let mut bytes = BytesMut::new();
    V5.write(Packet::Publish(publish.clone(), None), &mut bytes)
        .unwrap();
    let qos = (bytes[0] >> 1) & 3;
    let header = 1 + bytes[1..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let at = header + 2 + publish.topic.len();
    let id = if qos == 0 {
        0
    } else {
        u16::from_be_bytes([bytes[at], bytes[at + 1]])
    };
    (id, qos)
}
