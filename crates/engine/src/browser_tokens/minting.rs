//! How a token comes into being: what was asked for, held against what the API key may grant.

use std::fmt;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use crossdock_config::readable_filter;
use crossdock_model::{
    fault::{Fault, Faults},
    topic::TopicFilter,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    TOPICS_MAX,
    token::{BROWSER_TOKEN_MAX_BYTES, LIFE_MAX, NAME_MAX_BYTES},
};
use crate::{EngineError, keys::Grantor};

/// How long a token lives where nothing is said.
const LIFE: TimeDelta = TimeDelta::minutes(15);
/// A filter longer than this is shown cut in errors, in bytes.
const SHOWN_MAX_BYTES: usize = 200;

/// A browser token to be minted.
#[derive(Clone, Debug)]
pub struct NewBrowserToken {
    /// The topic filters that it opens.
    pub topics: Vec<String>,
    /// Who the browser is, to the backend that asks.
    pub subject: String,
    /// Seconds for which it is good.
    pub expires_in_s: Option<u32>,
}

/// A browser token fresh from the press, with what a browser needs to connect.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct BrowserToken {
    /// Where the browser connects: MQTT over WebSocket.
    #[schema(example = "wss://hub.example.com/mqtt")]
    pub url: String,
    /// An MQTT client id that nobody else has. Any other will do.
    pub client_id: String,
    /// The token: the password over MQTT, `Authorization: Bearer` over HTTP. It is kept nowhere.
    pub token: String,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// Its own name, by which it can be revoked.
    pub id: String,
}

/// Why no token was minted.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The request makes no sense.
    #[error("{}", Faults(.0.clone()))]
    Invalid(Vec<Fault>),
    /// The caller may not grant this.
    #[error("{}", Faults(.0.clone()))]
    NotGranted(Vec<Fault>),
    /// Whatever else can go wrong.
    #[error(transparent)]
    Failed(#[from] EngineError),
}

/// What a token says of itself.
#[derive(Serialize)]
pub(super) struct Said<'a> {
    pub(super) iss: &'a str,
    pub(super) aud: &'a str,
    pub(super) sub: &'a str,
    pub(super) jti: &'a str,
    pub(super) iat: i64,
    pub(super) exp: i64,
    /// The API key that it was minted with.
    pub(super) key: &'a str,
    pub(super) topics: Vec<&'a str>,
}

/// What was asked for, once it makes sense and is within what the key may grant.
pub(super) struct Granted {
    pub(super) topics: Vec<TopicFilter>,
    pub(super) subject: String,
    pub(super) expires: DateTime<Utc>,
}

/// Judges a request.
pub(super) fn judge(
    asked: NewBrowserToken,
    grantor: &Grantor,
    now: DateTime<Utc>,
) -> Result<Granted, MintError> {
    let NewBrowserToken {
        topics,
        subject,
        expires_in_s,
    } = asked;
    let (filters, mut faults) = read(&topics);
    if !is_name(&subject) {
        let message = format!("has to be 1 to {NAME_MAX_BYTES} bytes without control characters");
        faults.push(Fault::new("/subject", message));
    }
    let life = expires_in_s.map_or(LIFE, |seconds| TimeDelta::seconds(seconds.into()));
    if !(TimeDelta::seconds(1)..=LIFE_MAX).contains(&life) {
        let message = format!("has to be from 1 to {}", LIFE_MAX.num_seconds());
        faults.push(Fault::new("/expires_in_s", message));
    }
    if !faults.is_empty() {
        return Err(MintError::Invalid(faults));
    }
    let beyond = filters
        .iter()
        .enumerate()
        .filter(|(_, filter)| !grantor.topics.iter().any(|granted| granted.covers(filter)));
    let beyond: Vec<_> = beyond
        .map(|(index, filter)| beyond_grants(index, filter, grantor))
        .collect();
    if !beyond.is_empty() {
        return Err(MintError::NotGranted(beyond));
    }
    // As whole seconds, in which tokens count; it never outlives the key.
    let expires = (now.trunc_subsecs(0) + life).min(grantor.expires.unwrap_or(DateTime::<Utc>::MAX_UTC));
    Ok(Granted {
        topics: filters,
        subject,
        expires: expires.trunc_subsecs(0),
    })
}

/// Whether a token or its subject can be called so.
pub(super) fn is_name(text: &str) -> bool {
    (1..=NAME_MAX_BYTES).contains(&text.len()) && !text.contains(char::is_control)
}

fn read(topics: &[String]) -> (Vec<TopicFilter>, Vec<Fault>) {
    if topics.is_empty() || topics.len() > TOPICS_MAX {
        let message = format!("has {} topic filters, expected 1 to {TOPICS_MAX}", topics.len());
        return (Vec::new(), vec![Fault::new("/topics", message)]);
    }
    let (mut filters, mut faults) = (Vec::new(), Vec::new());
    for (index, text) in topics.iter().enumerate() {
        match readable_filter(text) {
            Ok(filter) => filters.push(filter),
            Err(reason) => {
                let message = format!("the topic filter {:?} {reason}", shown(text));
                faults.push(Fault::new(format!("/topics/{index}"), message));
            }
        }
    }
    (filters, faults)
}

fn beyond_grants(index: usize, filter: &TopicFilter, grantor: &Grantor) -> Fault {
    let within = match grantor.topics.as_slice() {
        [] => "the caller may grant no topics; an API key may that was made with --topics".to_owned(),
        granted => {
            let granted: Vec<_> = granted.iter().map(|filter| shown(filter.as_str())).collect();
            format!(
                "this API key may grant what lies wholly within {}",
                granted.join(", ")
            )
        }
    };
    let message = format!(
        "the topic filter {:?} is not granted: {within}",
        shown(filter.as_str())
    );
    Fault::new(format!("/topics/{index}"), message)
}

fn shown(text: &str) -> String {
    match text.len() > SHOWN_MAX_BYTES {
        true => format!("{}…", &text[..text.floor_char_boundary(SHOWN_MAX_BYTES)]),
        false => text.to_owned(),
    }
}

/// What is wrong with a token that nobody would take.
pub(super) fn check_length(token: &str) -> Result<(), MintError> {
    if token.len() <= BROWSER_TOKEN_MAX_BYTES {
        return Ok(());
    }
    let message = format!(
        "make a token of {} bytes, expected at most {BROWSER_TOKEN_MAX_BYTES}",
        token.len()
    );
    Err(MintError::Invalid(vec![Fault::new("/topics", message)]))
}

impl fmt::Debug for BrowserToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrowserToken")
            .field("id", &self.id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
