//! Whatever stands in a file, `check` answers: with the places of faults that are inside of it.

#![allow(missing_docs)]

use crossdock_config::{ConfigFault, Settings, SourceFile, load_adapters, load_shared};
use proptest::prelude::*;

const MANIFEST: &str = r#"name = "größe"
source = '''/erp'''
publishes = ["order.numbered.v1", "b"]
delivery = { kind = "amqp" }
[[subscribe]]
types = ["order.*.v1"]
filter = ".data\n+ 1"
[retry]
schedule = ["5s", """
6h"""]
"#;

fn are_inside(text: &str, faults: &[ConfigFault]) -> bool {
    faults.iter().all(|fault| {
        let line = text.split('\n').nth(fault.line.wrapping_sub(1));
        line.is_some_and(|line| (1..=line.chars().count() + 1).contains(&fault.column))
    })
}

fn is_answered(text: String) -> bool {
    let settings = SourceFile {
        path: "crossdock.toml".into(),
        text,
    };
    let manifest = SourceFile {
        path: "adapters/erp.toml".into(),
        text: settings.text.clone(),
    };
    let of_settings = Settings::load(Some(&settings), std::iter::empty())
        .err()
        .unwrap_or_default();
    let of_manifest = load_adapters(&[manifest]).err().unwrap_or_default();
    let states = SourceFile {
        path: "state.toml".into(),
        text: settings.text.clone(),
    };
    let of_states = load_shared(&[states]).err().unwrap_or_default();
    [of_settings, of_manifest, of_states]
        .iter()
        .all(|faults| are_inside(&settings.text, faults))
}

#[test]
fn a_mapping_without_quotes_or_with_broken_escapes_is_answered() {
    for filter in [
        "é",
        "é\"",
        "éé+",
        "\"\\xé\"",
        "\"\\xéé +",
        "\"\\u00é\" +",
        "\"\\",
        "'",
        "'é",
    ] {
        let text = format!(
            "name = \"erp\"\nsource = \"/erp\"\n[[subscribe]]\ntypes = [\"a.b.v1\"]\nfilter = {filter}\n"
        );
        assert!(is_answered(text), "{filter}");
    }
}

#[test]
fn a_long_file_of_nothing_but_faults_is_answered_at_once() {
    let long = 250 * 1024;
    let keys: String = (0..20_000).map(|key| format!("k{key}=1\n")).collect();
    let types: String = (0..15_000).map(|key| format!("\"a.b{key}.v1\",")).collect();
    let began = std::time::Instant::now();
    for text in [
        keys,
        format!("publishes = [{types}]"),
        "\"\"\"".repeat(long / 3),
        "=\n".repeat(long / 2),
        "[".repeat(long),
        "x".repeat(long + 10 * 1024),
    ] {
        let manifest = SourceFile {
            path: "adapters/erp.toml".into(),
            text,
        };
        assert!(load_adapters(&[manifest]).is_err());
    }
    // Without optimisation on a busy machine; it took minutes.
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
}

proptest! {
    #[test]
    fn any_text_is_answered(text in "\\PC*|[\\[\\]{}=\"'\\\\\n\r,.a-c #0-9é]{0,60}") {
        prop_assert!(is_answered(text));
    }

    #[test]
    fn a_damaged_manifest_is_answered(cut in 0..MANIFEST.chars().count(), length in 0usize..12, put in "[\\[\\]{}=\"'\\\\\n,é]{0,3}") {
        let characters: Vec<_> = MANIFEST.chars().collect();
        let rest = &characters[(cut + length).min(characters.len())..];
        let text: String = characters[..cut].iter().copied().chain(put.chars()).chain(rest.iter().copied()).collect();
        prop_assert!(is_answered(text));
    }
}
