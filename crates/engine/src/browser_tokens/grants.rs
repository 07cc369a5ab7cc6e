//! What a token's holder may do, asked for every packet: no answer needs the database or the network.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::{DateTime, Utc};
use crossdock_model::topic::{TopicFilter, TopicName};

use super::revocations::{Marks, Revocations};

/// What the holder of a browser token may do, and for how long. A browser reads: it may not publish anywhere.
pub struct Grants {
    principal: String,
    filters: Vec<TopicFilter>,
    expires: DateTime<Utc>,
    marks: Marks,
    revocations: Arc<Revocations>,
    /// Of which state of the revocations the verdict is, and the verdict in the lowest bit.
    seen: AtomicU64,
}

impl Grants {
    pub(super) fn new(
        filters: Vec<TopicFilter>,
        expires: DateTime<Utc>,
        marks: Marks,
        revocations: Arc<Revocations>,
    ) -> Self {
        Self {
            principal: marks.principal.clone(),
            filters,
            expires,
            marks,
            revocations,
            seen: AtomicU64::new(NEVER),
        }
    }

    /// Whose sessions theirs are: the subject together with who vouches for it, `key:<id>/<subject>` of tokens that
    /// this hub minted, `issuer:<name>/<subject>` of an outside issuer's.
    pub fn principal(&self) -> &str {
        &self.principal
    }

    /// Who vouches for them, without the subject: `key:<id>` or `issuer:<name>`. For logs.
    pub fn voucher(&self) -> &str {
        self.principal.split_once('/').map_or("", |(voucher, _)| voucher)
    }

    /// The topics that may be read.
    pub fn filters(&self) -> &[TopicFilter] {
        &self.filters
    }

    /// Whether every topic that the filter can match may be read.
    pub fn may_subscribe(&self, filter: &TopicFilter) -> bool {
        let is_reserved = filter.as_str().starts_with('$');
        !is_reserved && self.filters.iter().any(|granted| granted.covers(filter))
    }

    /// Whether this topic may be read.
    pub fn may_receive(&self, topic: &TopicName) -> bool {
        !topic.is_reserved() && self.filters.iter().any(|granted| granted.matches(topic))
    }

    /// Whether something may be published to this topic, a will too: never.
    pub fn may_publish(&self, _: &TopicName) -> bool {
        false
    }

    /// From when on they hold no longer.
    pub fn expires(&self) -> DateTime<Utc> {
        self.expires
    }

    /// Whether they were ended before their time. Worth asking again when
    /// [`Hub::token_changes`](crate::Hub::token_changes) says so; until then the answer is the same.
    pub fn revoked(&self) -> bool {
        let state = self.revocations.state();
        let seen = self.seen.load(Ordering::Relaxed);
        if seen >> 1 == state && seen != NEVER {
            return seen & 1 == 1;
        }
        let revoked = self.revocations.cover(&self.marks);
        self.seen
            .store(state << 1 | u64::from(revoked), Ordering::Relaxed);
        revoked
    }

    /// Whether they hold at this time.
    pub fn hold(&self, now: DateTime<Utc>) -> bool {
        now < self.expires && !self.revoked()
    }
}

/// No state has this number.
const NEVER: u64 = u64::MAX;

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grants")
            .field("principal", &self.principal)
            .field("filters", &self.filters)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}
