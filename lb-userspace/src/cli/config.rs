//! `lbctl config`.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use clap::Subcommand;

use super::{
    Context, Format,
    exit::Failure,
    output::{GOOD, WARN, plain, styled},
};
use crate::api::types::{Candidate, CandidateFile, ReloadReport};

/// The verbs.
#[derive(Clone, Debug, Subcommand)]
pub enum Verb {
    /// Parse and validate; changes nothing; exit 1 with every problem
    Test {
        /// File; without it the one lbd was started with, as it is now
        file: Option<PathBuf>,
    },
    /// Read the file again and put it in force; a bad file changes nothing
    Reload,
    /// What a reload would change
    Diff {
        /// File; without it the one lbd was started with, as it is now
        file: Option<PathBuf>,
    },
}

/// Runs it.
pub async fn run(context: &Context, verb: &Verb) -> Result<(), Failure> {
    let (report, done, nothing): (ReloadReport, _, _) = match verb {
        Verb::Test { file } => {
            let candidate = read(file.as_deref())?;
            let report = context.client.post("/api/v1/config/test", &candidate).await?;
            (report, "good", "")
        }
        Verb::Diff { file } => {
            let candidate = read(file.as_deref())?;
            let report = context.client.post("/api/v1/config/diff", &candidate).await?;
            (report, "would change", "would change nothing")
        }
        Verb::Reload => {
            let report = context.client.post("/api/v1/config/reload", &()).await?;
            (report, "in force", "in force, nothing changed")
        }
    };
    if context.format == Format::Json {
        return context.print_json(&report);
    }
    let headline = if report.changes.is_empty() && !nothing.is_empty() { nothing } else { done };
    context.print(&render(&report, headline))
}

fn read(file: Option<&Path>) -> Result<Candidate, Failure> {
    let Some(path) = file else {
        return Ok(Candidate::default());
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        let text = format!("{}: {error}", path.display());
        if error.kind() == std::io::ErrorKind::NotFound {
            Failure::NotFound {
                error: text,
                help: "give the path of a lbd.toml, or nothing for lbd's own".into(),
            }
        } else {
            Failure::refused(text, "")
        }
    })?;
    Ok(Candidate { file: Some(CandidateFile { name: path.display().to_string(), text }) })
}

/// The report.
pub fn render(report: &ReloadReport, headline: &str) -> String {
    // Writing to a string cannot fail.
    let mut out = format!("{}: {}\n", plain(&report.source), styled(GOOD, headline));
    for change in &report.changes {
        let _ = writeln!(out, "  {}", plain(change));
    }
    for warning in &report.warnings {
        let _ = writeln!(out, "{} {}", styled(WARN, "warning:"), plain(warning));
    }
    out
}
