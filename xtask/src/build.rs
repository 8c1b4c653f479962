//! Builds the two binaries, and says with what the eBPF object inside was built.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::Stdio,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{
    process::show,
    setup::{self, For},
    workspace::Workspace,
};

/// Options of `build`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Optimised, as packages are
    #[arg(long)]
    pub(crate) release: bool,
}

/// What came out.
#[derive(Debug)]
pub(crate) struct Built {
    /// The daemon.
    pub(crate) lbd: PathBuf,
    /// The operator's tool.
    pub(crate) lbctl: PathBuf,
    /// What unwraps tunnels on a backend.
    pub(crate) lbdecap: PathBuf,
    /// What made the eBPF object.
    pub(crate) object_by: String,
}

/// The chore.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let built = build(workspace, options.release)?;
    println!("{}\n{}\neBPF object: {}", built.lbd.display(), built.lbctl.display(), built.object_by);
    Ok(())
}

/// Installs what building needs, and builds.
pub(crate) fn build(workspace: &Workspace, release: bool) -> Result<Built> {
    setup::ensure(workspace, For::Build)?;
    let mut command = workspace.cargo();
    command.args(["build", "--locked", "--package", "lb-userspace", "--bins"]);
    command.args(["--message-format", "json-render-diagnostics"]);
    if release {
        command.arg("--release");
    }
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| show(&command))?;
    let stdout = child.stdout.take().context("cargo's standard output is not piped")?;
    let (mut lbd, mut lbctl, mut lbdecap, mut object_by) = (None, None, None, None);
    for line in BufReader::new(stdout).lines() {
        match Message::parse(&line?) {
            Some(Message::Executable(path)) if path.ends_with("lbd") => lbd = Some(path),
            Some(Message::Executable(path)) if path.ends_with("lbctl") => lbctl = Some(path),
            Some(Message::Executable(path)) if path.ends_with("lbdecap") => lbdecap = Some(path),
            Some(Message::ObjectBy(text)) => object_by = Some(text),
            _ => {}
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{status}: {}", show(&command));
    }
    Ok(Built {
        lbd: lbd.context("cargo named no `lbd`")?,
        lbctl: lbctl.context("cargo named no `lbctl`")?,
        lbdecap: lbdecap.context("cargo named no `lbdecap`")?,
        object_by: object_by.context("the build script did not say what made the eBPF object")?,
    })
}

/// What we read of cargo's messages.
#[derive(Debug, PartialEq, Eq)]
enum Message {
    Executable(PathBuf),
    ObjectBy(String),
}

impl Message {
    fn parse(line: &str) -> Option<Self> {
        let message: Value = serde_json::from_str(line).ok()?;
        match message["reason"].as_str()? {
            "compiler-artifact" => Some(Self::Executable(message["executable"].as_str()?.into())),
            "build-script-executed" => {
                let variables = message["env"].as_array()?;
                let by = variables.iter().find(|pair| pair[0] == "LB_EBPF_BUILT_BY")?;
                Some(Self::ObjectBy(by[1].as_str()?.to_owned()))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_the_object_was_built_is_read_from_cargos_messages() {
        let line = r#"{"reason":"build-script-executed","package_id":"x","env":[["LB_GIT_HASH","1"],["LB_EBPF_BUILT_BY","rustc 1.96.0, core prebuilt"]]}"#;
        assert_eq!(Message::parse(line), Some(Message::ObjectBy("rustc 1.96.0, core prebuilt".to_owned())));
    }

    #[test]
    fn artifacts_without_an_executable_are_libraries() {
        assert_eq!(Message::parse(r#"{"reason":"compiler-artifact","executable":null}"#), None);
        assert_eq!(
            Message::parse(r#"{"reason":"compiler-artifact","executable":"/t/debug/lbd"}"#),
            Some(Message::Executable("/t/debug/lbd".into()))
        );
    }
}
