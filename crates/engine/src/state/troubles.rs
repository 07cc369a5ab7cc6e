//! Events of which rules could make no state. They hold up nothing and are not tried again; what is wrong is said for
//! as long as it is news.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use crossdock_store::EventKey;

use crate::{shared::Shared, words::counted};

/// The alarms about rules, which come and go together.
pub(crate) const PART: &str = "state rules";
/// How long a failure is news.
const NEWS: TimeDelta = TimeDelta::hours(1);

/// What is wrong with rules, by name. Bounded by the rules there are.
#[derive(Default)]
pub(super) struct Troubles(BTreeMap<String, Trouble>);

struct Trouble {
    count: u64,
    last: EventKey,
    reason: String,
    at: DateTime<Utc>,
}

impl Troubles {
    /// A rule has failed. `reason` says nothing about the event.
    pub(super) fn note(&mut self, rule: &str, event: EventKey, reason: String, at: DateTime<Utc>) {
        let trouble = self.0.entry(rule.to_owned()).or_insert(Trouble {
            count: 0,
            last: event.clone(),
            reason: String::new(),
            at,
        });
        trouble.count += 1;
        (trouble.last, trouble.reason, trouble.at) = (event, reason, at);
    }

    /// Says what is news, and nothing about rules that are not in force any more.
    pub(super) fn tell(&mut self, shared: &Shared) {
        let now = shared.clock.now();
        let in_force = shared.routing.load().states().names();
        self.0
            .retain(|rule, trouble| in_force.contains(rule) && now - trouble.at < NEWS);
        let sentences = self
            .0
            .iter()
            .map(|(rule, trouble)| (rule.clone(), trouble.sentence(rule)));
        shared.alarms.replace(PART, sentences.collect());
    }
}

impl Trouble {
    fn sentence(&self, rule: &str) -> String {
        format!(
            "state rule {rule} made nothing of {}, of {:?} from {:?} last: {}",
            counted(self.count, "event", "events"),
            self.last.id,
            self.last.source,
            self.reason
        )
    }
}
