//! The way from whoever publishes to the fan-out: a window of messages, and rumqttd's router, which
//! carries one ticket for each, in order. A message stays in the window until its ticket has come round,
//! so a router that dies or skips loses none: the next one gets the tickets of all that still wait.
//! A full window makes publishers wait.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rumqttd::local::{LinkBuilder, LinkRx, LinkTx};
use rumqttd::{Notification, Router, RouterConfig};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::session::Session;
use super::{Counters, locked};
use crate::session::held_bytes;
use crate::wire::Message;

/// What may be in the window: KiB, each message at least one.
const WINDOW_KIB: u32 = 8 * 1024;
/// How many messages of one publisher may be in it: a flood does not stand in the way of the others.
const OWN_MESSAGES: u32 = 64;
/// How many of one read: what changes meanwhile does not wait behind all that is read.
pub(super) const READ_MESSAGES: u32 = 256;
/// How long a ticket may be on its way before the router counts as dead.
const SILENCE_MAX: Duration = Duration::from_secs(2);
/// How long a router may take to start.
const START_MAX: Duration = Duration::from_secs(5);
/// What the router calls us, and the one topic that it carries.
const LINK: &str = "gateway";
const TICKETS: &str = "tickets";
const TICKET_BYTES: usize = size_of::<u64>();
/// The router's log: tickets are small, and one that is gone from it is still in the window.
const SEGMENT_BYTES: usize = 1024 * 1024;
const SEGMENTS: usize = 4;
const OUTGOING_MAX: u64 = 200;

/// A message on its way.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) message: Arc<Message>,
    pub(super) kind: Kind,
    _room: OwnedSemaphorePermit,
    /// The publisher's place, free once its readers have room again.
    pub(super) own: Option<OwnedSemaphorePermit>,
}

/// The places of one publisher in the window, made when it first needs one.
#[derive(Debug, Default)]
pub(super) struct Places<const COUNT: u32>(Option<Arc<Semaphore>>);

/// Those of a client.
pub(super) type OwnPlaces = Places<OWN_MESSAGES>;
/// Those of a read of states.
pub(super) type ReadPlaces = Places<READ_MESSAGES>;

impl<const COUNT: u32> Places<COUNT> {
    /// Waits for one.
    async fn take(&mut self) -> Option<OwnedSemaphorePermit> {
        let free = self
            .0
            .get_or_insert_with(|| Arc::new(Semaphore::new(COUNT as usize)));
        free.clone().acquire_owned().await.ok()
    }

    /// Until all are free.
    pub(super) async fn settled(&self) {
        if let Some(free) = &self.0 {
            let _ = free.acquire_many(COUNT).await;
        }
    }
}

/// What a message is to the fan-out.
#[derive(Debug)]
pub(super) enum Kind {
    /// Published by the session of this number.
    Published { by: u64 },
    /// A state as it changed, or as it was read for one who subscribed.
    State {
        version: u64,
        reader: Option<Arc<Session>>,
    },
}

/// The receiving end: the router that is there, and how far its tickets have come.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    link: Option<LinkRx>,
    came_round: Option<u64>,
    routers: usize,
}

#[derive(Debug)]
pub(super) struct Bus {
    window: Mutex<Window>,
    room: Arc<Semaphore>,
}

#[derive(Default)]
struct Window {
    /// The ticket of the first message in `waiting`; the others follow it one by one.
    first: u64,
    waiting: VecDeque<Parcel>,
    link: Option<LinkTx>,
}

impl std::fmt::Debug for Window {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Window")
            .field("first", &self.first)
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}

impl Bus {
    pub(super) fn new() -> Self {
        Self {
            window: Mutex::default(),
            room: Arc::new(Semaphore::new(WINDOW_KIB as usize)),
        }
    }

    /// As [`Bus::publish`], once one of these places is free.
    pub(super) async fn publish_from<const COUNT: u32>(
        &self,
        places: &mut Places<COUNT>,
        message: Arc<Message>,
        kind: Kind,
    ) {
        let own = places.take().await;
        self.put(message, kind, own).await;
    }

    /// Waits for room and takes the message; from here on it is delivered, whatever the router does.
    pub(super) async fn publish(&self, message: Arc<Message>, kind: Kind) {
        self.put(message, kind, None).await;
    }

    async fn put(&self, message: Arc<Message>, kind: Kind, own: Option<OwnedSemaphorePermit>) {
        let kib = u32::try_from(held_bytes(&message) / 1024).unwrap_or(WINDOW_KIB);
        let room = self
            .room
            .clone()
            .acquire_many_owned(kib.clamp(1, WINDOW_KIB))
            .await;
        let Ok(room) = room else { return };
        let mut window = locked(&self.window);
        let ticket = window.first + window.waiting.len() as u64;
        window.waiting.push_back(Parcel {
            message,
            kind,
            _room: room,
            own,
        });
        window.send(ticket);
    }

    /// The next message, in order. Starts routers as they are needed.
    pub(super) async fn next(&self, tickets: &mut Tickets, counters: &Counters) -> Parcel {
        loop {
            if let Some(parcel) = tickets.came_round.and_then(|ticket| self.up_to(ticket)) {
                return parcel;
            }
            tickets.came_round = None;
            let Some(link) = &mut tickets.link else {
                self.start(tickets).await;
                continue;
            };
            match self.next_ticket(link).await {
                Some(ticket) => tickets.came_round = Some(ticket),
                None => {
                    locked(&self.window).link = None;
                    tickets.link = None;
                    counters.router_restarts.add(1);
                    tracing::warn!("the MQTT router ended; a new one takes its place and nothing is lost");
                }
            }
        }
    }

    async fn start(&self, tickets: &mut Tickets) {
        tickets.routers += 1;
        match start(tickets.routers).await {
            Ok((sender, receiver)) => {
                self.attach(sender);
                tickets.link = Some(receiver);
            }
            Err(error) => {
                tracing::error!(error, "the MQTT router does not start; it is tried again");
                tokio::time::sleep(SILENCE_MAX).await;
            }
        }
    }

    fn attach(&self, link: LinkTx) {
        let mut window = locked(&self.window);
        window.link = Some(link);
        for ticket in window.first..window.first + window.waiting.len() as u64 {
            window.send(ticket);
        }
    }

    /// None once the router is gone.
    async fn next_ticket(&self, link: &mut LinkRx) -> Option<u64> {
        loop {
            match tokio::time::timeout(SILENCE_MAX, link.next()).await {
                Ok(Ok(Some(Notification::Forward(forward)))) => {
                    if let Some(ticket) = ticket(&forward.publish.payload) {
                        return Some(ticket);
                    }
                }
                Ok(Ok(Some(Notification::Unschedule))) => link.wake().await.ok()?,
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return None,
                Err(_silent) if locked(&self.window).waiting.is_empty() => {}
                Err(_silent) => return None,
            }
        }
    }

    fn up_to(&self, ticket: u64) -> Option<Parcel> {
        let mut window = locked(&self.window);
        if ticket < window.first {
            return None;
        }
        let parcel = window.waiting.pop_front()?;
        window.first += 1;
        Some(parcel)
    }

    /// Has the router throw us out, as it does with a client that acknowledges what it never got.
    #[cfg(test)]
    pub(super) fn break_router(&self) {
        use rumqttd::protocol::{Packet, PubAck, PubAckReason};
        if let Some(link) = &mut locked(&self.window).link {
            let unsolicited = PubAck {
                pkid: 99,
                reason: PubAckReason::Success,
            };
            let sent = link.send(Packet::PubAck(unsolicited, None));
            let _ = futures::FutureExt::now_or_never(sent);
        }
    }
}

impl Window {
    /// A router that cannot take it is full, and will find it with what it has, or is gone, and the next one gets it.
    fn send(&mut self, ticket: u64) {
        if let Some(link) = &mut self.link {
            let _ = link.try_publish(TICKETS, ticket.to_be_bytes().to_vec());
        }
    }
}

fn ticket(payload: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(<[u8; TICKET_BYTES]>::try_from(payload).ok()?))
}

/// Starting blocks, and hung once when a router died meanwhile: off the runtime's threads, and not for ever.
async fn start(number: usize) -> Result<(LinkTx, LinkRx), String> {
    let starting = tokio::task::spawn_blocking(move || {
        let config = RouterConfig {
            max_connections: 8,
            max_outgoing_packet_count: OUTGOING_MAX,
            max_segment_size: SEGMENT_BYTES,
            max_segment_count: SEGMENTS,
            ..RouterConfig::default()
        };
        let router = Router::new(number, config).spawn();
        let (mut link, tickets, _) = LinkBuilder::new(LINK, router)
            .build()
            .map_err(|error| error.to_string())?;
        link.subscribe(TICKETS).map_err(|error| error.to_string())?;
        Ok((link, tickets))
    });
    match tokio::time::timeout(START_MAX, starting).await {
        Ok(Ok(started)) => started,
        Ok(Err(panicked)) => Err(panicked.to_string()),
        Err(_) => Err(format!("no answer within {} s", START_MAX.as_secs())),
    }
}
