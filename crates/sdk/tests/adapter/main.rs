//! An adapter between a real RabbitMQ and a hub that is played here: what it answers, what it says of its work, and
//! what it leaves behind when it fails, stops, or loses the broker.
#![allow(clippy::unwrap_used)]

mod hall;
mod outage;
mod process;
mod work;
