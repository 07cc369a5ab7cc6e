//! An adapter's credentials against a real RabbitMQ: what they allow, and all that they do not.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use crossdock_bus::credentials;
use crossdock_bus::names::{DEAD, DELIVER, INGRESS, RECEIPTS, adapter_queue, user_name};
use crossdock_testkit::{TestBroker, TestVhost};
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Error, ErrorKind, ExchangeKind};
use tokio::time::{Instant, sleep};

const DEADLINE: Duration = Duration::from_secs(30);
const ACCESS_REFUSED: u16 = 403;
const PASSWORD: &str = "p4ssw0rd";

/// The hub's exchanges, the adapter's queue and another's.
async fn stage(vhost: &TestVhost, adapter: &str, neighbour: &str) {
    let hub = Connection::connect(&vhost.broker_url, ConnectionProperties::default())
        .await
        .unwrap();
    let channel = hub.create_channel().await.unwrap();
    for exchange in [INGRESS, DELIVER, RECEIPTS, DEAD] {
        let options = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        channel
            .exchange_declare(
                exchange.into(),
                ExchangeKind::Direct,
                options,
                FieldTable::default(),
            )
            .await
            .unwrap();
    }
    for adapter in [adapter, neighbour] {
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        channel
            .queue_declare(adapter_queue(adapter).into(), options, FieldTable::default())
            .await
            .unwrap();
    }
}

async fn connect(vhost: &TestVhost, user: &str) -> Result<Connection, Error> {
    let url = credentials::url_for(&vhost.broker_url, user, PASSWORD).unwrap();
    Connection::connect(&url, ConnectionProperties::default()).await
}

async fn consume(channel: &Channel, queue: &str) -> Result<(), Error> {
    let options = BasicConsumeOptions::default();
    let consumer = channel
        .basic_consume(queue.into(), "".into(), options, FieldTable::default())
        .await?;
    // Dropped, it would be cancelled.
    std::mem::forget(consumer);
    Ok(())
}

async fn publish(channel: &Channel, exchange: &str) -> Result<(), Error> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let properties = BasicProperties::default();
    channel
        .basic_publish(
            exchange.into(),
            "key".into(),
            BasicPublishOptions::default(),
            b"{}",
            properties,
        )
        .await?
        .await?;
    Ok(())
}

fn is_refused(outcome: Result<(), Error>, what: &str) {
    let error = outcome.expect_err(what);
    match error.kind() {
        ErrorKind::ProtocolError(error) => assert_eq!(error.get_id(), ACCESS_REFUSED, "{what}: {error}"),
        _ => panic!("{what}: {error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_may_publish_and_consume_its_queue_and_nothing_else() {
    let vhost = TestBroker::vhost().await;
    let management = vhost.management();
    let (adapter, neighbour) = (vhost.unique("erp"), vhost.unique("shop"));
    stage(&vhost, &adapter, &neighbour).await;
    credentials::issue(&management, &adapter, 1, PASSWORD)
        .await
        .unwrap();
    let connection = connect(&vhost, &user_name(&adapter, 1)).await.unwrap();
    let own_queue = adapter_queue(&adapter);
    let others_queue = adapter_queue(&neighbour);
    let channel = async || connection.create_channel().await.unwrap();

    let allowed = channel().await;
    publish(&allowed, INGRESS).await.unwrap();
    publish(&allowed, RECEIPTS).await.unwrap();
    consume(&allowed, &own_queue).await.unwrap();

    is_refused(publish(&channel().await, DELIVER).await, "publishing to deliver");
    is_refused(publish(&channel().await, DEAD).await, "publishing to dead");
    is_refused(
        publish(&channel().await, "").await,
        "publishing straight into queues",
    );
    is_refused(
        consume(&channel().await, &others_queue).await,
        "consuming another's queue",
    );
    let (key, nothing) = (|| "key".into(), FieldTable::default);
    let get = channel()
        .await
        .basic_get(others_queue.as_str().into(), BasicGetOptions::default())
        .await;
    is_refused(get.map(drop), "getting from another's queue");
    let purge = channel()
        .await
        .queue_purge(others_queue.as_str().into(), QueuePurgeOptions::default())
        .await;
    is_refused(purge.map(drop), "purging another's queue");
    let declare = channel()
        .await
        .queue_declare("mine".into(), QueueDeclareOptions::default(), nothing())
        .await;
    is_refused(declare.map(drop), "declaring a queue");
    let declare = channel()
        .await
        .exchange_declare(
            "mine".into(),
            ExchangeKind::Fanout,
            ExchangeDeclareOptions::default(),
            nothing(),
        )
        .await;
    is_refused(declare, "declaring an exchange");
    let bind = channel()
        .await
        .queue_bind(
            own_queue.as_str().into(),
            INGRESS.into(),
            key(),
            QueueBindOptions::default(),
            nothing(),
        )
        .await;
    is_refused(bind, "binding its queue to the ingress");
    let delete = channel()
        .await
        .queue_delete(own_queue.as_str().into(), QueueDeleteOptions::default())
        .await;
    is_refused(delete.map(drop), "deleting its queue");
    let delete = channel()
        .await
        .exchange_delete(INGRESS.into(), ExchangeDeleteOptions::default())
        .await;
    is_refused(delete, "deleting the ingress");

    let forged = BasicProperties::default().with_user_id("somebody-else".into());
    let channel = channel().await;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .unwrap();
    let options = BasicPublishOptions::default();
    let confirm = channel
        .basic_publish(INGRESS.into(), key(), options, b"{}", forged)
        .await
        .unwrap()
        .await;
    assert!(
        confirm.is_err(),
        "RabbitMQ checks that user_id is the publisher's own"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn generations_overlap_until_the_older_is_deleted_and_its_connections_with_it() {
    let vhost = TestBroker::vhost().await;
    let management = vhost.management();
    let adapter = vhost.unique("erp");
    stage(&vhost, &adapter, &vhost.unique("shop")).await;
    for generation in [1, 2] {
        credentials::issue(&management, &adapter, generation, PASSWORD)
            .await
            .unwrap();
    }
    assert_eq!(
        credentials::generations(&management, &adapter).await.unwrap(),
        [1, 2]
    );
    let older = connect(&vhost, &user_name(&adapter, 1)).await.unwrap();
    let newer = connect(&vhost, &user_name(&adapter, 2)).await.unwrap();
    consume(&older.create_channel().await.unwrap(), &adapter_queue(&adapter))
        .await
        .unwrap();

    credentials::delete(&management, &adapter, 1).await.unwrap();
    assert_eq!(
        credentials::generations(&management, &adapter).await.unwrap(),
        [2]
    );
    until("the deleted user's connection is closed", async || {
        !older.status().connected()
    })
    .await;
    assert!(connect(&vhost, &user_name(&adapter, 1)).await.is_err());
    assert!(newer.status().connected());
    consume(&newer.create_channel().await.unwrap(), &adapter_queue(&adapter))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn withdrawn_reading_ends_consumers_and_lets_publishing_go_on_until_it_is_restored() {
    let vhost = TestBroker::vhost().await;
    let management = vhost.management();
    let adapter = vhost.unique("erp");
    let queue = adapter_queue(&adapter);
    stage(&vhost, &adapter, &vhost.unique("shop")).await;
    credentials::issue(&management, &adapter, 1, PASSWORD)
        .await
        .unwrap();
    let running = connect(&vhost, &user_name(&adapter, 1)).await.unwrap();
    consume(&running.create_channel().await.unwrap(), &queue)
        .await
        .unwrap();
    let management_sees = async || management.queue(&queue).await.unwrap().unwrap().consumers;
    until("the consumer is seen", async || management_sees().await == 1).await;

    until("no consumer is left", async || {
        credentials::withdraw_reading(&management, &adapter, "paused by a test")
            .await
            .unwrap();
        management_sees().await == 0
    })
    .await;
    assert!(!running.status().connected());

    let paused = connect(&vhost, &user_name(&adapter, 1)).await.unwrap();
    is_refused(
        consume(&paused.create_channel().await.unwrap(), &queue).await,
        "consuming while paused",
    );
    publish(&paused.create_channel().await.unwrap(), INGRESS)
        .await
        .unwrap();

    credentials::restore_reading(&management, &adapter).await.unwrap();
    consume(&paused.create_channel().await.unwrap(), &queue)
        .await
        .unwrap();
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition().await {
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        sleep(Duration::from_millis(100)).await;
    }
}
