//! Keep-alive (MQTT 5.0, section 3.1.2.10): a client that was silent for one and a half times what it
//! promised is gone.

/// When a client was last heard, and for how long it may be silent.
#[derive(Debug, Clone, Copy)]
pub struct Alive {
    keep_alive_s: u16,
    heard_ms: u64,
}

impl Alive {
    /// From its CONNECT on. 0 means that it may be silent for ever.
    #[must_use]
    pub fn new(keep_alive_s: u16, now_ms: u64) -> Self {
        Self {
            keep_alive_s,
            heard_ms: now_ms,
        }
    }

    /// What it promised, in seconds.
    #[must_use]
    pub fn keep_alive_s(&self) -> u16 {
        self.keep_alive_s
    }

    /// A packet came, of whatever kind.
    pub fn heard(&mut self, now_ms: u64) {
        self.heard_ms = self.heard_ms.max(now_ms);
    }

    /// The time from which on it counts as gone, none where it never does.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<u64> {
        (self.keep_alive_s > 0).then(|| self.heard_ms + u64::from(self.keep_alive_s) * 1500)
    }
}
