//! Whether what was declared is what applies: arguments, policies over them, and bindings that
//! somebody else made.

use futures::future::try_join_all;

use crate::error::BusError;
use crate::management::{BindingInfo, Management, QueueInfo};
use crate::message::HeaderValue;
use crate::names::INGRESS;

use super::{Queue, Topology};

/// Policy keys that lose or refuse messages and that no queue of ours has as an argument.
const HARMFUL_POLICIES: [&str; 5] = [
    "max-length",
    "max-length-bytes",
    "message-ttl",
    "expires",
    "queue-version",
];
/// The lower of policy and argument applies.
const DELIVERY_LIMIT: &str = "delivery-limit";
/// Without it RabbitMQ 3.10 accepts at-least-once dead-lettering and does not follow it. Later
/// versions always have it.
const NEEDED_FEATURE: &str = "stream_queue";

/// One by one: the list of all queues may be older than the queues just declared.
const REQUESTS_AT_ONCE: usize = 8;

impl Topology {
    pub(super) async fn verify(&self, management: &Management) -> Result<(), BusError> {
        let mut differences = Vec::new();
        for exchange in &self.exchanges {
            match management.exchange(&exchange.name).await? {
                None => differences.push(format!("exchange {} does not exist", exchange.name)),
                Some(found) => {
                    let expected = exchange.routing.name();
                    if found.kind != expected {
                        differences.push(format!(
                            "exchange {}: type: expected {expected}, found {}",
                            exchange.name, found.kind
                        ));
                    }
                    if !found.durable {
                        differences.push(format!(
                            "exchange {}: expected durable, found transient",
                            exchange.name
                        ));
                    }
                }
            }
        }
        let mut found = Vec::with_capacity(self.queues.len());
        for queues in self.queues.chunks(REQUESTS_AT_ONCE) {
            found.extend(try_join_all(queues.iter().map(|queue| management.queue(&queue.name))).await?);
        }
        for (queue, found) in self.queues.iter().zip(found) {
            match found {
                None => differences.push(format!("queue {} does not exist", queue.name)),
                Some(found) => differences.extend(queue_differences(queue, &found)),
            }
        }
        differences.extend(self.foreign_partitions(&management.bindings().await?));
        let features = management.feature_flags().await?;
        if features
            .iter()
            .any(|feature| feature.name == NEEDED_FEATURE && feature.state != "enabled")
        {
            differences.push(format!(
                "the feature flag {NEEDED_FEATURE} is not enabled, without which dead letters may be lost; \
                 enable it with: rabbitmqctl enable_feature_flag {NEEDED_FEATURE}"
            ));
        }
        if differences.is_empty() {
            Ok(())
        } else {
            Err(BusError::Topology(differences.join("; ")))
        }
    }

    /// Bindings that take a share of the ingress to where no gate looks, or too large a share.
    fn foreign_partitions(&self, found: &[BindingInfo]) -> Vec<String> {
        found
            .iter()
            .filter(|binding| binding.source == INGRESS)
            .filter(|binding| {
                !self.bindings.iter().any(|ours| {
                    ours.exchange == INGRESS
                        && ours.queue == binding.destination
                        && ours.key == binding.routing_key
                        && binding.destination_type == "queue"
                })
            })
            .map(|binding| {
                format!(
                    "exchange {INGRESS} also feeds {} {} with weight {}; drain and unbind it first",
                    binding.destination_type, binding.destination, binding.routing_key
                )
            })
            .collect()
    }
}

fn queue_differences(expected: &Queue, found: &QueueInfo) -> Vec<String> {
    let name = &expected.name;
    let mut differences = Vec::new();
    if !found.durable {
        differences.push(format!("queue {name}: expected durable, found transient"));
    }
    for (argument, value) in &expected.arguments {
        let value = value.to_json();
        match found.arguments.get(argument) {
            Some(found) if *found == value => {}
            Some(found) => differences.push(format!(
                "queue {name}: {argument}: expected {value}, found {found}"
            )),
            None => differences.push(format!("queue {name}: {argument}: expected {value}, found none")),
        }
    }
    for (argument, found) in &found.arguments {
        if !expected.arguments.contains_key(argument) {
            differences.push(format!("queue {name}: {argument}: expected none, found {found}"));
        }
    }
    let policy = found.policy.as_deref().unwrap_or("an operator policy");
    for (key, value) in &found.effective_policy {
        let limit = expected
            .arguments
            .get("x-delivery-limit")
            .and_then(HeaderValue::as_int);
        let lowers_the_limit = key == DELIVERY_LIMIT && value.as_i64() < limit;
        if lowers_the_limit || HARMFUL_POLICIES.contains(&key.as_str()) {
            let expected = if lowers_the_limit {
                format!("{limit:?}")
            } else {
                "none".to_owned()
            };
            differences.push(format!(
                "queue {name}: {key}: expected {expected}, found {value} through the policy {policy}"
            ));
        }
    }
    differences
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::management::{QueueKind, Rates};
    use crate::names::FAILED;

    fn expected() -> Queue {
        Topology::hub(1, &[])
            .queues
            .into_iter()
            .find(|queue| queue.name == FAILED)
            .unwrap()
    }

    fn as_found(queue: &Queue) -> QueueInfo {
        QueueInfo {
            name: queue.name.clone(),
            kind: QueueKind::Quorum,
            durable: true,
            ready: None,
            unacked: None,
            consumers: 0,
            auto_ack_consumers: Vec::new(),
            arguments: queue
                .arguments
                .iter()
                .map(|(name, value)| (name.clone(), value.to_json()))
                .collect(),
            policy: None,
            effective_policy: Map::new(),
            rates: Rates::default(),
            depths: Vec::new(),
        }
    }

    fn difference(change: impl FnOnce(&mut QueueInfo)) -> String {
        let mut found = as_found(&expected());
        change(&mut found);
        let differences = queue_differences(&expected(), &found);
        assert!(differences.len() <= 1, "{differences:?}");
        differences.into_iter().next().unwrap_or_default()
    }

    #[test]
    fn a_queue_as_declared_differs_in_nothing() {
        assert_eq!(difference(|_| {}), "");
    }

    #[test]
    fn a_difference_names_queue_argument_expected_and_found() {
        let message = difference(|found| {
            found.arguments.insert("x-delivery-limit".into(), json!(5));
        });
        assert_eq!(
            message,
            "queue crossdock.failed: x-delivery-limit: expected 1000000, found 5"
        );
        let message = difference(|found| {
            found.arguments.remove("x-overflow");
        });
        assert_eq!(
            message,
            "queue crossdock.failed: x-overflow: expected \"reject-publish\", found none"
        );
        let message = difference(|found| {
            found.arguments.insert("x-max-length".into(), json!(10));
        });
        assert_eq!(
            message,
            "queue crossdock.failed: x-max-length: expected none, found 10"
        );
    }

    #[test]
    fn a_policy_counts_where_it_overrules_an_argument() {
        let with_policy = |key: &str, value: Value| {
            let key = key.to_owned();
            difference(move |found| {
                found.policy = Some("tidy".into());
                found.effective_policy = Map::from_iter([(key, value)]);
            })
        };
        assert!(with_policy("message-ttl", json!(60_000)).contains("through the policy tidy"));
        assert!(with_policy("delivery-limit", json!(3)).contains("found 3"));
        assert_eq!(with_policy("delivery-limit", json!(2_000_000)), "");
        assert_eq!(with_policy("dead-letter-exchange", json!("elsewhere")), "");
    }
}
