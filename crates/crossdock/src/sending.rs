//! Sending many events: in batches that the hub takes, one after the other so that order holds, repeated
//! with the same ids while the hub cannot confirm. A repeat is safe: the gate recognises ids.

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use reqwest::StatusCode;

use crate::client::{Client, ClientError};

/// Events in one request at most.
pub(crate) const BATCH_MAX_EVENTS: usize = 200;
/// Bytes in one request at most.
pub(crate) const BATCH_MAX_BYTES: usize = 4 * 1024 * 1024;
/// How long a hub that cannot confirm is asked again.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(2);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Events on their way into one request, each with where it came from.
#[derive(Debug)]
pub(crate) struct Batch<Origin> {
    json: BytesMut,
    origins: Vec<Origin>,
}

impl<Origin> Batch<Origin> {
    pub(crate) fn new() -> Self {
        Self {
            json: BytesMut::new(),
            origins: Vec::new(),
        }
    }

    /// Whether an event of this length still has room. An empty batch has room for any.
    pub(crate) fn has_room(&self, event_bytes: usize) -> bool {
        self.origins.is_empty()
            || self.origins.len() < BATCH_MAX_EVENTS && self.json.len() + event_bytes + 2 <= BATCH_MAX_BYTES
    }

    /// Adds a structured event.
    pub(crate) fn push(&mut self, event: &[u8], origin: Origin) {
        self.json
            .put_u8(if self.origins.is_empty() { b'[' } else { b',' });
        self.json.put_slice(event);
        self.origins.push(origin);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.origins.is_empty()
    }

    /// The JSON array of all events and where each came from; the batch is empty afterwards.
    pub(crate) fn take(&mut self) -> (Bytes, Vec<Origin>) {
        self.json
            .put_slice(if self.origins.is_empty() { b"[]" } else { b"]" });
        (self.json.split().freeze(), std::mem::take(&mut self.origins))
    }
}

/// Sends batches to one hub and waits where the hub asks for it.
#[derive(Debug)]
pub(crate) struct Sender {
    client: Client,
    answered_before: bool,
}

impl Sender {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            answered_before: false,
        }
    }

    /// Sends a batch until the hub has confirmed or refused it. `on_wait` hears why and how long before each
    /// repeat. A hub that has never answered is not waited for.
    pub(crate) async fn send(
        &mut self,
        batch: Bytes,
        mut on_wait: impl FnMut(&ClientError, Duration),
    ) -> Result<(), ClientError> {
        let started = Instant::now();
        loop {
            let error = match self.client.post_batch(batch.clone()).await {
                Ok(()) => {
                    self.answered_before = true;
                    return Ok(());
                }
                Err(error) => error,
            };
            match self.pause(&error) {
                Some(pause) if started.elapsed() + pause < PATIENCE => {
                    on_wait(&error, pause);
                    tokio::time::sleep(pause).await;
                }
                _ => return Err(error),
            }
        }
    }

    /// How long to wait before the same batch may be tried again; none if a repeat would not help.
    fn pause(&self, error: &ClientError) -> Option<Duration> {
        match error {
            ClientError::Refused(problem) => {
                let later = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS]
                    .contains(&problem.status);
                let asked = problem
                    .retry_after_s
                    .map_or(RETRY_AFTER_DEFAULT, Duration::from_secs);
                later.then(|| asked.clamp(Duration::from_secs(1), RETRY_AFTER_MAX))
            }
            ClientError::Unreachable { .. } | ClientError::Broken { .. } => {
                self.answered_before.then_some(RETRY_AFTER_DEFAULT)
            }
            ClientError::Unauthorized { .. } | ClientError::Unexpected { .. } => None,
        }
    }
}

/// A fault's pointer in a batch, `/3/data/total`, cut into the member's index and the pointer into the
/// member, `(3, "/data/total")`.
pub(crate) fn split_pointer(pointer: &str) -> Option<(usize, &str)> {
    let rest = pointer.strip_prefix('/')?;
    let end = rest.find('/').unwrap_or(rest.len());
    Some((rest[..end].parse().ok()?, &rest[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_a_json_array() {
        let mut batch = Batch::new();
        assert_eq!(batch.take().0, "[]");
        batch.push(b"{\"id\":1}", 'a');
        batch.push(b"{\"id\":2}", 'b');
        let (json, origins) = batch.take();
        assert_eq!(json, "[{\"id\":1},{\"id\":2}]");
        assert_eq!(origins, ['a', 'b']);
        assert!(batch.is_empty());
    }

    #[test]
    fn a_batch_stays_within_what_the_hub_takes() {
        let mut batch = Batch::new();
        assert!(
            batch.has_room(BATCH_MAX_BYTES * 2),
            "an event alone may always go"
        );
        while batch.has_room(10) {
            batch.push(b"0123456789", ());
        }
        assert_eq!(batch.take().1.len(), BATCH_MAX_EVENTS);
        batch.push(&vec![b' '; BATCH_MAX_BYTES - 20], ());
        assert!(batch.has_room(17));
        assert!(!batch.has_room(18));
    }

    #[test]
    fn faults_find_their_events() {
        assert_eq!(split_pointer("/3/data/total"), Some((3, "/data/total")));
        assert_eq!(split_pointer("/12"), Some((12, "")));
        assert_eq!(split_pointer("/time"), None);
        assert_eq!(split_pointer(""), None);
    }
}
