//! Lanes, publishers, consumers and the topology against a real RabbitMQ.
#![allow(clippy::unwrap_used)]

mod consumer;
mod fence;
mod hostile;
mod lane;
mod listener;
mod outages;
mod publisher;
mod support;
mod topology;
