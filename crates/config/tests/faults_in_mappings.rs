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
        let unavailable = "is not available in this version, expected a subscription by `types` alone";
        let does_not_compile = Mapping::compile(program).map(drop).unwrap_err().message;
        assert_eq!(
            printed,
            [
                format!("adapters/erp.toml:5:1: {key} {unavailable}"),
                format!("adapters/erp.toml:{line}:{column}: {does_not_compile}"),
            ]
        );
    }
}
