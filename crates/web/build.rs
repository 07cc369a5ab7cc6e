//! Sees to it that there are pages to embed: where they were never built, one that says how to.
//! Whoever has no Node can so build, lint and test everything else.

use std::path::PathBuf;

const NEVER_BUILT: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<title>Crossdock: the pages are not built</title>
<h1>The pages are not built</h1>
<p>This hub works; only its pages were not there when it was compiled. <code>deploy/up</code> builds both. By hand, with Node:
<pre>cd crates/web
npm ci --ignore-scripts
npm run build</pre>
<p>and build the hub again. <a href=\"/docs\">The API</a> has everything the pages show.
</html>
";

/// Folders of the npm workspace that have pages.
const BUILT: [&str; 2] = ["dashboard", "storefront"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the crate's folder"));
    for workspace in BUILT {
        println!("cargo::rerun-if-changed={workspace}/dist");
        let folder = root.join(workspace).join("dist");
        let page = folder.join("index.html");
        if page.exists() {
            continue;
        }
        let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&page, NEVER_BUILT));
        if let Err(error) = written {
            panic!("{} is missing and cannot be written: {error}", page.display());
        }
    }
}
