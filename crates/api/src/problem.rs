//! Problems as RFC 9457 describes them: the one form in which this API says that something went
//! wrong. Which kinds there are stands in [`crate::problem_types`].

use std::any::Any;
use std::collections::BTreeMap;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use crossdock_config::ConfigFault;
use crossdock_engine::{AcceptError, AuthError, EngineError, FaultView, ReadyCheck};
use crossdock_model::fault::Fault;
use serde::Serialize;
use utoipa::openapi::{
    Ref, RefOr, Response as ResponseDescription, ResponseBuilder, content::ContentBuilder,
};
use utoipa::{IntoResponses, ToSchema};

use crate::auth::CHALLENGE;
use crate::problem_types::{self as kinds, ProblemType};

/// The media type of a problem (RFC 9457, section 3).
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";
/// Faults listed at most; a problem says how many more there are.
const FAULTS_MAX: usize = 1_000;
/// How long a client should wait when the keys cannot be checked, in seconds.
const KEYS_RETRY_AFTER_S: u32 = 5;

/// What went wrong, as `application/problem+json`. Members that do not apply are left out.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Which kind of problem: a stable path at this hub, where it is explained.
    #[schema(example = "/problems/scope-missing")]
    pub r#type: String,
    /// The kind in words, the same each time.
    pub title: &'static str,
    /// The HTTP status again.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// Every place that is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub faults: Vec<ProblemFault>,
    /// Faults found beyond those listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub further_faults: Option<usize>,
    /// The scope that the key lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The limit that was passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// What the route takes instead.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub supported: Vec<&'static str>,
    /// Sources that use the same event id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub sources: Vec<String>,
    /// Conditions of readiness.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub checks: Vec<ReadyCheck>,
    /// Seconds to wait before trying again, as in the header Retry-After.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u32>,
}

/// A limit of this API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Limit {
    /// What is limited.
    #[schema(example = "batch_bytes")]
    pub name: &'static str,
    /// The most there may be.
    pub maximum: usize,
}

/// One thing that is wrong: in an event by JSON pointer, in a configuration file by line and column.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum ProblemFault {
    /// In an event; in a batch the pointer begins with the member's index.
    Event(FaultView),
    /// In a configuration file.
    Configuration(ConfigFaultView),
}

/// One fault of a configuration file.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConfigFaultView {
    /// Path relative to the configuration folder.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// What is wrong and what was expected.
    pub message: String,
}

impl From<ConfigFault> for ConfigFaultView {
    fn from(fault: ConfigFault) -> Self {
        Self {
            file: fault.file,
            line: fault.line,
            column: fault.column,
            message: fault.message,
        }
    }
}

/// An error response.
#[derive(Debug)]
pub struct Problem {
    body: Box<ProblemBody>,
    header: Option<(HeaderName, HeaderValue)>,
}

/// Left in a response for the request log: the `type` of its problem.
#[derive(Clone)]
pub(crate) struct ProblemMark(pub(crate) String);

impl ProblemType {
    /// A problem of this kind; `detail` says what happened this time.
    pub(crate) fn with(&self, detail: impl Into<String>) -> Problem {
        let body = ProblemBody {
            r#type: self.uri(),
            title: self.title,
            status: self.status.as_u16(),
            detail: detail.into(),
            faults: Vec::new(),
            further_faults: None,
            scope: None,
            limit: None,
            supported: Vec::new(),
            sources: Vec::new(),
            checks: Vec::new(),
            retry_after_s: None,
        };
        Problem {
            body: Box::new(body),
            header: None,
        }
    }
}

impl Problem {
    /// The problem as the client reads it.
    pub fn body(&self) -> &ProblemBody {
        &self.body
    }

    /// With each fault, which `detail` then counts.
    pub(crate) fn faults<F>(mut self, faults: Vec<F>, into: impl Fn(F) -> ProblemFault) -> Self {
        let further = faults.len().saturating_sub(FAULTS_MAX);
        self.body.further_faults = (further > 0).then_some(further);
        self.body.faults = faults.into_iter().take(FAULTS_MAX).map(into).collect();
        self
    }

    pub(crate) fn event_faults(self, faults: Vec<Fault>) -> Self {
        self.faults(faults, |fault| ProblemFault::Event(fault.into()))
    }

    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        self.body.retry_after_s = Some(seconds);
        self
    }

    pub(crate) fn limit(mut self, limit: Limit) -> Self {
        self.body.limit = Some(limit);
        self
    }

    pub(crate) fn supported(mut self, supported: &[&'static str]) -> Self {
        self.body.supported = supported.to_vec();
        self
    }

    pub(crate) fn checks(mut self, checks: Vec<ReadyCheck>) -> Self {
        self.body.checks = checks;
        self
    }

    pub(crate) fn scope(mut self, scope: String) -> Self {
        self.body.scope = Some(scope);
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.header = HeaderValue::from_str(value).ok().map(|value| (name, value));
        self
    }

    /// The pointers of a request that carried one event alone: without the index of the member.
    pub(crate) fn of_single_event(mut self) -> Self {
        for fault in &mut self.body.faults {
            if let ProblemFault::Event(fault) = fault
                && let Some(rest) = fault.pointer.strip_prefix("/0")
                && (rest.is_empty() || rest.starts_with('/'))
            {
                fault.pointer = rest.to_owned();
            }
        }
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.body.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let json = serde_json::to_vec(&self.body).expect("a problem is plain data with text keys");
        let mut response = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], json).into_response();
        if let Some(seconds) = self.body.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response.extensions_mut().insert(ProblemMark(self.body.r#type));
        response
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::NotFound(detail) => kinds::NOT_FOUND.with(detail),
            EngineError::Conflict(detail) => kinds::CONFLICT.with(detail),
            EngineError::Ambiguous(sources) => {
                let mut problem =
                    kinds::AMBIGUOUS_EVENT.with("several sources use this id; name one with ?source=");
                problem.body.sources = sources;
                problem
            }
            EngineError::Config(faults) => {
                let detail = format!("{} found; nothing was applied", counted(faults.len()));
                kinds::CONFIGURATION_FAULTS
                    .with(detail)
                    .faults(faults, |fault| ProblemFault::Configuration(fault.into()))
            }
            EngineError::Invalid(detail) => kinds::INVALID_REQUEST.with(detail),
            EngineError::Unavailable {
                reason,
                retry_after_s,
            } => kinds::UNAVAILABLE.with(reason).retry_after(retry_after_s),
            EngineError::Internal(reason) => {
                tracing::error!(reason, "a request failed inside the hub");
                kinds::INTERNAL.with("the hub's log says more")
            }
        }
    }
}

impl From<AcceptError> for Problem {
    fn from(error: AcceptError) -> Self {
        let (kind, faults) = match error {
            AcceptError::Invalid(faults) => (kinds::EVENT_NOT_ACCEPTED, faults),
            AcceptError::Forbidden(faults) => (kinds::EVENT_FORBIDDEN, faults),
            AcceptError::TooLarge(faults) => (kinds::TOO_LARGE, faults),
            AcceptError::Unavailable {
                reason,
                retry_after_s,
            } => {
                return kinds::UNAVAILABLE
                    .with(format!(
                        "not confirmed: {reason}; repeat with the same ids, it is safe"
                    ))
                    .retry_after(retry_after_s);
            }
        };
        kind.with(format!("{} found; nothing was kept", counted(faults.len())))
            .event_faults(faults)
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let kind = match error {
            AuthError::Unknown => kinds::API_KEY_UNKNOWN,
            AuthError::Expired => kinds::API_KEY_EXPIRED,
            AuthError::Revoked => kinds::API_KEY_REVOKED,
            AuthError::SessionEnded => {
                return kinds::SESSION_ENDED
                    .with(error.to_string())
                    .header(header::WWW_AUTHENTICATE, CHALLENGE);
            }
            AuthError::Unavailable => {
                return kinds::UNAVAILABLE
                    .with(error.to_string())
                    .retry_after(KEYS_RETRY_AFTER_S);
            }
        };
        let challenge =
            format!("Bearer realm=\"crossdock\", error=\"invalid_token\", error_description=\"{error}\"");
        kind.with(error.to_string())
            .header(header::WWW_AUTHENTICATE, &challenge)
    }
}

/// `1 fault` or `n faults`.
pub(crate) fn counted(faults: usize) -> String {
    format!("{faults} fault{}", if faults == 1 { "" } else { "s" })
}

/// The response to a request whose handler panicked. The panic itself is logged by the panic hook.
pub(crate) fn from_panic(_: Box<dyn Any + Send + 'static>) -> Response {
    kinds::INTERNAL.with("the hub's log says more").into_response()
}

/// What every route that needs an API key or a session may answer besides its own responses.
pub(crate) struct Guarded;

impl IntoResponses for Guarded {
    fn responses() -> BTreeMap<String, RefOr<ResponseDescription>> {
        [
            (
                401,
                "No API key or session, or one that opens nothing; WWW-Authenticate says why",
            ),
            (403, "The key or role lacks a scope, its adapter may not do this, or a session is used from another site's page"),
            (
                503,
                "RabbitMQ or the database is away, or the hub is overloaded; see Retry-After",
            ),
        ]
        .into_iter()
        .map(|(status, description)| (status.to_string(), RefOr::T(described(description))))
        .collect()
    }
}

fn described(description: &str) -> ResponseDescription {
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .build();
    ResponseBuilder::new()
        .description(description)
        .content(MEDIA_TYPE, content)
        .build()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    async fn rendered(problem: Problem) -> (axum::http::response::Parts, serde_json::Value) {
        let (parts, body) = problem.into_response().into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        (parts, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn a_problem_says_when_to_try_again() {
        let error = EngineError::Unavailable {
            reason: "no database".into(),
            retry_after_s: 7,
        };
        let (parts, body) = rendered(error.into()).await;
        assert_eq!(parts.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(parts.headers[header::RETRY_AFTER], "7");
        assert_eq!(parts.headers[header::CONTENT_TYPE], MEDIA_TYPE);
        assert_eq!(body["type"], "/problems/unavailable");
        assert_eq!(body["detail"], "no database");
        assert!(body.get("faults").is_none());
    }

    #[tokio::test]
    async fn the_reason_of_an_internal_error_stays_inside() {
        let (parts, body) = rendered(EngineError::Internal("table x is odd".into()).into()).await;
        assert_eq!(parts.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!body.to_string().contains("table"));
    }

    #[tokio::test]
    async fn a_refused_key_gets_a_challenge() {
        for error in [AuthError::Unknown, AuthError::Expired, AuthError::Revoked] {
            let (parts, _) = rendered(error.into()).await;
            assert_eq!(parts.status, StatusCode::UNAUTHORIZED);
            let challenge = parts.headers[header::WWW_AUTHENTICATE].to_str().unwrap();
            assert!(
                challenge.starts_with("Bearer ") && challenge.contains("invalid_token"),
                "{challenge}"
            );
        }
        let (parts, _) = rendered(AuthError::Unavailable.into()).await;
        assert_eq!(parts.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(parts.headers.contains_key(header::RETRY_AFTER));
    }

    #[tokio::test]
    async fn pointers_of_a_single_event_lose_the_index() {
        let faults = vec![
            Fault::new("/0/data/a", "x"),
            Fault::new("/0", "y"),
            Fault::new("/01", "z"),
        ];
        let (_, body) = rendered(Problem::from(AcceptError::Invalid(faults)).of_single_event()).await;
        let pointers: Vec<_> = body["faults"]
            .as_array()
            .unwrap()
            .iter()
            .map(|fault| &fault["pointer"])
            .collect();
        assert_eq!(pointers, ["/data/a", "", "/01"]);
        assert_eq!(body["status"], 422);
    }

    #[tokio::test]
    async fn faults_are_capped_and_counted() {
        let faults = (0..FAULTS_MAX + 5)
            .map(|index| Fault::new(format!("/{index}"), "x"))
            .collect();
        let (_, body) = rendered(AcceptError::Invalid(faults).into()).await;
        assert_eq!(body["faults"].as_array().unwrap().len(), FAULTS_MAX);
        assert_eq!(body["further_faults"], 5);
    }

    #[tokio::test]
    async fn configuration_faults_carry_their_place() {
        let fault = ConfigFault {
            file: "adapters/erp.toml".into(),
            line: 3,
            column: 1,
            message: "odd".into(),
        };
        let (parts, body) = rendered(EngineError::Config(vec![fault]).into()).await;
        assert_eq!(parts.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(body["faults"][0]["line"], 3);
        assert_eq!(body["detail"], "1 fault found; nothing was applied");
    }
}
