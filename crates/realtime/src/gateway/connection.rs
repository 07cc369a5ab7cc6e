//! One connection, from its first byte to its last: reads packets and does what follows from them,
//! writes what waits for the client, and ends it when it is silent, stuck or no longer allowed. An idle
//! one holds no buffers.

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};

use super::bus::{Kind, OwnPlaces};
use super::connect::{self, Welcome};
use super::fan_out::retained_manner;
use super::reads::OwnReads;
use super::session::{BATCH_BYTES, Session};
use super::stream::{Over, Wire};
use super::unread::{Unread, UnreadOf};
use super::{Shared, locked, sessions};
use crate::session::{Action, Alive, Effect, Rights};
use crate::why::{NotGranted, Why};
use crate::wire::{
    ConnAck, Incoming, Outgoing, ReasonString, SubscribeFilter, Takes, Version, Will, WireError,
};
use crossdock_model::topic::TopicFilter;

/// How long a client may take to say who it is, a TLS handshake before it included, and to be answered.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long a packet may take from its first byte to its last.
pub(crate) const PACKET_MAX_MS: u64 = 30_000;
/// How long a client may take nothing of what is sent to it.
pub(crate) const STUCK_MAX_MS: u64 = 30_000;
/// Others have their turn after so many bytes of one who sends without a pause.
const TURN_BYTES: usize = 16 * 1024;
/// Nothing is read while this much waits to be written.
pub(super) const UNWRITTEN_MAX: usize = 64 * 1024;

/// Why it is over, once that is asked: all that may be due is looked at with every packet.
type Because = fn(&Alive) -> Why;

thread_local! {
    static WRITE: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

pub(super) async fn serve<S>(shared: &Arc<Shared>, opening: impl Future<Output = io::Result<S>>, peer: IpAddr)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    // Apart, so that what it needs is not held while the connection lasts.
    let welcome = Box::pin(tokio::time::timeout(CONNECT_MAX, welcome(shared, opening, peer))).await;
    let Ok(Some((wire, welcome))) = welcome else {
        return;
    };
    let connection = Connection {
        shared,
        session: welcome.taken.session,
        epoch: welcome.taken.epoch,
        takes: welcome.takes,
        alive: Alive::new(welcome.keep_alive_s, shared.clock.now_ms()),
        rights: welcome.rights,
        places: OwnPlaces::default(),
        reads: OwnReads::of(welcome.taken.reread),
        packet_since_ms: None,
        stuck_since_ms: None,
        unread: Unread::default(),
        wire,
    };
    connection.run(welcome.taken.wills).await;
}

/// Opens the connection, reads the CONNECT and answers it; none where the client was not let in.
async fn welcome<S>(
    shared: &Arc<Shared>,
    opening: impl Future<Output = io::Result<S>>,
    peer: IpAddr,
) -> Option<(Wire<S>, Welcome)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let opened = async {
        let mut wire = Wire::over(opening.await?);
        let mut unread = UnreadOf::new(&shared.unread);
        let first = wire.packet(|bytes| unread.count(bytes)).await;
        io::Result::Ok((wire, first))
    };
    let opened = {
        let place = shared.pending.enter();
        tokio::select! {
            opened = opened => opened,
            () = place.pushed_out() => return None,
            () = shared.stop.cancelled() => return None,
        }
    };
    let (mut wire, first) = opened
        .inspect_err(|error| tracing::debug!(%peer, %error, "no connection"))
        .ok()?;
    let refusal = match first {
        Ok(Incoming::Connect(connect)) => {
            let takes = connect::takes(&connect);
            match connect::answer(shared, *connect, peer).await {
                Ok((welcome, ack)) => {
                    wire.queue(takes, &Outgoing::ConnAck(Box::new(ack)));
                    for packet in &welcome.taken.again {
                        wire.queue(takes, packet);
                    }
                    return Some((wire, welcome));
                }
                Err(why) => {
                    shared.counters.refused.add(1);
                    Some((takes, why))
                }
            }
        }
        Err(Over::Ended(Why::Wire(error))) => {
            shared.counters.ended_bad_packet.add(1);
            tracing::debug!(%peer, %error, "no MQTT client");
            let version = match error {
                WireError::Version(_) => Some(Version::V4),
                _ => wire.decoder.version(),
            };
            let takes = |version| Takes {
                version,
                max_packet_bytes: usize::MAX,
                problems: true,
            };
            version.map(|version| (takes(version), Why::Wire(error)))
        }
        _ => None,
    };
    if let Some((takes, why)) = refusal {
        wire.queue(
            takes,
            &Outgoing::ConnAck(Box::new(ConnAck::bare(why.reason(), why.said()))),
        );
        wire.goodbye().await;
    }
    None
}

struct Connection<'a, S> {
    shared: &'a Arc<Shared>,
    wire: Wire<S>,
    session: Arc<Session>,
    epoch: u64,
    takes: Takes,
    rights: Arc<dyn Rights>,
    alive: Alive,
    places: OwnPlaces,
    reads: OwnReads,
    /// Since when a packet is not whole.
    packet_since_ms: Option<u64>,
    /// Since when nothing could be written of what there is.
    stuck_since_ms: Option<u64>,
    unread: Unread,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<'_, S> {
    /// `wills`: what others left whose session this is now, or who had to go for it.
    async fn run(mut self, wills: Vec<Will>) {
        let stop = &self.shared.stop;
        let published = async {
            for will in wills {
                sessions::publish(&self.shared.bus, self.session.number, Some(will)).await;
            }
        };
        stop.run_until_cancelled(Box::pin(published)).await;
        let will = match self.work().await {
            Ok(never) => match never {},
            Err(over) => self.end(over),
        };
        let shared = self.shared;
        let held = (self.session.clone(), self.epoch);
        // Boxes, here and below: what is rare takes no room in what every connection holds.
        let leaving = sessions::leave(&shared.sessions, &shared.bus, shared.clock, held, will);
        shared.stop.run_until_cancelled(Box::pin(leaving)).await;
        Box::pin(self.wire.goodbye()).await;
    }

    /// Says why it is over; gives the will that is due.
    fn end(&mut self, over: Over) -> Option<Will> {
        let _ = self.unread.count(0, &self.shared.unread);
        let (why, will) = self.judge(over);
        if let Some(said) = why.said() {
            let reason = why.reason();
            let said = Some(said);
            self.wire
                .queue(self.takes, &Outgoing::Disconnect { reason, said });
        }
        will
    }

    /// Counts why it is over; gives what its client is told, and the will that is due.
    fn judge(&self, over: Over) -> (Why, Option<Will>) {
        let counters = &self.shared.counters;
        let why = match over {
            Over::Said(said) => return *said,
            Over::Lost => Why::Goodbye,
            Over::Ended(why) => why,
        };
        match &why {
            Why::Slow | Why::Stuck | Why::Unloaded => counters.ended_slow.add(1),
            Why::TooMuchUnread => counters.ended_no_room.add(1),
            Why::Wire(error) => {
                counters.ended_bad_packet.add(1);
                tracing::debug!(client_id = %self.session.key.client_id, %error, "a client broke the protocol");
            }
            _ => {}
        }
        (why, self.session.end(self.epoch))
    }

    async fn work(&mut self) -> Result<Infallible, Over> {
        let stop = self.shared.stop.clone();
        let mut stopped = pin!(stop.cancelled());
        let mut due = pin!(tokio::time::sleep(Duration::ZERO));
        let mut turn_bytes = 0;
        loop {
            while let Some(packet) = self.wire.decode()? {
                self.packet_since_ms = None;
                self.alive.heard(self.shared.clock.now_ms());
                let effects = self.take(packet)?;
                if !effects.is_empty() {
                    let carried_out = stop.run_until_cancelled(Box::pin(self.carry_out(effects)));
                    carried_out.await.unwrap_or(Err(Over::Ended(Why::Stopping)))?;
                }
            }
            if !self.wire.unread.is_empty() {
                let now_ms = self.shared.clock.now_ms();
                self.packet_since_ms.get_or_insert(now_ms);
            }
            self.unread.count(self.wire.unread.len(), &self.shared.unread)?;
            if turn_bytes >= TURN_BYTES {
                turn_bytes = 0;
                tokio::task::yield_now().await;
                let now_ms = self.shared.clock.now_ms();
                if self.rights.ends_ms().is_some_and(|at_ms| at_ms <= now_ms) {
                    return Err(Over::Ended(Why::Expired));
                }
            }
            let unread = self.wire.unread.len();
            poll_fn(|cx| {
                if stopped.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Err(Over::Ended(Why::Stopping)));
                }
                let polled = self.poll(cx, due.as_mut());
                if polled.is_pending() {
                    turn_bytes = 0;
                }
                polled
            })
            .await?;
            turn_bytes += self.wire.unread.len() - unread;
        }
    }

    /// Writes all that can be written; ready when something was read, or the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>, due: Pin<&mut Sleep>) -> Poll<Result<(), Over>> {
        if !self.session.register(self.epoch, cx.waker()) {
            return Poll::Ready(Err(Over::Ended(Why::TakenOver)));
        }
        match self.poll_write(cx)? {
            Poll::Ready(()) => self.stuck_since_ms = None,
            Poll::Pending => {
                let now_ms = self.shared.clock.now_ms();
                self.stuck_since_ms.get_or_insert(now_ms);
            }
        }
        // What makes room for them wakes the connection, which then comes by here. Before it is read, for who sends without
        // a pause always has something to read.
        self.reads.poll(cx, self.shared, &self.session, self.epoch);
        if self.wire.unwritten.len() < UNWRITTEN_MAX
            && let Poll::Ready(read) = self.wire.poll_read(cx)
        {
            return Poll::Ready(read);
        }
        self.poll_due(cx, due)
    }

    /// Ready when there is nothing left to write.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Over> {
        loop {
            let unwritten = self.wire.unwritten.len();
            let written = self.wire.poll_write(cx)?;
            if self.wire.unwritten.len() < unwritten {
                self.stuck_since_ms = None;
            }
            if written.is_pending() {
                return Ok(Poll::Pending);
            }
            if !self.session.has_news() {
                return self.flush(cx);
            }
            let full = WRITE.with_borrow_mut(|batch| {
                batch.clear();
                let shared = self.shared;
                let filled = self.session.fill(
                    self.epoch,
                    batch,
                    self.takes.max_packet_bytes,
                    &shared.counters,
                    &shared.sessions.pressure,
                    shared.clock.now_ms(),
                );
                filled.map_err(Over::Ended)?;
                let full = batch.len() >= BATCH_BYTES;
                self.write_batch(cx, batch).map(|()| full)
            })?;
            if full {
                // For what may be left, and nothing wakes for it.
                self.session.look_again();
            }
            self.stuck_since_ms = None;
        }
    }

    /// Writes it, and keeps what does not go.
    fn write_batch(&mut self, cx: &mut Context<'_>, batch: &mut BytesMut) -> Result<(), Over> {
        while !batch.is_empty() {
            match Pin::new(&mut self.wire.stream).poll_write(cx, batch)? {
                Poll::Ready(0) => return Err(Over::Lost),
                Poll::Ready(written) => batch.advance(written),
                Poll::Pending => {
                    self.wire.unwritten.extend_from_slice(batch);
                    break;
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Over> {
        match Pin::new(&mut self.wire.stream).poll_flush(cx) {
            Poll::Ready(flushed) => Ok(Poll::Ready(flushed?)),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    /// Ready when it was silent or stuck for too long, or its rights ended.
    fn poll_due(&self, cx: &mut Context<'_>, mut due: Pin<&mut Sleep>) -> Poll<Result<(), Over>> {
        loop {
            let now_ms = self.shared.clock.now_ms();
            let whole_by_ms = self.packet_since_ms.map(|since| since + PACKET_MAX_MS);
            let taken_by_ms = self.stuck_since_ms.map(|since| since + STUCK_MAX_MS);
            let ends: [(Option<u64>, Because); 4] = [
                (self.rights.ends_ms(), |_| Why::Expired),
                (self.alive.deadline_ms(), |alive| {
                    Why::Silent(alive.keep_alive_s())
                }),
                (whole_by_ms, |_| Why::NeverWhole),
                (taken_by_ms, |_| Why::Stuck),
            ];
            let first = ends
                .into_iter()
                .filter_map(|(at_ms, why)| Some((at_ms?, why)))
                .min_by_key(|(at_ms, _)| *at_ms);
            let Some((at_ms, why)) = first else {
                return Poll::Pending;
            };
            if at_ms <= now_ms {
                return Poll::Ready(Err(Over::Ended(why(&self.alive))));
            }
            let at = Instant::now() + Duration::from_millis(at_ms - now_ms);
            // It may ring too early, when the deadline has moved meanwhile; not too late.
            if due.is_elapsed() || due.deadline() > at {
                due.as_mut().reset(at);
            }
            ready!(due.as_mut().poll(cx));
        }
    }

    fn take(&mut self, mut packet: Incoming) -> Result<Vec<Effect>, Over> {
        let without_room = match &mut packet {
            Incoming::Subscribe { filters, .. } => self.refuse(filters),
            _ => None,
        };
        let now_ms = self.shared.clock.now_ms();
        let mut effects = self
            .session
            .handle(self.epoch, packet, now_ms)
            .map_err(Over::Ended)?;
        if let Some((places, said_of_first)) = without_room
            && let Some(Effect::Send(Outgoing::SubAck { granted, said, .. })) = effects.first_mut()
        {
            for place in &places {
                granted.insert(*place, Err(NotGranted::NoRoom.reason()));
            }
            if granted.iter().position(Result::is_err) == places.first().copied() {
                *said = Some(said_of_first);
            }
        }
        // An acknowledgement may have made room for what waits.
        self.session.look_again();
        Ok(effects)
    }

    /// Takes away the filters for which there is no room, and gives their places, and what is said of the first one.
    fn refuse(&self, filters: &mut Vec<SubscribeFilter>) -> Option<(Vec<usize>, ReasonString)> {
        let shared = self.shared;
        let (principal, now_ms) = (&*self.session.key.principal, shared.clock.now_ms());
        let may = |filter: &TopicFilter| self.rights.may(Action::Subscribe(filter), now_ms);
        let places = shared.sessions.without_room(principal, filters, may);
        let said = NotGranted::NoRoom.said(&filters[*places.first()?].text, &[]);
        shared.counters.dropped_no_room.add(places.len() as u64);
        if shared.filters_refused.is_news(principal, now_ms) {
            tracing::warn!(
                principal,
                "subscriptions are refused: the filters of all clients have too many levels"
            );
        }
        for place in places.iter().rev() {
            filters.remove(*place);
        }
        Some((places, said))
    }

    async fn carry_out(&mut self, effects: Vec<Effect>) -> Result<(), Over> {
        for effect in effects {
            match effect {
                Effect::Send(packet) => self.wire.queue(self.takes, &packet),
                Effect::Publish { message, then } => {
                    let by = self.session.number;
                    let (bus, message) = (&self.shared.bus, Arc::new(message));
                    let retain = message.retain && then.is_some();
                    bus.publish_from(&mut self.places, message, Kind::Published { by })
                        .await;
                    if retain {
                        // Who subscribes once this is acknowledged gets it as retained.
                        self.places.settled().await;
                    }
                    if let Some(packet) = then {
                        self.wire.queue(self.takes, &packet);
                    }
                }
                Effect::Denied => self.shared.counters.dropped_denied.add(1),
                Effect::Subscribed {
                    subscription,
                    options,
                    retained,
                } => {
                    self.shared
                        .sessions
                        .subscribe(&self.session, &subscription, options);
                    if retained {
                        self.send_retained(&subscription.filter, options);
                        self.reads.add(subscription.filter);
                    }
                }
                Effect::Unsubscribed(subscription) => {
                    self.shared.sessions.unsubscribe(&self.session, &subscription);
                    self.reads.remove(&subscription.filter, &self.session, self.epoch);
                }
                Effect::End { why, will } => return Err(Over::Said(Box::new((why, will)))),
            }
        }
        Ok(())
    }

    fn send_retained(&self, filter: &TopicFilter, options: crate::session::Options) {
        let kept = locked(&self.shared.retained).matching(filter);
        for (message, since_ms) in kept {
            let Some(message) = self.shared.aged(&message, since_ms) else {
                continue;
            };
            let (counters, pressure) = (&self.shared.counters, &self.shared.sessions.pressure);
            let manner = retained_manner(&message, options);
            self.session
                .push(&message, manner, counters, pressure, self.shared.clock.now_ms());
        }
    }
}
