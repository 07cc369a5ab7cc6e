//! A schema of the shop's own and, behind a NUL, the data of an event that it judges. Both come to an end.
#![no_main]

use std::collections::BTreeMap;

use crossdock_config::{SourceFile, load_shared};
use crossdock_fuzz::assert_refused;
use crossdock_model::event::Event;
use crossdock_model::fault::Faults;
use crossdock_model::schema::{OwnSchema, SchemaSet};
use libfuzzer_sys::fuzz_target;

const TYPE: &str = "points.earned.v1";

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (text, data) = text.split_once('\0').unwrap_or((text, "{}"));
    let file = SourceFile { path: format!("schemas/{TYPE}.json"), text: text.to_owned() };
    let loaded = load_shared(&[file]);
    let Ok(json) = serde_json::from_str(text) else {
        assert!(loaded.is_err());
        return;
    };
    match OwnSchema::compile(&json) {
        Err(faults) => {
            assert!(loaded.is_err());
            assert!(!faults.is_empty());
        }
        Ok(schema) => {
            let attributes = [("specversion", "1.0"), ("id", "1"), ("source", "/a"), ("type", TYPE)];
            let attributes = attributes.map(|(name, value)| (name.to_owned(), value.into()));
            let Ok(event) = Event::from_attributes(attributes, None, Some(data.to_owned().into())) else { return };
            let set = SchemaSet::with_own(BTreeMap::from([(TYPE.to_owned(), schema)]));
            if let Err(faults) = set.validate(&event) {
                assert_refused(&Faults(faults));
            }
        }
    }
});
