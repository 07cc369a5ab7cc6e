//! The gateway: sessions and connections in front, the bus and the fan-out behind. Clones share it.

mod away;
mod bus;
mod connect;
mod connection;
mod counters;
mod fan_out;
mod pending;
mod pressure;
mod reads;
mod retained;
mod seats;
mod session;
mod sessions;
mod stream;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod unread;
mod versions;

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::Utc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::outside::{Doorkeeper, State, States};
use crate::said::Said;
use crate::session::Limits;
use crate::wire::{Message, MessageProperties, QoS};
use bus::{Bus, Kind, ReadPlaces, Tickets};
pub(crate) use connect::CLIENT_ID_BYTES_MAX;
pub(crate) use connection::{PACKET_MAX_MS, STUCK_MAX_MS};
pub(crate) use counters::Counters;
pub use counters::Figures;
use fan_out::FanOut;
use pending::Pending;
pub(crate) use pressure::BYTES_MAX as WAITING_BYTES_MAX;
use reads::Reads;
use retained::Retained;
use seats::Seats;
pub(crate) use seats::{NoSeat, Seat};
use session::Session;
pub(crate) use sessions::SESSIONS_MAX;
use sessions::Sessions;
pub(crate) use unread::ALL_MAX as UNREAD_BYTES_MAX;
use versions::Versions;

/// The most bytes of a packet from a client that is known.
pub(crate) const PACKET_BYTES_MAX: usize = 256 * 1024;
/// How many messages of QoS 2 a client may have open.
pub(crate) const RECEIVE_MAXIMUM: u16 = 256;
/// How many messages of QoS 1 and 2 are on their way to a client, if it takes as many.
pub(crate) const IN_FLIGHT_MAX: u16 = 256;
/// What may wait for one session.
pub(crate) const SESSION_LIMITS: Limits = Limits {
    messages: 1_000,
    bytes: 4 * 1024 * 1024,
    in_flight: IN_FLIGHT_MAX,
};
/// The media type of states.
const JSON: &str = "application/json";
/// How late a delayed will may be, or a session forgotten.
const TEND_EVERY: Duration = Duration::from_millis(100);
/// Seconds between two looks for expired retained messages.
const SWEEP_S: u64 = 10;

/// How many clients fit.
#[derive(Debug, Clone, Copy)]
pub struct Capacity {
    /// Connections at a time, of which one address has at most a quarter; more wait until one ends.
    pub connections: usize,
}

/// The one clock of the gateway: milliseconds since 1970, which never go back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    began: Instant,
    began_ms: u64,
}

impl Clock {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            began_ms: u64::try_from(Utc::now().timestamp_millis()).unwrap_or(0),
        }
    }

    pub(crate) fn now_ms(self) -> u64 {
        self.began_ms + u64::try_from(self.began.elapsed().as_millis()).unwrap_or(0)
    }
}

/// An MQTT broker for clients that are let in. Runs until it is stopped.
#[derive(Clone)]
pub struct Gateway(Arc<Shared>);

pub(crate) struct Shared {
    doorkeeper: Arc<dyn Doorkeeper>,
    sessions: Arc<Sessions>,
    bus: Arc<Bus>,
    retained: Arc<Mutex<Retained>>,
    counters: Arc<Counters>,
    out_per_s: AtomicU64,
    /// Bytes of packets that are not whole.
    unread: AtomicUsize,
    pending: Pending,
    reads: Reads,
    clock: Clock,
    seats: Arc<Seats>,
    filters_refused: Said,
    reads_cut: Said,
    reads_failed: Said,
    origins_refused: Said,
    stop: CancellationToken,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Gateway").finish_non_exhaustive()
    }
}

impl Gateway {
    /// Starts it, on the current runtime, without listeners. It ends with `stop`: clients are told.
    pub fn start(
        doorkeeper: Arc<dyn Doorkeeper>,
        states: Arc<dyn States>,
        capacity: Capacity,
        stop: CancellationToken,
    ) -> Self {
        let clock = Clock::new();
        let (reads, waiting_reads) = Reads::new();
        let shared = Arc::new(Shared {
            doorkeeper,
            sessions: Arc::default(),
            bus: Arc::new(Bus::new()),
            retained: Arc::default(),
            counters: Arc::default(),
            out_per_s: AtomicU64::new(0),
            unread: AtomicUsize::new(0),
            pending: Pending::default(),
            reads,
            clock,
            seats: Arc::new(Seats::new(capacity.connections)),
            filters_refused: Said::default(),
            reads_cut: Said::default(),
            reads_failed: Said::default(),
            origins_refused: Said::default(),
            stop: stop.clone(),
        });
        tokio::spawn(stop.clone().run_until_cancelled_owned(shared.clone().fan_out()));
        tokio::spawn(
            stop.clone()
                .run_until_cancelled_owned(shared.clone().each_second()),
        );
        tokio::spawn(stop.clone().run_until_cancelled_owned(shared.clone().tend()));
        reads::work(&shared, &states, waiting_reads, &stop);
        Self(shared)
    }

    /// A place for a connection from this address, once there is one.
    pub(crate) async fn wait_for_seat(&self, peer: IpAddr) -> Result<Seat, NoSeat> {
        let seat = self.0.seats.wait(peer).await;
        seat.inspect_err(|_| self.0.counters.refused.add(1))
    }

    /// A place that is free now.
    pub(crate) fn take_seat(&self, peer: IpAddr) -> Result<Seat, NoSeat> {
        let seat = self.0.seats.take(peer);
        seat.inspect_err(|_| self.0.counters.refused.add(1))
    }

    /// A page of this origin is turned away; whether the log is to say so.
    pub(crate) fn turns_away(&self, origin: &str, peer: IpAddr) -> bool {
        self.0.doorkeeper.turned_away(origin, peer);
        self.0.origins_refused.is_news(origin, self.0.clock.now_ms())
    }

    /// Serves one connection, until it ends. `opening` is what comes before MQTT: a client has the same time for both.
    pub(crate) async fn serve<S>(&self, seat: Seat, opening: impl Future<Output = io::Result<S>>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        connection::serve(&self.0, opening, seat.peer).await;
    }

    /// A state has changed: all who subscribed get it, unless they have it or a newer one. Waits while
    /// the gateway has more to do than it can.
    pub async fn state_changed(&self, state: State) {
        self.0.publish_state(state, None, None).await;
    }

    /// States may have changed without a word: they are read anew for all who subscribed.
    pub async fn states_missed(&self) {
        let filters = {
            let index = self.0.sessions.index.read();
            index.unwrap_or_else(PoisonError::into_inner).filters()
        };
        for filter in filters {
            self.0.reads.for_all(filter).await;
        }
    }

    /// Rights may have been revoked: connections whose were are ended.
    pub fn recheck(&self) {
        for session in self.0.sessions.all() {
            session.recheck();
        }
    }

    /// How it stands.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let shared = &self.0;
        let subscriptions = {
            let index = shared.sessions.index.read();
            index.unwrap_or_else(PoisonError::into_inner).len()
        };
        Figures {
            clients: shared.sessions.with_client() as u64,
            sessions: shared.sessions.len() as u64,
            subscriptions: subscriptions as u64,
            retained: locked(&shared.retained).len() as u64,
            queue_bytes: shared.sessions.pressure.held_bytes() as u64,
            out_per_s: shared.out_per_s.load(Relaxed),
            ..shared.counters.figures()
        }
    }
}

impl Shared {
    /// `places`: of whom it has to wait for one.
    async fn publish_state(
        &self,
        state: State,
        reader: Option<Arc<Session>>,
        places: Option<&mut ReadPlaces>,
    ) {
        let expiry_s = match state.expires_ms {
            None => None,
            Some(expires_ms) => match expires_ms.checked_sub(self.clock.now_ms()) {
                Some(left_ms) if left_ms > 0 => {
                    Some(u32::try_from(left_ms.div_ceil(1000)).unwrap_or(u32::MAX))
                }
                _ => return,
            },
        };
        let message = Message {
            topic: state.topic,
            payload: state.payload,
            qos: QoS::AtLeastOnce,
            retain: true,
            properties: MessageProperties {
                is_text: true,
                content_type: Some(JSON.to_owned()),
                expiry_s,
                ..MessageProperties::default()
            },
        };
        let version = state.version;
        let (message, kind) = (Arc::new(message), Kind::State { version, reader });
        match places {
            Some(places) => self.bus.publish_from(places, message, kind).await,
            None => self.bus.publish(message, kind).await,
        }
    }

    async fn fan_out(self: Arc<Self>) -> Infallible {
        let mut fan_out = FanOut {
            sessions: self.sessions.clone(),
            retained: self.retained.clone(),
            counters: self.counters.clone(),
            clock: self.clock,
            versions: Versions::default(),
        };
        let mut tickets = Tickets::default();
        loop {
            let parcel = self.bus.next(&mut tickets, &self.counters).await;
            fan_out.deliver(parcel).await;
        }
    }

    async fn each_second(self: Arc<Self>) -> Infallible {
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        let (mut out, mut ticks) = (0, 0_u64);
        loop {
            seconds.tick().await;
            ticks += 1;
            let out_now = self.counters.messages_out.get();
            self.out_per_s
                .store(out_now - std::mem::replace(&mut out, out_now), Relaxed);
            if ticks.is_multiple_of(SWEEP_S) {
                locked(&self.retained).sweep(self.clock.now_ms());
            }
        }
    }

    async fn tend(self: Arc<Self>) -> Infallible {
        let mut ticks = tokio::time::interval(TEND_EVERY);
        loop {
            ticks.tick().await;
            sessions::tend(&self.sessions, &self.bus, self.clock.now_ms()).await;
        }
    }

    /// A copy of a retained message with what is left of its time, none where it is over.
    fn aged(&self, message: &Arc<Message>, since_ms: u64) -> Option<Arc<Message>> {
        let Some(expiry_s) = message.properties.expiry_s else {
            return Some(message.clone());
        };
        let kept_s = u32::try_from((self.clock.now_ms() - since_ms) / 1000).unwrap_or(u32::MAX);
        let left_s = expiry_s.checked_sub(kept_s).filter(|left_s| *left_s > 0)?;
        let mut aged = Message::clone(message);
        aged.properties.expiry_s = Some(left_s);
        Some(Arc::new(aged))
    }
}

/// A panic of another holder leaves what is behind the lock as whole as any other end would.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
