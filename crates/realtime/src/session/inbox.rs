//! What a client published with QoS 2 and has not released: its identifiers, so that a repeated
//! packet is answered and not published again (MQTT 5.0, section 4.3.3, method A).

use std::collections::HashSet;

/// What a PUBLISH of QoS 2 is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// New: publish it and answer PUBREC.
    Fresh,
    /// Known: only answer PUBREC.
    Repeated,
    /// More than the client was allowed to have open: the connection ends.
    TooMany,
}

/// The open identifiers of one session.
#[derive(Debug)]
pub struct Inbox {
    open: HashSet<u16>,
    maximum: u16,
}

impl Inbox {
    /// `maximum` is the receive maximum that the server told.
    #[must_use]
    pub fn new(maximum: u16) -> Self {
        Self {
            open: HashSet::new(),
            maximum,
        }
    }

    /// The most that may be open.
    #[must_use]
    pub fn maximum(&self) -> u16 {
        self.maximum
    }

    /// A PUBLISH of QoS 2 came.
    pub fn publish(&mut self, id: u16) -> Received {
        if self.open.contains(&id) {
            return Received::Repeated;
        }
        if self.open.len() >= usize::from(self.maximum) {
            return Received::TooMany;
        }
        self.open.insert(id);
        Received::Fresh
    }

    /// A PUBREL came, or a PUBLISH was refused in its PUBREC. Gives whether the identifier was open.
    pub fn release(&mut self, id: u16) -> bool {
        self.open.remove(&id)
    }
}
