//! PostgreSQL for tests: [`TestPostgres`] is shared like the broker is, [`PrivatePostgres`] is a test's own.

mod database;
mod installation;
mod private;
mod server;
mod shared;
mod slot;

pub use database::TestDatabase;
pub use private::PrivatePostgres;
pub use shared::TestPostgres;
pub use slot::{Lease, lease_free_slot};
