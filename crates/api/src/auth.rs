//! Who is calling and whether they may: `Authorization: Bearer <api key>` (RFC 6750), or the cookie of a person's
//! session. A handler names the scope it needs in its signature and so cannot forget to ask.

use std::marker::PhantomData;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::{HeaderMap, header, request::Parts};
use crossdock_engine::{AuthError, Principal, Scope, SessionView};
use tokio::time::Instant;

use crate::origin::Silence;
use crate::{ApiState, Problem, access_log::CallerSlot, client, cookie, origin, problem_types as kinds};

/// No key is as long as this, in bytes.
const TOKEN_MAX_BYTES: usize = 256;

pub(crate) const CHALLENGE: &str = "Bearer realm=\"crossdock\"";

/// A scope as a type.
pub(crate) trait Requirement {
    const SCOPE: Scope;
}

macro_rules! requirements {
    ($($name:ident),+) => {
        $(#[doc = "The scope of the same name."]
        pub(crate) enum $name {}
        impl Requirement for $name { const SCOPE: Scope = Scope::$name; })+
    };
}
requirements!(
    EventsRead,
    EventsWrite,
    AdaptersRead,
    AdaptersWrite,
    DeadLettersWrite,
    StateRead,
    BrowserTokensWrite,
    Admin
);

/// A caller that has shown a key with the scope `R`, or a session whose role has it.
pub(crate) struct Caller<R> {
    pub(crate) principal: Principal,
    /// For answers that go on: whether the caller still may.
    pub(crate) standing: Standing,
    requirement: PhantomData<R>,
}

/// What a caller has shown, kept to be asked about again while an answer goes on: a key that is revoked or a session
/// that ends meanwhile shall not listen for ever.
pub(crate) struct Standing {
    credential: Credential,
    scope: Scope,
    checked: Instant,
}

impl Standing {
    fn new(credential: Credential, scope: Scope) -> Self {
        Self {
            credential,
            scope,
            checked: Instant::now(),
        }
    }

    /// Whether the caller still may, looked at again no more often than once in `every`.
    pub(crate) async fn holds(&mut self, api: &ApiState, every: Duration) -> bool {
        if self.checked.elapsed() < every {
            return true;
        }
        self.checked = Instant::now();
        let asked = match &self.credential {
            Credential::Key(key) => api.hub().authenticate(key).await,
            // A page that is left open is nobody's use of it.
            Credential::Session(token) => api.hub().check_session(token).await,
        };
        match asked {
            Ok(principal) => principal.may(self.scope),
            // While the database is away nobody can say that it ended.
            Err(AuthError::Unavailable) => true,
            Err(_) => false,
        }
    }
}

/// What proves who calls.
enum Credential {
    Key(String),
    Session(String),
}

impl Credential {
    /// A request with an Authorization header is judged by it alone.
    fn of(parts: &Parts, api: &ApiState) -> Result<Self, Problem> {
        if parts.headers.contains_key(header::AUTHORIZATION) {
            return key(&parts.headers).map(|key| Self::Key(key.to_owned()));
        }
        match cookie::session(&parts.headers, api) {
            Some(token) => {
                origin::check(parts, api, Silence::Refused)?;
                Ok(Self::Session(token.to_owned()))
            }
            None => key(&parts.headers).map(|key| Self::Key(key.to_owned())),
        }
    }
}

impl<R> Caller<R> {
    /// Asks for another scope, which only some answers of a route need.
    pub(crate) fn must(&self, scope: Scope) -> Result<(), Problem> {
        if self.principal.may(scope) {
            Ok(())
        } else {
            Err(lacking(scope))
        }
    }
}

impl<R: Requirement> FromRequestParts<ApiState> for Caller<R> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &ApiState) -> Result<Self, Problem> {
        let refused = |problem| refused(problem, parts, api);
        let credential = Credential::of(parts, api).map_err(refused)?;
        let principal = match &credential {
            Credential::Key(key) => api.hub().authenticate(key).await,
            Credential::Session(token) => api.hub().authenticate_session(token).await,
        };
        let principal = principal.map_err(|error| refused(error.into()))?;
        if let Some(slot) = parts.extensions.get::<CallerSlot>() {
            slot.fill(&principal.mark());
        }
        if !principal.may(R::SCOPE) {
            return Err(refused(lacking(R::SCOPE)));
        }
        Ok(Self {
            principal,
            standing: Standing::new(credential, R::SCOPE),
            requirement: PhantomData,
        })
    }
}

/// A person's own session, for what only they may do. API keys have none.
pub(crate) struct OwnSession {
    pub(crate) token: String,
    pub(crate) view: SessionView,
}

impl FromRequestParts<ApiState> for OwnSession {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &ApiState) -> Result<Self, Problem> {
        let refused = |problem| refused(problem, parts, api);
        let none = |detail: &str| {
            let problem = kinds::SESSION_ENDED.with(detail);
            refused(problem.header(header::WWW_AUTHENTICATE, CHALLENGE))
        };
        if parts.headers.contains_key(header::AUTHORIZATION) {
            return Err(none(
                "the request shows an API key; this is about a person's session",
            ));
        }
        let Some(token) = cookie::session(&parts.headers, api) else {
            return Err(none("the request has no session"));
        };
        origin::check(parts, api, Silence::Refused).map_err(refused)?;
        let session = api.hub().session(token).await;
        let view = session.map_err(|error| refused(error.into()))?;
        if let Some(slot) = parts.extensions.get::<CallerSlot>() {
            slot.fill(&format!("user:{}", view.name));
        }
        Ok(Self {
            token: token.to_owned(),
            view,
        })
    }
}

fn refused(problem: Problem, parts: &Parts, api: &ApiState) -> Problem {
    let client = client::address(&parts.extensions, &parts.headers, api.trusted_proxies());
    let client = client.map(|address| address.to_string());
    tracing::warn!(client, problem = problem.body().r#type, "a request was refused");
    problem
}

/// The API key of a request.
fn key(headers: &HeaderMap) -> Result<&str, Problem> {
    bearer(headers, TOKEN_MAX_BYTES)
}

/// What the request's one Authorization header bears, of so many bytes at most.
pub(crate) fn bearer(headers: &HeaderMap, max_bytes: usize) -> Result<&str, Problem> {
    let missing = |detail: &str| {
        kinds::API_KEY_MISSING
            .with(detail)
            .header(header::WWW_AUTHENTICATE, CHALLENGE)
    };
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values
        .next()
        .ok_or_else(|| missing("the request has no Authorization header"))?;
    if values.next().is_some() {
        return Err(missing("the request has more than one Authorization header"));
    }
    value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .filter(|token| !token.is_empty() && token.len() <= max_bytes)
        .ok_or_else(|| missing("the Authorization header is not `Bearer <api key>`"))
}

fn lacking(scope: Scope) -> Problem {
    let challenge = format!("Bearer realm=\"crossdock\", error=\"insufficient_scope\", scope=\"{scope}\"");
    kinds::SCOPE_MISSING
        .with(format!("this needs the scope {scope}"))
        .scope(scope.to_string())
        .header(header::WWW_AUTHENTICATE, &challenge)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn with(values: &[&[u8]]) -> HeaderMap {
        let pairs = values
            .iter()
            .map(|value| (header::AUTHORIZATION, HeaderValue::from_bytes(value).unwrap()));
        pairs.collect()
    }

    #[test]
    fn the_token_of_one_bearer_header_is_read() {
        assert_eq!(key(&with(&[b"Bearer cdk_a_b"])).unwrap(), "cdk_a_b");
        assert_eq!(key(&with(&[b"bEARER   cdk_a_b "])).unwrap(), "cdk_a_b");
    }

    #[test]
    fn anything_else_is_no_key() {
        let long = [b"Bearer ".as_slice(), &[b'a'; TOKEN_MAX_BYTES + 1]].concat();
        let cases: [&[&[u8]]; 7] = [
            &[],
            &[b"Bearer"],
            &[b"Bearer  "],
            &[b"Basic YTpi"],
            &[b"Bearer \xff"],
            &[b"Bearer a", b"Bearer b"],
            &[&long],
        ];
        for case in cases {
            assert_eq!(
                key(&with(case)).unwrap_err().body().r#type,
                kinds::API_KEY_MISSING.uri()
            );
        }
    }
}
