//! The routes as clients meet them, on a hub with a real database; with a real RabbitMQ where events go
//! through, without one where they must not get that far.
#![allow(clippy::unwrap_used)]

mod browser_tokens;
mod people;
mod refusals;
mod round_trip;
mod support;
