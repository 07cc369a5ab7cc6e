//! Faultless configuration is read as it was meant, the environment goes before the file, and
//! manifests are judged as neighbours.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::time::Duration;

use crossdock_config::{
    ConfigFault, Delivery, Order, Secret, SecretReference, Settings, SourceFile, load_adapters,
};

fn file(path: &str, text: &str) -> SourceFile {
    SourceFile {
        path: path.into(),
        text: text.into(),
    }
}

fn load(text: &str, variables: &[(&str, &str)]) -> (Settings, Vec<String>) {
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::load(Some(&file("crossdock.toml", text)), variables).unwrap()
}

#[test]
fn settings_are_read_from_the_file() {
    let (settings, warnings) = load(
        r#"
        data_dir = "/var/lib/crossdock"
        rabbitmq = { url = "amqp://hub:hunter2@rabbitmq/production", management_url.file = "/run/secrets/management" }
        database.url = "sqlite://orders.db"
        retention.events_days = 7
        [http]
        listen = "[::1]:9000"
        public_url = "https://hub.example.com"
        trusted_proxies = ["10.0.0.0/8", "::1"]
        [outbound]
        allow = ["127.0.0.1"]
        [telemetry]
        otlp_endpoint = "http://127.0.0.1:4318"
        "#,
        &[],
    );
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(settings.data_dir, Path::new("/var/lib/crossdock"));
    assert_eq!(
        settings.rabbitmq.url,
        Some(Secret::from("amqp://hub:hunter2@rabbitmq/production"))
    );
    let management_url = settings.rabbitmq.management_url.as_ref().unwrap();
    let read = |path: &Path| Ok(format!("http://{}\n", path.file_name().unwrap().display()));
    assert_eq!(management_url.resolve(read).unwrap(), "http://management");
    assert_eq!(
        (settings.retention.events_days, settings.retention.quarantine_days),
        (7, 30)
    );
    assert_eq!(settings.http.listen.to_string(), "[::1]:9000");
    assert_eq!(
        settings.http.public_url.as_ref().unwrap().as_str(),
        "https://hub.example.com/"
    );
    assert!(settings.http.trusted_proxies[0].contains("10.1.1.1".parse().unwrap()));
    assert!(settings.outbound.allow[0].contains("127.0.0.1".parse().unwrap()));
    let collector = settings.telemetry.otlp_endpoint.as_ref().unwrap();
    assert_eq!(collector.as_str(), "http://127.0.0.1:4318/");
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn the_environment_goes_before_the_file() {
    let text = r#"
        data_dir = "from-file"
        [rabbitmq]
        url = { file = "/run/secrets/amqp" }
        management_url = "http://rabbitmq:15672"
        [http]
        listen = "not an address"
    "#;
    let (settings, warnings) = load(
        text,
        &[
            ("CROSSDOCK_DATA_DIR", "from-environment"),
            ("CROSSDOCK_RABBITMQ__URL", "amqp://rabbitmq"),
            (
                "CROSSDOCK_RABBITMQ__MANAGEMENT_URL__FILE",
                "/run/secrets/management",
            ),
            ("CROSSDOCK_HTTP__LISTEN", "0.0.0.0:80"),
            ("CROSSDOCK_HTTP__ALLOW_PLAINTEXT", "true"),
            ("CROSSDOCK_HTTP__TRUSTED_PROXIES", "10.0.0.1, fd00::/8,"),
            ("CROSSDOCK_HTTP__PUBLIC_URL", ""),
            ("CROSSDOCK_RETENTION__QUARANTINE_DAYS", "0"),
            ("CROSSDOCK_OUTBOUND__ALLOW", "127.0.0.0/8, ::1"),
            (
                "CROSSDOCK_TELEMETRY__OTLP_ENDPOINT",
                "https://collector.example.com/otlp",
            ),
        ],
    );
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(settings.data_dir, Path::new("from-environment"));
    assert_eq!(settings.rabbitmq.url, Some(Secret::from("amqp://rabbitmq")));
    let in_file = Secret::File {
        file: "/run/secrets/management".into(),
    };
    assert_eq!(settings.rabbitmq.management_url, Some(in_file));
    assert_eq!(settings.http.listen.to_string(), "0.0.0.0:80");
    assert_eq!(settings.http.trusted_proxies.len(), 2);
    assert_eq!(settings.http.public_url, None);
    assert_eq!(settings.retention.quarantine_days, 0);
    assert_eq!(settings.outbound.allow.len(), 2);
    assert!(settings.telemetry.otlp_endpoint.is_some());
}

#[test]
fn a_reference_to_a_variable_is_followed() {
    let variables = [("CROSSDOCK_SECRET_AMQP_URL", "amqp://hub:hunter2@rabbitmq")];
    let (settings, warnings) = load(
        "[rabbitmq]\nurl = { env = \"CROSSDOCK_SECRET_AMQP_URL\" }\n",
        &variables,
    );
    assert_eq!(
        settings.rabbitmq.url,
        Some(Secret::from("amqp://hub:hunter2@rabbitmq"))
    );
    assert_eq!(warnings, Vec::<String>::new());

    let variables = [
        ("CROSSDOCK_DATABASE__URL__ENV", "WHERE"),
        ("WHERE", "sqlite://there.db"),
    ];
    assert_eq!(
        load("", &variables).0.database.url,
        Some(Secret::from("sqlite://there.db"))
    );
}

#[test]
fn unknown_variables_and_settings_without_effect_are_warned_of() {
    let (settings, warnings) = load(
        "",
        &[
            ("CROSSDOCK_URL", "http://127.0.0.1:8080"),
            ("CROSSDOCK_API_KEY", "cdk_1_hunter2"),
            ("CROSSDOCK_ADAPTER", "erp"),
            ("CROSSDOCK_AMQP_URL", "amqp://erp.1:hunter2@rabbitmq"),
            ("CROSSDOCK_MQTT__LISTEN", "127.0.0.1:1883"),
            ("CROSSDOCK_HTP__LISTEN", "127.0.0.1:8080"),
            ("CROSSDOCK_RABBITMQ_URL", "amqp://hub:hunter2@rabbitmq"),
            ("CROSSDOCK_ZEBRA", "7"),
            ("CROSSDOCK_RABBITMQ__MANAGEMENT_URL", "http://rabbitmq:15672"),
            ("PATH", "/usr/bin"),
        ],
    );
    assert_eq!(settings.rabbitmq.url, None);
    assert_eq!(
        warnings,
        [
            "environment variable CROSSDOCK_HTP__LISTEN is not a setting, did you mean CROSSDOCK_HTTP__LISTEN?",
            "environment variable CROSSDOCK_RABBITMQ_URL is not a setting, did you mean CROSSDOCK_RABBITMQ__URL?",
            "environment variable CROSSDOCK_ZEBRA is not a setting and has no effect",
            "rabbitmq.management_url has no effect without rabbitmq.url: the hub uses its private node",
        ]
    );
}

#[test]
fn a_manifest_is_read() {
    let text = r#"
        name = "erp"
        source = "/erp"
        publishes = ["order.numbered.v1"]
        order = "key"
        retry.schedule = ["1s", "1h30m"]
        [[subscribe]]
        types = ["order.*.v1"]
        [[subscribe]]
        types = ["stock.low.v1", "stock.level.v1"]
    "#;
    let erp = load_adapters(&[file("adapters/erp.toml", text)])
        .unwrap()
        .manifests
        .remove(0);
    assert_eq!((erp.name.as_str(), erp.source.as_str()), ("erp", "/erp"));
    assert_eq!(erp.publishes, ["order.numbered.v1"]);
    assert_eq!((&erp.delivery, erp.order), (&Delivery::Amqp, Order::Key));
    assert!(erp.subscribe[0].types[0].matches("order.placed.v1"));
    assert_eq!(erp.subscribe[1].types.len(), 2);
    assert_eq!(
        erp.retry.schedule,
        [Duration::from_secs(1), Duration::from_secs(5_400)]
    );
    assert_eq!(
        serde_json::from_value::<crossdock_config::Manifest>(serde_json::to_value(&erp).unwrap()).unwrap(),
        erp
    );

    let least = "name = \"mail\"\nsource = \"urn:example:mail\"\n";
    let mail = load_adapters(&[file("adapters/mail.toml", least)])
        .unwrap()
        .manifests
        .remove(0);
    assert_eq!(mail.order, Order::None);
    assert_eq!(
        mail.retry.schedule,
        [5, 30, 120, 600, 3_600, 21_600].map(Duration::from_secs)
    );
    assert!(mail.publishes.is_empty() && mail.subscribe.is_empty());
}

#[test]
fn a_webhook_has_its_limits_unless_they_are_left_out() {
    let read = |limits: &str| {
        let text = format!(
            "name = \"mail\"\nsource = \"/mail\"\n[delivery]\nkind = \"webhook\"\n\
             url = \"https://mail.example.com/in?key=7\"\nsecret.file = \"secrets/mail\"\n{limits}"
        );
        let adapters = load_adapters(&[file("adapters/mail.toml", &text)]).unwrap();
        adapters.manifests[0].delivery.clone()
    };
    let expected = |timeout_s, max_in_flight, rate_per_s| Delivery::Webhook {
        url: "https://mail.example.com/in?key=7".parse().unwrap(),
        secret: SecretReference::File("secrets/mail".into()),
        timeout_s,
        max_in_flight,
        rate_per_s,
    };
    assert_eq!(read(""), expected(20, 10, None));
    assert_eq!(
        read("timeout_s = 60\nmax_in_flight = 200\nrate_per_s = 1\n"),
        expected(60, 200, Some(1))
    );
}

#[test]
fn every_fault_of_every_file_is_reported() {
    let faults = load_adapters(&[
        file(
            "adapters/shop.toml",
            "name = \"shop\"\nsource = \"/erp\"\ncolour = 1\n",
        ),
        file(
            "adapters/erp.toml",
            "name = \"erp\"\nsource = \"/erp\"\n[retry]\nschedule = [\"soon\"]\n",
        ),
        file("adapters/erp2.toml", "name = \"erp\"\nsource = \"/erp\"\n"),
        file("crossdock.toml", "anything"),
        file("adapters/old/mail.toml", "name = \"mail\"\nsource = \"/mail\"\n"),
        file("adapters/notes.txt", "to do"),
        file("adapters/old.toml", "name = \"old\"\nsource = \"/old\"\n"),
        file("adapters/old.toml", ""),
    ]);
    let printed: Vec<_> = faults
        .unwrap_err()
        .into_iter()
        .map(|fault| fault.in_folder("config/").to_string())
        .collect();
    assert_eq!(printed.join("\n"), EVERY_FAULT);
}

const EVERY_FAULT: &str = r#"config/adapters/erp.toml:4:13: "soon" is not a delay, expected whole numbers with units, such as "5s", "2m", "6h" or "1h30m"
config/adapters/erp2.toml:1:8: "erp" is already the name in adapters/erp.toml, expected one of its own
config/adapters/erp2.toml:1:8: adapter "erp" is described in erp2.toml, expected erp.toml
config/adapters/erp2.toml:2:10: "/erp" is already the source in adapters/erp.toml, expected one of its own
config/adapters/notes.txt:1:1: this file has no place here, expected adapters/<name>.toml, schemas/<type>.json or state.toml
config/adapters/old.toml:1:1: this file is here for the second time, expected it once
config/adapters/old/mail.toml:1:1: this file has no place here, expected adapters/<name>.toml, schemas/<type>.json or state.toml
config/adapters/shop.toml:2:10: "/erp" is already the source in adapters/erp.toml, expected one of its own
config/adapters/shop.toml:3:1: unknown key `colour`, expected `delivery`, `description`, `name`, `order`, `publishes`, [retry], `source` or [[subscribe]]
config/crossdock.toml:1:1: this file has no place here, expected adapters/<name>.toml, schemas/<type>.json or state.toml"#;

#[test]
fn settings_with_their_passwords_never_pass_for_a_manifest() {
    for path in ["crossdock.toml", "adapters/../crossdock.toml", "./crossdock.toml"] {
        let settings = file(path, "[rabbitmq]\nurl = \"amqp://hub:hunter2@rabbit\"\n");
        let faults = load_adapters(&[settings]).unwrap_err();
        assert!(
            faults.iter().all(
                |fault| fault.message.contains("no place here") && !fault.to_string().contains("hunter2")
            ),
            "{faults:?}"
        );
        assert_eq!(faults.len(), 1, "{path}");
    }
}

#[test]
fn faults_of_the_environment_belong_to_no_folder() {
    let variables = [("CROSSDOCK_HTTP__LISTEN".to_owned(), "8080".to_owned())];
    let fault: ConfigFault = Settings::load(None, variables.into_iter()).unwrap_err().remove(0);
    assert_eq!((fault.line, fault.column), (0, 0));
    assert_eq!(fault.clone().in_folder("config"), fault);
}
