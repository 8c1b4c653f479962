use std::path::Path;

use super::*;

const MINIMAL: &str = r#"
[lbd]
interfaces = ["eth0"]

[pools.text.backends]
cp1 = { address = "10.0.0.11" }

[services.text-http]
vips = ["203.0.113.10"]
port = 80
pool = "text"
"#;

#[test]
fn the_smallest_file_has_good_defaults() {
    let loaded = parse(MINIMAL, Path::new("lbd.toml")).expect("valid");
    println!("{}", print(&loaded.config));
}
