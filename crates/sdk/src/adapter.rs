//! The running adapter: its two connections, the loop from delivery to ack, and the stop that drains.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::Utc;
use crossdock_bus::{
    AdapterConsumer, Broker, BusError, Delivery, HeaderValue, Outgoing, Properties, PublishError, Publisher,
    message::{decode_event, encode_event},
    names,
};
use crossdock_model::{Traceparent, clock::SystemClock, event::Event, name};
use crossdock_telemetry::{ENDPOINT_VARIABLE, Messaging, PROCESS, SEND, Span, TRACEPARENT_HEADER, Telemetry};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;
use uuid::Uuid;

use crate::{Answer, Failure, Incoming, SdkError};

/// Deliveries RabbitMQ hands over ahead of acks.
const PREFETCH: u16 = 20;
/// How long a handler may take before the attempt counts as failed.
const HANDLER_MAX: Duration = Duration::from_secs(60);
/// Pauses between attempts to reach RabbitMQ.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long a stop waits for the event in hand.
const STOP_MAX: Duration = Duration::from_secs(10);
/// How long it waits for the collector to take the last spans.
const LAST_SPANS_MAX: Duration = Duration::from_secs(3);

/// An adapter, ready to run.
pub struct Adapter {
    name: String,
    broker: Broker,
    sender: Sender,
    stop: CancellationToken,
    tasks: TaskTracker,
    telemetry: Option<Telemetry>,
}

/// Publishes events of the adapter's own accord. Clones share one connection.
#[derive(Clone)]
pub struct Sender(Arc<SenderInner>);

struct SenderInner {
    source: String,
    user: String,
    publisher: Publisher,
}

impl Adapter {
    /// Takes name and address from `CROSSDOCK_ADAPTER` and `CROSSDOCK_AMQP_URL`. `source` is the one its
    /// manifest names. With `OTEL_EXPORTER_OTLP_ENDPOINT`, the base URL of a collector, its work is traced there. Connects in the background; must be called within a tokio runtime.
    ///
    /// # Errors
    /// `Environment` if a variable is missing, `Broker` if the address is none.
    pub fn from_env(source: &str) -> Result<Self, SdkError> {
        let variable = |name: &str| {
            env::var(name).map_err(|_| {
                SdkError::Environment(format!(
                    "{name} is not set; the hub writes it to var/adapters/<name>.env"
                ))
            })
        };
        let adapter = Self::new(
            &variable("CROSSDOCK_ADAPTER")?,
            &variable("CROSSDOCK_AMQP_URL")?,
            source,
        )?;
        let telemetry = telemetry(&adapter.name);
        Ok(Self { telemetry, ..adapter })
    }

    /// The adapter `name`, which speaks as `source`, at the `amqp` or `amqps` address with its own user.
    /// Connects in the background; must be called within a tokio runtime.
    ///
    /// # Errors
    /// `Broker` if the address is none.
    pub fn new(name: &str, amqp_url: &str, source: &str) -> Result<Self, SdkError> {
        let broker = Broker::new(amqp_url)?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let publisher = Publisher::spawn(broker.clone(), &format!("{name} publishes"), &tasks, stop.clone());
        let inner = SenderInner {
            source: source.to_owned(),
            user: broker.user().to_owned(),
            publisher,
        };
        Ok(Self {
            name: name.to_owned(),
            broker,
            sender: Sender(Arc::new(inner)),
            stop,
            tasks,
            telemetry: None,
        })
    }

    /// For events that answer nothing.
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// Handles events one after the other until SIGTERM or SIGINT; then finishes the one in hand. Outlives
    /// outages of RabbitMQ; a refusal, such as of credentials that were rotated away, is logged and waited out
    /// too, since a paused or restored adapter is refused for a while.
    ///
    /// # Errors
    /// `Environment` if the process cannot be told to stop.
    pub async fn run<F, Fut>(mut self, handle: F) -> Result<(), SdkError>
    where
        F: Fn(Incoming) -> Fut,
        Fut: Future<Output = Result<Vec<Answer>, Failure>> + Send + 'static,
    {
        let telemetry = self.telemetry.take();
        let stopping = stop_signal()?;
        tokio::pin!(stopping);
        let asked_to_stop = CancellationToken::new();
        let serving = self.serve(&handle, &asked_to_stop);
        tokio::pin!(serving);
        let result = tokio::select! {
            result = &mut serving => result,
            () = &mut stopping => {
                asked_to_stop.cancel();
                // What does not end in time is delivered again to the next process.
                tokio::time::timeout(STOP_MAX, &mut serving).await.unwrap_or(Ok(()))
            }
        };
        self.stop.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(STOP_MAX, self.tasks.wait()).await;
        if let Some(telemetry) = telemetry {
            telemetry.stop(LAST_SPANS_MAX).await;
        }
        result
    }

    async fn serve<F, Fut>(&self, handle: &F, stop: &CancellationToken) -> Result<(), SdkError>
    where
        F: Fn(Incoming) -> Fut,
        Fut: Future<Output = Result<Vec<Answer>, Failure>> + Send + 'static,
    {
        let queue = names::adapter_queue(&self.name);
        let mut pause = PAUSE_MIN;
        let open = || AdapterConsumer::open(&self.broker, &queue, PREFETCH, &self.name);
        while let Some(opened) = stop.run_until_cancelled(open()).await {
            match opened {
                Ok(consumer) => {
                    tracing::info!(queue, "consuming");
                    pause = PAUSE_MIN;
                    match self.consume(consumer, handle, stop).await {
                        Ok(()) => return Ok(()),
                        Err(error) => tracing::warn!(%error, "the connection ended; another follows"),
                    }
                }
                Err(error @ BusError::Refused { .. }) => {
                    tracing::warn!(%error, "RabbitMQ refuses this adapter; are its credentials the latest?");
                }
                Err(error) => tracing::info!(%error, "waiting for RabbitMQ"),
            }
            stop.run_until_cancelled(tokio::time::sleep(pause)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        Ok(())
    }

    async fn consume<F, Fut>(
        &self,
        mut consumer: AdapterConsumer,
        handle: &F,
        stop: &CancellationToken,
    ) -> Result<(), SdkError>
    where
        F: Fn(Incoming) -> Fut,
        Fut: Future<Output = Result<Vec<Answer>, Failure>> + Send + 'static,
    {
        loop {
            let delivery = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                delivery = consumer.next() => delivery?,
            };
            let tag = delivery.tag;
            if self.work(&delivery, handle).await? {
                consumer.ack(tag).await?
            } else {
                consumer.reject(tag).await?
            }
        }
        Ok(())
    }

    /// Handles one delivery, publishes the answers, sends the receipt. Whether to ack.
    async fn work<F, Fut>(&self, delivery: &Delivery, handle: &F) -> Result<bool, SdkError>
    where
        F: Fn(Incoming) -> Fut,
        Fut: Future<Output = Result<Vec<Answer>, Failure>> + Send + 'static,
    {
        let event = match decode_event(&delivery.properties, &delivery.body) {
            Ok(event) => event,
            Err(faults) => {
                tracing::error!(%faults, "the hub delivered what is no event");
                return Ok(false);
            }
        };
        let started = Instant::now();
        let mut span = self.trace(delivery, &event);
        let handled = match self.handled(delivery, &event, handle).await {
            Ok(answers) => self.sender.answer(answers, &event, &span).await?,
            Err(failure) => Err(failure),
        };
        match &handled {
            Ok(()) => {}
            Err(Failure::Retry(..)) => span.fail("retry"),
            Err(Failure::Dead(_)) => span.fail("dead"),
        }
        let mut receipt = json!({
            "event": event.id,
            "source": event.source,
            "duration_ms": u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
        match &handled {
            Ok(()) => receipt["outcome"] = "done".into(),
            Err(Failure::Retry(detail, after)) => {
                receipt["outcome"] = "retry".into();
                receipt["detail"] = detail.as_str().into();
                receipt["retry_after_s"] = after.map(|after| after.as_secs()).into();
            }
            Err(Failure::Dead(detail)) => {
                receipt["outcome"] = "dead".into();
                receipt["detail"] = detail.as_str().into();
            }
        }
        if let Err(failure) = &handled {
            tracing::warn!(event = event.id, %failure, "an event failed");
        }
        self.sender.receipt(&receipt).await?;
        Ok(handled.is_ok())
    }

    /// Begins the span of the work on a delivery: under the step that published it, else under the event's own.
    fn trace(&self, delivery: &Delivery, event: &Event) -> Span {
        let published = match delivery.properties.headers.get(TRACEPARENT_HEADER) {
            Some(HeaderValue::Text(text)) => text.parse().ok(),
            _ => None,
        };
        let processing = Messaging {
            operation: PROCESS,
            exchange: names::DELIVER,
            queue: Some(&names::adapter_queue(&self.name)),
            event,
        };
        processing.start(published.or_else(|| event.traceparent()))
    }

    /// Runs the handler in a task of its own, so that its panic or delay is a failed attempt and not the
    /// adapter's end.
    async fn handled<F, Fut>(
        &self,
        delivery: &Delivery,
        event: &Event,
        handle: &F,
    ) -> Result<Vec<Answer>, Failure>
    where
        F: Fn(Incoming) -> Fut,
        Fut: Future<Output = Result<Vec<Answer>, Failure>> + Send + 'static,
    {
        let attempt = match delivery.properties.headers.get("crossdock-attempt") {
            Some(HeaderValue::Int(attempt)) => u32::try_from(*attempt).unwrap_or(1),
            _ => 1,
        };
        let incoming = Incoming {
            event: event.clone(),
            attempt,
        };
        let panicked = || Failure::Retry("the handler panicked".into(), None);
        // A handler may also do its work before it returns its future.
        let future = catch_unwind(AssertUnwindSafe(|| handle(incoming))).map_err(|_| panicked())?;
        let work = tokio::spawn(future);
        let abort = work.abort_handle();
        match tokio::time::timeout(HANDLER_MAX, work).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(panicked()),
            Err(_) => {
                abort.abort();
                Err(Failure::Retry(
                    format!("the handler took longer than {} s", HANDLER_MAX.as_secs()),
                    None,
                ))
            }
        }
    }
}

impl Sender {
    /// Publishes an event under a fresh id and waits for RabbitMQ's confirm, through outages as well.
    ///
    /// # Errors
    /// `Event` if the event is not acceptable.
    pub async fn send(&self, event: Answer) -> Result<(), SdkError> {
        let event = event.into_event(&self.0.source, name::new_id(&SystemClock), Utc::now(), None)?;
        self.publish_event(event, None)
            .await
            .map_err(|failure| SdkError::Event(failure.to_string()))
    }

    /// Publishes the answers to `cause`. The inner result is the attempt's.
    async fn answer(
        &self,
        answers: Vec<Answer>,
        cause: &Event,
        work: &Span,
    ) -> Result<Result<(), Failure>, SdkError> {
        for (place, answer) in answers.into_iter().enumerate() {
            let id = answer_id(&self.0.source, cause, place);
            let event = match answer.into_event(&self.0.source, id, Utc::now(), Some(cause)) {
                Ok(event) => event,
                Err(error) => return Ok(Err(error.into())),
            };
            if let Err(failure) = self.publish_event(event, work.traceparent()).await {
                return Ok(Err(failure));
            }
        }
        Ok(Ok(()))
    }

    /// Publishes an event, under `work`, and with telemetry makes the publish the step that the event follows from.
    async fn publish_event(&self, mut event: Event, work: Option<Traceparent>) -> Result<(), Failure> {
        let sending = Messaging {
            operation: SEND,
            exchange: names::INGRESS,
            queue: None,
            event: &event,
        };
        let mut span = sending.start(work);
        if let Some(here) = span.traceparent() {
            event.go_on_in(here);
        }
        let (mut properties, body) = encode_event(&event);
        properties.user_id = Some(self.0.user.clone());
        self.publish(Outgoing {
            exchange: names::INGRESS.to_owned(),
            routing_key: event.partition_key().into_owned(),
            bcc: Vec::new(),
            mandatory: true,
            properties,
            body,
        })
        .await
        .inspect_err(|_| span.fail("unconfirmed"))
    }

    async fn receipt(&self, receipt: &serde_json::Value) -> Result<(), SdkError> {
        let properties = Properties {
            content_type: Some("application/json".to_owned()),
            user_id: Some(self.0.user.clone()),
            ..Properties::default()
        };
        self.publish(Outgoing {
            exchange: names::RECEIPTS.to_owned(),
            routing_key: String::new(),
            bcc: Vec::new(),
            mandatory: true,
            properties,
            body: receipt.to_string().into_bytes().into(),
        })
        .await
        .map_err(|failure| SdkError::Event(failure.to_string()))
    }

    /// Publishes until RabbitMQ confirms; only what can never be confirmed fails.
    async fn publish(&self, message: Outgoing) -> Result<(), Failure> {
        let mut pause = PAUSE_MIN;
        loop {
            match self.0.publisher.publish(message.clone()).await {
                Ok(()) => return Ok(()),
                Err(error @ PublishError::TooLarge { .. }) => return Err(Failure::Dead(error.to_string())),
                Err(error) => tracing::info!(%error, "not confirmed yet; trying again"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

/// The same for every repeat of the work on `cause` by `source`, and no other adapter's (UUID version 5,
/// RFC 9562).
fn answer_id(source: &str, cause: &Event, place: usize) -> String {
    let name = format!("{source}#{}#{}/{place}", cause.source, cause.id);
    Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string()
}

/// Traces of the process, where the environment names a collector. An adapter that cannot have them works without.
fn telemetry(adapter: &str) -> Option<Telemetry> {
    let endpoint = env::var(ENDPOINT_VARIABLE)
        .ok()
        .filter(|value| !value.is_empty())?;
    let started = match endpoint.parse::<Url>() {
        Ok(url) => {
            Telemetry::start(&url, adapter, env!("CARGO_PKG_VERSION")).map_err(|error| error.to_string())
        }
        Err(error) => Err(format!("{ENDPOINT_VARIABLE} is no URL: {error}")),
    };
    started
        .inspect_err(|error| tracing::warn!(error, "there will be no traces"))
        .ok()
}

/// Ends with the first SIGTERM or SIGINT.
fn stop_signal() -> Result<impl Future<Output = ()>, SdkError> {
    let listen = |kind| signal(kind).map_err(|error| SdkError::Environment(error.to_string()));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
