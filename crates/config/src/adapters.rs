//! All adapters' manifests together: each by its own rules, and as neighbours that may not claim
//! the same name or source.

use std::collections::{HashMap, HashSet};

use crossdock_model::event::HUB_SOURCE;
use crossdock_model::jq::Mapping;
use crossdock_model::name::is_adapter_name;
use serde_json::Value;

use crate::document::Document;
use crate::grammar::Grammar;
use crate::manifest::Manifest;
use crate::{ConfigFault, SourceFile, schema};

/// A longer manifest is not read: what is sent to a hub is judged while others wait.
const MANIFEST_MAX_BYTES: usize = 256 * 1024;

/// The adapters of a configuration, without a fault.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AdapterSet {
    /// In the order of their names.
    pub manifests: Vec<Manifest>,
}

/// Reads the manifests `adapters/<name>.toml`. Any other file is a fault, `crossdock.toml` too: it is
/// one machine's and may hold passwords, and what passes here is kept and shown as it is written.
///
/// # Errors
/// Every fault of every file, in the order of the files and of the places within them.
pub fn load_adapters(files: &[SourceFile]) -> Result<AdapterSet, Vec<ConfigFault>> {
    let grammar = Grammar::new(schema::manifest());
    let mut files: Vec<_> = files.iter().collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));

    let mut claims = Claims::default();
    let mut manifests = Vec::new();
    let mut faults = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let read = match stem(&file.path) {
            None => Err(vec![whole_file_fault(
                file,
                "this file has no place here, expected adapters/<name>.toml, schemas/<type>.json or state.toml",
            )]),
            Some(_) if file.text.len() > MANIFEST_MAX_BYTES => Err(vec![whole_file_fault(
                file,
                "this file is too long, expected at most 256 KiB",
            )]),
            Some(_) if index > 0 && files[index - 1].path == file.path => Err(vec![whole_file_fault(
                file,
                "this file is here for the second time, expected it once",
            )]),
            Some(stem) => read_manifest(&grammar, file, stem, &mut claims),
        };
        match read {
            Ok(manifest) => manifests.push(manifest),
            Err(mut found) => faults.append(&mut found),
        }
    }
    if faults.is_empty() {
        Ok(AdapterSet { manifests })
    } else {
        Err(faults)
    }
}

fn read_manifest(
    grammar: &Grammar,
    file: &SourceFile,
    stem: &str,
    claims: &mut Claims,
) -> Result<Manifest, Vec<ConfigFault>> {
    let document = Document::parse(file);
    let mut faults = grammar.faults(&document);
    faults.extend(file_name_fault(&document, stem));
    faults.extend(claims.faults(&document, &file.path));
    faults.extend(source_of_the_hub(&document));
    faults.extend(repetitions(&document, "/publishes"));
    faults.extend(unavailable_delivery(&document));
    faults.extend(subscription_faults(&document));
    match document.in_order(faults) {
        none if none.is_empty() => document.read().map_err(|fault| vec![fault]),
        faults => Err(faults),
    }
}

pub(crate) fn whole_file_fault(file: &SourceFile, message: &str) -> ConfigFault {
    ConfigFault {
        file: file.path.clone(),
        line: 1,
        column: 1,
        message: message.to_owned(),
    }
}

/// The name that a manifest's path promises.
fn stem(path: &str) -> Option<&str> {
    let stem = path.strip_prefix("adapters/")?.strip_suffix(".toml")?;
    (!stem.is_empty() && !stem.contains('/')).then_some(stem)
}

fn text<'a>(document: &'a Document, pointer: &str) -> Option<&'a str> {
    document.value().pointer(pointer)?.as_str()
}

fn file_name_fault(document: &Document, stem: &str) -> Option<ConfigFault> {
    let name = text(document, "/name").filter(|name| is_adapter_name(name) && *name != stem)?;
    let message = format!("adapter {name:?} is described in {stem}.toml, expected {name}.toml");
    Some(document.fault("/name", message))
}

/// Who was the first to use a name or a source.
#[derive(Default)]
struct Claims(HashMap<(&'static str, String), String>);

impl Claims {
    fn faults(&mut self, document: &Document, path: &str) -> Vec<ConfigFault> {
        let mut faults = Vec::new();
        for key in ["name", "source"] {
            let pointer = format!("/{key}");
            let Some(claim) = text(document, &pointer) else {
                continue;
            };
            let first = self
                .0
                .entry((key, claim.to_owned()))
                .or_insert_with(|| path.to_owned());
            if first != path {
                let message = format!("{claim:?} is already the {key} in {first}, expected one of its own");
                faults.push(document.fault(&pointer, message));
            }
        }
        faults
    }
}

fn source_of_the_hub(document: &Document) -> Option<ConfigFault> {
    let source = text(document, "/source").filter(|source| *source == HUB_SOURCE)?;
    let message = format!("{source:?} is the hub's own source, expected another one");
    Some(document.fault("/source", message))
}

pub(crate) fn repetitions(document: &Document, list: &str) -> Vec<ConfigFault> {
    let items = document
        .value()
        .pointer(list)
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let mut seen = HashSet::new();
    let repeated = items
        .iter()
        .enumerate()
        .filter(|(_, item)| item.as_str().is_some_and(|text| !seen.insert(text)));
    let fault = |(index, item): (usize, &Value)| {
        Some(document.fault(
            &format!("{list}/{index}"),
            format!("{:?} is listed twice, expected once", item.as_str()?),
        ))
    };
    repeated.filter_map(fault).collect()
}

fn unavailable_delivery(document: &Document) -> Option<ConfigFault> {
    text(document, "/delivery/kind").filter(|kind| *kind == "feed")?;
    let message =
        "feed delivery is not available in this version, expected `kind = \"amqp\"` or `kind = \"webhook\"`";
    Some(document.fault("/delivery/kind", message))
}

fn subscription_faults(document: &Document) -> Vec<ConfigFault> {
    let subscriptions = document.value()["subscribe"].as_array().map_or(0, Vec::len);
    (0..subscriptions)
        .flat_map(|index| {
            let subscription = format!("/subscribe/{index}");
            let mut faults = repetitions(document, &format!("{subscription}/types"));
            faults.extend(mapping_fault(document, &subscription, "filter"));
            faults.extend(mapping_fault(document, &subscription, "transform"));
            faults
        })
        .collect()
}

pub(crate) fn mapping_fault(document: &Document, table: &str, key: &str) -> Option<ConfigFault> {
    let pointer = format!("{table}/{key}");
    let program = text(document, &pointer)?;
    Mapping::compile(program)
        .err()
        .map(|fault| document.fault_inside(&pointer, fault.line, fault.column, fault.message))
}
