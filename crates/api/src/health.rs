//! `/healthz` and `/readyz`: for whoever starts the process and whoever sends it traffic.

use axum::Json;
use axum::extract::State;
use crossdock_engine::ReadyCheck;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::problem::ProblemBody;
use crate::{ApiState, Problem, problem_types as kinds};

pub(crate) const ALIVE_PATH: &str = "/healthz";
pub(crate) const READY_PATH: &str = "/readyz";

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(alive)).routes(routes!(ready))
}

/// The process answers.
#[derive(Serialize, ToSchema)]
struct Alive {
    /// Always `alive`.
    status: &'static str,
}

/// The hub can do its work.
#[derive(Serialize, ToSchema)]
struct Ready {
    /// Always `ready`.
    status: &'static str,
    /// Each condition; all hold.
    checks: Vec<ReadyCheck>,
}

/// Does the process live
#[utoipa::path(get, path = "/healthz", tag = "operations", security(),
    responses((status = 200, description = "It does", body = Alive)))]
async fn alive() -> Json<Alive> {
    Json(Alive { status: "alive" })
}

/// Is the hub ready
///
/// A hub that is not ready still takes no harm: it carries on by itself when what it waits for comes back.
#[utoipa::path(get, path = "/readyz", tag = "operations", security(),
    responses(
        (status = 200, description = "Everything it needs is there", body = Ready),
        (status = 503, description = "Something is away; checks says what", body = ProblemBody, content_type = "application/problem+json"),
    ))]
async fn ready(State(api): State<ApiState>) -> Result<Json<Ready>, Problem> {
    judged(api.hub().readiness().await).map(Json)
}

fn judged(checks: Vec<ReadyCheck>) -> Result<Ready, Problem> {
    let missing: Vec<_> = checks
        .iter()
        .filter(|check| !check.ok)
        .map(|check| check.name.as_str())
        .collect();
    if missing.is_empty() {
        return Ok(Ready {
            status: "ready",
            checks,
        });
    }
    let detail = format!("waiting for {}", missing.join(", "));
    Err(kinds::NOT_READY.with(detail).checks(checks))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_check_makes_it_not_ready() {
        let check = |name: &str, ok| ReadyCheck {
            name: name.into(),
            ok,
            detail: String::new(),
        };
        assert!(judged(vec![check("database", true)]).is_ok());
        let problem = judged(vec![check("database", true), check("rabbitmq", false)])
            .err()
            .unwrap();
        assert_eq!(
            (problem.body().status, problem.body().detail.as_str()),
            (503, "waiting for rabbitmq")
        );
        assert_eq!(problem.body().checks.len(), 2);
    }
}
