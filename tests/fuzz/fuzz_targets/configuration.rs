//! A manifest, rules of live state or the hub's settings, and behind a NUL the environment, a variable a line.
#![no_main]

use crossdock_config::{ConfigFault, Settings, SourceFile, load_adapters, load_shared};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (text, environment) = text.split_once('\0').unwrap_or((text, ""));
    let environment = environment.lines().filter_map(|line| line.split_once('='));
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let file = |path: &str| SourceFile { path: path.to_owned(), text: text.to_owned() };

    if let Err(faults) = Settings::load(Some(&file("crossdock.toml")), environment) {
        assert_placed(text, &faults);
    }
    match load_adapters(&[file("adapters/erp.toml")]) {
        Ok(set) => assert_eq!(set.manifests[0].name, "erp"),
        Err(faults) => assert_placed(text, &faults),
    }
    if let Err(faults) = load_shared(&[file("state.toml")]) {
        assert_placed(text, &faults);
    }
});

/// Every fault is at a place of the file, or of the environment.
fn assert_placed(text: &str, faults: &[ConfigFault]) {
    assert!(!faults.is_empty());
    for fault in faults.iter().filter(|fault| fault.line > 0) {
        let line = text.split('\n').nth(fault.line - 1);
        let inside = line.is_some_and(|line| (1..=line.chars().count() + 1).contains(&fault.column));
        assert!(inside && !fault.message.is_empty(), "{fault}");
    }
}
