//! How a hub hears of changed states, whichever hub has made them: through a queue of its own that goes with its
//! connection and holds a bounded number of them. Whatever is lost on the way is not repeated but said: then everything
//! is to be read anew from the database.

use std::sync::Arc;

use crossdock_bus::{
    BusError,
    listener::{Listener, Room},
    names,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{LiveState, announcement::Heard};
use crate::{Hub, shared::Shared, storing::PAUSE_MIN};

/// Changes that the hub's queue holds, and that RabbitMQ hands over ahead of acks.
const ROOM: Room = Room {
    messages: 20_000,
    prefetch: 500,
};
/// Changes that wait for whoever listens; more stay in RabbitMQ.
const WAITING_MAX: usize = 500;
/// One ack for so many changes.
const ACK_EVERY: u16 = 100;

impl Hub {
    /// Every change of a state from now on, and [`LiveState::Missed`] at the beginning and whenever some may have been
    /// lost. One listens at a time: who asked before hears no more.
    pub fn live_states(&self) -> mpsc::Receiver<LiveState> {
        let (listener, changes) = mpsc::channel(WAITING_MAX);
        self.shared.state_listener.send_replace(Some(listener));
        changes
    }
}

/// Tells who listens, until `stop`.
pub(crate) async fn listen(shared: Arc<Shared>, stop: CancellationToken) {
    let mut listeners = shared.state_listener.subscribe();
    let mut pause = PAUSE_MIN;
    while !stop.is_cancelled() {
        let listener = listeners.borrow_and_update().clone();
        let listener = listener.filter(|listener| !listener.is_closed());
        let Some(listener) = listener else {
            tokio::select! {
                () = stop.cancelled() => {}
                _ = listeners.changed() => {}
            }
            continue;
        };
        if shared.wait_for_topology(&stop).await.is_err() {
            return;
        }
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            _ = listeners.changed() => continue,
            () = listener.closed() => continue,
            ended = hear(&shared, &listener, &mut pause) => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "changed states are not heard of for a moment");
        }
        shared.pause(&mut pause, &stop).await;
    }
}

/// Passes on what is announced. Ends when the queue is gone, or nobody listens any more.
async fn hear(
    shared: &Shared,
    listener: &mpsc::Sender<LiveState>,
    pause: &mut std::time::Duration,
) -> Result<(), BusError> {
    let queue = names::realtime_queue(&shared.hub_id);
    let tag = shared.consumer_tag("changed-states");
    let mut changes = Listener::open(&shared.broker, names::REALTIME, &queue, ROOM, &tag).await?;
    *pause = PAUSE_MIN;
    // What was announced before is in the database by now.
    if listener.send(LiveState::Missed).await.is_err() {
        return Ok(());
    }
    let mut heard = Heard::default();
    let mut unacked = 0;
    loop {
        let delivery = changes.next().await?;
        let told = match heard.read(&delivery) {
            Some((state, true)) => listener.send(LiveState::Changed(state)).await,
            // What has come is in the database, too.
            Some((_, false)) | None => listener.send(LiveState::Missed).await,
        };
        if told.is_err() {
            return Ok(());
        }
        unacked += 1;
        if unacked == ACK_EVERY {
            changes.done_up_to(delivery.tag).await?;
            unacked = 0;
        }
    }
}
