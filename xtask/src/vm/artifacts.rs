//! What of this repository goes into a guest, and the programs of this machine that it needs there.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{Story, archive::Archive, guest::BIN};
use crate::{
    process::show,
    setup::{self, For},
    workspace::Workspace,
};

/// The product.
const PROGRAMS: [&str; 3] = ["lbd", "lbctl", "lbdecap"];
/// The test that every guest begins with.
const FIRST_TEST: &str = "kernel";
/// The benchmark, for instructions per packet.
const BENCH: &str = "packet";
/// Of this machine.
const TOOLS: [&str; 7] = ["ip", "bridge", "tc", "ethtool", "cat", "grep", "sed"];
/// The repository's script that sets a backend's tunnels up.
const TUNNEL_SETUP: &str = "deploy/backend/lbd-tunnel-setup";

/// What goes in.
#[derive(Debug)]
pub(super) struct Artifacts {
    /// The repository's programs and tests, by the name they have in the guest.
    built: Vec<(&'static str, PathBuf)>,
    root: PathBuf,
}

impl Artifacts {
    /// Builds what is not built.
    pub(super) fn build(workspace: &Workspace, stories: &[Story]) -> Result<Self> {
        setup::ensure(workspace, For::Vm)?;
        let mut tests = vec![FIRST_TEST];
        tests.extend(stories.iter().filter_map(|story| story.test()));
        let mut command = workspace.cargo();
        // Optimised: emulated, the tests' own code would take longer than the verifier.
        command.args(["test", "--profile", "bench", "--locked", "--no-run", "--package", "lb-userspace"]);
        for test in &tests {
            command.args(["--test", test]);
        }
        command.args(["--bench", BENCH]);
        command.args(["--message-format", "json-render-diagnostics"]);
        let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| show(&command))?;
        let stdout = child.stdout.take().context("cargo's standard output is not piped")?;
        let mut found = Vec::new();
        for line in BufReader::new(stdout).lines() {
            found.extend(executable(&line?));
        }
        let status = child.wait()?;
        if !status.success() {
            bail!("{status}: {}", show(&command));
        }
        let built = PROGRAMS.iter().chain(&tests).chain([&BENCH]).map(|name| {
            let one = found.iter().find(|(found, _)| found == name);
            let (_, path) = one.with_context(|| format!("cargo named no `{name}`"))?;
            Ok((*name, path.clone()))
        });
        Ok(Self { built: built.collect::<Result<_>>()?, root: workspace.root.clone() })
    }

    /// Puts everything in its place.
    pub(super) fn put(&self, archive: &mut Archive) -> Result<()> {
        archive.program(&env::current_exe()?, "init")?;
        for (name, path) in &self.built {
            archive.program(path, &format!("{BIN}/{name}"))?;
            // Tests call programs by the place where cargo has put them.
            if PROGRAMS.contains(name) {
                archive.link(&path.to_string_lossy(), &format!("{BIN}/{name}"));
            }
        }
        let script = self.root.join(TUNNEL_SETUP);
        let content = fs::read(&script).with_context(|| script.display().to_string())?;
        archive.file(&format!("{BIN}/lbd-tunnel-setup"), 0o755, &content);
        // The same for files, and the way there leads through the package's directory.
        archive.file(&script.to_string_lossy(), 0o755, &content);
        archive.directory(&self.root.join("lb-userspace").to_string_lossy());
        for tool in TOOLS {
            archive.program(&find(tool)?, &format!("usr/bin/{tool}"))?;
        }
        // `ip` and the C library look names up there.
        archive.file("etc/passwd", 0o644, b"root:x:0:0::/:/usr/bin/sh\n");
        archive.file("etc/group", 0o644, b"root:x:0:\n");
        archive.program(&find("dash")?, "usr/bin/sh")
    }
}

/// Test or program of that name from one of cargo's messages. Programs are built because integration tests want them; one that is built
/// with its own tests in it is none.
fn executable(line: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    let kind = message["target"]["kind"][0].as_str()?;
    let with_tests = message["profile"]["test"].as_bool()?;
    if (kind == "bin") == with_tests {
        return None;
    }
    Some((message["target"]["name"].as_str()?.to_owned(), message["executable"].as_str()?.into()))
}

fn find(program: &str) -> Result<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .map(|dir| Path::new(dir).join(program))
        .find(|path| path.is_file())
        .with_context(|| format!("`{program}` is not installed. Type: cargo xtask setup"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_taken_as_itself_and_a_test_as_a_test() {
        let line = |kind: &str, test: bool| {
            format!(
                r#"{{"target":{{"kind":["{kind}"],"name":"x"}},"profile":{{"test":{test}}},"executable":"/t/x"}}"#
            )
        };
        let found = Some(("x".to_owned(), PathBuf::from("/t/x")));
        assert_eq!(executable(&line("bin", false)), found);
        assert_eq!(executable(&line("bin", true)), None);
        assert_eq!(executable(&line("test", true)), found);
        assert_eq!(executable(r#"{"reason":"build-finished","success":true}"#), None);
    }
}
