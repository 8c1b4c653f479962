//! The configuration file: text → validated [`crate::model::Config`], or every problem of the file at once.
//!
//! | module | is |
//! |---|---|
//! | [`mod@file`] | the tables and keys as people write them; their doc comments are the reference |
//! | [`syntax`] | errors of TOML itself |
//! | [`table`] | walks the TOML tree into those tables, collecting every type error and unknown key |
//! | [`value`] | the kinds of values: durations, addresses, words |
//! | [`validate`] | file → model; the only place that rejects what is well formed |
//! | [`problem`] | what is wrong, where, and what to write instead |
//! | [`print`](mod@print) | model → file with every key written out |
//! | [`diff`](mod@diff) | what changes between two configurations |
//! | [`secret`] | the key of the flow hash |
//! | [`reference`](mod@reference) | `docs/config.md` |

#![forbid(unsafe_code)]

pub mod diff;
mod disturbs;
pub mod duration;
mod file;
mod nearest;
mod prime;
pub mod print;
pub mod problem;
pub mod reference;
mod regular_file;
pub mod secret;
mod syntax;
mod table;
mod validate;
mod value;

use std::{io::Read, path::Path};

pub use diff::{Diff, diff};
pub use print::print;
pub use problem::{Problem, Problems, Severity};
pub use reference::reference;
pub use secret::Secret;

use crate::model::Config;
use problem::Report;

/// Largest file that is read, in bytes. 32767 backends with every key written fit several times.
const MAX_BYTES: u64 = 64 << 20;

/// A configuration without errors.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the file means.
    pub config: Config,
    /// What is allowed but probably not meant, in the order of the file.
    pub warnings: Vec<Problem>,
}

/// Reads and validates the file at `path`, and the CA and secret files it names.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    match read(path) {
        Ok(text) => parse(&text, path),
        Err((message, help)) => {
            let mut report = Report::new(path, "");
            report.error(0..0, message).with_help(help);
            Err(report.into_problems())
        }
    }
}

fn read(path: &Path) -> Result<String, (String, String)> {
    let cannot = |error: std::io::Error| {
        (
            format!("cannot read the configuration file: {error}"),
            format!("`ls -l {}` shows whether it is there and who may read it", path.display()),
        )
    };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(cannot)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err((
            format!("the configuration file is larger than {} MiB", MAX_BYTES >> 20),
            "check that this is the right file".to_owned(),
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
        let line = 1 + good.matches('\n').count();
        (
            format!("line {line} is not UTF-8"),
            "save the file as UTF-8; outside comments and header values it needs only ASCII".to_owned(),
        )
    })
}

/// Validates `text`; `path` is only printed. CA and secret files named in it are read.
pub fn parse(text: &str, path: &Path) -> Result<Loaded, Problems> {
    let mut report = Report::new(path, text);
    // Behind a lost quote the parser loses keys that are there: with broken syntax nothing more can be said truthfully.
    let Some(file) = table::read_document::<file::File>(text, &mut report) else {
        return Err(report.into_problems());
    };
    let config = validate::config(file, &mut report);
    if report.has_errors() {
        return Err(report.into_problems());
    }
    Ok(Loaded { config, warnings: report.into_problems().into_vec() })
}

#[cfg(test)]
mod tests;
