//! Messages made to harm whoever receives them.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crossdock_bus::{HeaderValue, Lane};
use crossdock_testkit::TestBroker;
use tokio::time::timeout;
use url::Url;

use crate::support::{DEADLINE, broker, declare, number, publisher};

/// A client that publishes whatever bytes it is told to, with confirms.
struct RawClient {
    stream: TcpStream,
    published: u64,
    unconfirmed: BTreeSet<u64>,
}

impl RawClient {
    fn connect(url: &str) -> Self {
        let url = Url::parse(url).unwrap();
        let stream = TcpStream::connect((url.host_str().unwrap(), url.port().unwrap())).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut client = Self {
            stream,
            published: 0,
            unconfirmed: BTreeSet::new(),
        };
        client.stream.write_all(b"AMQP\x00\x00\x09\x01").unwrap();
        client.receive();
        let plain = format!("\0{}\0{}", url.username(), url.password().unwrap());
        let start_ok = [
            &[0, 10, 0, 11, 0, 0, 0, 0][..],
            &short(b"PLAIN"),
            &long(plain.as_bytes()),
            &short(b"en_US"),
        ];
        client.send(1, 0, &start_ok.concat());
        client.receive();
        client.send(
            1,
            0,
            &[
                &[0, 10, 0, 31, 0x07, 0xff][..],
                &(128 * 1024_u32).to_be_bytes(),
                &[0, 0],
            ]
            .concat(),
        );
        client.send(
            1,
            0,
            &[&[0, 10, 0, 40][..], &short(&url.path().as_bytes()[1..]), &[0, 0]].concat(),
        );
        client.receive();
        client.send(1, 1, &[0, 20, 0, 10, 0]);
        client.receive();
        client.send(1, 1, &[0, 85, 0, 10, 0]);
        client.receive();
        client
    }

    /// Publishes to the default exchange; `headers` are the entries of the table, encoded.
    fn publish(&mut self, routing_key: &[u8], headers: &[u8], body: &[u8]) {
        self.publish_to(b"", routing_key, headers, body);
    }

    fn publish_to(&mut self, exchange: &[u8], routing_key: &[u8], headers: &[u8], body: &[u8]) {
        self.send(
            1,
            1,
            &[
                &[0, 60, 0, 40, 0, 0][..],
                &short(exchange),
                &short(routing_key),
                &[0],
            ]
            .concat(),
        );
        let size = (body.len() as u64).to_be_bytes();
        self.send(
            2,
            1,
            &[&[0, 60, 0, 0][..], &size, &[0x20, 0], &long(headers)].concat(),
        );
        self.send(3, 1, body);
        self.published += 1;
        self.unconfirmed.insert(self.published);
    }

    /// Returns when RabbitMQ has taken everything.
    fn finish(mut self) {
        while !self.unconfirmed.is_empty() {
            let ack = self.receive();
            assert_eq!(ack[..4], [0, 60, 0, 80], "{}", String::from_utf8_lossy(&ack));
            let tag = u64::from_be_bytes(ack[4..12].try_into().unwrap());
            if ack[12] == 1 {
                self.unconfirmed = self.unconfirmed.split_off(&(tag + 1));
            } else {
                self.unconfirmed.remove(&tag);
            }
        }
        self.send(1, 1, &[0, 20, 0, 40, 0, 200, 0, 0, 0, 0, 0]);
        let answer = self.receive();
        assert_eq!(
            answer[..4],
            [0, 20, 0, 41],
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }

    fn send(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let [high, low] = channel.to_be_bytes();
        self.stream
            .write_all(&[&[kind, high, low][..], &long(payload), &[0xce]].concat())
            .unwrap();
    }

    fn receive(&mut self) -> Vec<u8> {
        let mut head = [0; 7];
        self.stream.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes(head[3..].try_into().unwrap()) as usize;
        let mut rest = vec![0; length + 1];
        self.stream.read_exact(&mut rest).unwrap();
        rest.truncate(length);
        rest
    }
}

fn short(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// An array within an array within an array.
fn nested(levels: usize) -> Vec<u8> {
    (0..levels).fold(Vec::new(), |inner, _| [&b"A"[..], &long(&inner)].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_nested_without_end_harm_nobody() {
    let vhost = TestBroker::vhost().await;
    declare(&vhost.broker_url, "work", &[]).await;
    let url = vhost.broker_url.clone();
    tokio::task::spawn_blocking(move || {
        let mut client = RawClient::connect(&url);
        client.publish(b"work", &[short(b"deep"), nested(25_000)].concat(), b"1");
        client.publish(b"work", &[short(b"usual"), nested(3)].concat(), b"2");
        client.finish();
    })
    .await
    .unwrap();
    let mut lane = Lane::open(&broker(&vhost.broker_url), "work", 10, "test")
        .await
        .unwrap();
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(
            timeout(DEADLINE, lane.next_batch(10, Duration::ZERO))
                .await
                .unwrap()
                .unwrap(),
        );
    }
    assert_eq!(seen.iter().map(number).collect::<Vec<_>>(), [1, 2]);
    assert!(matches!(seen[0].properties.headers["deep"], HeaderValue::List(_)));
    let usual = HeaderValue::List(vec![HeaderValue::List(vec![HeaderValue::List(vec![])])]);
    assert_eq!(seen[1].properties.headers["usual"], usual);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_not_utf8_arrive_readable() {
    let vhost = TestBroker::vhost().await;
    let url = vhost.broker_url.clone();
    declare(&url, "work", &[]).await;
    let (_connection, channel) = crate::support::channel(&url).await;
    channel
        .queue_bind(
            "work".into(),
            "amq.fanout".into(),
            "".into(),
            Default::default(),
            Default::default(),
        )
        .await
        .unwrap();
    tokio::task::spawn_blocking(move || {
        let mut client = RawClient::connect(&url);
        client.publish_to(
            b"amq.fanout",
            b"caf\xe9",
            &[short(b"gr\xfc\xdfe"), b"V".to_vec()].concat(),
            b"1",
        );
        client.finish();
    })
    .await
    .unwrap();
    publisher(&vhost.broker_url).fill("work", 2..=2).await;
    let mut lane = Lane::open(&broker(&vhost.broker_url), "work", 10, "test")
        .await
        .unwrap();
    let first = timeout(DEADLINE, lane.next_batch(1, Duration::ZERO))
        .await
        .unwrap()
        .unwrap()
        .remove(0);
    assert_eq!(first.routing_key, "caf?");
    assert_eq!(first.properties.headers["gr??e"], HeaderValue::Null);
    let second = timeout(DEADLINE, lane.next_batch(1, Duration::ZERO))
        .await
        .unwrap()
        .unwrap()
        .remove(0);
    assert_eq!(number(&second), 2);
}
