//! What tests with real servers need: a broker with a vhost of its own for every test, and a database.
//!
//! [`TestBroker`] is shared: by all tests of all programs when `CROSSDOCK_TEST_RABBITMQ_URL` and
//! `CROSSDOCK_TEST_MANAGEMENT_URL` name a broker whose administrator they hold (the program `with-test-broker`
//! runs a command so), else by the tests of one process, which starts a private node for them and takes it along
//! when it ends. A [`PrivateBroker`] is a test's own, to be stopped, killed and started again.
//!
//! Everything here panics with the reason when the broker does not play along: a test cannot go on without it.

mod broker;
mod database;
mod private;
mod slot;
mod vhost;

pub use broker::TestBroker;
pub use database::database;
pub use private::PrivateBroker;
pub use slot::start_in_free_slot;
pub use vhost::TestVhost;

/// Address of the broker that all tests share, `amqp://user:password@host:port`.
pub const BROKER_URL_VARIABLE: &str = "CROSSDOCK_TEST_RABBITMQ_URL";
/// Address of its management API, `http://host:port`.
pub const MANAGEMENT_URL_VARIABLE: &str = "CROSSDOCK_TEST_MANAGEMENT_URL";
