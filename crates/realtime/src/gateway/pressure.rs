//! How much waits in all sessions together, so that the fan-out can wait for those who read as fast as
//! they can, for a moment, and never for those who do not.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::Notify;

/// A session whose messages have not all been sent for this long does not keep up, and nobody waits for it.
pub(super) const PATIENCE_MS: u64 = 200;
/// The fan-out waits from this many messages on, in sessions that keep up,
const MESSAGES_HIGH: usize = 32 * 1024;
/// until there are no more than this.
const MESSAGES_LOW: usize = 16 * 1024;
/// What may wait in all sessions together; past it some are unloaded,
pub(crate) const BYTES_MAX: usize = 256 * 1024 * 1024;
/// until there is no more than this.
const BYTES_LOW: usize = 192 * 1024 * 1024;
/// How often the fan-out looks again while it waits.
pub(super) const LOOK: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
pub(super) struct Pressure {
    messages: AtomicUsize,
    bytes: AtomicUsize,
    relieved: Notify,
}

impl Pressure {
    /// A session that keeps up holds `now` messages, after `before`.
    pub(super) fn messages(&self, before: usize, now: usize) {
        if now >= before {
            self.messages.fetch_add(now - before, Relaxed);
        } else {
            let all = self.messages.fetch_sub(before - now, Relaxed);
            if all > MESSAGES_LOW && all - (before - now) <= MESSAGES_LOW {
                self.relieve();
            }
        }
    }

    /// A session holds `now` bytes, after `before`.
    pub(super) fn bytes(&self, before: usize, now: usize) {
        if now >= before {
            self.bytes.fetch_add(now - before, Relaxed);
        } else {
            self.bytes.fetch_sub(before - now, Relaxed);
        }
    }

    pub(super) fn relieve(&self) {
        self.relieved.notify_waiters();
    }

    pub(super) fn is_high(&self) -> bool {
        self.messages.load(Relaxed) > MESSAGES_HIGH || self.is_full()
    }

    pub(super) fn is_low(&self) -> bool {
        self.messages.load(Relaxed) <= MESSAGES_LOW && !self.is_full()
    }

    pub(super) fn has_room(&self) -> bool {
        self.bytes.load(Relaxed) <= BYTES_LOW
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.load(Relaxed) > BYTES_MAX
    }

    /// Whether it would be if these bytes were gone.
    pub(super) fn is_full_without(&self, bytes: usize) -> bool {
        self.held_bytes().saturating_sub(bytes) > BYTES_MAX
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Until a session was relieved, or for a moment.
    pub(super) async fn relief(&self) {
        let _ = tokio::time::timeout(LOOK, self.relieved.notified()).await;
    }
}
