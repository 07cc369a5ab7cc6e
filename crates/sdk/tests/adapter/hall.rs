//! A vhost with the hub's topology and one adapter's credentials, and the hub's two ends of it: what it delivers to
//! the adapter, and what it takes from it.

use std::{collections::BTreeMap, time::Duration};

use crossdock_bus::{
    AdapterQueue, Broker, Delivery, Lane, Outgoing, Topology, credentials,
    message::{HeaderValue, decode_event, encode_event},
    names,
};
use crossdock_model::event::{AttributeValue, Event};
use crossdock_testkit::{TestBroker, TestVhost};
use serde_json::{Value, json};
use tokio::time::timeout;

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
const GENERATION: u32 = 1;
const PASSWORD: &str = "p4ssw0rd";

pub(crate) struct Hall {
    pub(crate) adapter: String,
    /// The adapter's own address of the broker.
    pub(crate) adapter_url: String,
    broker: Broker,
    ingress: Lane,
    failed: Lane,
    vhost: TestVhost,
}

impl Hall {
    pub(crate) async fn open() -> Self {
        Self::on(TestBroker::vhost().await).await
    }

    pub(crate) async fn on(vhost: TestVhost) -> Self {
        let adapter = vhost.unique("erp");
        let broker = Broker::new(&vhost.broker_url).unwrap();
        let management = vhost.management();
        let queue = AdapterQueue {
            name: adapter.clone(),
            single_active_consumer: false,
        };
        Topology::hub(1, &[queue])
            .assert(&broker, &management)
            .await
            .unwrap();
        credentials::issue(&management, &adapter, GENERATION, PASSWORD)
            .await
            .unwrap();
        let user = names::user_name(&adapter, GENERATION);
        Self {
            adapter_url: credentials::url_for(&vhost.broker_url, &user, PASSWORD).unwrap(),
            ingress: lane(&broker, &names::ingress_queue(0)).await,
            failed: lane(&broker, names::FAILED).await,
            adapter,
            broker,
            vhost,
        }
    }

    /// Opens the hub's ends again, after the broker was away.
    pub(crate) async fn reopen(&mut self) {
        self.ingress = lane(&self.broker, &names::ingress_queue(0)).await;
        self.failed = lane(&self.broker, names::FAILED).await;
    }

    /// Delivers the event to the adapter as the hub would.
    pub(crate) async fn deliver(&self, event: &Event, attempt: i64) {
        let (mut properties, body) = encode_event(event);
        let attempt = HeaderValue::Int(attempt);
        properties.headers.insert("crossdock-attempt".to_owned(), attempt);
        let message = Outgoing {
            exchange: names::DELIVER.to_owned(),
            routing_key: names::adapter_queue(&self.adapter),
            mandatory: true,
            properties,
            body,
            ..Outgoing::default()
        };
        for confirmed in self.ingress.publish_all(vec![message]).await {
            confirmed.unwrap();
        }
    }

    /// The next event that the adapter published. Its user is the adapter's own.
    pub(crate) async fn published(&mut self) -> Event {
        let delivery = next(&mut self.ingress).await;
        assert_eq!(
            delivery.properties.user_id,
            Some(names::user_name(&self.adapter, GENERATION))
        );
        let event = decode_event(&delivery.properties, &delivery.body).unwrap();
        assert_eq!(delivery.routing_key, event.partition_key());
        event
    }

    /// The adapter's next receipt.
    pub(crate) async fn receipt(&mut self) -> Value {
        let delivery = next(&mut self.failed).await;
        assert_eq!(delivery.exchange, names::RECEIPTS);
        assert_eq!(
            delivery.properties.user_id,
            Some(names::user_name(&self.adapter, GENERATION))
        );
        serde_json::from_slice(&delivery.body).unwrap()
    }

    /// The id of the next event that the adapter rejected.
    pub(crate) async fn rejected(&mut self) -> String {
        let delivery = next(&mut self.failed).await;
        assert_eq!(
            (delivery.exchange.as_str(), &delivery.routing_key),
            (names::DEAD, &self.adapter)
        );
        decode_event(&delivery.properties, &delivery.body).unwrap().id
    }

    /// What still lies in the adapter's queue, once nobody has any of it in hand.
    pub(crate) async fn waiting(&self) -> Vec<String> {
        let mut lane = lane(&self.broker, &names::adapter_queue(&self.adapter)).await;
        let mut waiting = Vec::new();
        while let Ok(batch) = timeout(Duration::from_secs(1), lane.next_batch(100, Duration::ZERO)).await {
            for delivery in batch.unwrap() {
                waiting.push(decode_event(&delivery.properties, &delivery.body).unwrap().id);
            }
        }
        waiting
    }

    /// Until the adapter has a consumer again, or has none.
    pub(crate) async fn has_consumers(&self, expected: u64) {
        let queue = names::adapter_queue(&self.adapter);
        let management = self.vhost.management();
        let looking = async {
            loop {
                let found = management.queue(&queue).await.ok().flatten();
                if found.is_some_and(|queue| queue.consumers == expected) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(DEADLINE, looking).await.unwrap();
    }
}

async fn lane(broker: &Broker, queue: &str) -> Lane {
    Lane::open(broker, queue, 100, "hub").await.unwrap()
}

async fn next(lane: &mut Lane) -> Delivery {
    let batch = timeout(DEADLINE, lane.next_batch(1, Duration::ZERO)).await;
    let delivery = batch.expect("something comes in time").unwrap().remove(0);
    lane.ack(&[delivery.tag]).await.unwrap();
    delivery
}

/// An order as a shop places it.
pub(crate) fn order(id: &str) -> Event {
    let text = |text: &str| AttributeValue::String(text.to_owned());
    Event {
        id: id.to_owned(),
        source: "/shop".to_owned(),
        event_type: "order.placed.v1".to_owned(),
        subject: Some("R-1".to_owned()),
        time: "2026-03-02T08:26:00Z".parse().ok(),
        data_content_type: Some("application/json".to_owned()),
        data_schema: None,
        extensions: BTreeMap::from([
            ("correlationid".to_owned(), text("order-R-1")),
            ("partitionkey".to_owned(), text("key-of-R-1")),
            ("aliases".to_owned(), text("shop:R-1 pos:7")),
        ]),
        data: Some(json!({"order": "R-1"}).to_string().into()),
    }
}
