//! `crossdock bench fanout`: how many messages a second this machine's MQTT gateway gets to so many clients, beside a
//! bare loop that writes the same bytes to as many sockets and does nothing else. The gateway is one of its own, on a
//! loopback port, with a password that nobody else has.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use async_trait::async_trait;
use bytes::{Buf as _, BytesMut};
use clap::Args;
use crossdock_model::topic::{TopicFilter, TopicName};
use crossdock_realtime::{
    Arrival, Capacity, Doorkeeper, Gateway, Refusal, States, StatesError, StatesPage, serve_tcp,
    session::{Action, Rights},
    wire::Reason,
};
use rand::{Rng as _, distr::Alphanumeric};
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{Barrier, Notify},
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::packets;
use crate::{Context, commands::up::raise_descriptors, human::count};

const TOPIC: &str = "bench/fanout";
/// Messages that are under way at a time, so that what is measured is no queue.
const WINDOW: u64 = 32;
/// A message begins with when it was sent.
const STAMP_BYTES: usize = size_of::<u64>();
/// How long anything but the measurement may take.
const DEADLINE: Duration = Duration::from_secs(60);
const READ_BYTES: usize = 64 * 1024;

/// Measure how much live state this machine can send out
#[derive(Args, Debug)]
#[command(
    long_about = "Measure how much live state this machine can send out: one publisher, many clients, each message to\n\
                  all of them, through an MQTT gateway of its own on a loopback port. Beside it stands what a bare loop\n\
                  reaches that writes each message to each socket by itself; the gateway puts several into one write,\n\
                  and may get more through than that. Clients and gateway share the processors.\n\
                  A running hub is not touched, but it shares them, too. Exit status 1 if a message was lost.",
    after_help = "Examples:\n  crossdock bench fanout\n  crossdock bench fanout --clients 100 --seconds 1 --qos 1 --json"
)]
pub(crate) struct Fanout {
    /// How many clients get each message
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=8_000))]
    clients: u32,
    /// How long each of the two is measured
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Size of a message
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(8..=65_536))]
    bytes: u32,
    /// 0: sent once, 1: until it is acknowledged
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=1))]
    qos: u8,
}

#[derive(Serialize)]
struct Report {
    clients: u32,
    bytes: u32,
    qos: u8,
    limit: Measured,
    gateway: Measured,
    /// The gateway's rate over the limit's.
    share_of_limit: f64,
}

#[derive(Clone, Copy, Serialize)]
struct Measured {
    delivered: u64,
    lost: u64,
    delivered_per_s: u64,
    p50_ms: f64,
    p99_ms: f64,
}

impl Fanout {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let room = raise_descriptors();
        let needed = 2 * self.clients as usize + 2;
        ensure!(
            needed <= room,
            "{} clients need {needed} open files, and this system allows {room}",
            self.clients
        );
        let limit = self.measure(Way::Bare).await.context("the bare loop")?;
        let gateway = self.measure(Way::Gateway).await.context("the gateway")?;
        #[allow(clippy::cast_precision_loss, reason = "no rate comes near 2^52")]
        let share_of_limit = gateway.delivered_per_s as f64 / limit.delivered_per_s.max(1) as f64;
        let report = Report {
            clients: self.clients,
            bytes: self.bytes,
            qos: self.qos,
            limit,
            gateway,
            share_of_limit,
        };
        let output = context.output;
        if output.is_json() {
            output.json_line(&report)?;
        } else {
            let line = |name: &str, measured: Measured| {
                format!(
                    "{name:<10} {:>12} messages/s   p50 {:>8.1} ms   p99 {:>8.1} ms   {} lost",
                    count(measured.delivered_per_s),
                    measured.p50_ms,
                    measured.p99_ms,
                    count(measured.lost)
                )
            };
            output.line(format!(
                "to {} clients, {} bytes, QoS {}, {WINDOW} messages under way at a time",
                self.clients, self.bytes, self.qos
            ))?;
            output.line(line("bare loop", limit))?;
            output.line(line("gateway", gateway))?;
            output.line(format!(
                "the gateway gets {share_of_limit:.1} times as much through as the bare loop"
            ))?;
        }
        Ok(if gateway.lost == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    async fn measure(&self, way: Way) -> anyhow::Result<Measured> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        // They all come at once.
        let listener = socket.listen(self.clients)?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let _stops = stop.clone().drop_guard();
        let arrived = Arc::new(Arrived::default());
        let ready = Arc::new(Barrier::new(self.clients as usize + 1));
        let mut readers = JoinSet::new();
        let password = one_time_password();
        let opening = way.open(listener, &password, self.clients, stop);
        for number in 0..self.clients {
            let greeting = way.greeting(number, &password, self.qos);
            let (arrived, ready) = (arrived.clone(), ready.clone());
            readers.spawn(async move { read(address, &greeting, &arrived, &ready).await });
        }
        let start = async { tokio::try_join!(opening, async { Ok(ready.wait().await) }) };
        let (mut publisher, _) = tokio::select! {
            started = timeout(DEADLINE, start) => started.context("the clients did not all connect")??,
            Some(ended) = readers.join_next() => {
                ended??;
                bail!("a client ended before it began");
            }
        };
        let began = Instant::now();
        let (mut sent, clients) = (0, u64::from(self.clients));
        while began.elapsed() < Duration::from_secs(self.seconds) {
            let mut payload = nanoseconds(arrived.began).to_be_bytes().to_vec();
            payload.resize((self.bytes as usize).max(STAMP_BYTES), b'x');
            publisher.publish(self.qos, &payload).await?;
            sent += 1;
            arrived
                .wait_for(u64::saturating_sub(sent, WINDOW) * clients)
                .await?;
        }
        // What does not come by then is lost, and is counted below.
        let _ = arrived.wait_for(sent * clients).await;
        let took = began.elapsed();
        readers.abort_all();
        Ok(arrived.measured(sent * clients, took))
    }
}

fn one_time_password() -> String {
    let letters = rand::rng().sample_iter(Alphanumeric).take(32);
    letters.map(char::from).collect()
}

/// What stands between the publisher and the clients.
#[derive(Clone, Copy)]
enum Way {
    Bare,
    Gateway,
}

impl Way {
    /// What a client sends first.
    fn greeting(self, number: u32, password: &str, qos: u8) -> Vec<u8> {
        match self {
            Self::Bare => Vec::new(),
            Self::Gateway => {
                let mut packets = packets::connect(&format!("client-{number}"), password);
                packets.extend(packets::subscribe(TOPIC, qos));
                packets
            }
        }
    }

    async fn open(
        self,
        listener: TcpListener,
        password: &str,
        clients: u32,
        stop: CancellationToken,
    ) -> anyhow::Result<Publisher> {
        match self {
            Self::Bare => {
                let mut streams = Vec::new();
                for _ in 0..clients {
                    let (stream, _) = listener.accept().await?;
                    stream.set_nodelay(true)?;
                    streams.push(stream);
                }
                Ok(Publisher::Bare(streams))
            }
            Self::Gateway => {
                let capacity = Capacity {
                    connections: clients as usize + 1,
                };
                let address = listener.local_addr()?;
                let door = Arc::new(Door(password.to_owned()));
                let gateway = Gateway::start(door, Arc::new(NoStates), capacity, stop.clone());
                tokio::spawn(serve_tcp(gateway, listener, stop));
                let mut stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                stream.write_all(&packets::connect("publisher", password)).await?;
                Ok(Publisher::Client { stream, last_id: 0 })
            }
        }
    }
}

enum Publisher {
    Bare(Vec<TcpStream>),
    Client { stream: TcpStream, last_id: u16 },
}

impl Publisher {
    async fn publish(&mut self, qos: u8, payload: &[u8]) -> anyhow::Result<()> {
        match self {
            Self::Bare(streams) => {
                let packet = packets::publish(TOPIC, 0, 0, payload);
                for stream in streams {
                    stream.write_all(&packet).await?;
                }
            }
            Self::Client { stream, last_id } => {
                *last_id = last_id.checked_add(1).unwrap_or(1);
                let packet = packets::publish(TOPIC, qos, *last_id, payload);
                stream.write_all(&packet).await?;
                // Acknowledgements say nothing here but must not pile up.
                let _ = stream.try_read(&mut [0; 1024]);
            }
        }
        Ok(())
    }
}

/// A client: greets, waits for all others, and notes what comes.
async fn read(
    address: SocketAddr,
    greeting: &[u8],
    arrived: &Arrived,
    ready: &Barrier,
) -> anyhow::Result<()> {
    const SUBSCRIBED: u8 = 0x90;
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(greeting).await?;
    let mut is_ready = greeting.is_empty();
    if is_ready {
        ready.wait().await;
    }
    let mut bytes = BytesMut::with_capacity(READ_BYTES);
    loop {
        while let Some((first, body, length)) = packets::first(&bytes) {
            if let Some((id, payload)) = (first >> 4 == 3)
                .then(|| packets::published(first, body))
                .flatten()
            {
                arrived.came(payload);
                if id != 0 {
                    stream.write_all(&packets::acknowledge(id)).await?;
                }
            }
            let subscribed = first == SUBSCRIBED;
            bytes.advance(length);
            if subscribed && !std::mem::replace(&mut is_ready, true) {
                ready.wait().await;
            }
        }
        ensure!(stream.read_buf(&mut bytes).await? > 0, "a connection ended");
    }
}

/// Lets in who knows the password, for the bench's topic alone.
struct Door(String);

#[async_trait]
impl Doorkeeper for Door {
    async fn admit(&self, arrival: Arrival<'_>) -> Result<Arc<dyn Rights>, Refusal> {
        match arrival.login {
            Some(login) if login.password == self.0 => Ok(Arc::new(Bench)),
            _ => Err(Refusal {
                reason: Reason::NotAuthorized,
                said: "the password is not the bench's".to_owned(),
            }),
        }
    }
}

struct Bench;

impl Rights for Bench {
    fn principal(&self) -> &'static str {
        "bench"
    }

    fn may(&self, action: Action<'_>, _now_ms: u64) -> bool {
        match action {
            Action::Publish(topic) | Action::Receive(topic) => topic.as_str() == TOPIC,
            Action::Subscribe(filter) => filter.as_str() == TOPIC,
        }
    }
}

struct NoStates;

#[async_trait]
impl States for NoStates {
    async fn page(&self, _: &TopicFilter, _: Option<&TopicName>) -> Result<StatesPage, StatesError> {
        Ok(StatesPage::default())
    }
}

/// What came, at all clients together.
struct Arrived {
    began: Instant,
    messages: AtomicU64,
    wanted: AtomicU64,
    enough: Notify,
    /// Deliveries by how long they took, in buckets of 100 microseconds; the last one is for all that took longer.
    took: Vec<AtomicU64>,
}

const BUCKET_NS: u64 = 100_000;
const BUCKETS: usize = 50_000;

impl Default for Arrived {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            messages: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
            enough: Notify::new(),
            took: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Arrived {
    fn came(&self, payload: &[u8]) {
        let stamp = payload
            .first_chunk()
            .map_or(0, |stamp| u64::from_be_bytes(*stamp));
        let bucket = nanoseconds(self.began).saturating_sub(stamp) / BUCKET_NS;
        let bucket = usize::try_from(bucket).unwrap_or(BUCKETS).min(BUCKETS - 1);
        self.took[bucket].fetch_add(1, Relaxed);
        if self.messages.fetch_add(1, Relaxed) + 1 >= self.wanted.load(Relaxed) {
            self.enough.notify_one();
        }
    }

    async fn wait_for(&self, messages: u64) -> anyhow::Result<()> {
        self.wanted.store(messages, Relaxed);
        while self.messages.load(Relaxed) < messages {
            // Between the look and the wait the last one may come: then it has left its word.
            timeout(DEADLINE, self.enough.notified())
                .await
                .context("the messages do not arrive")?;
        }
        Ok(())
    }

    fn measured(&self, sent: u64, took: Duration) -> Measured {
        let delivered = self.messages.load(Relaxed);
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate, rounded"
        )]
        let delivered_per_s = (delivered as f64 / took.as_secs_f64()) as u64;
        Measured {
            delivered,
            lost: sent.saturating_sub(delivered),
            delivered_per_s,
            p50_ms: self.quantile(delivered, 50),
            p99_ms: self.quantile(delivered, 99),
        }
    }

    fn quantile(&self, of: u64, percent: u64) -> f64 {
        let rank = of * percent / 100;
        let mut seen = 0;
        let bucket = self.took.iter().position(|count| {
            seen += count.load(Relaxed);
            seen > rank
        });
        #[allow(clippy::cast_precision_loss, reason = "there are few buckets")]
        let ms = bucket.unwrap_or(BUCKETS) as f64 * BUCKET_NS as f64 / 1e6;
        ms
    }
}

fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
