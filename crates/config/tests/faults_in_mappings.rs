//! Where `check` points when a filter or a transform does not compile.

#![allow(clippy::unwrap_used, missing_docs)]

use crossdock_config::{SourceFile, load_adapters};
use crossdock_model::jq::Mapping;

/// A key, its program, the program as the manifest writes it, and the place of its fault there.
const CASES: [(&str, &str, &str, (usize, usize)); 3] = [
    ("filter", ".data == nope", "'.data == nope'", (5, 20)),
    (
        "transform",
        "{\n  total: nope(1)\n}",
        "'''\n{\n  total: nope(1)\n}'''",
        (7, 10),
    ),
    (
        "transform",
        r#"{ a: "é", b: repeat(.) }"#,
        r#""{ a: \"\u00e9\", b: repeat(.) }""#,
        (5, 34),
    ),
];

#[test]
fn the_fault_is_told_at_its_place_in_the_file() {
    for (key, program, written, (line, column)) in CASES {
        let text = format!(
            "name = \"erp\"\nsource = \"/erp\"\n[[subscribe]]\ntypes = [\"order.placed.v1\"]\n{key} = {written}\n"
        );
        let faults = load_adapters(&[SourceFile {
            path: "adapters/erp.toml".into(),
            text,
        }])
        .unwrap_err();
        let printed: Vec<_> = faults.iter().map(ToString::to_string).collect();
        let does_not_compile = Mapping::compile(program).map(drop).unwrap_err().message;
        assert_eq!(
            printed,
            [format!("adapters/erp.toml:{line}:{column}: {does_not_compile}")]
        );
    }
}

#[test]
fn mappings_that_compile_are_kept_as_they_are_written() {
    let text = "name = \"erp\"\nsource = \"/erp\"\n[[subscribe]]\ntypes = [\"order.placed.v1\"]\n\
                filter = '.data.total.amount >= 10000'\ntransform = '{ order: .subject }'\n";
    let set = load_adapters(&[SourceFile {
        path: "adapters/erp.toml".into(),
        text: text.into(),
    }])
    .unwrap();
    let subscription = &set.manifests[0].subscribe[0];
    assert_eq!(
        subscription.filter.as_deref(),
        Some(".data.total.amount >= 10000")
    );
    assert_eq!(subscription.transform.as_deref(), Some("{ order: .subject }"));
}

#[test]
fn the_hubs_own_source_is_no_adapters() {
    let faults = load_adapters(&[SourceFile {
        path: "adapters/erp.toml".into(),
        text: "name = \"erp\"\nsource = \"/crossdock\"\n".into(),
    }])
    .unwrap_err();
    let printed: Vec<_> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        printed,
        ["adapters/erp.toml:2:10: \"/crossdock\" is the hub's own source, expected another one"]
    );
}
