//! The way to the collector: one HTTP client, on the runtime of the process, and a count of what it could not bring
//! there. A collector that is away is said once when it goes and once when it is back.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use metrics::{counter, describe_counter};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};
use tokio::runtime::Handle;

/// How long one exchange with the collector may take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
/// What is read of an answer: it holds a number and a sentence.
const ANSWER_MAX_BYTES: usize = 64 * 1024;
const LOST: &str = "crossdock_telemetry_spans_lost_total";

/// Sends requests from the thread of the exporter, which has no runtime of its own.
#[derive(Debug)]
pub(crate) struct Client {
    client: reqwest::Client,
    runtime: Handle,
}

impl Client {
    pub(crate) fn new() -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            client,
            runtime: Handle::current(),
        })
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let client = self.client.clone();
        self.runtime
            .spawn(async move {
                let mut answer = client.execute(request).await?;
                let (status, headers) = (answer.status(), answer.headers().clone());
                let mut body = BytesMut::new();
                while let Some(chunk) = answer.chunk().await? {
                    if body.len() + chunk.len() > ANSWER_MAX_BYTES {
                        return Err("the collector's answer is too long".into());
                    }
                    body.extend_from_slice(&chunk);
                }
                let mut response = Response::new(body.freeze());
                *response.status_mut() = status;
                *response.headers_mut() = headers;
                Ok(response)
            })
            .await?
    }
}

/// Exports, and takes a failure as it is: the spans are lost, and no work waits for another attempt.
#[derive(Debug)]
pub(crate) struct Exporter<E> {
    inner: E,
    is_away: AtomicBool,
}

impl<E> Exporter<E> {
    pub(crate) fn new(inner: E) -> Self {
        describe_counter!(LOST, "Spans that the OTLP collector did not take");
        Self {
            inner,
            is_away: AtomicBool::new(false),
        }
    }
}

impl<E: SpanExporter> SpanExporter for Exporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len() as u64;
        match self.inner.export(batch).await {
            Ok(()) => {
                if self.is_away.swap(false, Ordering::Relaxed) {
                    tracing::info!("the OTLP collector takes spans again");
                }
            }
            Err(error) => {
                counter!(LOST).increment(count);
                if !self.is_away.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "the OTLP collector takes no spans; they are lost until it does");
                }
            }
        }
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
