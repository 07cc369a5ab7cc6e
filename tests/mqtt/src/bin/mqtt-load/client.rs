//! Connecting: many clients at once with plain blocking sockets, which are handed on ready.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::wire;

/// Sockets that are connected before the first of them is waited for.
const AT_ONCE: usize = 64;
/// For each answer while connecting.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Who the clients say they are.
#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: String,
}

/// How the broker is reached.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) websocket: Option<String>,
    pub(crate) login: Option<Login>,
    pub(crate) client_id: String,
}

/// Clients that are connected, and subscribed where they were told to.
pub(crate) struct Connected {
    pub(crate) streams: Vec<TcpStream>,
    pub(crate) per_s: f64,
}

/// Connects `count` clients named `<client id>-<name>-<number>`, each subscribed to the filter if there is one.
pub(crate) fn connect(
    door: &Door,
    name: &str,
    count: usize,
    subscription: Option<(&str, u8)>,
) -> anyhow::Result<Connected> {
    let began = Instant::now();
    let mut streams = Vec::with_capacity(count);
    while streams.len() < count {
        let first = streams.len();
        let numbers = first..count.min(first + AT_ONCE);
        let mut batch = numbers
            .map(|number| open(door, name, number))
            .collect::<Result<Vec<_>, _>>()?;
        for (number, stream) in batch.iter_mut().enumerate() {
            let number = first + number;
            accepted(door, stream).with_context(|| format!("client {number} of {count}"))?;
        }
        streams.append(&mut batch);
    }
    let per_s = count as f64 / began.elapsed().as_secs_f64();
    if let Some((filter, qos)) = subscription {
        for stream in &mut streams {
            stream.write_all(&wire::subscribe(filter, qos))?;
        }
        for stream in &mut streams {
            let answer = exactly::<5>(stream)?;
            ensure!(
                answer[0] >> 4 == wire::SUBACK && answer[4] == qos,
                "SUBSCRIBE was answered {answer:02x?}"
            );
        }
    }
    Ok(Connected { streams, per_s })
}

/// Opens a socket and sends what comes first.
fn open(door: &Door, name: &str, number: usize) -> anyhow::Result<TcpStream> {
    let mut stream =
        TcpStream::connect(door.address).with_context(|| format!("connecting client {number}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    match &door.websocket {
        Some(path) => stream.write_all(&wire::upgrade(&door.address.to_string(), path))?,
        None => stream.write_all(&connect_packet(door, name, number))?,
    }
    if door.websocket.is_some() {
        upgraded(&mut stream)?;
        stream.write_all(&wire::frame(&connect_packet(door, name, number)))?;
    }
    Ok(stream)
}

fn connect_packet(door: &Door, name: &str, number: usize) -> Vec<u8> {
    let login = door
        .login
        .as_ref()
        .map(|login| (login.user.as_str(), login.password.as_str()));
    wire::connect(&format!("{}-{name}-{number}", door.client_id), login)
}

fn upgraded(stream: &mut TcpStream) -> anyhow::Result<()> {
    const HEAD_MAX: usize = 8 * 1024;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(head.len() < HEAD_MAX, "the answer to the upgrade has no end");
        head.extend(exactly::<1>(stream)?);
    }
    let head = String::from_utf8_lossy(&head);
    ensure!(
        head.starts_with("HTTP/1.1 101"),
        "the upgrade was answered {head}"
    );
    Ok(())
}

fn accepted(door: &Door, stream: &mut TcpStream) -> anyhow::Result<()> {
    if door.websocket.is_some() {
        let [first, length] = exactly::<2>(stream)?;
        ensure!(
            first == 0x82 && length == 4,
            "expected a binary frame with a CONNACK, got {first:02x} {length:02x}"
        );
    }
    let answer = exactly::<4>(stream)?;
    if answer[0] >> 4 != wire::CONNACK || answer[3] != 0 {
        bail!("CONNECT was answered {answer:02x?}");
    }
    Ok(())
}

fn exactly<const COUNT: usize>(stream: &mut TcpStream) -> anyhow::Result<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    stream.read_exact(&mut bytes).context("waiting for an answer")?;
    Ok(bytes)
}
