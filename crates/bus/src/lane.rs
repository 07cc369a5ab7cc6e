//! stub
use crate::{
    broker::Broker,
    error::{BusError, PublishError},
    message::{Delivery, Outgoing},
};
use std::time::Duration;
/// l
pub struct Lane {}
impl Lane {
    /// o
    pub async fn open(_broker: &Broker, _queue: &str, _prefetch: u16, _tag: &str) -> Result<Self, BusError> {
        unimplemented!()
    }
    /// n
    pub async fn next_batch(&mut self, _max: usize, _linger: Duration) -> Result<Vec<Delivery>, BusError> {
        unimplemented!()
    }
    /// p
    pub async fn publish_all(&self, _messages: Vec<Outgoing>) -> Vec<Result<(), PublishError>> {
        unimplemented!()
    }
    /// a
    pub async fn ack(&self, _tags: &[u64]) -> Result<(), BusError> {
        unimplemented!()
    }
    /// s
    pub async fn step_down(self) {
        unimplemented!()
    }
}
