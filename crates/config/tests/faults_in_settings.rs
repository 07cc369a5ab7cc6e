//! What is said of faulty settings, in the file and in the environment, to the letter.

#![allow(missing_docs)]

use crossdock_config::{Settings, SourceFile};

type Variables = &'static [(&'static str, &'static str)];

/// The faults of `crossdock.toml` with this text under these environment variables, one a line.
fn faults(text: &str, variables: Variables) -> String {
    let file = SourceFile {
        path: "crossdock.toml".into(),
        text: text.into(),
    };
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    match Settings::load(Some(&file), variables) {
        Ok(_) => "no fault".into(),
        Err(faults) => faults
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

/// What is wrong, the file, the environment, and what is said of them.
const CASES: &[(&str, &str, Variables, &str)] = &[
    (
        "an unknown section",
        r#"[htp]
listen = "127.0.0.1:8080"
"#,
        &[],
        "crossdock.toml:1:2: unknown section [htp], did you mean [http]?",
    ),
    (
        "an unknown section like no other",
        r#"[kafka]
url = "x"
"#,
        &[],
        "crossdock.toml:1:2: unknown section [kafka], expected `data_dir`, [database], [http], [mqtt], [outbound], [rabbitmq], [retention] or [telemetry]",
    ),
    (
        "issuers of tokens that say too little or too much",
        r#"[[mqtt.issuer]]
name = "Accounts"
jwks_url = "https://hub@accounts.example.com/keys"
issuer = ""
audience = "hub"
topics = ["state/{sub", "$SYS/#", "state/#/a"]

[[mqtt.issuer]]
name = "staff"
jwks_url = "https://staff.example.com/keys"
issuer = "https://staff.example.com"
topics_claim = "topics"

[[mqtt.issuer]]
name = "staff"
jwks_url = "https://staff.example.com/keys"
issuer = "https://staff.example.com"
audience = "hub"

[[mqtt.issuer]]
name = "other"
jwks_url = "https://other.example.com/keys"
issuer = "https://other.example.com"
audience = "hub"
topics = ["state/#"]
topics_claim = "topics"
within = ["state/{sub}/#/x"]
"#,
        &[],
        r##"crossdock.toml:2:8: "Accounts" is not an issuer's name, expected 1 to 64 lower-case letters, digits and hyphens, such as "accounts"
crossdock.toml:3:12: this address holds a user, a password or a fragment, expected none of these
crossdock.toml:4:10: `issuer` is empty, expected a string, such as "https://accounts.example.com/"
crossdock.toml:6:11: "state/{sub" is not a topic filter with claims in braces, such as "state/customer/{sub}/#": it holds a { without a }
crossdock.toml:6:25: "$SYS/#" is not a topic filter with claims in braces, such as "state/customer/{sub}/#": it begins with $, expected none of the server's own topics
crossdock.toml:6:35: "state/#/a" is not a topic filter with claims in braces, such as "state/customer/{sub}/#": it holds a wildcard in level 2 (from 1): + and # stand alone in a level, # in the last one
crossdock.toml:8:1: missing key `audience` in [[mqtt.issuer]], expected a string, such as "crossdock-production"
crossdock.toml:8:1: missing key `within`, expected the topic filters that `topics_claim` may open at most
crossdock.toml:14:1: nothing says what its tokens open, expected `topics`, or `topics_claim` with `within`
crossdock.toml:15:8: another issuer has this `name`, expected one of its own
crossdock.toml:17:10: another issuer has this `issuer`, expected one of its own
crossdock.toml:20:1: `topics` and `topics_claim` exclude each other, expected only one of them
crossdock.toml:27:11: "state/{sub}/#/x" is not a topic filter, such as "state/order/#": it holds a wildcard in level 3 (from 1): + and # stand alone in a level, # in the last one"##,
    ),
    (
        "an unknown key of a section",
        r#"[http]
listn = "127.0.0.1:8080"
port = 8080
"#,
        &[],
        "crossdock.toml:2:1: unknown key `listn` in [http], did you mean `listen`?
crossdock.toml:3:1: unknown key `port` in [http], expected `allow_plaintext`, `allowed_origins`, `listen`, `public_url` or `trusted_proxies`",
    ),
    (
        "a section that is a value",
        "http = 8080
",
        &[],
        "crossdock.toml:1:8: `http` is a whole number, expected a table",
    ),
    (
        "a setting below a section that belongs above",
        r#"[http]
listen = "127.0.0.1:8080"
data_dir = "/var/lib/crossdock"
"#,
        &[],
        "crossdock.toml:3:1: unknown key `data_dir` in [http]; it belongs at the top of the file, above the first [section]",
    ),
    (
        "an address without a port",
        r#"[http]
listen = "localhost:8080"
"#,
        &[],
        r#"crossdock.toml:2:10: "localhost:8080" is not a listening address, expected an IP address and a port, such as "127.0.0.1:8080""#,
    ),
    (
        "an address that others can reach",
        r#"[http]
listen = "0.0.0.0:8080"
"#,
        &[],
        r#"crossdock.toml:2:10: "0.0.0.0:8080" can be reached from other machines and would speak plain HTTP, expected a loopback address such as "127.0.0.1:8080", or `allow_plaintext = true` in [http] where a proxy in front speaks TLS"#,
    ),
    (
        "a flag in quotes",
        r#"[http]
listen = "[::]:8080"
allow_plaintext = "yes"
"#,
        &[],
        "crossdock.toml:3:19: `allow_plaintext` is a string, expected true or false",
    ),
    (
        "a public address that is none",
        r#"[http]
public_url = "hub.example.com"
"#,
        &[],
        "crossdock.toml:2:14: this is not a web address, expected http://host:port or https://host",
    ),
    (
        "proxies that are none",
        r#"[http]
trusted_proxies = ["10.0.0.0/33", "proxy.internal", "10.0.0.1"]
"#,
        &[],
        r#"crossdock.toml:2:20: "10.0.0.0/33" is not an IP address or range, expected for example "10.1.2.3" or "10.0.0.0/8"
crossdock.toml:2:35: "proxy.internal" is not an IP address or range, expected for example "10.1.2.3" or "10.0.0.0/8""#,
    ),
    (
        "a broker that is no AMQP server",
        r#"[rabbitmq]
url = "http://hub:hunter2@rabbitmq"
management_url = "amqp://hub:hunter2@rabbitmq"
"#,
        &[],
        "crossdock.toml:2:7: this is not an AMQP URL, expected amqp://user:password@host:5672/vhost, or amqps:// with TLS
crossdock.toml:3:18: this is not a web address, expected http://host:port or https://host",
    ),
    (
        "an unquoted secret",
        "[rabbitmq]
url = hunter2
",
        &[],
        "crossdock.toml:2:7: a text without quotes, expected quotes around it",
    ),
    (
        "a secret in a list",
        r#"[rabbitmq]
url = ["amqp://hub:hunter2@rabbitmq"]
"#,
        &[],
        r#"crossdock.toml:2:7: `url` is a list, expected a string or a table, such as "amqps://hub:password@rabbitmq.example.com:5671/production""#,
    ),
    (
        "a secret from two places",
        r#"[rabbitmq]
url = { file = "/run/secrets/amqp", env = "AMQP" }
"#,
        &[],
        "crossdock.toml:2:7: `url` names `env` and `file`, expected only one of them",
    ),
    (
        "a secret from an unknown place",
        r#"[rabbitmq]
url = { path = "/run/secrets/amqp" }
"#,
        &[],
        "crossdock.toml:2:9: unknown key `path` in [rabbitmq.url], expected `env` or `file`",
    ),
    (
        "a secret from a variable that is not set",
        r#"[rabbitmq]
url = { env = "AMQP" }
"#,
        &[],
        "crossdock.toml:2:15: the environment variable `AMQP` is not set",
    ),
    (
        "a secret from a variable that is no URL",
        r#"[rabbitmq]
url = { env = "AMQP" }
"#,
        &[("AMQP", "hunter2")],
        "environment variable AMQP: this is not an AMQP URL, expected amqp://user:password@host:5672/vhost, or amqps:// with TLS",
    ),
    (
        "databases of other kinds",
        r#"[database]
url = "mysql://hub:hunter2@db/crossdock"
"#,
        &[],
        "crossdock.toml:2:7: this is not a database URL, expected sqlite://<path of the file> or postgres://user:password@host:5432/database",
    ),
    (
        "a PostgreSQL server whose address is none",
        r#"[database]
url = "postgres://hub:hunter2@db:port/crossdock"
"#,
        &[],
        "crossdock.toml:2:7: this is not a database URL, expected sqlite://<path of the file> or postgres://user:password@host:5432/database",
    ),
    (
        "a database that is none",
        r#"[database]
url = "crossdock.db"
"#,
        &[],
        "crossdock.toml:2:7: this is not a database URL, expected sqlite://<path of the file> or postgres://user:password@host:5432/database",
    ),
    (
        "MQTT that others can reach, a listener without all that TLS needs, an origin that is an address",
        r#"[mqtt]
listen = "0.0.0.0:1883"
[mqtt.tls]
listen = "0.0.0.0:8883"
certificate = "hub.pem"
[http]
allowed_origins = ["https://shop.example.com/", "https://shop.example.com:443", "HTTP://Shop.example.com:8080"]
"#,
        &[],
        r#"crossdock.toml:2:10: "0.0.0.0:1883" can be reached from other machines and would speak MQTT without TLS, expected a loopback address such as "127.0.0.1:1883", or `allow_plaintext = true` in [mqtt] to do without TLS, which [mqtt.tls] has
crossdock.toml:3:1: missing key `key` in [mqtt.tls], expected a string, such as "/etc/crossdock/hub.pem"
crossdock.toml:7:20: "https://shop.example.com/" is not an origin, expected scheme, host and port alone, such as "https://shop.example.com"
crossdock.toml:7:49: no browser says "https://shop.example.com:443" of where its page is from, expected "https://shop.example.com"
crossdock.toml:7:81: no browser says "HTTP://Shop.example.com:8080" of where its page is from, expected "http://shop.example.com:8080""#,
    ),
    (
        "times that are none",
        "[retention]\nevents_days = -1\nquarantine_days = \"30d\"\n",
        &[("CROSSDOCK_RETENTION__QUARANTINE_DAYS", "a month")],
        r#"crossdock.toml:2:15: `events_days` is -1, expected at least 0
crossdock.toml:3:19: `quarantine_days` is a string, expected a whole number
environment variable CROSSDOCK_RETENTION__QUARANTINE_DAYS: "a month" is not a whole number"#,
    ),
    (
        "an empty folder",
        r#"data_dir = ""
"#,
        &[],
        r#"crossdock.toml:1:12: `data_dir` is empty, expected a string, such as "/var/lib/crossdock""#,
    ),
    (
        "several faults of the environment and one of the file",
        "[http]
public_url = 7
",
        &[("CROSSDOCK_HTTP__LISTEN", "8080"), ("CROSSDOCK_HTTP__ALLOW_PLAINTEXT", "yes"), ("CROSSDOCK_HTTP__TRUSTED_PROXIES", "10.0.0.1, 10.0.0.300"), ("CROSSDOCK_RABBITMQ__URL", "hunter2"), ("CROSSDOCK_DATABASE__URL", "mysql://db")],
        r#"crossdock.toml:2:14: `public_url` is a whole number, expected a string, such as "https://hub.example.com"
environment variable CROSSDOCK_DATABASE__URL: this is not a database URL, expected sqlite://<path of the file> or postgres://user:password@host:5432/database
environment variable CROSSDOCK_HTTP__ALLOW_PLAINTEXT: "yes" is not a flag, expected true or false
environment variable CROSSDOCK_HTTP__LISTEN: "8080" is not a listening address, expected an IP address and a port, such as "127.0.0.1:8080"
environment variable CROSSDOCK_HTTP__TRUSTED_PROXIES: "10.0.0.300" is not an IP address or range, expected for example "10.1.2.3" or "10.0.0.0/8"
environment variable CROSSDOCK_RABBITMQ__URL: this is not an AMQP URL, expected amqp://user:password@host:5672/vhost, or amqps:// with TLS"#,
    ),
    (
        "a listener of the environment that others can reach",
        "",
        &[("CROSSDOCK_HTTP__LISTEN", "0.0.0.0:8080")],
        r#"environment variable CROSSDOCK_HTTP__LISTEN: "0.0.0.0:8080" can be reached from other machines and would speak plain HTTP, expected a loopback address such as "127.0.0.1:8080", or `allow_plaintext = true` in [http] where a proxy in front speaks TLS"#,
    ),
    (
        "two variables for one setting",
        "",
        &[("CROSSDOCK_RABBITMQ__URL", "amqp://rabbitmq"), ("CROSSDOCK_RABBITMQ__URL__FILE", "/run/secrets/amqp")],
        "environment variable CROSSDOCK_RABBITMQ__URL__FILE: this and CROSSDOCK_RABBITMQ__URL exclude each other, expected only one of them",
    ),
    (
        "many faults in one file",
        r#"datadir = "x"
[rabbitmq]
url = 5
[database]
file = "x"
[http]
listen = "8080"
public = "x"
trusted_proxies = "10.0.0.0/8"
"#,
        &[],
        r#"crossdock.toml:1:1: unknown key `datadir`, did you mean `data_dir`?
crossdock.toml:3:7: `url` is a whole number, expected a string or a table, such as "amqps://hub:password@rabbitmq.example.com:5671/production"
crossdock.toml:5:1: unknown key `file` in [database], expected `url`
crossdock.toml:7:10: "8080" is not a listening address, expected an IP address and a port, such as "127.0.0.1:8080"
crossdock.toml:8:1: unknown key `public` in [http], did you mean `public_url`?
crossdock.toml:9:19: `trusted_proxies` is a string, expected a list, such as ["10.0.0.0/8", "fd00::/8"]"#,
    ),
];

#[test]
fn every_fault_is_said_with_its_place() {
    let wrong: Vec<_> = CASES
        .iter()
        .filter(|(_, text, variables, expected)| faults(text, variables) != *expected)
        .map(|(case, text, variables, expected)| {
            format!(
                "{case}\nexpected:\n{expected}\nfound:\n{}\n",
                faults(text, variables)
            )
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_fault_repeats_a_secret() {
    for (case, text, variables, _) in CASES {
        assert!(!faults(text, variables).contains("hunter2"), "{case}");
    }
}
