//! The JSON Schemas (draft 2020-12) of `crossdock.toml`, of an adapter's manifest and of `state.toml`. `check` judges
//! by them, and editors complete by them; they come from the structs that the hub reads.

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use crate::delay::SCHEDULE_MAX_DELAYS;
use crate::manifest::Manifest;
use crate::settings::{MqttTls, Settings};
use crate::state::StateRules;

/// Topic filters of one list.
const TOPICS_MAX: usize = 50;

/// The schema of `crossdock.toml`.
pub fn settings() -> Value {
    of::<Settings>()
}

/// The schema of `adapters/<name>.toml`.
pub fn manifest() -> Value {
    of::<Manifest>()
}

/// The schema of `state.toml`.
pub fn state() -> Value {
    of::<StateRules>()
}

fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(drop_null_default));
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// TOML has no null: a setting without a default has none, rather than null.
fn drop_null_default(schema: &mut Schema) {
    if schema.get("default") == Some(&Value::Null) {
        schema.remove("default");
    }
}

fn text(format: &str, example: &str) -> Schema {
    json_schema!({ "type": "string", "format": format, "examples": [example] })
}

pub(crate) fn free_text(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string" })
}

pub(crate) fn adapter_name(_: &mut SchemaGenerator) -> Schema {
    text("adapter-name", "erp")
}

pub(crate) fn event_source(_: &mut SchemaGenerator) -> Schema {
    text("event-source", "/erp")
}

pub(crate) fn event_types(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": text("event-type", "order.numbered.v1"),
        "examples": [["order.numbered.v1", "stock.level.v1"]],
    })
}

pub(crate) fn event_type_patterns(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": text("event-type-pattern", "order.*.v1"),
        "minItems": 1,
        "examples": [["order.placed.v1", "cart.*.v1"]],
    })
}

pub(crate) fn filter(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "examples": [".data.total.amount >= 10000"] })
}

pub(crate) fn transform(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "examples": ["{ order: .subject, total: .data.total }"] })
}

pub(crate) fn delays(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": text("delay", "30s"),
        "maxItems": SCHEDULE_MAX_DELAYS,
        "examples": [["5s", "30s", "2m"]],
    })
}

pub(crate) fn topic_template(_: &mut SchemaGenerator) -> Schema {
    text("topic-template", "stock/{.data.location}/{.data.sku}")
}

pub(crate) fn state_data(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "examples": ["{ on_hand: .data.on_hand }"] })
}

pub(crate) fn order_by(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "examples": [".data.counted // .time"] })
}

pub(crate) fn lifetime(_: &mut SchemaGenerator) -> Schema {
    text("lifetime", "30d")
}

pub(crate) fn public_url(_: &mut SchemaGenerator) -> Schema {
    text("http-url", "https://hub.example.com")
}

pub(crate) fn otlp_endpoint(_: &mut SchemaGenerator) -> Schema {
    text("http-url", "http://127.0.0.1:4318")
}

pub(crate) fn webhook_url(_: &mut SchemaGenerator) -> Schema {
    text("webhook-url", "https://erp.example.com/events")
}

pub(crate) fn socket_address(_: &mut SchemaGenerator) -> Schema {
    text("socket-address", "127.0.0.1:8080")
}

pub(crate) fn mqtt_address(_: &mut SchemaGenerator) -> Schema {
    text("socket-address", "127.0.0.1:1883")
}

/// The table itself: it is there or not, and never null.
pub(crate) fn mqtt_tls(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<MqttTls>()
}

pub(crate) fn mqtt_tls_address(_: &mut SchemaGenerator) -> Schema {
    text("socket-address", "0.0.0.0:8883")
}

pub(crate) fn pem_file(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1, "examples": ["/etc/crossdock/hub.pem"] })
}

pub(crate) fn origins(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": text("origin", "https://shop.example.com"),
        "examples": [["https://shop.example.com"]],
    })
}

pub(crate) fn ip_ranges(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": text("ip-range", "10.0.0.0/8"),
        "examples": [["10.0.0.0/8", "fd00::/8"]],
    })
}

pub(crate) fn folder(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1, "examples": ["/var/lib/crossdock"] })
}

pub(crate) fn issuer_name(_: &mut SchemaGenerator) -> Schema {
    text("issuer-name", "accounts")
}

pub(crate) fn jwks_url(_: &mut SchemaGenerator) -> Schema {
    text(
        "webhook-url",
        "https://accounts.example.com/.well-known/jwks.json",
    )
}

pub(crate) fn token_issuer(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1, "examples": ["https://accounts.example.com/"] })
}

pub(crate) fn token_audience(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1, "examples": ["crossdock-production"] })
}

pub(crate) fn claim_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1, "examples": ["topics"] })
}

pub(crate) fn topic_templates(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": text("claim-template", "state/customer/{sub}/#"),
        "maxItems": TOPICS_MAX,
        "examples": [["state/customer/{sub}/#", "stock/#"]],
    })
}

pub(crate) fn topic_filters(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": text("topic-filter", "state/order/#"),
        "maxItems": TOPICS_MAX,
        "examples": [["state/order/#", "stock/#"]],
    })
}

pub(crate) fn amqp_url(_: &mut SchemaGenerator) -> Schema {
    secret(
        "amqp-url",
        "amqps://hub:password@rabbitmq.example.com:5671/production",
    )
}

pub(crate) fn management_url(_: &mut SchemaGenerator) -> Schema {
    secret("http-url", "https://rabbitmq.example.com:15671")
}

pub(crate) fn database_url(_: &mut SchemaGenerator) -> Schema {
    secret(
        "database-url",
        "postgres://crossdock:password@db.example.com/crossdock?sslmode=verify-full",
    )
}

/// A text of the given format, or a reference to where it is found.
fn secret(format: &str, example: &str) -> Schema {
    let mut schema = secret_reference();
    schema.insert("type".into(), vec!["string", "object"].into());
    schema.insert("format".into(), format.into());
    schema.insert("examples".into(), vec![example].into());
    schema
}

pub(crate) fn secret_reference() -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "file": { "description": "The file that holds the value.", "type": "string", "minLength": 1 },
            "env": { "description": "The environment variable that holds the value.", "type": "string", "minLength": 1 },
        },
        "additionalProperties": false,
        "minProperties": 1,
        "maxProperties": 1,
        "examples": [{ "file": "/run/secrets/webhook" }],
    })
}
