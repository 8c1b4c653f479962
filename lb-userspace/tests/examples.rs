//! What the repository shows to people is what the program does.

use std::path::{Path, PathBuf};

use lb_userspace::config;

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

#[test]
fn the_example_configuration_loads_without_a_warning() {
    let loaded = config::load(&root("deploy/lbd.toml")).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!(loaded.config.pools.len(), 3);
}

#[test]
fn the_configuration_reference_is_up_to_date() {
    let path = root("docs/config.md");
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == config::reference(),
        "docs/config.md is not what the doc comments of lb-userspace/src/config/file.rs say: type `cargo xtask docs`"
    );
}
