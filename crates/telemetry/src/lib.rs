//! Traces: what an event's way took, and where, as spans in the words of OpenTelemetry, sent to a collector over
//! OTLP (HTTP, protobuf). Hub and adapters use the same; it knows neither RabbitMQ nor what events mean.
//!
//! Off until [`Telemetry::start`], and then for the whole process. While it is off a [`Span`] is nothing: no
//! allocation, no clock. While it is on nobody waits for the collector: spans go into a bounded queue, and what finds
//! it full, or the collector away, is lost and counted.
//!
//! What a span says is fit for every eye: names of adapters, queues and types, ids of events, never a subject, a
//! correlation id, data, or a routing key, which may be personal.

mod exporter;
mod messaging;
mod span;

use std::{sync::OnceLock, time::Duration};

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::{Protocol, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider},
};
use url::Url;

use exporter::{Client, Exporter, TIMEOUT};
pub use messaging::{Messaging, Operation, PROCESS, SEND};
pub use span::{Kind, Span};

/// The variable that names the collector for processes that have no settings: the base URL, as every OpenTelemetry
/// SDK reads it.
pub const ENDPOINT_VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// The header of HTTP and of AMQP in which one process tells the next which of its steps the message or request belongs
/// under (W3C Trace Context). An event's own attribute of that name stays as its producer wrote it.
pub const TRACEPARENT_HEADER: &str = "traceparent";

/// Where traces go below the collector's base URL.
const TRACES_PATH: &str = "v1/traces";
/// Spans that wait to be sent. One takes about a kilobyte.
const QUEUE_MAX: usize = 16_384;
/// Spans sent together.
const EXPORT_MAX: usize = 1_024;
/// How long a span waits for others to be sent with.
const LINGER: Duration = Duration::from_secs(2);

/// Set once the process has telemetry.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Why there will be no traces.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The endpoint cannot be used; the text says why.
    #[error("the OTLP endpoint cannot be used: {0}")]
    Endpoint(String),
    /// One process has one.
    #[error("telemetry has been started already")]
    Started,
}

/// The process's telemetry, for the one that stops it.
#[derive(Debug)]
pub struct Telemetry(SdkTracerProvider);

impl Telemetry {
    /// From now on spans are sent to the collector at `endpoint`, its base URL, in the name of `service`; the
    /// variables `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER`
    /// and `OTEL_TRACES_SAMPLER_ARG` say more, as in every SDK. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// `Endpoint` if that is no address for it, `Started` if there is one.
    pub fn start(endpoint: &Url, service: &str, version: &'static str) -> Result<Self, TelemetryError> {
        let unusable = |error: &dyn std::fmt::Display| TelemetryError::Endpoint(error.to_string());
        let client = Client::new().map_err(|error| unusable(&error))?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(traces_url(endpoint))
            .with_timeout(TIMEOUT)
            .with_retry_policy(RetryPolicy::disabled())
            .build()
            .map_err(|error| unusable(&error))?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE_MAX)
            .with_max_export_batch_size(EXPORT_MAX)
            .with_scheduled_delay(LINGER)
            .build();
        let processor = BatchSpanProcessor::builder(Exporter::new(exporter))
            .with_batch_config(batches)
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_resource(resource(service, version))
            .build();
        match TRACER.set(provider.tracer("crossdock")) {
            Ok(()) => Ok(Self(provider)),
            Err(_) => Err(TelemetryError::Started),
        }
    }

    /// Sends what is left, for as long as `within`. Spans that end later are lost.
    pub async fn stop(self, within: Duration) {
        // It waits for a thread of its own.
        let stopping = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(within));
        if !matches!(stopping.await, Ok(Ok(()))) {
            tracing::warn!("the last spans did not reach the collector in time");
        }
    }
}

fn resource(service: &str, version: &'static str) -> Resource {
    let builder = Resource::builder().with_attribute(KeyValue::new("service.version", version));
    // The operator's own name goes first.
    match std::env::var("OTEL_SERVICE_NAME") {
        Ok(name) if !name.is_empty() => builder.build(),
        _ => builder.with_service_name(service.to_owned()).build(),
    }
}

fn traces_url(endpoint: &Url) -> String {
    format!("{}/{TRACES_PATH}", endpoint.as_str().trim_end_matches('/'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn traces_go_below_the_base_url() {
        for (base, url) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
            ("https://c.example/otlp/", "https://c.example/otlp/v1/traces"),
        ] {
            assert_eq!(traces_url(&base.parse().unwrap()), url);
        }
    }
}
