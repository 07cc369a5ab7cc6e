//! Sees to it that there are pages to embed: where the dashboard was never built, one that says how to.
//! Whoever has no Node can so build, lint and test everything else.

use std::path::PathBuf;

const NEVER_BUILT: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<title>Crossdock: the dashboard is not built</title>
<h1>The dashboard is not built</h1>
<p>This hub works; only its pages were not there when it was compiled. <code>deploy/up</code> builds both. By hand, with Node:
<pre>cd crates/web
npm ci --ignore-scripts
npm run build</pre>
<p>and build the hub again. <a href=\"/docs\">The API</a> has everything the pages show.
</html>
";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=dashboard/dist");
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the crate's folder"));
    let folder = root.join("dashboard/dist");
    let page = folder.join("index.html");
    if !page.exists() {
        let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&page, NEVER_BUILT));
        if let Err(error) = written {
            panic!("{} is missing and cannot be written: {error}", page.display());
        }
    }
}
