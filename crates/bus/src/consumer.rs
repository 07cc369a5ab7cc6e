//! stub
use crate::{broker::Broker, error::BusError, message::Delivery};
/// c
pub struct AdapterConsumer {}
impl AdapterConsumer {
    /// o
    pub async fn open(_broker: &Broker, _queue: &str, _prefetch: u16, _tag: &str) -> Result<Self, BusError> {
        unimplemented!()
    }
    /// n
    pub async fn next(&mut self) -> Result<Delivery, BusError> {
        unimplemented!()
    }
    /// a
    pub async fn ack(&self, _tag: u64) -> Result<(), BusError> {
        unimplemented!()
    }
    /// r
    pub async fn reject(&self, _tag: u64) -> Result<(), BusError> {
        unimplemented!()
    }
    /// s
    pub async fn step_down(self) {
        unimplemented!()
    }
}
