#![allow(clippy::unwrap_used)]

use std::{
    collections::VecDeque,
    io,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;

const TIMEOUT: Duration = Duration::from_secs(5);
/// For a server that never ends its answer.
const SHORT: Duration = Duration::from_millis(300);

/// A server of one address that answers every connection with the same bytes, and then does what `after` says.
struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, PartialEq)]
enum After {
    Close,
    Hold,
    GoOnForEver,
}

impl Server {
    async fn on(address: &str, answer: &'static str, after: After) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self::of(listener, port, answer, after)
    }

    fn of(listener: TcpListener, port: u16, answer: &'static str, after: After) -> Self {
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(answer_with(stream, answer, after));
            }
        });
        Self { port, connections }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn answer_with(mut stream: TcpStream, answer: &str, after: After) -> io::Result<()> {
    let mut head = vec![0; 16 * 1024];
    if stream.read(&mut head).await? == 0 {
        return Ok(());
    }
    stream.write_all(answer.as_bytes()).await?;
    match after {
        After::Close => {}
        After::Hold => std::future::pending().await,
        After::GoOnForEver => loop {
            stream.write_all(&[b'x'; 1024]).await?;
        },
    }
    stream.shutdown().await
}

/// Answers as written, one after the other; the last again and again.
struct Script(Mutex<VecDeque<Vec<IpAddr>>>);

impl Script {
    fn of(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |answer: &&[&str]| answer.iter().map(|ip| ip.parse().unwrap()).collect();
        Arc::new(Self(Mutex::new(answers.iter().map(parse).collect())))
    }
}

#[async_trait]
impl Lookup for Script {
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        if host == "nowhere.example" {
            return Err(io::Error::other("no such name"));
        }
        let mut answers = self.0.lock().unwrap();
        let answer = answers.front().unwrap().clone();
        if answers.len() > 1 {
            answers.pop_front();
        }
        Ok(answer)
    }
}

fn client(allow: &[&str], names: &[&[&str]]) -> Outbound {
    let allow = allow.iter().map(|range| range.parse().unwrap()).collect();
    Outbound::with_lookup(allow, Script::of(names)).unwrap()
}

fn get(url: impl AsRef<str>) -> Request {
    Request {
        method: Method::GET,
        url: url.as_ref().parse().unwrap(),
        headers: header::HeaderMap::new(),
        body: Bytes::new(),
        timeout: TIMEOUT,
        wanted: Wanted::Whole(1024),
    }
}

async fn refusal(client: &Outbound, url: &str) -> String {
    client.send(get(url)).await.err().unwrap().to_string()
}

#[tokio::test]
async fn an_answer_is_what_the_server_said() {
    let answer =
        "HTTP/1.1 418 Teapot\r\ncontent-length: 5\r\ncontent-encoding: gzip\r\nretry-after: 7\r\n\r\nshort";
    let server = Server::on("127.0.0.1", answer, After::Hold).await;
    let client = client(&["127.0.0.0/8"], &[&["127.0.0.1"]]);
    let response = client
        .send(get(format!("http://shop.example:{}/x", server.port)))
        .await
        .unwrap();
    assert_eq!(response.status, StatusCode::IM_A_TEAPOT);
    assert_eq!(response.headers["retry-after"], "7");
    assert_eq!(&response.body[..], b"short", "nothing is decompressed");
}

#[tokio::test]
async fn addresses_inside_are_refused_in_every_notation() {
    let client = client(&[], &[&["127.0.0.1", "::1"]]);
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.0.0.1.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "169.254.169.254",
        "0",
        "localhost",
        "LOCALHOST.",
        "inside.example",
    ] {
        for scheme in ["http", "https"] {
            let said = refusal(&client, &format!("{scheme}://{host}:1/secret-path")).await;
            assert!(
                said.contains("is not called: it is "),
                "{scheme}://{host}: {said}"
            );
            assert!(!said.contains("secret-path"), "{said}");
        }
    }
}

#[tokio::test]
async fn a_url_is_https_or_allowed_and_holds_no_password() {
    let client = client(&["127.0.0.1"], &[&["1.1.1.1"]]);
    for (url, expected) in [
        ("http://1.1.1.1/", "1.1.1.1 is not called over plain http://"),
        (
            "http://public.example/",
            "1.1.1.1 is not called over plain http://",
        ),
        ("ftp://127.0.0.1/", "expected https://"),
        ("https://hub:hunter2@127.0.0.1/", "expected no user or password"),
        ("https://hub@127.0.0.1/", "expected no user or password"),
        (
            "https://nowhere.example/",
            "no address is known for the host: no such name",
        ),
    ] {
        let said = refusal(&client, url).await;
        assert!(said.contains(expected), "{url}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[tokio::test]
async fn of_several_addresses_only_an_allowed_one_is_connected_to() {
    let allowed = Server::on("127.0.0.1", "HTTP/1.1 204 No Content\r\n\r\n", After::Hold).await;
    let listener = TcpListener::bind(("127.0.0.2", allowed.port)).await.unwrap();
    let inside = Server::of(listener, allowed.port, "HTTP/1.1 200 OK\r\n\r\n", After::Close);
    let client = client(&["127.0.0.1"], &[&["127.0.0.2", "127.0.0.1"]]);
    let response = client
        .send(get(format!("http://both.example:{}/", allowed.port)))
        .await
        .unwrap();
    assert_eq!(response.status, StatusCode::NO_CONTENT);
    assert_eq!((allowed.connections(), inside.connections()), (1, 0));
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_a_moment_later_gains_nothing() {
    let answer = "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
    let allowed = Server::on("127.0.0.1", answer, After::Close).await;
    let listener = TcpListener::bind(("127.0.0.2", allowed.port)).await.unwrap();
    let inside = Server::of(listener, allowed.port, answer, After::Close);
    // The first answer is the one that is checked; one asked for only to connect would be the second.
    let client = client(&["127.0.0.1"], &[&["127.0.0.1"], &["127.0.0.2"]]);
    let url = format!("http://rebound.example:{}/", allowed.port);
    assert!(client.send(get(&url)).await.is_ok());
    assert_eq!((allowed.connections(), inside.connections()), (1, 0));
    let said = refusal(&client, &url).await;
    assert!(said.contains("127.0.0.2 is not called: it is loopback"), "{said}");
    assert_eq!((allowed.connections(), inside.connections()), (1, 0));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let target = Server::on("127.0.0.1", "HTTP/1.1 200 OK\r\n\r\n", After::Close).await;
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let answer = format!(
            "HTTP/1.1 {status}\r\nlocation: http://127.0.0.1:{}/\r\ncontent-length: 0\r\n\r\n",
            target.port
        );
        let server = Server::on("127.0.0.1", answer.leak(), After::Hold).await;
        let client = client(&["127.0.0.1"], &[&["127.0.0.1"]]);
        let response = client
            .send(get(format!("http://127.0.0.1:{}/", server.port)))
            .await
            .unwrap();
        assert!(response.status.is_redirection());
        assert!(response.headers.contains_key("location"));
    }
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn an_answer_without_an_end_costs_no_more_than_was_said() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\n";
    let endless = Server::on("127.0.0.1", head, After::GoOnForEver).await;
    let silent = Server::on(
        "127.0.0.1",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbegun",
        After::Hold,
    )
    .await;
    let mute = Server::on("127.0.0.1", "HTTP/1.1 200 OK\r\nx: ", After::Hold).await;
    let client = client(&["127.0.0.1"], &[&["127.0.0.1"]]);
    let ask = async |port: u16, wanted| {
        let request = Request {
            timeout: SHORT,
            wanted,
            ..get(format!("http://127.0.0.1:{port}/"))
        };
        client.send(request).await
    };

    let response = ask(endless.port, Wanted::Beginning(2_000)).await.unwrap();
    assert_eq!((response.status, response.body.len()), (StatusCode::OK, 2_000));
    let response = ask(silent.port, Wanted::Beginning(2_000)).await.unwrap();
    assert_eq!(
        (response.status, &response.body[..]),
        (StatusCode::OK, &b"begun"[..])
    );

    assert_eq!(
        ask(endless.port, Wanted::Whole(2_000)).await.err(),
        Some(OutboundError::ResponseTooLarge(2_000))
    );
    for port in [silent.port, mute.port] {
        let said = ask(port, Wanted::Whole(2_000)).await.err();
        assert_eq!(said, Some(OutboundError::TimedOut(SHORT)));
    }
    let said = ask(mute.port, Wanted::Beginning(2_000)).await.err();
    assert_eq!(said, Some(OutboundError::TimedOut(SHORT)));
}

#[tokio::test]
async fn who_does_not_answer_properly_is_told_apart() {
    let closing = Server::on("127.0.0.1", "", After::Close).await;
    let babbling = Server::on("127.0.0.1", "220 mail.example ESMTP\r\n", After::Hold).await;
    let cut = Server::on(
        "127.0.0.1",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
        After::Close,
    )
    .await;
    let client = client(&["127.0.0.1"], &[&["127.0.0.1"]]);
    let ask = async |port: u16| {
        let asked = client.send(get(format!("http://127.0.0.1:{port}/"))).await;
        asked.err().unwrap()
    };
    let vacant = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = vacant.local_addr().unwrap().port();
    drop(vacant);
    assert_eq!(
        ask(port).await,
        OutboundError::Connect("connection refused".into())
    );
    for server in [closing, babbling, cut] {
        let error = ask(server.port).await;
        assert!(matches!(error, OutboundError::Protocol(_)), "{error:?}");
    }
}

#[tokio::test]
async fn a_request_has_a_limit() {
    let request = Request {
        body: vec![0; REQUEST_MAX_BYTES + 1].into(),
        ..get("https://1.1.1.1/")
    };
    let error = client(&[], &[&[]]).send(request).await.err().unwrap();
    let expected = OutboundError::RequestTooLarge {
        limit: REQUEST_MAX_BYTES,
        actual: REQUEST_MAX_BYTES + 1,
    };
    assert_eq!(error, expected);
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let signed = rcgen::generate_simple_self_signed(["shop.example".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], signed.signing_key.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move { acceptor.accept(stream).await.map(drop) });
        }
    });
    let client = client(&["127.0.0.1"], &[&["127.0.0.1"]]);
    let error = client
        .send(get(format!("https://shop.example:{port}/")))
        .await
        .err()
        .unwrap();
    assert!(matches!(error, OutboundError::Tls(_)), "{error:?}");

    let plain = Server::on("127.0.0.1", "HTTP/1.1 200 OK\r\n\r\n", After::Close).await;
    let error = client
        .send(get(format!("https://shop.example:{}/", plain.port)))
        .await
        .err()
        .unwrap();
    assert!(matches!(error, OutboundError::Tls(_)), "{error:?}");
}

#[test]
fn a_request_shows_no_secret() {
    let mut request = get("https://shop.example/hooks/hunter2?token=hunter2");
    request
        .headers
        .insert("authorization", "hunter2".parse().unwrap());
    request.body = Bytes::from_static(b"hunter2");
    assert!(!format!("{request:?}").contains("hunter2"));
}
