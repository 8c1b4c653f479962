//! Debian packages of other suites than this machine's, without touching its package lists: own lists, own cache, and the
//! mirror that the machine's own sources name.

use std::{
    cell::Cell,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::process::{self, is_installed};

/// Where the kernels come from: the suites of the archive, and of its security archive.
const SUITES: [&str; 3] = ["bookworm", "bookworm-backports", "trixie-backports"];
const SECURITY_SUITES: [&str; 2] = ["bullseye-security", "bookworm-security"];
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A private view of the archive.
#[derive(Debug)]
pub(super) struct Apt {
    dir: PathBuf,
    /// This machine's release, `bookworm`.
    pub(super) codename: String,
    /// The lists were read in this run.
    fresh: Cell<bool>,
}

impl Apt {
    /// Its lists live below `cache`.
    pub(super) fn new(cache: &Path) -> Result<Self> {
        for program in ["apt-get", "apt-cache", "dpkg-deb"] {
            if !is_installed(program) {
                bail!(
                    "`{program}` is missing: the kernels are Debian's packages, and so this needs Debian's tools"
                );
            }
        }
        let dir = cache.join("apt");
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(part)).with_context(|| dir.display().to_string())?;
        }
        let codename = codename().context("/etc/os-release names no VERSION_CODENAME")?;
        Ok(Self { dir, codename, fresh: Cell::new(false) })
    }

    /// Reads the lists of all suites, once in a run.
    fn refresh(&self) -> Result<()> {
        if self.fresh.get() {
            return Ok(());
        }
        let mirrors = Mirrors::of_this_machine(&self.codename)?;
        let own = [self.codename.clone(), format!("{}-backports", self.codename)];
        let mut suites: Vec<&str> = SUITES.to_vec();
        suites.extend(own.iter().map(String::as_str).filter(|s| !SUITES.contains(s)));
        let mut text = String::new();
        for (mirror, suites) in [(&mirrors.main, &suites[..]), (&mirrors.security, &SECURITY_SUITES)] {
            for suite in suites {
                _ = writeln!(text, "deb [signed-by={KEYRING}] {mirror} {suite} main");
            }
        }
        fs::write(self.dir.join("sources.list"), text).context("sources.list")?;
        println!("vm: reading the package lists of {} suites", suites.len() + SECURITY_SUITES.len());
        process::quietly(self.command("apt-get").arg("update"))?;
        self.fresh.set(true);
        Ok(())
    }

    /// Names of packages that match a regular expression.
    pub(super) fn search(&self, pattern: &str) -> Result<Vec<String>> {
        self.refresh()?;
        let found = process::quietly(self.command("apt-cache").args(["search", "--names-only", pattern]))?;
        Ok(found.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
    }

    /// What a package depends on, by name.
    pub(super) fn dependencies(&self, package: &str) -> Result<Vec<String>> {
        self.refresh()?;
        let found = process::quietly(self.command("apt-cache").args(["depends", package]))?;
        let names = found.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        Ok(names.map(str::to_owned).collect())
    }

    /// What installing a package would bring to this machine, itself included, as `name=version`.
    pub(super) fn would_install(&self, package: &str) -> Result<Vec<String>> {
        self.refresh()?;
        let backports = format!("{}-backports", self.codename);
        let mut command = self.command("apt-get");
        command.args(["install", "--simulate", "--no-install-recommends", "--no-remove"]);
        command.args(["--target-release", &backports, package]);
        Ok(to_install(&process::quietly(&mut command)?))
    }

    /// Downloads packages and unpacks them below `into`, all or nothing.
    pub(super) fn unpack(&self, packages: &[String], into: &Path) -> Result<()> {
        self.refresh()?;
        let parent = into.parent().context("a directory to unpack into has a parent")?;
        fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        let begun = tempfile::Builder::new().prefix(".begun-").tempdir_in(parent)?;
        let files = begun.path().join("files");
        let debs = begun.path().join("debs");
        for dir in [&files, &debs] {
            fs::create_dir(dir).with_context(|| dir.display().to_string())?;
        }
        process::quietly(self.command("apt-get").arg("download").args(packages).current_dir(&debs))?;
        for deb in fs::read_dir(&debs)? {
            process::quietly(Command::new("dpkg-deb").arg("--extract").arg(deb?.path()).arg(&files))?;
        }
        fs::rename(&files, into).with_context(|| into.display().to_string())
    }

    /// An apt program with our lists instead of the machine's.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let place = |key: &str, part: &str| format!("{key}={}", self.dir.join(part).display());
        for option in [
            place("Dir::Etc::sourcelist", "sources.list"),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            "Dir::Etc::preferences=/dev/null".to_owned(),
            "Dir::Etc::preferencesparts=/dev/null".to_owned(),
            place("Dir::State::lists", "lists"),
            place("Dir::Cache", "cache"),
            "APT::Update::Post-Invoke-Success::=".to_owned(),
            // Files of ours, in a directory that apt's own user may not enter.
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Languages=none".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command.env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
        command
    }
}

/// The archive and the security archive.
#[derive(Debug, PartialEq, Eq)]
struct Mirrors {
    main: String,
    security: String,
}

impl Mirrors {
    fn of_this_machine(codename: &str) -> Result<Self> {
        let targets = process::quietly(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(REPO_URI) $(RELEASE)",
            "Created-By: Packages",
        ]))?;
        Self::among(&targets, codename).with_context(|| {
            format!(
                "this machine's package sources name no archive for `{codename}` and `{codename}-security`; \
                 the kernels of other releases come from the same mirrors"
            )
        })
    }

    /// From lines `URI suite`.
    fn among(targets: &str, codename: &str) -> Option<Self> {
        let of = |suite: &str| {
            let lines = targets.lines().filter_map(|line| line.split_once(' '));
            lines.filter(|(_, release)| *release == suite).map(|(uri, _)| uri.to_owned()).next()
        };
        Some(Self { main: of(codename)?, security: of(&format!("{codename}-security"))? })
    }
}

/// `name=version` from the lines `Inst name (version …` of a simulation.
fn to_install(simulation: &str) -> Vec<String> {
    let lines = simulation.lines().filter_map(|line| line.strip_prefix("Inst "));
    lines
        .filter_map(|line| {
            let name = line.split_whitespace().next()?;
            // An installed version would stand in brackets before the new one.
            let version = line.split_once('(')?.1.split_whitespace().next()?;
            Some(format!("{name}={version}"))
        })
        .collect()
}

fn codename() -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    Some(value.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulation_names_what_it_would_install() {
        let text = "Reading package lists...\nInst libfdt1 (1.6.1-4+b1 Debian:12.11/stable [amd64])\n\
                    Inst seabios [1.0] (1.16.3-2~bpo12+1 Debian Backports:stable [all])\nConf libfdt1 (1.6.1)\n";
        assert_eq!(to_install(text), ["libfdt1=1.6.1-4+b1", "seabios=1.16.3-2~bpo12+1"]);
    }

    #[test]
    fn the_mirrors_are_those_of_the_machines_own_release() {
        let text = "http://a.example/other/ nodistro\nhttp://b.example/debian/ bookworm\n\
                    http://b.example/security/ bookworm-security\n";
        let mirrors = Mirrors::among(text, "bookworm").expect("both are there");
        assert_eq!(mirrors.main, "http://b.example/debian/");
        assert_eq!(mirrors.security, "http://b.example/security/");
        assert_eq!(Mirrors::among(text, "trixie"), None);
    }
}
