//! Live state over MQTT: a gateway of our own in front of rumqttd, whose codecs it uses and whose
//! listeners it never exposes. It knows the protocol, topics and sessions; who may do what and what a
//! topic means is decided elsewhere and asked through a trait. No type of rumqttd leaves this crate.

mod index;
pub mod session;
pub mod wire;
