//! Any text is either a configuration or a list of problems that can be shown; what is printed of a configuration means the same.
//! A start for the corpus: `cp ../deploy/*.toml fuzz/corpus/config/`.

#![no_main]

use std::path::Path;

use lb_userspace::config;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let path = Path::new("lbd.toml");
    match config::parse(text, path) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                let _ = warning.render();
            }
            let again = config::parse(&config::print(&loaded.config), path);
            assert_eq!(again.map(|loaded| loaded.config).ok(), Some(loaded.config));
        }
        Err(problems) => assert!(!problems.to_string().is_empty()),
    }
});
