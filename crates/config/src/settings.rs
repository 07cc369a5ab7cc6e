//! The hub's settings: `crossdock.toml`, overridden by the environment. One struct per section;
//! every setting has a default, so that no file is needed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::document::Document;
use crate::environment::Environment;
use crate::grammar::Grammar;
use crate::network::IpRange;
use crate::secret::Secret;
use crate::topics::ClaimTemplate;
use crate::{ConfigFault, SourceFile, schema};

/// The settings of one hub process.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "crossdock.toml", description = "Settings of the Crossdock hub.")]
pub struct Settings {
    /// Folder for what the hub keeps: database, keys, private RabbitMQ node.
    #[schemars(schema_with = "schema::folder")]
    pub data_dir: PathBuf,
    /// The broker. Without a URL the hub starts a private RabbitMQ node of its own.
    pub rabbitmq: RabbitMq,
    /// The database. Without a URL it is SQLite in the data folder.
    pub database: Database,
    /// The HTTP listener.
    pub http: Http,
    /// Live state over MQTT.
    pub mqtt: Mqtt,
    /// Servers that the hub calls.
    pub outbound: Outbound,
    /// How long things are kept.
    pub retention: Retention,
    /// Traces of the way of events.
    pub telemetry: Telemetry,
}

/// The broker to use.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RabbitMq {
    /// AMQP URL of a RabbitMQ server: amqp:// or amqps://.
    #[schemars(schema_with = "schema::amqp_url")]
    pub url: Option<Secret>,
    /// URL of the server's management API. Without a user of its own it is asked with that of `url`.
    #[schemars(schema_with = "schema::management_url")]
    pub management_url: Option<Secret>,
}

/// The database to use.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// Database URL: sqlite:// and the path of the file, or postgres:// and where the database is.
    #[schemars(schema_with = "schema::database_url")]
    pub url: Option<Secret>,
}

/// Where and how the hub listens for HTTP.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// IP address and port to listen on.
    #[schemars(schema_with = "schema::socket_address")]
    pub listen: SocketAddr,
    /// The address under which others reach the hub, when it differs from `listen`.
    #[schemars(schema_with = "schema::public_url")]
    pub public_url: Option<Url>,
    /// Proxies that are believed when they say whose request they pass on: addresses or CIDR ranges.
    #[schemars(schema_with = "schema::ip_ranges")]
    pub trusted_proxies: Vec<IpRange>,
    /// Allows plain HTTP on an address that other machines can reach.
    pub allow_plaintext: bool,
    /// Pages of other origins that may read live state: the shop's own.
    #[schemars(schema_with = "schema::origins")]
    pub allowed_origins: Vec<String>,
}

/// MQTT: where the hub listens for it, and who may read live state beside those whom the hub itself gives a token.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Mqtt {
    /// IP address and port to listen on for MQTT over TCP.
    #[schemars(schema_with = "schema::mqtt_address")]
    pub listen: SocketAddr,
    /// Allows MQTT without TLS on an address that other machines can reach.
    pub allow_plaintext: bool,
    /// MQTT over TLS, under [mqtt.tls]. Without it there is none.
    #[schemars(schema_with = "schema::mqtt_tls")]
    pub tls: Option<MqttTls>,
    /// Outside issuers of tokens whose holders may read topics, each under [[mqtt.issuer]].
    #[schemars(length(max = 20))]
    pub issuer: Vec<TokenIssuer>,
}

/// An identity provider whose tokens (JWT) open topics. Its keys are fetched from `jwks_url`; `topics` says what its
/// tokens open, or `topics_claim` which claim says so, `within` what that may at most be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenIssuer {
    /// What the hub calls it.
    #[schemars(schema_with = "schema::issuer_name")]
    pub name: String,
    /// Where its public keys are, as a JSON Web Key Set.
    #[schemars(schema_with = "schema::jwks_url")]
    pub jwks_url: Url,
    /// What its tokens have as `iss`.
    #[schemars(schema_with = "schema::token_issuer")]
    pub issuer: String,
    /// What its tokens for this hub have as `aud`.
    #[schemars(schema_with = "schema::token_audience")]
    pub audience: String,
    /// The topic filters that a token opens; claims of it in braces.
    #[serde(default)]
    #[schemars(schema_with = "schema::topic_templates")]
    pub topics: Vec<ClaimTemplate>,
    /// The claim of a token that lists the topic filters that it opens.
    #[serde(default)]
    #[schemars(schema_with = "schema::claim_name")]
    pub topics_claim: Option<String>,
    /// The topic filters that a claim may open at most.
    #[serde(default)]
    #[schemars(schema_with = "schema::topic_filters")]
    pub within: Vec<String>,
}

/// Where the hub listens for MQTT over TLS, and what it shows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MqttTls {
    /// IP address and port to listen on.
    #[schemars(schema_with = "schema::mqtt_tls_address")]
    pub listen: SocketAddr,
    /// The file with the certificate and those that vouch for it, PEM.
    #[schemars(schema_with = "schema::pem_file")]
    pub certificate: PathBuf,
    /// The file with its private key, PEM.
    #[schemars(schema_with = "schema::pem_file")]
    pub key: PathBuf,
}

/// Which servers the hub calls: webhook endpoints, and others that an address in the configuration names.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Outbound {
    /// Addresses or CIDR ranges that are called, over http:// too, though they are not of the public Internet.
    #[schemars(schema_with = "schema::ip_ranges")]
    pub allow: Vec<IpRange>,
}

/// How long what is done with is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Days for which an event is kept after it came in; 0: for ever. One that an adapter has not settled stays longer.
    #[schemars(range(min = 0, max = 36500))]
    pub events_days: u32,
    /// Days for which a quarantined message is kept; 0: for ever, within the quarantine's limits for each producer.
    #[schemars(range(min = 0, max = 36500))]
    pub quarantine_days: u32,
}

/// Where traces are sent. Without an endpoint there are none.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// Base URL of a collector that takes OTLP over HTTP; traces go to /v1/traces below it.
    #[schemars(schema_with = "schema::otlp_endpoint")]
    pub otlp_endpoint: Option<Url>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data_dir: "var".into(),
            rabbitmq: RabbitMq::default(),
            database: Database::default(),
            http: Http::default(),
            mqtt: Mqtt::default(),
            outbound: Outbound::default(),
            retention: Retention::default(),
            telemetry: Telemetry::default(),
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            events_days: 90,
            quarantine_days: 30,
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            public_url: None,
            trusted_proxies: Vec::new(),
            allow_plaintext: false,
            allowed_origins: Vec::new(),
        }
    }
}

impl Default for Mqtt {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1883),
            allow_plaintext: false,
            tls: None,
            issuer: Vec::new(),
        }
    }
}

impl Settings {
    /// The settings of `file`, or the defaults without one, each overridden by the variable
    /// `CROSSDOCK_<SECTION>__<KEY>` of `environment` where that is set and not empty. Lists are
    /// written there with commas. The texts beside the settings are warnings for the operator.
    ///
    /// # Errors
    /// Every fault of the file and of the variables.
    pub fn load(
        file: Option<&SourceFile>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<(Self, Vec<String>), Vec<ConfigFault>> {
        let grammar = Grammar::new(schema::settings());
        let environment = Environment::new(environment);
        let mut document = file.map_or_else(Document::empty, Document::parse);
        let mut faults = environment.override_settings(&grammar, &mut document);
        faults.extend(grammar.faults(&document));
        faults.extend(plaintext_faults(&document));
        faults.extend(issuer_faults(&document));
        let faults = document.in_order(faults);
        if !faults.is_empty() {
            return Err(faults);
        }
        let settings: Self = document.read().map_err(|fault| vec![fault])?;
        let mut warnings = environment.warnings(&grammar, &document);
        if settings.rabbitmq.url.is_none() && settings.rabbitmq.management_url.is_some() {
            warnings.push(
                "rabbitmq.management_url has no effect without rabbitmq.url: the hub uses its private node"
                    .to_owned(),
            );
        }
        Ok((settings, warnings))
    }
}

/// A listener without TLS is for the loopback interface, unless the operator allows more.
fn plaintext_faults(document: &Document) -> Vec<ConfigFault> {
    let listeners = [
        (
            "http",
            "plain HTTP",
            "127.0.0.1:8080",
            "where a proxy in front speaks TLS",
        ),
        (
            "mqtt",
            "MQTT without TLS",
            "127.0.0.1:1883",
            "to do without TLS, which [mqtt.tls] has",
        ),
    ];
    let mut faults = Vec::new();
    for (section, spoken, example, when) in listeners {
        let setting = |key: &str| document.value().pointer(&format!("/{section}/{key}"));
        let listen: Option<SocketAddr> = setting("listen")
            .and_then(Value::as_str)
            .and_then(|listen| listen.parse().ok());
        let allowed = setting("allow_plaintext").is_some_and(|allowed| *allowed != Value::Bool(false));
        if let Some(listen) = listen
            && !allowed
            && !listen.ip().to_canonical().is_loopback()
        {
            let fault = format!(
                "\"{listen}\" can be reached from other machines and would speak {spoken}, expected a loopback address \
                 such as \"{example}\", or `allow_plaintext = true` in [{section}] {when}"
            );
            faults.push(document.fault(&format!("/{section}/listen"), fault));
        }
    }
    faults
}

/// An issuer says in one way what its tokens open, and no two are mistaken for each other.
fn issuer_faults(document: &Document) -> Vec<ConfigFault> {
    let issuers = document.value().pointer("/mqtt/issuer").and_then(Value::as_array);
    let issuers = issuers.map(Vec::as_slice).unwrap_or_default();
    let mut faults = Vec::new();
    for (index, issuer) in issuers.iter().enumerate() {
        let place = format!("/mqtt/issuer/{index}");
        let has = |key: &str| {
            issuer
                .get(key)
                .is_some_and(|value| value != &Value::Array(Vec::new()))
        };
        let fault = match (has("topics"), has("topics_claim"), has("within")) {
            (true, false, false) | (false, true, true) => None,
            (true, true, _) => {
                Some("`topics` and `topics_claim` exclude each other, expected only one of them")
            }
            (_, false, true) => Some("`within` bounds what `topics_claim` says, which is missing"),
            (_, true, false) => {
                Some("missing key `within`, expected the topic filters that `topics_claim` may open at most")
            }
            (false, false, false) => {
                Some("nothing says what its tokens open, expected `topics`, or `topics_claim` with `within`")
            }
        };
        faults.extend(fault.map(|fault| document.fault(&place, fault)));
        for key in ["name", "issuer"] {
            let value = issuer.get(key);
            if value.is_some() && issuers[..index].iter().any(|before| before.get(key) == value) {
                let fault = format!("another issuer has this `{key}`, expected one of its own");
                faults.push(document.fault(&format!("{place}/{key}"), fault));
            }
        }
    }
    faults
}
