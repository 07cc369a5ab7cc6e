//! The management API of a real RabbitMQ.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use crossdock_bus::BusError;
use crossdock_bus::management::{Management, Permissions, QueueInfo, QueueKind};
use crossdock_testkit::{TestBroker, TestVhost};
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use tokio::time::{Instant, sleep};

const DEADLINE: Duration = Duration::from_secs(30);

async fn channel(vhost: &TestVhost) -> (Connection, Channel) {
    let connection = Connection::connect(&vhost.broker_url, ConnectionProperties::default())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

async fn declare_quorum_queue(channel: &Channel, name: &str) {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(20));
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(name.into(), options, arguments)
        .await
        .unwrap();
}

/// The queue as soon as it is as described; counts lag behind.
async fn queue_that(
    management: &Management,
    name: &str,
    is_as_described: impl Fn(&QueueInfo) -> bool,
) -> QueueInfo {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let queue = management.queue(name).await.unwrap().unwrap();
        if is_as_described(&queue) {
            return queue;
        }
        assert!(Instant::now() < deadline, "{queue:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_are_described_with_counts_arguments_and_consumers_that_never_acknowledge() {
    let vhost = TestBroker::vhost().await;
    let management = vhost.management();
    let (_connection, channel) = channel(&vhost).await;
    declare_quorum_queue(&channel, "orders/new").await;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .unwrap();
    for _ in 0..3 {
        let publish = channel.basic_publish(
            "".into(),
            "orders/new".into(),
            BasicPublishOptions::default(),
            b"body",
            BasicProperties::default().with_delivery_mode(2),
        );
        publish.await.unwrap().await.unwrap();
    }

    let queue = queue_that(&management, "orders/new", |queue| queue.ready == Some(3)).await;
    assert_eq!(queue.kind, QueueKind::Quorum);
    assert!(queue.durable);
    assert_eq!(queue.unacked, Some(0));
    assert_eq!(queue.arguments["x-delivery-limit"], 20);
    assert_eq!(queue.policy, None);
    assert!(queue.effective_policy.is_empty());

    let careless = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let _careless = channel
        .basic_consume(
            "orders/new".into(),
            "careless".into(),
            careless,
            FieldTable::default(),
        )
        .await
        .unwrap();
    let careful = BasicConsumeOptions::default();
    let _careful = channel
        .basic_consume(
            "orders/new".into(),
            "careful".into(),
            careful,
            FieldTable::default(),
        )
        .await
        .unwrap();
    let queue = queue_that(&management, "orders/new", |queue| {
        queue.auto_ack_consumers.len() == 1
    })
    .await;
    assert_eq!(queue.auto_ack_consumers, ["careless"]);
    queue_that(&management, "orders/new", |queue| {
        queue.consumers == 2 && queue.ready == Some(0)
    })
    .await;

    let all = management.queues().await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].name, "orders/new");
    assert_eq!(all[0].auto_ack_consumers, ["careless"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_none_and_what_is_gone_is_done() {
    let vhost = TestBroker::vhost().await;
    let management = vhost.management();
    assert_eq!(management.queues().await.unwrap(), []);
    assert_eq!(management.queue("nothing").await.unwrap(), None);
    assert_eq!(management.exchange("nothing").await.unwrap(), None);
    assert_eq!(management.permissions("nobody").await.unwrap(), None);
    management.delete_user("nobody").await.unwrap();
    management.close_connections("nobody", "a test").await.unwrap();
    management
        .with_vhost("test/nowhere")
        .delete_vhost()
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanges_and_bindings_are_described() {
    let vhost = TestBroker::vhost().await;
    let management = vhost.management();
    let (_connection, channel) = channel(&vhost).await;
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let kind = ExchangeKind::Custom("x-consistent-hash".into());
    channel
        .exchange_declare("in".into(), kind, options, FieldTable::default())
        .await
        .unwrap();
    declare_quorum_queue(&channel, "q").await;
    channel
        .queue_bind(
            "q".into(),
            "in".into(),
            "1".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();

    let exchange = management.exchange("in").await.unwrap().unwrap();
    assert_eq!(exchange.kind, "x-consistent-hash");
    assert!(exchange.durable && exchange.arguments.is_empty());
    let bindings = management.bindings().await.unwrap();
    let binding = bindings.iter().find(|binding| binding.source == "in").unwrap();
    assert_eq!(
        (binding.destination.as_str(), binding.routing_key.as_str()),
        ("q", "1")
    );
    assert_eq!(binding.destination_type, "queue");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_and_their_rights_are_made_changed_and_deleted() {
    let vhost = TestBroker::vhost().await;
    let management = vhost.management();
    let name = vhost.unique("user");
    let rights = Permissions {
        configure: "^$".into(),
        write: "^a$".into(),
        read: "^b$".into(),
    };

    let refused = management.set_permissions(&name, &rights).await.unwrap_err();
    assert!(
        matches!(refused, BusError::Refused { code: 400, .. }),
        "{refused}"
    );

    management
        .put_user(&name, "first", &["monitoring"])
        .await
        .unwrap();
    management.set_permissions(&name, &rights).await.unwrap();
    assert_eq!(management.permissions(&name).await.unwrap(), Some(rights));
    let users = management.users().await.unwrap();
    let user = users.iter().find(|user| user.name == name).unwrap();
    assert_eq!(user.tags, ["monitoring"]);

    let as_user = |password| Management::new(&vhost.management_url, &vhost.name, &name, password).unwrap();
    assert_eq!(as_user("first").queues().await.unwrap(), []);
    let refused = as_user("wrong").queues().await.unwrap_err();
    assert!(
        matches!(refused, BusError::Refused { code: 401, .. }),
        "{refused}"
    );

    management
        .put_user(&name, "second", &["monitoring"])
        .await
        .unwrap();
    assert_eq!(as_user("second").queues().await.unwrap(), []);

    management.delete_user(&name).await.unwrap();
    assert!(
        !management
            .users()
            .await
            .unwrap()
            .iter()
            .any(|user| user.name == name)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_come_only_where_they_are_asked_for() {
    let vhost = TestBroker::vhost().await;
    let management = vhost.management();
    let (_connection, channel) = channel(&vhost).await;
    declare_quorum_queue(&channel, "busy").await;
    declare_quorum_queue(&channel, "quiet").await;
    let deadline = Instant::now() + DEADLINE;
    let seen = loop {
        let publish = channel.basic_publish(
            "".into(),
            "busy".into(),
            BasicPublishOptions::default(),
            b"body",
            BasicProperties::default(),
        );
        publish.await.unwrap().await.unwrap();
        let queues = management.queues_with_statistics().await.unwrap();
        let named = |name: &str| queues.iter().find(|queue| queue.name == name).unwrap().clone();
        let (busy, quiet) = (named("busy"), named("quiet"));
        let flows = busy.rates.publish.is_some_and(|rate| rate > 0.0);
        if flows && busy.depths.last().is_some_and(|depth| depth.messages > 0) {
            break (busy, quiet);
        }
        assert!(Instant::now() < deadline, "{busy:?}");
        sleep(Duration::from_millis(100)).await;
    };
    let (busy, quiet) = seen;
    assert!(busy.depths.is_sorted_by_key(|depth| depth.at));
    assert!(busy.depths.len() <= 62, "ten minutes in steps of ten seconds");
    assert_eq!((busy.rates.ack, busy.rates.deliver_get), (None, None));
    assert_eq!(quiet.rates.publish, None);
    for queue in management.queues().await.unwrap() {
        assert_eq!(queue.rates.publish, None);
        assert!(queue.depths.is_empty());
    }
}
