//! Retained messages that clients published, in memory and bounded. States are not here: their latest is
//! in the database, and is read when somebody subscribes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossdock_model::topic::{TopicFilter, TopicName};

use crate::wire::Message;

/// The most topics.
const TOPICS_MAX: usize = 100_000;
/// The most bytes, properties and overheads included.
const BYTES_MAX: usize = 64 * 1024 * 1024;

#[derive(Debug, Default)]
pub(super) struct Retained {
    by_topic: BTreeMap<TopicName, (Arc<Message>, u64)>,
    bytes: usize,
}

impl Retained {
    /// Takes the topic's message, or with an empty payload forgets it (MQTT 5.0, section 3.3.1.3). Gives
    /// whether there was room.
    pub(super) fn keep(&mut self, message: &Arc<Message>, now_ms: u64) -> bool {
        if let Some((older, _)) = self.by_topic.remove(&message.topic) {
            self.bytes -= size(&older);
        }
        if message.payload.is_empty() {
            return true;
        }
        let bytes = size(message);
        if self.by_topic.len() >= TOPICS_MAX || self.bytes + bytes > BYTES_MAX {
            return false;
        }
        self.bytes += bytes;
        self.by_topic
            .insert(message.topic.clone(), (message.clone(), now_ms));
        true
    }

    /// The messages that match, each with the time since which it is kept.
    pub(super) fn matching(&self, filter: &TopicFilter) -> Vec<(Arc<Message>, u64)> {
        if !filter.has_wildcards() {
            return self.by_topic.get(filter.as_str()).cloned().into_iter().collect();
        }
        let matching = self.by_topic.iter().filter(|(topic, _)| filter.matches(topic));
        matching.map(|(_, kept)| kept.clone()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.by_topic.len()
    }

    /// Forgets what has expired.
    pub(super) fn sweep(&mut self, now_ms: u64) {
        let bytes = &mut self.bytes;
        self.by_topic.retain(|_, (message, since_ms)| {
            let expired = message
                .properties
                .expiry_s
                .is_some_and(|expiry_s| *since_ms + u64::from(expiry_s) * 1000 <= now_ms);
            if expired {
                *bytes -= size(message);
            }
            !expired
        });
    }
}

fn size(message: &Message) -> usize {
    crate::session::held_bytes(message)
}
