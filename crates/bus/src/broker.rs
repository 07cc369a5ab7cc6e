//! stub
use crate::error::BusError;
/// b
#[derive(Clone, Debug)]
pub struct Broker {}
impl Broker {
    /// n
    pub fn new(_url: &str) -> Result<Self, BusError> {
        unimplemented!()
    }
    /// `host:port`
    pub fn host_port(&self) -> String {
        unimplemented!()
    }
    /// u
    pub fn user(&self) -> &str {
        unimplemented!()
    }
    /// v
    pub fn vhost(&self) -> &str {
        unimplemented!()
    }
}
