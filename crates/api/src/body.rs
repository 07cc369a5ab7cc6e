//! Reads request bodies: never more than a limit, never longer than a deadline, and all of them
//! together never more than the room there is.

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::limits::{BODY_DEADLINE, BODY_ROOM_WAIT};
use crate::problem::Limit;
use crate::{ApiState, Problem, problem_types as kinds};

/// A body in memory. Its room is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    _room: OwnedSemaphorePermit,
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
    let kib = declared.unwrap_or(limit.maximum).div_ceil(1024);
    let kib = u32::try_from(kib).expect("limits of bodies are far below 4 TiB");
    let room = timeout(BODY_ROOM_WAIT, api.body_room().acquire_many_owned(kib))
        .await
        .ok()
        .and_then(Result::ok)
        .ok_or_else(|| {
            kinds::OVERLOADED
                .with("there is no room for the body just now")
                .retry_after(1)
        })?;
    let bytes = timeout(BODY_DEADLINE, collect(body, declared, limit))
        .await
        .map_err(|_| {
            let detail = format!("the body did not arrive within {} s", BODY_DEADLINE.as_secs());
            kinds::REQUEST_TIMEOUT.with(detail)
        })??;
    Ok(Held { bytes, _room: room })
}

/// The refusal of something over `limit`.
pub(crate) fn too_large(limit: Limit) -> Problem {
    let Limit { name, maximum } = limit;
    kinds::TOO_LARGE
        .with(format!("over the limit {name}: at most {maximum}"))
        .limit(limit)
}

async fn collect(body: Body, declared: Option<usize>, limit: Limit) -> Result<Bytes, Problem> {
    let mut chunks = body.into_data_stream();
    let mut bytes = BytesMut::with_capacity(declared.unwrap_or_default());
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| kinds::MALFORMED_REQUEST.with("the body broke off"))?;
        if bytes.len() + chunk.len() > limit.maximum {
            return Err(too_large(limit));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
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

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_while_it_comes() {
        let chunks = |texts: &[&'static str]| {
            let chunks: Vec<_> = texts.iter().map(|text| Ok::<_, std::io::Error>(*text)).collect();
            Body::from_stream(futures::stream::iter(chunks))
        };
        assert_eq!(collect(chunks(&["ab", "cd"]), None, LIMIT).await.unwrap(), "abcd");
        let refused = collect(chunks(&["ab", "cd", "e"]), None, LIMIT)
            .await
            .unwrap_err();
        assert_eq!(refused.body().limit, Some(LIMIT));
        assert_eq!(refused.body().status, 413);
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
