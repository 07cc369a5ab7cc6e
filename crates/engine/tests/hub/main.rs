//! A hub with a real RabbitMQ and a real database: each test has a vhost, a database and a data folder of its own.
#![allow(clippy::unwrap_used)]

mod apply;
mod credentials;
mod flow;
mod ledger;
mod mappings;
mod order;
mod outages;
mod outcomes;
mod quarantine;
mod queues;
mod retention;
mod retries;
mod schemas;
mod states;
mod support;
mod two_hubs;
