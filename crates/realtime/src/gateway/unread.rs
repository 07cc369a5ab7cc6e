//! Bytes of packets that are not whole, of all connections together: whoever is there, known or not, may begin one.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::stream::Over;
use crate::why::Why;

/// What all together may have sent of them; beyond it those go that sent much.
pub(crate) const ALL_MAX: usize = 64 * 1024 * 1024;
/// What is never too much.
const SMALL: usize = 16 * 1024;

/// What is counted of one connection.
#[derive(Debug, Default)]
pub(super) struct Unread(usize);

impl Unread {
    /// Counts what there is of it now, and ends it if that is too much.
    pub(super) fn count(&mut self, now: usize, all: &AtomicUsize) -> Result<(), Over> {
        let before = std::mem::replace(&mut self.0, now);
        if before != now {
            all.fetch_add(now, Relaxed);
            all.fetch_sub(before, Relaxed);
        }
        if now > SMALL && all.load(Relaxed) > ALL_MAX {
            return Err(Over::Ended(Why::TooMuchUnread));
        }
        Ok(())
    }
}

/// As [`Unread`], until it is dropped.
#[derive(Debug)]
pub(super) struct UnreadOf<'a> {
    own: Unread,
    all: &'a AtomicUsize,
}

impl<'a> UnreadOf<'a> {
    pub(super) fn new(all: &'a AtomicUsize) -> Self {
        Self {
            own: Unread::default(),
            all,
        }
    }

    pub(super) fn count(&mut self, now: usize) -> Result<(), Over> {
        self.own.count(now, self.all)
    }
}

impl Drop for UnreadOf<'_> {
    fn drop(&mut self) {
        let _ = self.count(0);
    }
}
