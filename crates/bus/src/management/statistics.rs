//! RabbitMQ's own statistics of a queue: rates over its last interval (five seconds unless it is configured
//! otherwise) and the history of its depth. They may be switched off, and a queue may be too young to have any: then
//! they are unknown, which is not the same as 0.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};

/// The most samples of a queue's depth that are read: twice as many as are asked for.
const SAMPLES_MAX: usize = 120;

/// How fast messages come and go, per second. Unknown until there was a first message of that kind.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// Messages that were put into the queue.
    pub publish: Option<f64>,
    /// Messages that were handed out, again ones among them.
    pub deliver_get: Option<f64>,
    /// Messages that a consumer acknowledged.
    pub ack: Option<f64>,
}

/// What a queue held at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// When it was counted.
    pub at: DateTime<Utc>,
    /// Messages, handed out or not.
    pub messages: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct MessageStats {
    publish_details: Rate,
    deliver_get_details: Rate,
    ack_details: Rate,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Rate {
    #[serde(deserialize_with = "number_or_nothing")]
    rate: Option<f64>,
}

impl From<MessageStats> for Rates {
    fn from(stats: MessageStats) -> Self {
        Self {
            publish: stats.publish_details.rate,
            deliver_get: stats.deliver_get_details.rate,
            ack: stats.ack_details.rate,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct History {
    samples: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    sample: i64,
    /// Milliseconds since 1970.
    timestamp: i64,
}

impl From<History> for Vec<Depth> {
    fn from(history: History) -> Self {
        let depth = |sample: Sample| {
            Some(Depth {
                at: DateTime::from_timestamp_millis(sample.timestamp)?,
                // A moment's disagreement between a queue and its statistics shows as less than nothing.
                messages: u64::try_from(sample.sample).unwrap_or(0),
            })
        };
        let newest = history.samples.into_iter().take(SAMPLES_MAX);
        let mut depths: Vec<Depth> = newest.filter_map(depth).collect();
        depths.reverse();
        depths
    }
}

/// A rate that makes no sense is unknown, too.
fn number_or_nothing<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let number = Option::<f64>::deserialize(deserializer)?;
    Ok(number.filter(|rate| rate.is_finite() && *rate >= 0.0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_broker_does_not_say_is_unknown() {
        for text in [
            json!({}),
            json!({ "publish": 3 }),
            json!({ "publish_details": {} }),
            json!({ "publish_details": { "rate": null } }),
            json!({ "publish_details": { "rate": -1.5 } }),
        ] {
            let stats: MessageStats = serde_json::from_value(text).unwrap();
            assert_eq!(Rates::from(stats), Rates::default());
        }
        let stats = json!({ "publish_details": { "rate": 2.4 }, "ack_details": { "rate": 0 } });
        let rates = Rates::from(serde_json::from_value::<MessageStats>(stats).unwrap());
        assert_eq!(rates.publish, Some(2.4));
        assert_eq!(rates.ack, Some(0.0));
        assert_eq!(rates.deliver_get, None);
    }

    #[test]
    fn depths_come_oldest_first_and_are_bounded() {
        let newest_first: Vec<_> = (0..500)
            .map(|n| json!({ "sample": 500 - n, "timestamp": 1_790_000_000_000_i64 - n * 10_000 }))
            .collect();
        let history: History = serde_json::from_value(json!({ "samples": newest_first })).unwrap();
        let depths = Vec::<Depth>::from(history);
        assert_eq!(depths.len(), SAMPLES_MAX);
        assert!(depths.is_sorted_by_key(|depth| depth.at));
        assert_eq!(depths.last().unwrap().messages, 500);
        let odd: History = serde_json::from_value(
            json!({ "samples": [{ "sample": -2, "timestamp": 1_790_000_000_000_i64 }] }),
        )
        .unwrap();
        assert_eq!(Vec::<Depth>::from(odd)[0].messages, 0);
    }
}
