//! The last version of each topic that went out, so that a state which comes late takes nobody
//! backwards. Bounded: topics that have not changed for long are forgotten.

use std::collections::HashMap;

use crossdock_model::topic::TopicName;

/// Topics in each of two generations. A topic is forgotten after at least this many others changed.
const GENERATION: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(super) struct Versions {
    young: HashMap<TopicName, u64>,
    old: HashMap<TopicName, u64>,
}

/// How a state stands to what went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// For all.
    Newer,
    /// For who has not got it.
    Same,
    /// For nobody.
    Older,
}

impl Versions {
    /// Notes the version, and says what it is.
    pub(super) fn note(&mut self, topic: &TopicName, version: u64) -> Age {
        let known = self.young.get(topic).or_else(|| self.old.get(topic)).copied();
        let age = match known {
            Some(known) if version < known => return Age::Older,
            Some(known) if version == known => Age::Same,
            _ => Age::Newer,
        };
        if self.young.len() >= GENERATION && !self.young.contains_key(topic) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(topic.clone(), version);
        age
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_older_version_is_told_from_the_same_and_a_newer_one() {
        let (mut versions, topic) = (Versions::default(), TopicName::new("a").unwrap());
        assert_eq!(versions.note(&topic, 5), Age::Newer);
        assert_eq!(versions.note(&topic, 5), Age::Same);
        assert_eq!(versions.note(&topic, 4), Age::Older);
        assert_eq!(versions.note(&topic, 6), Age::Newer);
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let mut versions = Versions::default();
        for number in 0..5 * GENERATION {
            versions.note(&TopicName::new(&number.to_string()).unwrap(), 1);
        }
        assert!(versions.young.len() + versions.old.len() <= 2 * GENERATION);
        let last = TopicName::new(&(5 * GENERATION - 1).to_string()).unwrap();
        assert_eq!(versions.note(&last, 0), Age::Older);
    }
}
