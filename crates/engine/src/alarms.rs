//! What wants an operator's attention: a sentence for each thing, kept until the part of the hub that raised it
//! says that it is over. Bounded by what there is to watch: partitions, queues, adapters.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::measures;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alarm {
    /// The part of the hub that raised it.
    pub(crate) part: String,
    /// What it is about.
    pub(crate) about: String,
    pub(crate) sentence: String,
}

/// Alarms by the part of the hub that raised them, and by what they are about.
#[derive(Default)]
pub(crate) struct Alarms(Mutex<BTreeMap<(String, String), String>>);

impl Alarms {
    /// Raises an alarm, or brings its sentence up to date. Only a new one is logged.
    pub(crate) fn raise(&self, part: &str, about: &str, sentence: String) {
        let mut alarms = self.lock();
        let key = (part.to_owned(), about.to_owned());
        if !alarms.contains_key(&key) {
            tracing::warn!(part, alarm = sentence, "this wants attention");
        }
        alarms.insert(key, sentence);
        measures::alarms(alarms.len());
    }

    /// Whether it is raised.
    pub(crate) fn has(&self, part: &str, about: &str) -> bool {
        self.lock().contains_key(&(part.to_owned(), about.to_owned()))
    }

    /// It is over.
    pub(crate) fn clear(&self, part: &str, about: &str) {
        let mut alarms = self.lock();
        if alarms.remove(&(part.to_owned(), about.to_owned())).is_some() {
            tracing::info!(part, about, "what wanted attention is over");
            measures::alarms(alarms.len());
        }
    }

    /// These are all the alarms of that part, by what they are about: others of it are over.
    pub(crate) fn replace(&self, part: &str, found: BTreeMap<String, String>) {
        let over: Vec<String> = self
            .lock()
            .keys()
            .filter(|(other, about)| other == part && !found.contains_key(about))
            .map(|(_, about)| about.clone())
            .collect();
        for about in over {
            self.clear(part, &about);
        }
        for (about, sentence) in found {
            self.raise(part, &about, sentence);
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Alarm> {
        let alarm = |((part, about), sentence): (&(String, String), &String)| Alarm {
            part: part.clone(),
            about: about.clone(),
            sentence: sentence.clone(),
        };
        self.lock().iter().map(alarm).collect()
    }

    /// Every sentence.
    #[cfg(test)]
    pub(crate) fn sentences(&self) -> Vec<String> {
        self.all().into_iter().map(|alarm| alarm.sentence).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, String), String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_stays_until_its_part_says_that_it_is_over() {
        let alarms = Alarms::default();
        alarms.raise("gate 0", "database", "gate 0 stands still".into());
        alarms.raise("queues", "a", "a has no consumer; 1 event waits".into());
        alarms.raise("queues", "a", "a has no consumer; 2 events wait".into());
        assert_eq!(
            alarms.sentences(),
            ["gate 0 stands still", "a has no consumer; 2 events wait"]
        );

        alarms.replace("queues", BTreeMap::from([("b".into(), "b is odd".into())]));
        assert_eq!(alarms.sentences(), ["gate 0 stands still", "b is odd"]);
        assert!(alarms.has("queues", "b") && !alarms.has("queues", "a"));
        alarms.replace("queues", BTreeMap::new());
        alarms.clear("gate 0", "database");
        alarms.clear("gate 0", "database");
        assert!(alarms.sentences().is_empty());
    }
}
