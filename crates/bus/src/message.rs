//! What travels over RabbitMQ, free of any client library: properties, headers, outgoing messages
//! and deliveries.
use bytes::Bytes;
use chrono::{DateTime, Utc};
use crossdock_model::{Event, Faults};
use std::collections::BTreeMap;
/// h
pub type Headers = BTreeMap<String, HeaderValue>;
/// v
#[derive(Debug, Clone, PartialEq)]
pub enum HeaderValue {
    /// b
    Bool(bool),
    /// i
    Int(i64),
    /// f
    Float(f64),
    /// t
    Text(String),
    /// b
    Bytes(Bytes),
    /// t
    Time(DateTime<Utc>),
    /// l
    List(Vec<HeaderValue>),
    /// t
    Table(Headers),
    /// n
    Null,
}
/// p
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Properties {
    /// c
    pub content_type: Option<String>,
    /// c
    pub content_encoding: Option<String>,
    /// c
    pub message_id: Option<String>,
    /// c
    pub correlation_id: Option<String>,
    /// c
    pub user_id: Option<String>,
    /// c
    pub timestamp: Option<DateTime<Utc>>,
    /// c
    pub message_type: Option<String>,
    /// c
    pub app_id: Option<String>,
    /// c
    pub headers: Headers,
}
/// o
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outgoing {
    /// e
    pub exchange: String,
    /// r
    pub routing_key: String,
    /// b
    pub bcc: Vec<String>,
    /// m
    pub mandatory: bool,
    /// p
    pub properties: Properties,
    /// b
    pub body: Bytes,
}
/// d
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// t
    pub tag: u64,
    /// e
    pub exchange: String,
    /// r
    pub routing_key: String,
    /// r
    pub redelivered: bool,
    /// p
    pub properties: Properties,
    /// b
    pub body: Bytes,
}
/// e
pub fn encode_event(_event: &Event) -> (Properties, Bytes) {
    unimplemented!()
}
/// d
pub fn decode_event(_properties: &Properties, _body: &Bytes) -> Result<Event, Faults> {
    unimplemented!()
}
