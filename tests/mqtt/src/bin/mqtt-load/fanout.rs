//! Messages of few publishers to many subscribers. Flat out means with a window: the next message goes out once few
//! enough are on their way, so that nothing is measured that the broker then drops. With a rate, a message counts from
//! the moment at which it was due, so that a broker that holds the publisher up does not look quick.

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde::Serialize;

use crate::client::{self, Door};
use crate::latency::Latencies;
use crate::server::{processor_s, resident_bytes};
use crate::wire;

const READ_BYTES: usize = 256 * 1024;
const EVENTS: usize = 1024;
/// What is still on its way has so long to arrive after the last message was published, since the last that came.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// The payload begins with the time it was due (nanoseconds) and its number.
const STAMP_BYTES: usize = 16;

/// What is sent to whom.
#[derive(Args, Debug)]
pub(crate) struct Plan {
    #[arg(long)]
    subscribers: usize,
    #[arg(long, default_value_t = 1)]
    publishers: usize,
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=1))]
    qos: u8,
    /// Size of a payload
    #[arg(long, default_value_t = 256)]
    bytes: usize,
    /// Messages a second, of all publishers together; flat out without
    #[arg(long)]
    rate: Option<f64>,
    /// Flat out: the most messages that are published and not yet with every subscriber
    #[arg(long, default_value_t = 32)]
    window: u64,
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Seconds before the measurement begins
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    #[arg(long, default_value = "load/fanout")]
    topic: String,
}

#[derive(Serialize)]
pub(crate) struct Report {
    connects_per_s: f64,
    published: u64,
    delivered: u64,
    lost: u64,
    out_of_order: u64,
    ended_by_broker: usize,
    delivered_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    load_processor_share: f64,
    broker_processor_share: Option<f64>,
    broker_rss_bytes: Option<u64>,
}

struct Client {
    stream: TcpStream,
    /// Bytes of a packet that is not whole yet.
    begun: Vec<u8>,
    /// Bytes that the socket did not take yet.
    unsent: Vec<u8>,
    last_number: u64,
    ended: bool,
}

struct Load<'plan> {
    plan: &'plan Plan,
    poll: Poll,
    clients: Vec<Client>,
    began: Instant,
    published: u64,
    delivered: u64,
    out_of_order: u64,
    latencies: Latencies,
    counts: bool,
    buffer: Vec<u8>,
    packet_id: u16,
}

/// Connects, measures and lets what is on its way arrive.
pub(crate) fn run(door: &Door, plan: &Plan, pid: Option<u32>) -> anyhow::Result<Report> {
    ensure!(door.websocket.is_none(), "fan-out is measured over TCP");
    ensure!(
        plan.bytes >= STAMP_BYTES,
        "a payload has at least {STAMP_BYTES} bytes"
    );
    let subscribers = client::connect(door, "sub", plan.subscribers, Some((&plan.topic, plan.qos)))?;
    let publishers = client::connect(door, "pub", plan.publishers, None)?;
    let connects_per_s = subscribers.per_s.round();
    let mut load = Load::new(plan, subscribers.streams.into_iter().chain(publishers.streams))?;

    load.run_for(plan.warm_up)?;
    load.counts = true;
    let me = std::process::id();
    let (before, began) = (load.delivered, Instant::now());
    let (load_cpu, broker_cpu) = (processor_s(me)?, pid.map(processor_s).transpose()?);
    load.run_for(plan.seconds)?;
    let took = began.elapsed().as_secs_f64();
    let delivered_per_s = ((load.delivered - before) as f64 / took).round();
    let load_processor_share = (processor_s(me)? - load_cpu) / took;
    let broker_processor_share = match (pid, broker_cpu) {
        (Some(pid), Some(before)) => Some(thousandths((processor_s(pid)? - before) / took)),
        _ => None,
    };
    let broker_rss_bytes = pid.map(resident_bytes).transpose()?;
    load.drain()?;

    Ok(Report {
        connects_per_s,
        published: load.published,
        delivered: load.delivered,
        lost: load.published * plan.subscribers as u64 - load.delivered,
        out_of_order: load.out_of_order,
        ended_by_broker: load.clients.iter().filter(|client| client.ended).count(),
        delivered_per_s,
        p50_ms: load.latencies.at_ms(0.5),
        p99_ms: load.latencies.at_ms(0.99),
        max_ms: load.latencies.max_ms(),
        load_processor_share: thousandths(load_processor_share),
        broker_processor_share,
        broker_rss_bytes,
    })
}

fn thousandths(share: f64) -> f64 {
    (share * 1000.0).round() / 1000.0
}

impl<'plan> Load<'plan> {
    fn new(plan: &'plan Plan, streams: impl Iterator<Item = std::net::TcpStream>) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let mut clients = Vec::with_capacity(plan.subscribers + plan.publishers);
        for (at, stream) in streams.enumerate() {
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry()
                .register(&mut stream, Token(at), Interest::READABLE | Interest::WRITABLE)?;
            clients.push(Client {
                stream,
                begun: Vec::new(),
                unsent: Vec::new(),
                last_number: 0,
                ended: false,
            });
        }
        Ok(Self {
            plan,
            poll,
            clients,
            began: Instant::now(),
            published: 0,
            delivered: 0,
            out_of_order: 0,
            latencies: Latencies::new(),
            counts: false,
            buffer: vec![0; READ_BYTES],
            packet_id: 0,
        })
    }

    fn run_for(&mut self, seconds: f64) -> anyhow::Result<()> {
        let until = Instant::now() + Duration::from_secs_f64(seconds);
        let mut events = Events::with_capacity(EVENTS);
        // The rate holds from here on: what was missed before is not made up for.
        let (first, base) = (Instant::now(), self.published);
        loop {
            let now = Instant::now();
            if now >= until {
                return Ok(());
            }
            let next = match self.plan.rate {
                Some(rate) => self.publish_due(rate, base, first, now)?,
                None => self.publish_in_window().map(|()| until)?,
            };
            self.poll
                .poll(&mut events, Some(next.min(until).saturating_duration_since(now)))?;
            self.take(&events)?;
        }
    }

    /// Publishes what is due; gives when the next message is.
    fn publish_due(&mut self, rate: f64, base: u64, first: Instant, now: Instant) -> anyhow::Result<Instant> {
        loop {
            let due = first + Duration::from_secs_f64((self.published - base) as f64 / rate);
            if due > now {
                return Ok(due);
            }
            self.publish(due)?;
        }
    }

    fn publish_in_window(&mut self) -> anyhow::Result<()> {
        let subscribers = self.plan.subscribers as u64;
        while self.published * subscribers - self.delivered <= (self.plan.window - 1) * subscribers {
            self.publish(Instant::now())?;
        }
        Ok(())
    }

    fn publish(&mut self, due: Instant) -> anyhow::Result<()> {
        self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
        let mut payload = vec![b'.'; self.plan.bytes];
        let nanoseconds = due.saturating_duration_since(self.began).as_nanos() as u64;
        payload[..8].copy_from_slice(&nanoseconds.to_be_bytes());
        // The number counts for each publisher: only its own messages have an order.
        let publishers = self.plan.publishers as u64;
        payload[8..STAMP_BYTES].copy_from_slice(&(self.published + 1).to_be_bytes());
        let at = self.plan.subscribers + (self.published % publishers) as usize;
        let packet = wire::publish(&self.plan.topic, self.plan.qos, self.packet_id, &payload);
        let publisher = &mut self.clients[at];
        ensure!(!publisher.ended, "the broker ended a publisher's connection");
        publisher.send(&packet)?;
        self.published += 1;
        Ok(())
    }

    /// Until everything has arrived, or nothing does any more.
    fn drain(&mut self) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let expected = self.published * self.plan.subscribers as u64;
        let mut last = Instant::now();
        while self.delivered < expected && last.elapsed() < DRAIN_MAX {
            let before = self.delivered;
            self.poll.poll(&mut events, Some(DRAIN_MAX))?;
            self.take(&events)?;
            if self.delivered > before {
                last = Instant::now();
            }
        }
        Ok(())
    }

    fn take(&mut self, events: &Events) -> anyhow::Result<()> {
        for event in events {
            let at = event.token().0;
            if event.is_writable() && !self.clients[at].unsent.is_empty() {
                self.clients[at].send(&[])?;
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                self.read(at).with_context(|| format!("client {at}"))?;
            }
        }
        Ok(())
    }

    /// Edge-triggered: reads until less came than there was room for.
    fn read(&mut self, at: usize) -> anyhow::Result<()> {
        loop {
            let client = &mut self.clients[at];
            let begun = client.begun.len();
            self.buffer[..begun].copy_from_slice(&client.begun);
            client.begun.clear();
            let got = match client.stream.read(&mut self.buffer[begun..]) {
                Ok(0) => {
                    client.ended = true;
                    return Ok(());
                }
                Ok(got) => got,
                Err(error) if error.kind() == ErrorKind::Interrupted => 0,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    client.begun.extend_from_slice(&self.buffer[..begun]);
                    return Ok(());
                }
                Err(_) => {
                    client.ended = true;
                    return Ok(());
                }
            };
            let all = begun + got;
            self.packets(at, all)?;
            if all < self.buffer.len() {
                return Ok(());
            }
        }
    }

    /// Takes the whole packets of the first `all` bytes, and keeps the rest.
    fn packets(&mut self, at: usize, all: usize) -> anyhow::Result<()> {
        let client = &mut self.clients[at];
        let now_us = self.began.elapsed().as_micros() as u64;
        let mut from = 0;
        let mut answers = Vec::new();
        while let Some((body, end)) = wire::first_packet(&self.buffer[from..all]) {
            let packet = &self.buffer[from..from + end];
            from += end;
            if packet[0] >> 4 != wire::PUBLISH {
                continue;
            }
            let Some((id, payload)) = wire::published(packet, body) else {
                bail!("a PUBLISH that is too short")
            };
            ensure!(
                payload.len() >= STAMP_BYTES,
                "a payload of {} bytes, not of the load",
                payload.len()
            );
            if id != 0 {
                answers.extend(wire::puback(id));
            }
            let due_us = number(payload) / 1000;
            let order = number(&payload[8..]);
            // With several publishers only one's own messages have an order, so it is looked at with one.
            if self.plan.publishers == 1 && order <= client.last_number {
                self.out_of_order += 1;
            }
            client.last_number = order;
            self.delivered += 1;
            if self.counts {
                self.latencies.add(now_us.saturating_sub(due_us));
            }
        }
        client.begun.extend_from_slice(&self.buffer[from..all]);
        if !answers.is_empty() {
            client.send(&answers)?;
        }
        Ok(())
    }
}

impl Client {
    /// Writes what waits and this, as far as the socket takes it.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let waiting = !self.unsent.is_empty();
        if waiting {
            self.unsent.extend_from_slice(bytes);
        }
        let mut sent = 0;
        let outcome = loop {
            let left = if waiting {
                &self.unsent[sent..]
            } else {
                &bytes[sent..]
            };
            if left.is_empty() {
                break Ok(());
            }
            match self.stream.write(left) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error)
                    if error.kind() == ErrorKind::BrokenPipe
                        || error.kind() == ErrorKind::ConnectionReset =>
                {
                    self.ended = true;
                    break Ok(());
                }
                Err(error) => break Err(error),
            }
        };
        if waiting {
            self.unsent.drain(..sent);
        } else {
            self.unsent.extend_from_slice(&bytes[sent..]);
        }
        outcome
    }
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes[..8].try_into().expect("it has eight bytes"))
}
