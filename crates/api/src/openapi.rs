//! The description of the API at `/v1/openapi.json`, made from the handlers themselves, and the
//! pages at `/docs` that show it. docs/openapi.json is a copy that a test holds equal.

use axum::Router;
use utoipa::openapi::OpenApi as Description;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::{Modify, OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::problem::ProblemBody;
use crate::{
    ApiState, adapters, api_keys, browser_tokens, dead_letters, events, health, journeys, ledger, live,
    metrics, overview, problem_types, quarantine, queues, revisions, session, states, status, stream, users,
};

pub(crate) const DESCRIPTION_PATH: &str = "/v1/openapi.json";
pub(crate) const DOCUMENTATION_PATH: &str = "/docs";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Crossdock",
        description = "Events in, out and accounted for. Errors are problems as RFC 9457 describes them; \
            what each type means stands under its path, `/problems/<name>`. Times are RFC 3339 UTC.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(ProblemBody)),
    modifiers(&ApiKeyScheme),
    tags(
        (name = "events", description = "Send, find and watch events"),
        (name = "quarantine", description = "Messages that the gate refused"),
        (name = "dead-letters", description = "Deliveries that failed for good"),
        (name = "state", description = "The latest state of topics"),
        (name = "adapters", description = "What adapters do, and their credentials"),
        (name = "revisions", description = "Numbered configurations"),
        (name = "api-keys", description = "Programs that may call this API"),
        (name = "browser-tokens", description = "What pages may read of live state, for an hour at most"),
        (name = "people", description = "People who may sign in, and their sessions"),
        (name = "operations", description = "Whether all is well"),
        (name = "problems", description = "What error responses mean"),
    ),
)]
struct Frame;

struct ApiKeyScheme;

impl Modify for ApiKeyScheme {
    fn modify(&self, description: &mut Description) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("cdk_<id>_<secret>")
            .description(Some(
                "An API key. What each operation lists are the scopes it must have; admin has all.",
            ))
            .build();
        let components = description.components.get_or_insert_default();
        components.add_security_scheme("api_key", SecurityScheme::Http(scheme));
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some(
                "A browser token, or a token of an issuer that the settings name.",
            ))
            .build();
        components.add_security_scheme("browser_token", SecurityScheme::Http(scheme));
        let session = ApiKeyValue::with_description(
            "crossdock_session",
            "A person's session, `__Host-crossdock_session` over TLS. It opens what the scopes of their role open.",
        );
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(session)));
    }
}

/// An event in structured mode; extension attributes stand beside the others.
#[derive(ToSchema)]
#[schema(example = json!({
    "specversion": "1.0", "id": "order-1000-placed", "source": "/shop", "type": "order.placed.v1",
    "subject": "1000", "time": "2026-01-31T12:00:00Z", "correlationid": "order-1000", "data": {}
}))]
#[expect(dead_code, reason = "only describes what the codec of the model reads")]
pub(crate) struct CloudEvent {
    /// `1.0`
    specversion: String,
    /// Unique within the source: 1 to 255 bytes.
    id: String,
    /// Who sends it: a URI reference.
    source: String,
    /// `<family>.<past tense>.v<n>`
    r#type: String,
    /// What it is about; events of one subject keep their order.
    subject: Option<String>,
    /// When it happened, RFC 3339.
    time: Option<String>,
    /// Media type of the data; JSON if absent.
    datacontenttype: Option<String>,
    /// URI of the data's schema.
    dataschema: Option<String>,
    /// What events of one process have in common.
    correlationid: Option<String>,
    /// Id of the event that led to this one.
    causationid: Option<String>,
    /// What keeps order together, if not the subject.
    partitionkey: Option<String>,
    /// When it is out of date, RFC 3339.
    expirytime: Option<String>,
    /// Other systems' names of the same thing: `system:id`, separated by spaces.
    aliases: Option<String>,
    /// W3C trace context.
    traceparent: Option<String>,
    /// The data: any JSON, or a string where the content type is text.
    data: Option<serde_json::Value>,
    /// The data in base64, instead of `data`.
    data_base64: Option<String>,
}

/// Every route with its description.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    let mut routes = every_route();
    let_sessions_in(routes.get_openapi_mut());
    name_plainly(routes.get_openapi_mut());
    routes
}

/// OpenAPI has no word for a parameter that takes several levels of the path: `{*topic}` is `{topic}` there.
fn name_plainly(description: &mut Description) {
    let paths = std::mem::take(&mut description.paths.paths);
    let plain = paths
        .into_iter()
        .map(|(path, item)| (path.replace("{*", "{"), item));
    description.paths.paths = plain.collect();
}

/// What a key opens, a session opens too whose role has the same scopes.
fn let_sessions_in(description: &mut Description) {
    let with_session = |requirements: &mut Vec<SecurityRequirement>| {
        let by_key = serde_json::to_value(&*requirements).unwrap_or_default();
        let mut all = by_key.as_array().into_iter().flatten();
        if let Some(scopes) = all.find_map(|requirement| requirement["api_key"].as_array()) {
            let scopes = scopes.iter().filter_map(|scope| scope.as_str());
            requirements.push(SecurityRequirement::new("session", scopes));
        }
    };
    for item in description.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
            &mut item.patch,
        ];
        operations
            .into_iter()
            .flatten()
            .filter_map(|operation| operation.security.as_mut())
            .for_each(with_session);
    }
}

fn every_route() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(Frame::openapi())
        .merge(events::routes())
        .merge(journeys::routes())
        .merge(stream::routes())
        .merge(quarantine::routes())
        .merge(dead_letters::routes())
        .merge(states::routes())
        .merge(adapters::routes())
        .merge(revisions::routes())
        .merge(api_keys::routes())
        .merge(browser_tokens::routes())
        .merge(session::routes())
        .merge(users::routes())
        .merge(queues::routes())
        .merge(ledger::routes())
        .merge(status::routes())
        .merge(overview::routes())
        .merge(live::routes())
        .merge(health::routes())
        .merge(metrics::routes())
        .merge(problem_types::routes())
}

/// The description as JSON, and the pages that show it. They come from this process alone.
pub(crate) fn documentation(description: Description) -> Router<ApiState> {
    let pages = Config::from(DESCRIPTION_PATH).validator_url("none");
    SwaggerUi::new(DOCUMENTATION_PATH)
        .config(pages)
        .url(DESCRIPTION_PATH, description)
        .into()
}

/// The OpenAPI description of this API.
pub fn description() -> Description {
    routes().to_openapi()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;
    use std::path::Path;
    use std::{env, fs};

    use serde_json::Value;

    use super::*;

    /// Every operation with its method and path.
    fn operations(description: &Value) -> Vec<(String, &Value)> {
        let paths = description["paths"].as_object().unwrap().iter();
        let operations = paths.flat_map(|(path, item)| {
            item.as_object()
                .unwrap()
                .iter()
                .map(move |(method, operation)| (format!("{method} {path}"), operation))
        });
        operations.collect()
    }

    fn as_json() -> Value {
        serde_json::to_value(description()).unwrap()
    }

    #[test]
    fn the_copy_in_docs_equals_the_description() {
        let copy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
        let description = as_json();
        if env::var_os("UPDATE").is_some_and(|update| update == "1") {
            fs::write(&copy, serde_json::to_string_pretty(&description).unwrap() + "\n").unwrap();
        }
        let stored: Value = serde_json::from_slice(&fs::read(&copy).unwrap_or_default()).unwrap_or_default();
        assert!(
            stored == description,
            "docs/openapi.json is out of date: run UPDATE=1 cargo test -p crossdock-api"
        );
    }

    #[test]
    fn every_operation_says_who_may_and_has_a_name_of_its_own() {
        let description = as_json();
        let mut names = HashSet::new();
        for (operation, details) in operations(&description) {
            assert!(
                details["security"].is_array(),
                "{operation} says nothing about security"
            );
            assert!(details["summary"].is_string(), "{operation} has no summary");
            assert!(
                names.insert(details["operationId"].as_str().unwrap().to_owned()),
                "{operation} shares its name"
            );
            // A sign-in shows neither key nor session, and may be refused.
            let open =
                details["security"].as_array().unwrap().is_empty() && details["operationId"] != "sign_in";
            assert_eq!(
                open,
                details["responses"].get("401").is_none(),
                "{operation} and its 401"
            );
        }
        assert!(names.len() > 20);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(members) => {
                    found.extend(members.get("$ref").and_then(Value::as_str));
                    members.values().for_each(|member| references(member, found));
                }
                Value::Array(items) => items.iter().for_each(|item| references(item, found)),
                _ => {}
            }
        }
        let description = as_json();
        let mut found = Vec::new();
        references(&description, &mut found);
        for reference in found {
            let target = reference.trim_start_matches('#');
            assert!(description.pointer(target).is_some(), "{reference}");
        }
    }
}
