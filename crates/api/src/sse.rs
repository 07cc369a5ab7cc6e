//! What streams of server-sent events have in common: where a client goes on, a place for each, the answer.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};
use axum::response::sse::{Event as Message, Sse};
use futures::{Stream, StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{STREAMS_MAX, STREAMS_OF_A_CALLER_MAX};
use crate::{Problem, problem_types as kinds};

/// How often a stream asks again whether its caller still may.
pub(crate) const STANDING_CHECK: Duration = Duration::from_secs(5);
/// How long a client waits before it comes back.
const RECONNECT: Duration = Duration::from_secs(2);
/// When a place may have become free, in seconds.
const PLACE_RETRY_S: u32 = 5;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The offset to begin after: `Last-Event-ID` before `after`.
pub(crate) fn start(headers: &HeaderMap, after: Option<i64>) -> Result<Option<i64>, Problem> {
    let offset = match headers.get(LAST_EVENT_ID) {
        None => return refuse_negative(after),
        Some(value) => value.to_str().ok().and_then(|text| text.trim().parse().ok()),
    };
    match offset {
        Some(offset) => refuse_negative(Some(offset)),
        None => Err(kinds::MALFORMED_REQUEST.with("Last-Event-ID is not the id of a message of this stream")),
    }
}

fn refuse_negative(offset: Option<i64>) -> Result<Option<i64>, Problem> {
    match offset {
        Some(..0) => Err(kinds::MALFORMED_REQUEST.with("offsets are not negative")),
        offset => Ok(offset),
    }
}

type Messages = Result<Message, Infallible>;

/// The messages with what a client is told first. nginx would hold them back without the header that goes with it.
pub(crate) fn answer(
    messages: impl Stream<Item = Messages> + Send + 'static,
) -> (
    [(&'static str, &'static str); 1],
    Sse<impl Stream<Item = Messages>>,
) {
    let hello = Message::default().retry(RECONNECT).comment("open");
    let messages = stream::iter([Ok(hello)]).chain(messages);
    ([("x-accel-buffering", "no")], Sse::new(messages))
}

/// The places of all streams of this process.
pub(crate) struct Places {
    free: Arc<Semaphore>,
    taken: Arc<Taken>,
}

/// How many streams each caller has open; as many callers at most as there are places.
#[derive(Default)]
struct Taken(Mutex<HashMap<String, usize>>);

/// The place of one stream, free again when dropped.
pub(crate) struct Place {
    caller: String,
    taken: Arc<Taken>,
    _permit: OwnedSemaphorePermit,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            free: Arc::new(Semaphore::new(STREAMS_MAX)),
            taken: Arc::default(),
        }
    }
}

impl Places {
    /// A place for one more stream of this caller.
    pub(crate) fn take(&self, caller: &str) -> Result<Place, Problem> {
        let refused = |detail: String| kinds::TOO_MANY_STREAMS.with(detail).retry_after(PLACE_RETRY_S);
        let permit = self
            .free
            .clone()
            .try_acquire_owned()
            .map_err(|_| refused(format!("{STREAMS_MAX} streams are open")))?;
        let mut taken = self.taken.lock();
        let open = taken.entry(caller.to_owned()).or_default();
        if *open == STREAMS_OF_A_CALLER_MAX {
            return Err(refused(format!(
                "{STREAMS_OF_A_CALLER_MAX} streams of this caller are open"
            )));
        }
        *open += 1;
        drop(taken);
        Ok(Place {
            caller: caller.to_owned(),
            taken: self.taken.clone(),
            _permit: permit,
        })
    }
}

impl Taken {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        if let Some(open) = taken.get_mut(&self.caller) {
            *open -= 1;
            if *open == 0 {
                taken.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn with_last_id(value: &str) -> HeaderMap {
        [(LAST_EVENT_ID, value.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn the_last_event_id_goes_before_the_parameter() {
        assert_eq!(start(&HeaderMap::new(), None).unwrap(), None);
        assert_eq!(start(&HeaderMap::new(), Some(7)).unwrap(), Some(7));
        assert_eq!(start(&with_last_id("9"), Some(7)).unwrap(), Some(9));
        for wrong in ["", "x", "-1", "1.5"] {
            assert_eq!(
                start(&with_last_id(wrong), None).unwrap_err().body().status,
                400,
                "{wrong}"
            );
        }
        assert!(start(&HeaderMap::new(), Some(-1)).is_err());
    }

    #[test]
    fn one_caller_leaves_places_for_others() {
        let places = Places::default();
        let mut greedy: Vec<_> = (0..STREAMS_OF_A_CALLER_MAX)
            .map(|_| places.take("greedy").unwrap())
            .collect();
        assert_eq!(places.take("greedy").err().unwrap().body().status, 503);
        let modest = places.take("modest").unwrap();
        greedy.pop();
        greedy.push(places.take("greedy").unwrap());
        drop((greedy, modest));
        assert!(places.taken.lock().is_empty());

        let all: Vec<_> = (0..STREAMS_MAX)
            .map(|n| places.take(&n.to_string()).unwrap())
            .collect();
        assert_eq!(places.take("one more").err().unwrap().body().status, 503);
        assert_eq!(places.taken.lock().len(), STREAMS_MAX);
        drop(all);
        places.take("one more").unwrap();
    }
}
