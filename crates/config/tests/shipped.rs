//! The configuration that comes with the hub: it is without a fault, shows every setting, and its
//! schemas are those of the code. `UPDATE_SCHEMAS=1` writes the schemas anew.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crossdock_config::{Settings, SourceFile, load_adapters, load_shared, schema};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config")
}

fn read(path: &str) -> SourceFile {
    SourceFile {
        path: path.to_owned(),
        text: fs::read_to_string(folder().join(path)).unwrap(),
    }
}

#[test]
fn the_shipped_settings_are_the_defaults() {
    let (settings, warnings) = Settings::load(Some(&read("crossdock.toml")), std::iter::empty()).unwrap();
    assert_eq!(settings, Settings::default());
    assert_eq!(settings, Settings::load(None, std::iter::empty()).unwrap().0);
    assert_eq!(warnings, Vec::<String>::new());
}

#[test]
fn every_setting_is_shown_and_would_be_accepted() {
    let mut file = read("crossdock.toml");
    let lines = file.text.lines().map(|line| {
        line.strip_prefix('#')
            .filter(|setting| !setting.starts_with([' ', ':']))
            .unwrap_or(line)
    });
    file.text = lines.collect::<Vec<_>>().join("\n");
    let shown: Value = toml::from_str(&file.text).unwrap();
    assert_eq!(
        keys(&shown, ""),
        keys_of_schema(&schema::settings(), &schema::settings(), "")
    );
    Settings::load(Some(&file), std::iter::empty()).unwrap();
}

fn keys(table: &Value, path: &str) -> BTreeSet<String> {
    let Some(members) = table.as_object() else {
        return BTreeSet::from([path.to_owned()]);
    };
    members
        .iter()
        .flat_map(|(key, value)| keys(value, &format!("{path}/{key}")))
        .collect()
}

fn keys_of_schema(root: &Value, schema: &Value, path: &str) -> BTreeSet<String> {
    let definition = schema["$ref"]
        .as_str()
        .and_then(|reference| root.pointer(&reference[1..]))
        .unwrap_or(schema);
    match definition["properties"]
        .as_object()
        .filter(|_| definition["type"] == "object")
    {
        Some(properties) => properties
            .iter()
            .flat_map(|(key, property)| keys_of_schema(root, property, &format!("{path}/{key}")))
            .collect(),
        None => BTreeSet::from([path.to_owned()]),
    }
}

#[test]
fn the_demo_adapters_are_without_a_fault() {
    let files = ["shop", "erp", "warehouse", "courier"].map(|name| read(&format!("adapters/{name}.toml")));
    let adapters = load_adapters(&files).unwrap();
    let names: Vec<_> = adapters
        .manifests
        .iter()
        .map(|manifest| manifest.name.as_str())
        .collect();
    assert_eq!(names, ["courier", "erp", "shop", "warehouse"]);
    let published: BTreeSet<_> = adapters
        .manifests
        .iter()
        .flat_map(|manifest| &manifest.publishes)
        .collect();
    for pattern in adapters
        .manifests
        .iter()
        .flat_map(|manifest| &manifest.subscribe)
        .flat_map(|subscription| &subscription.types)
    {
        assert!(
            published.iter().any(|published| pattern.matches(published)),
            "nobody publishes {pattern}"
        );
    }
}

#[test]
fn the_rules_of_state_are_without_a_fault() {
    let shared = load_shared(&[read("state.toml")]).unwrap();
    let topics: Vec<_> = shared
        .states
        .state
        .iter()
        .map(|rule| rule.topic.to_string())
        .collect();
    assert_eq!(
        topics,
        [
            "stock/{.data.location}/{.data.sku}",
            "state/order/{.data.order}",
            "state/order/{.data.order}",
            "state/preflight/{.data.file}"
        ]
    );
}

#[test]
fn the_schema_files_are_those_of_the_code() {
    for (file, schema) in [
        ("crossdock.schema.json", schema::settings()),
        ("adapter.schema.json", schema::manifest()),
        ("state.schema.json", schema::state()),
    ] {
        let generated = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
        let path = folder().join(file);
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            fs::write(&path, &generated).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == generated,
            "config/{file} is out of date; UPDATE_SCHEMAS=1 writes it anew"
        );
    }
}
