//! What tests with real servers need: a broker with a vhost of its own for every test, and a database.
//!
//! [`TestBroker`] is shared: by all tests of all programs when `CROSSDOCK_TEST_RABBITMQ_URL` and
//! `CROSSDOCK_TEST_MANAGEMENT_URL` name a broker whose administrator they hold (the program `with-test-broker`
//! runs a command so), else by the tests of one process, which starts a private node for them and takes it along
//! when it ends. A [`PrivateBroker`] is a test's own, to be stopped, killed and started again.
//!
//! The same for PostgreSQL: [`TestPostgres`] is shared, through `CROSSDOCK_TEST_POSTGRES_URL` and the program
//! `with-test-postgres`, and gives every test a database; a [`PrivatePostgres`] is a test's own.
//!
//! Everything here panics with the reason when a server does not play along: a test cannot go on without it.

mod broker;
mod database;
mod postgres;
mod private;
mod slot;
mod vhost;

pub use broker::TestBroker;
pub use database::database;
pub use postgres::{Lease, PrivatePostgres, TestDatabase, TestPostgres, lease_free_slot};
pub use private::PrivateBroker;
pub use slot::start_in_free_slot;
pub use vhost::TestVhost;

/// Address of the broker that all tests share, `amqp://user:password@host:port`.
pub const BROKER_URL_VARIABLE: &str = "CROSSDOCK_TEST_RABBITMQ_URL";
/// Address of its management API, `http://host:port`.
pub const MANAGEMENT_URL_VARIABLE: &str = "CROSSDOCK_TEST_MANAGEMENT_URL";
/// Address of the PostgreSQL server that all tests share, `postgres://user:password@host:port/postgres`, of a
/// superuser.
pub const POSTGRES_URL_VARIABLE: &str = "CROSSDOCK_TEST_POSTGRES_URL";
