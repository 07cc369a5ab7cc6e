//! Reads request bodies: never more than a limit, never longer than a deadline, and all large ones
//! together never more than the room there is.

use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::limits::{BODY_DEADLINE, BODY_ROOM_WAIT, SMALL_BODY_BYTES};
use crate::problem::Limit;
use crate::{ApiState, Problem, problem_types as kinds};

/// A body in memory. Its room is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// Reads a body of at most `limit`.
pub(crate) async fn read(
    api: &ApiState,
    headers: &HeaderMap,
    body: Body,
    limit: Limit,
) -> Result<Held, Problem> {
    refuse_compressed(headers)?;
    let declared = body
        .size_hint()
        .exact()
        .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    if declared.is_some_and(|bytes| bytes > limit.maximum) {
        return Err(too_large(limit));
    }
    timeout(BODY_DEADLINE, collect(body, declared, limit, api.body_room()))
        .await
        .map_err(|_| {
            let detail = format!("the body did not arrive within {} s", BODY_DEADLINE.as_secs());
            kinds::REQUEST_TIMEOUT.with(detail)
        })?
}

/// The refusal of something over `limit`.
pub(crate) fn too_large(limit: Limit) -> Problem {
    let Limit { name, maximum } = limit;
    kinds::TOO_LARGE
        .with(format!("over the limit {name}: at most {maximum}"))
        .limit(limit)
}

/// Room for a body is taken once it has turned out to be a large one: those who send little, or nothing
/// for a long time, keep nobody else out.
async fn collect(
    body: Body,
    declared: Option<usize>,
    limit: Limit,
    room: Arc<Semaphore>,
) -> Result<Held, Problem> {
    let mut chunks = body.into_data_stream();
    let mut bytes = BytesMut::new();
    let mut taken = None;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| kinds::MALFORMED_REQUEST.with("the body broke off"))?;
        let length = bytes.len() + chunk.len();
        if length > limit.maximum {
            return Err(too_large(limit));
        }
        if taken.is_none() && length > SMALL_BODY_BYTES {
            let whole = declared.unwrap_or(limit.maximum);
            taken = Some(take_room(&room, whole).await?);
            bytes.reserve(declared.unwrap_or_default().saturating_sub(bytes.len()));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Held {
        bytes: bytes.freeze(),
        _room: taken,
    })
}

async fn take_room(room: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
    let kib = u32::try_from(bytes.div_ceil(1024)).expect("limits of bodies are far below 4 TiB");
    timeout(BODY_ROOM_WAIT, room.clone().acquire_many_owned(kib))
        .await
        .ok()
        .and_then(Result::ok)
        .ok_or_else(|| {
            kinds::OVERLOADED
                .with("there is no room for the body just now")
                .retry_after(1)
        })
}

fn refuse_compressed(headers: &HeaderMap) -> Result<(), Problem> {
    let codings = headers.get_all(header::CONTENT_ENCODING).iter();
    if codings
        .into_iter()
        .all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        return Ok(());
    }
    Err(kinds::UNSUPPORTED_MEDIA_TYPE
        .with("compressed bodies are not taken: send it without Content-Encoding")
        .supported(&["identity"])
        .header(header::ACCEPT_ENCODING, "identity"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit {
        name: "test_bytes",
        maximum: 4,
    };

    fn body(chunks: Vec<&'static [u8]>) -> Body {
        Body::from_stream(futures::stream::iter(
            chunks.into_iter().map(Ok::<_, std::io::Error>),
        ))
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_while_it_comes() {
        let room = || Arc::new(Semaphore::new(0));
        let whole = collect(body(vec![b"ab", b"cd"]), None, LIMIT, room()).await;
        assert_eq!(whole.unwrap().bytes, "abcd");
        let refused = collect(body(vec![b"ab", b"cd", b"e"]), None, LIMIT, room())
            .await
            .unwrap_err();
        assert_eq!(refused.body().limit, Some(LIMIT));
        assert_eq!(refused.body().status, 413);
    }

    #[tokio::test]
    async fn only_a_large_body_takes_room_and_gives_it_back() {
        const SMALL: &[u8] = &[b'x'; SMALL_BODY_BYTES];
        const LARGE: Limit = Limit {
            name: "test_bytes",
            maximum: 2 * SMALL_BODY_BYTES,
        };
        let kib = LARGE.maximum / 1024;
        let room = Arc::new(Semaphore::new(kib));
        let small = collect(body(vec![SMALL]), None, LARGE, room.clone())
            .await
            .unwrap();
        assert_eq!((small.bytes.len(), room.available_permits()), (SMALL.len(), kib));
        let large = collect(body(vec![SMALL, b"x"]), None, LARGE, room.clone())
            .await
            .unwrap();
        assert_eq!(room.available_permits(), 0);
        drop(large);
        assert_eq!(room.available_permits(), kib);

        room.close();
        let refused = collect(body(vec![SMALL, b"x"]), None, LARGE, room)
            .await
            .unwrap_err();
        assert_eq!(refused.body().r#type, kinds::OVERLOADED.uri());
    }

    #[test]
    fn compressed_bodies_are_refused() {
        let coded = |coding: &str| {
            [(header::CONTENT_ENCODING, coding.parse().unwrap())]
                .into_iter()
                .collect()
        };
        assert!(refuse_compressed(&coded("Identity")).is_ok());
        assert_eq!(refuse_compressed(&coded("gzip")).unwrap_err().body().status, 415);
    }
}
