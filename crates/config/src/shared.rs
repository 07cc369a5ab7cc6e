//! The files that all hubs share and revisions are made of: adapters' manifests, the shop's own schemas, and the
//! rules of live state.

use std::collections::BTreeMap;

use crossdock_model::schema::{OwnSchema, SCHEMA_MAX_BYTES, SchemaSet, is_shipped};
use crossdock_model::types::is_valid_type;

use crate::adapters::{AdapterSet, load_adapters, whole_file_fault};
use crate::json_text::JsonText;
use crate::state::{self, StateRules};
use crate::{ConfigFault, SourceFile};

const SCHEMAS: &str = "schemas/";

/// What all hubs share, without a fault.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SharedConfig {
    /// The adapters.
    pub adapters: AdapterSet,
    /// The schemas of event types, the shop's own and those that the hub ships.
    pub schemas: SchemaSet,
    /// Which events make which live state.
    pub states: StateRules,
}

/// Reads `adapters/<name>.toml`, `schemas/<type>.json` and `state.toml`. Any other file is a fault, `crossdock.toml`
/// too: it is one machine's and may hold passwords, and what passes here is kept and shown as it is
/// written.
///
/// # Errors
/// Every fault of every file.
pub fn load_shared(files: &[SourceFile]) -> Result<SharedConfig, Vec<ConfigFault>> {
    let (mut schemas, mut states, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for file in files.iter().cloned() {
        match file.path.as_str() {
            path if path.starts_with(SCHEMAS) => schemas.push(file),
            state::PATH => states.push(file),
            _ => others.push(file),
        }
    }
    let mut faults = Vec::new();
    let adapters = sort_out(load_adapters(&others), &mut faults);
    let schemas = sort_out(load_schemas(schemas), &mut faults);
    let states = sort_out(load_states(&states), &mut faults);
    if faults.is_empty() {
        Ok(SharedConfig {
            adapters,
            schemas,
            states,
        })
    } else {
        Err(faults)
    }
}

/// What was read, or nothing and its faults with the others.
fn sort_out<T: Default>(read: Result<T, Vec<ConfigFault>>, faults: &mut Vec<ConfigFault>) -> T {
    read.unwrap_or_else(|mut found| {
        faults.append(&mut found);
        T::default()
    })
}

fn load_states(files: &[SourceFile]) -> Result<StateRules, Vec<ConfigFault>> {
    match files {
        [] => Ok(StateRules::default()),
        [file] => state::load(file),
        [_, again, ..] => Err(vec![whole_file_fault(
            again,
            "this file is here for the second time, expected it once",
        )]),
    }
}

/// The path of the file with the schema of a type.
pub fn schema_path(event_type: &str) -> String {
    format!("{SCHEMAS}{event_type}.json")
}

/// Where a fault of a schema stands in its file; `file` is one of those that were read.
pub fn fault_in_schema(file: &SourceFile, fault: crossdock_model::Fault) -> ConfigFault {
    match JsonText::parse(file) {
        Ok(text) => text.faults([fault]).remove(0),
        Err(_) => whole_file_fault(file, &fault.to_string()),
    }
}

fn load_schemas(mut files: Vec<SourceFile>) -> Result<SchemaSet, Vec<ConfigFault>> {
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let mut schemas = BTreeMap::new();
    let mut faults = Vec::new();
    for file in &files {
        match read_schema(file) {
            Ok((event_type, schema)) => {
                if schemas.insert(event_type, schema).is_some() {
                    faults.push(whole_file_fault(
                        file,
                        "this file is here for the second time, expected it once",
                    ));
                }
            }
            Err(mut found) => faults.append(&mut found),
        }
    }
    if faults.is_empty() {
        Ok(SchemaSet::with_own(schemas))
    } else {
        Err(faults)
    }
}

fn read_schema(file: &SourceFile) -> Result<(String, OwnSchema), Vec<ConfigFault>> {
    let whole = |message: String| vec![whole_file_fault(file, &message)];
    let event_type = event_type(&file.path).ok_or_else(|| {
        whole(
            "this file has no place here, expected schemas/<type>.json with a type such as points.earned.v1"
                .to_owned(),
        )
    })?;
    if is_shipped(event_type) {
        return Err(whole(format!(
            "{event_type} has a schema already, which comes with the hub, expected a type of your own"
        )));
    }
    if file.text.len() > SCHEMA_MAX_BYTES {
        return Err(whole(format!(
            "this file is too long, expected at most {} KiB",
            SCHEMA_MAX_BYTES / 1024
        )));
    }
    let text = JsonText::parse(file)?;
    let schema = OwnSchema::compile(&text.value).map_err(|faults| text.faults(faults))?;
    Ok((event_type.to_owned(), schema))
}

/// The type that a schema's path promises.
fn event_type(path: &str) -> Option<&str> {
    let event_type = path.strip_prefix(SCHEMAS)?.strip_suffix(".json")?;
    is_valid_type(event_type).then_some(event_type)
}
