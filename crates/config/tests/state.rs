//! The rules of live state: what they say, and where `check` points when they are wrong.

#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use crossdock_config::{SourceFile, StateRules, load_shared};

const LEAST: &str =
    "[[state]]\ntypes = [\"stock.level.v1\"]\ntopic = \"stock/{.data.sku}\"\ndata = \".data\"\n";

fn load(text: &str) -> Result<StateRules, String> {
    let file = SourceFile {
        path: "state.toml".into(),
        text: text.into(),
    };
    load_shared(&[file])
        .map(|shared| shared.states)
        .map_err(|faults| {
            let printed: Vec<_> = faults.iter().map(ToString::to_string).collect();
            printed.join("\n")
        })
}

#[test]
fn a_rule_has_few_settings_and_defaults_for_the_rest() {
    let rules = load(LEAST).unwrap();
    let rule = &rules.state[0];
    assert_eq!(
        (rule.order_by.as_str(), rule.merge, rule.expires_after),
        (".time", false, None)
    );
    assert_eq!(load("").unwrap(), StateRules::default());
    assert_eq!(load_shared(&[]).unwrap().states, StateRules::default());

    let full = format!(
        "{LEAST}filter = '.data.on_hand > 0'\norder_by = '.data.counted // .time'\nmerge = true\nexpires_after = \"30d\"\n"
    );
    let rules = load(&full).unwrap();
    let rule = &rules.state[0];
    assert_eq!(rule.filter.as_deref(), Some(".data.on_hand > 0"));
    assert_eq!(rule.expires_after, Some(Duration::from_secs(30 * 86_400)));
    let written = toml::to_string(&rules).unwrap();
    assert_eq!(load(&written).unwrap(), rules);
}

#[test]
fn every_fault_is_told_at_its_place() {
    for (text, expected) in [
        ("[[state]]\n", "state.toml:1:1: "),
        (
            "[[states]]\n",
            "state.toml:1:3: unknown section [states], did you mean [[state]]?",
        ),
        (
            &LEAST.replace("stock/{.data.sku}", "orders/{.data.sku}"),
            "state.toml:3:9: \"orders/{.data.sku}\" is no topic of a state: expected it to begin with state/ or stock/",
        ),
        (
            &LEAST.replace("stock/{.data.sku}", "stock/{.data.lines[].sku}"),
            "state.toml:3:9: \"stock/{.data.lines[].sku}\" is no topic of a state: {.data.lines[].sku} is no path",
        ),
        (
            &LEAST.replace("\".data\"", "'.data | nope'"),
            "state.toml:4:17: `nope` is not a function",
        ),
        (
            &format!("{LEAST}filter = 'while(true; .)'\n"),
            "state.toml:5:11: ",
        ),
        (&format!("{LEAST}order_by = 'now'\n"), "state.toml:5:13: "),
        (
            &format!("{LEAST}expires_after = \"400d\"\n"),
            "state.toml:5:17: \"400d\" is out of range, expected a delay from 1s to 366d",
        ),
        (
            &format!("{LEAST}expire_after = \"4d\"\n"),
            "did you mean `expires_after`?",
        ),
        (
            &LEAST.replace("stock.level.v1", "stock.level"),
            "state.toml:2:10: \"stock.level\" can match no event type",
        ),
    ] {
        let faults = load(text).unwrap_err();
        assert!(faults.contains(expected), "{text}\n{faults}");
    }
}

#[test]
fn there_is_one_file_and_it_is_not_endless() {
    let file = SourceFile {
        path: "state.toml".into(),
        text: LEAST.into(),
    };
    assert!(load_shared(&[file.clone(), file]).is_err());
    assert!(load(&"#".repeat(257 * 1024)).unwrap_err().contains("too long"));
    assert!(
        load(&LEAST.repeat(201))
            .unwrap_err()
            .contains("has 201 items, expected at most 200")
    );
}
