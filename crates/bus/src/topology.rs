//! What the hub needs to exist in RabbitMQ, as data, and the way to make it so: declare, then look
//! at what really applies, because RabbitMQ takes arguments that it then does not follow, and
//! policies change queues behind everybody's back.

mod verify;

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{ExchangeKind, types::ShortString};

use crate::broker::Broker;
use crate::error::BusError;
use crate::link::{Link, within};
use crate::management::Management;
use crate::message::{Headers, field_table};
use crate::names::{
    DEAD, DELAYS_S, DELIVER, DUE, FAILED, INGRESS, REALTIME, RECEIPTS, STATE, UNDELIVERABLE, adapter_queue,
    delay_queue, ingress_queue,
};

/// Deliveries of one message to an adapter before RabbitMQ gives it up.
pub const ADAPTER_DELIVERY_LIMIT: i64 = 20;
/// The same for the hub's own queues: practically never, but not without end.
pub const HUB_DELIVERY_LIMIT: i64 = 1_000_000;

const CONNECTION_NAME: &str = "crossdock topology";
const DECLARE_DEADLINE: Duration = Duration::from_secs(30);
const NOT_AS_DECLARED: u16 = 406;
const UNKNOWN_EXCHANGE_TYPE: u16 = 503;
const CONSISTENT_HASH: &str = "x-consistent-hash";
/// With a consistent-hash exchange the binding key is a weight.
const EQUAL_WEIGHT: &str = "1";

/// An adapter that consumes from a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterQueue {
    /// The adapter's name.
    pub name: String,
    /// Whether one consumer at a time gets deliveries (`order = "key"`).
    pub single_active_consumer: bool,
}

/// How an exchange routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routing {
    /// To the queues bound with the routing key.
    Direct,
    /// To one queue, always the same for a routing key; the binding key is a weight.
    ConsistentHash,
    /// To every queue.
    Fanout,
}

impl Routing {
    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::ConsistentHash => CONSISTENT_HASH,
            Self::Fanout => "fanout",
        }
    }
}

/// A durable exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Its name.
    pub name: String,
    /// How it routes.
    pub routing: Routing,
}

/// A durable queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// All of its arguments.
    pub arguments: Headers,
}

/// A binding of a queue to an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The exchange.
    pub exchange: String,
    /// The binding key.
    pub key: String,
    /// The queue.
    pub queue: String,
}

/// Exchanges, queues and bindings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Topology {
    /// Declared first.
    pub exchanges: Vec<Exchange>,
    /// Declared second.
    pub queues: Vec<Queue>,
    /// Made last.
    pub bindings: Vec<Binding>,
}

impl Topology {
    /// Everything the hub uses, with so many ingress partitions and these adapters' queues.
    pub fn hub(partitions: u16, adapters: &[AdapterQueue]) -> Self {
        let mut topology = Self::default();
        for (name, routing) in [
            (INGRESS, Routing::ConsistentHash),
            (DELIVER, Routing::Direct),
            (RECEIPTS, Routing::Direct),
            (DEAD, Routing::Direct),
            (REALTIME, Routing::Fanout),
        ] {
            topology.exchanges.push(Exchange {
                name: name.to_owned(),
                routing,
            });
        }
        topology.queues.push(hub_queue(UNDELIVERABLE, false));
        topology.queues.push(hub_queue(FAILED, true));
        topology.queues.push(hub_queue(DUE, false));
        topology.queues.push(hub_queue(STATE, true));
        topology.bind(DELIVER, STATE, STATE);
        topology.queues.extend(DELAYS_S.map(delaying_queue));
        topology.bind(RECEIPTS, "", FAILED);
        topology.bind(DEAD, "", FAILED);
        for n in 0..partitions {
            let queue = ingress_queue(n);
            topology.bind(INGRESS, EQUAL_WEIGHT, &queue);
            topology.queues.push(hub_queue(&queue, true));
        }
        for AdapterQueue {
            name,
            single_active_consumer,
        } in adapters
        {
            let queue = adapter_queue(name);
            topology.bind(DELIVER, &queue, &queue);
            topology.bind(DEAD, name, FAILED);
            topology.queues.push(Queue {
                arguments: arguments(DEAD, name, ADAPTER_DELIVERY_LIMIT, *single_active_consumer),
                name: queue,
            });
        }
        topology
    }

    /// Declares everything, then verifies that it is in force as declared.
    ///
    /// # Errors
    /// [`BusError::Topology`] naming each queue and argument that is not as it must be, with what was
    /// expected and what was found.
    pub async fn assert(&self, broker: &Broker, management: &Management) -> Result<(), BusError> {
        let refusals = self.declare(broker).await?;
        // RabbitMQ names the first difference of a queue only; this names all.
        self.verify(management).await?;
        if refusals.is_empty() {
            Ok(())
        } else {
            Err(BusError::Topology(refusals.join("; ")))
        }
    }

    /// Declares what can be declared, and says what RabbitMQ had against the rest.
    async fn declare(&self, broker: &Broker) -> Result<Vec<String>, BusError> {
        let mut link = Link::open(broker, CONNECTION_NAME).await?;
        let mut refusals = Vec::new();
        for exchange in &self.exchanges {
            if let Err(error) = declare_exchange(&link, exchange).await {
                refusals.push(not_as_declared(error)?);
                link = Link::open(broker, CONNECTION_NAME).await?;
            }
        }
        for queue in &self.queues {
            if let Err(error) = declare_queue(&link, queue).await {
                refusals.push(not_as_declared(error)?);
                link = Link::open(broker, CONNECTION_NAME).await?;
            }
        }
        for Binding { exchange, key, queue } in &self.bindings {
            let (queue, exchange, key) = (short(queue)?, short(exchange)?, short(key)?);
            let options = QueueBindOptions::default();
            let binding = link
                .channel
                .queue_bind(queue, exchange, key, options, FieldTable::default());
            within(DECLARE_DEADLINE, binding).await?;
        }
        link.close().await;
        Ok(refusals)
    }

    fn bind(&mut self, exchange: &str, key: &str, queue: &str) {
        self.bindings.push(Binding {
            exchange: exchange.to_owned(),
            key: key.to_owned(),
            queue: queue.to_owned(),
        });
    }
}

async fn declare_exchange(link: &Link, Exchange { name, routing }: &Exchange) -> Result<(), BusError> {
    let kind = match routing {
        Routing::Direct => ExchangeKind::Direct,
        Routing::ConsistentHash => ExchangeKind::Custom(CONSISTENT_HASH.to_owned()),
        Routing::Fanout => ExchangeKind::Fanout,
    };
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let declaring = link
        .channel
        .exchange_declare(short(name)?, kind, options, FieldTable::default());
    match within(DECLARE_DEADLINE, declaring).await {
        Err(BusError::Refused {
            code: UNKNOWN_EXCHANGE_TYPE,
            reason,
        }) => Err(BusError::Topology(format!(
            "{reason}: the plugin rabbitmq_consistent_hash_exchange must be enabled"
        ))),
        other => other,
    }
}

async fn declare_queue(link: &Link, Queue { name, arguments }: &Queue) -> Result<(), BusError> {
    let arguments = field_table(arguments).map_err(|error| BusError::Topology(error.to_string()))?;
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    within(
        DECLARE_DEADLINE,
        link.channel.queue_declare(short(name)?, options, arguments),
    )
    .await
    .map(drop)
}

/// RabbitMQ's words, if it only has something else under the name; any other error as it is.
fn not_as_declared(error: BusError) -> Result<String, BusError> {
    match error {
        BusError::Refused {
            code: NOT_AS_DECLARED,
            reason,
        } => Ok(reason),
        other => Err(other),
    }
}

fn hub_queue(name: &str, single_active_consumer: bool) -> Queue {
    Queue {
        name: name.to_owned(),
        arguments: arguments("", UNDELIVERABLE, HUB_DELIVERY_LIMIT, single_active_consumer),
    }
}

/// What waits in it comes to [`DUE`], which is always there: a queue that expired straight into adapters' queues would
/// stand still as soon as one of them were missing.
fn delaying_queue(seconds: u32) -> Queue {
    let mut arguments = arguments("", DUE, HUB_DELIVERY_LIMIT, false);
    let milliseconds = i64::from(seconds) * 1_000;
    arguments.insert("x-message-ttl".into(), milliseconds.into());
    Queue {
        name: delay_queue(seconds),
        arguments,
    }
}

fn arguments(
    dead_letter_exchange: &str,
    dead_letter_key: &str,
    delivery_limit: i64,
    single_active_consumer: bool,
) -> Headers {
    let mut arguments = Headers::from([
        ("x-queue-type".into(), "quorum".into()),
        ("x-delivery-limit".into(), delivery_limit.into()),
        ("x-dead-letter-exchange".into(), dead_letter_exchange.into()),
        ("x-dead-letter-routing-key".into(), dead_letter_key.into()),
        ("x-dead-letter-strategy".into(), "at-least-once".into()),
        // Without it RabbitMQ accepts at-least-once and does not follow it.
        ("x-overflow".into(), "reject-publish".into()),
    ]);
    if single_active_consumer {
        arguments.insert("x-single-active-consumer".into(), true.into());
    }
    arguments
}

fn short(name: &str) -> Result<ShortString, BusError> {
    ShortString::try_new(name).map_err(|error| BusError::Topology(format!("{name}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_queue_has_a_limit_and_a_place_for_what_it_gives_up() {
        let adapters = [AdapterQueue {
            name: "erp".into(),
            single_active_consumer: true,
        }];
        let topology = Topology::hub(4, &adapters);
        assert_eq!(topology.queues.len(), 4 + DELAYS_S.len() + 4 + 1);
        for queue in &topology.queues {
            for (argument, value) in [
                ("x-queue-type", "quorum"),
                ("x-dead-letter-strategy", "at-least-once"),
                ("x-overflow", "reject-publish"),
            ] {
                assert_eq!(queue.arguments[argument], value.into(), "{}", queue.name);
            }
            assert!(
                queue.arguments["x-delivery-limit"]
                    .as_int()
                    .is_some_and(|limit| limit > 0)
            );
            let exchange = queue.arguments["x-dead-letter-exchange"].as_text();
            let key = queue.arguments["x-dead-letter-routing-key"].as_text();
            let leads_somewhere = exchange == Some("")
                && topology.queues.iter().any(|other| Some(&*other.name) == key)
                || topology
                    .bindings
                    .iter()
                    .any(|binding| Some(&*binding.exchange) == exchange && Some(&*binding.key) == key);
            assert!(leads_somewhere, "{}", queue.name);
        }
    }
}
