//! Gathers the schemas under `schemas/`, one file per event type, so that a new type is a new file.
//! The texts go into the list themselves: a build folder may be shared between checkouts.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=schemas");
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the crate's folder"));
    let mut list = String::from("[\n");
    for path in json_files(&root.join("schemas")) {
        let event_type = path
            .file_stem()
            .expect("a listed file has a name")
            .to_string_lossy();
        let schema = std::fs::read_to_string(&path).expect("a listed schema can be read");
        writeln!(list, "    ({event_type:?}, {schema:?}),").expect("a String takes what is written");
    }
    list.push_str("]\n");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo names a folder for build output"));
    std::fs::write(out.join("schemas.rs"), list).expect("the build output can be written");
}

fn json_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the schemas' folder is there");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("the schemas' folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    files
}
