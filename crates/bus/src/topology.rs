//! stub
use crate::{broker::Broker, error::BusError};
/// q
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterQueue {
    /// n
    pub name: String,
    /// s
    pub single_active_consumer: bool,
}
/// t
#[derive(Debug, Clone, PartialEq)]
pub struct Topology {}
impl Topology {
    /// h
    pub fn hub(_partitions: u16, _adapters: &[AdapterQueue]) -> Self {
        Self {}
    }
    /// a
    pub async fn declare(&self, _broker: &Broker) -> Result<(), BusError> {
        unimplemented!()
    }
}
