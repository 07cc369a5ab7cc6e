//! What the hub keeps: the record of events and deliveries, and everything an operator set up.
//!
//! One module per aggregate holds its types and its trait; `sqlite` and `postgres` implement them all, and one suite
//! (`tests/suite`) says what every backend must do. Nothing here knows RabbitMQ, HTTP or the configuration,
//! and no type of the database driver shows in a signature.
//!
//! Times are kept in microseconds: what is finer is cut off. Only an event's own `time` attribute is kept
//! to the letter.

pub mod adapters;
pub mod api_keys;
mod batch;
pub mod dead_letters;
pub mod endpoints;
mod error;
pub mod events;
pub mod figures;
mod finding;
pub mod hubs;
pub mod ledger;
mod migrations;
pub mod outcomes;
mod postgres;
mod projection;
pub mod quarantine;
pub mod retention;
pub mod revisions;
mod rows;
pub mod sessions;
mod settlement;
mod sqlite;
pub mod states;
mod stored;
pub mod tokens;
pub mod users;

use std::sync::Arc;

pub use adapters::{AdapterCredential, Adapters};
pub use api_keys::{ApiKey, ApiKeys};
pub use dead_letters::{DEAD_LETTERS_MAX, DeadLetter, DeadLetterCursor, DeadLetters};
pub use endpoints::{DisabledEndpoint, Endpoints};
pub use error::StoreError;
pub use events::{
    Accepted, Attempt, Batch, DeliveryRow, DeliveryState, Duplicate, EventKey, EventQuery, Events, FIND_MAX,
    JOURNEY_DATA_MAX_BYTES, JOURNEY_MAX, StoredEvent,
};
pub use figures::{
    BUCKETS_MAX, Figures, HISTOGRAM_EVENTS_MAX, Histogram, HistogramQuery, PASSED_OVER_MAX, RECENT_MAX,
    RecentAttempts, SOURCE_EVENTS_MAX, SOURCES_MAX, SourceFigure, SourceFigures,
};
pub use hubs::{HubBeat, Hubs};
pub use ledger::{AdapterTotals, Ledger, PendingDelivery, Totals};
pub use outcomes::{
    DETAIL_MAX_BYTES, DeliveryKey, Outcome, OutcomeKind, Outcomes, SettleSummary, Standing, Word,
};
pub use quarantine::{NewQuarantined, Quarantine, Quarantined, QuarantinedSummary};
pub use retention::{
    EventsForgotten, ForgetEvents, ForgetQuarantined, QuarantineBound, QuarantineCutOff, QuarantineForgotten,
    Retention,
};
pub use revisions::{NewRevision, Revision, RevisionFile, RevisionSummary, Revisions};
pub use sessions::{Session, Sessions, SignedIn, TokenHash};
pub use states::{
    LatestState, Projected, STATE_DATA_MAX_BYTES, STATE_SEEN_MAX, STATES_PAGE_MAX, StateChange, StateOrder,
    StateVerdict, States, StatesPage,
};
pub use tokens::{Revocation, RevokedKind, SIGNING_KEYS_MAX, SigningKey, Tokens};
pub use users::{User, UserChange, Users};

/// What the log need not say: the pools' words about each connection while the database is away. The hub says that once.
pub const LOG_FILTERS: [&str; 2] = ["sqlx::pool=error", "sqlx_core::pool=error"];

/// What every function of this crate returns.
pub type Result<T> = std::result::Result<T, StoreError>;

/// A database, whichever it is.
pub type Store = Arc<dyn Backend>;

/// Everything that a database must be able to do for the hub.
pub trait Backend:
    Events
    + Outcomes
    + DeadLetters
    + Ledger
    + Figures
    + Quarantine
    + Retention
    + Revisions
    + ApiKeys
    + Users
    + Sessions
    + Adapters
    + Tokens
    + Endpoints
    + Hubs
    + States
    + std::fmt::Debug
    + Send
    + Sync
{
    /// Which database this is.
    fn place(&self) -> Place;
}

/// Which database a hub keeps its record in, without what lets it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `sqlite` or `postgres`.
    pub kind: &'static str,
    /// The file, or `host:port/database`.
    pub at: String,
}

/// Opens the database at `url` and brings its schema up to date.
///
/// `sqlite://<path>` is a file, relative to the working directory unless the path begins with `/`; it is made if it
/// does not exist. `postgres://user:password@host:port/database` (or `postgresql://`) is a database that exists; the
/// parameters are those of libpq, `sslmode` and `sslrootcert` above all.
///
/// # Errors
/// `Invalid` for a URL that names no database this version can use, or one that does not let this user in,
/// `Unavailable` when it cannot be opened now, `Corrupt` when it is no database of the hub or was written by a newer
/// version.
pub async fn open(url: &str) -> Result<Store> {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") => Ok(Arc::new(sqlite::Sqlite::open(url).await?)),
        Some("postgres" | "postgresql") => Ok(Arc::new(postgres::Postgres::open(url).await?)),
        _ => Err(StoreError::Invalid(
            "the database URL must begin with sqlite:// or postgres://".into(),
        )),
    }
}
