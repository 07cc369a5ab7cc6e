//! Who reads live state: a key or session with the scope `state:read` every topic, a page with a browser token those
//! that the token names.

use std::net::Ipv4Addr;

use axum::extract::FromRequestParts;
use axum::http::{HeaderMap, header, request::Parts};
use crossdock_engine::{Grants, LoginError, TokenFault};
use crossdock_model::topic::TopicName;

use crate::auth::{self, Caller, StateRead};
use crate::{ApiState, Problem, access_log::CallerSlot, client, problem_types as kinds};

/// How long a client should wait when a token cannot be checked, in seconds.
const TOKENS_RETRY_AFTER_S: u32 = 5;

/// Somebody who reads topics.
pub(crate) enum Reader {
    /// Every topic.
    Whole,
    /// Those of a browser token.
    Browser(Box<Grants>),
}

impl FromRequestParts<ApiState> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &ApiState) -> Result<Self, Problem> {
        let Some(token) = browser_token(&parts.headers) else {
            return Caller::<StateRead>::from_request_parts(parts, api)
                .await
                .map(|_| Self::Whole);
        };
        let from = client::address(&parts.extensions, &parts.headers, api.trusted_proxies());
        // Without a peer all are one.
        let from = from.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        let grants = api.hub().log_in_browser(token, from).await?;
        if let Some(slot) = parts.extensions.get::<CallerSlot>() {
            slot.fill(grants.voucher());
        }
        Ok(Self::Browser(Box::new(grants)))
    }
}

impl Reader {
    /// Refuses topics that are not for this reader, whether they have a state or not.
    pub(crate) fn must_read(&self, topic: &TopicName) -> Result<(), Problem> {
        match self {
            Self::Whole => Ok(()),
            Self::Browser(grants) if grants.may_receive(topic) => Ok(()),
            Self::Browser(_) => {
                Err(kinds::TOPIC_FORBIDDEN.with("the browser token does not open this topic"))
            }
        }
    }
}

/// What a request shows, if that has the form of a browser token: an API key has no dots.
fn browser_token(headers: &HeaderMap) -> Option<&str> {
    auth::bearer(headers, crossdock_engine::BROWSER_TOKEN_MAX_BYTES)
        .ok()
        .filter(|token| token.contains('.'))
}

impl From<LoginError> for Problem {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::TooSoon { retry_after_s } => kinds::TOO_MANY_SIGN_INS
                .with(error.to_string())
                .retry_after(retry_after_s),
            LoginError::Refused(TokenFault::KeysUnavailable) => kinds::UNAVAILABLE
                .with("browser tokens cannot be checked now")
                .retry_after(TOKENS_RETRY_AFTER_S),
            // Which of the many reasons it is stands in the log.
            LoginError::Refused(_) => kinds::BROWSER_TOKEN_REFUSED
                .with("this browser token opens nothing")
                .header(
                    header::WWW_AUTHENTICATE,
                    "Bearer realm=\"crossdock\", error=\"invalid_token\"",
                ),
        }
    }
}
