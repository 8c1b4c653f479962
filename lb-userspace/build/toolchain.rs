//! Finds a compiler that can build for BPF. `cargo xtask setup` asks the same question with the same lines.

use std::{
    collections::BTreeSet,
    env, fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::linker::{self, Linker};

/// What to type where nothing was found.
pub(crate) const HELP: &str = "\
no toolchain here can build the eBPF object. Do one of:
  cargo xtask setup        (Debian, as root: installs what is missing and says what)
  apt-get install rustc-web cargo-web libstd-rust-web-dev-bpf && cargo install bpf-linker --version 0.10.3 --locked        (Debian 12)
  rustup toolchain install nightly --component rust-src && cargo install bpf-linker --version 0.10.3 --locked
  LB_EBPF_OBJECT=FILE cargo build        (an object built elsewhere)";

/// Everything a build needs.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) compiler: Compiler,
    /// Where its `core` comes from.
    pub(crate) core: Core,
    pub(crate) cargo: PathBuf,
    pub(crate) linker: Linker,
}

/// Where `core` for the target comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Core {
    /// The sysroot has it compiled for the target.
    Prebuilt,
    /// `-Z build-std=core`, from the sysroot's rust-src.
    FromSource,
}

/// A compiler and what its sysroot has.
#[derive(Clone, Debug)]
pub(crate) struct Compiler {
    pub(crate) rustc: PathBuf,
    /// The cargo that belongs to it.
    pub(crate) cargo: Option<PathBuf>,
    pub(crate) sysroot: PathBuf,
    /// `rustc 1.96.0 (…)`.
    pub(crate) version: String,
    /// Major version of its LLVM; the linker's must be the same.
    pub(crate) llvm: u32,
    pub(crate) nightly: bool,
    pub(crate) has_prebuilt: bool,
    pub(crate) has_source: bool,
}

impl Compiler {
    /// Where its `core` would come from; `None`: it cannot build for the target.
    pub(crate) fn core(&self) -> Option<Core> {
        if self.has_prebuilt {
            Some(Core::Prebuilt)
        } else if self.has_source {
            Some(Core::FromSource)
        } else {
            None
        }
    }

    /// Order of preference, smallest first: nightly, as aya's users have it; then a `core` somebody built and tested; then
    /// compiling `core` with a stable compiler told to behave as a nightly one.
    fn rank(&self) -> Option<u8> {
        self.cargo.as_ref()?;
        Some(match (self.nightly, self.core()?) {
            (true, _) => 0,
            (false, Core::Prebuilt) => 1,
            (false, Core::FromSource) => 2,
        })
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let yes = |b| if b { "yes" } else { "no" };
        write!(
            f,
            "{} [{}, LLVM {}] core for the target: {}, rust-src: {}, cargo beside it: {}",
            self.rustc.display(),
            self.version,
            self.llvm,
            yes(self.has_prebuilt),
            yes(self.has_source),
            yes(self.cargo.is_some())
        )
    }
}

/// Compiler and linker for the target, or what is missing: the commands to type and what was found where.
pub(crate) fn find(target: &str) -> Result<Tools, String> {
    let compilers = survey(target);
    let missing = |what: &str| {
        let found: Vec<String> = compilers.iter().map(|c| format!("  {c}")).collect();
        let found = if found.is_empty() { "  no rustc".to_owned() } else { found.join("\n") };
        format!("{HELP}\n{what}. Found:\n{found}")
    };
    let Some(compiler) = choose(&compilers) else {
        return Err(missing(&format!("No compiler has `core` for {target}, as library or as source")));
    };
    let (Some(core), Some(cargo)) = (compiler.core(), compiler.cargo.clone()) else {
        return Err(missing("The chosen compiler has no cargo beside it"));
    };
    let linker = linker::find(&compiler.sysroot, compiler.llvm).map_err(|e| missing(&e))?;
    Ok(Tools { compiler: compiler.clone(), core, cargo, linker })
}

/// The best of them, the first among equals.
pub(crate) fn choose(compilers: &[Compiler]) -> Option<&Compiler> {
    compilers.iter().filter(|c| c.rank().is_some()).min_by_key(|c| c.rank())
}

/// Every compiler there is, once each.
pub(crate) fn survey(target: &str) -> Vec<Compiler> {
    let mut sysroots = BTreeSet::new();
    candidates()
        .into_iter()
        .filter_map(|rustc| {
            let sysroot = PathBuf::from(ask(&rustc, &["--print", "sysroot"])?);
            // rustup's proxy answers for the toolchain behind it: that is the one to name, and once is enough.
            let rustc = executable(&sysroot.join("bin"), "rustc").unwrap_or(rustc);
            sysroots.insert(sysroot.clone()).then(|| inspect(rustc, sysroot, target)).flatten()
        })
        .collect()
}

fn candidates() -> Vec<PathBuf> {
    if let Some(rustc) = env::var_os("LB_EBPF_RUSTC").filter(|v| !v.is_empty()) {
        return vec![rustc.into()];
    }
    let on_path = env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .filter_map(|dir| executable(&dir, "rustc"))
        .collect::<Vec<_>>();
    let mut all = rustup_toolchains();
    all.extend(on_path);
    all.push("/usr/bin/rustc".into());
    all
}

/// The compilers behind rustup's proxies: a proxy would need a toolchain's name in every call.
fn rustup_toolchains() -> Vec<PathBuf> {
    // `name (default) /path`: in all versions the path comes last.
    ask(Path::new("rustup"), &["toolchain", "list", "-v"])
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .filter(|path| path.starts_with('/'))
        .filter_map(|path| executable(&Path::new(path).join("bin"), "rustc"))
        .collect()
}

fn inspect(rustc: PathBuf, sysroot: PathBuf, target: &str) -> Option<Compiler> {
    let about = ask(&rustc, &["-vV"])?;
    let field = |name: &str| about.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default().trim();
    let release = field("release:");
    let rustlib = sysroot.join("lib/rustlib");
    let has_prebuilt = fs::read_dir(rustlib.join(target).join("lib"))
        .is_ok_and(|dir| dir.flatten().any(|f| f.file_name().to_string_lossy().starts_with("libcore-")));
    Some(Compiler {
        cargo: executable(&sysroot.join("bin"), "cargo").or_else(|| executable(rustc.parent()?, "cargo")),
        version: about.lines().next().unwrap_or_default().to_owned(),
        llvm: field("LLVM version:").split('.').next().and_then(|n| n.parse().ok()).unwrap_or(0),
        nightly: release.ends_with("-nightly") || release.ends_with("-dev"),
        has_prebuilt,
        has_source: rustlib.join("src/rust/library/core/src/lib.rs").is_file(),
        rustc,
        sysroot,
    })
}

/// What a tool prints, asked without what an outer cargo or rustup left in the environment.
fn ask(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .env_remove("RUSTC")
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("LD_LIBRARY_PATH")
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn executable(dir: &Path, name: &str) -> Option<PathBuf> {
    Some(dir.join(name)).filter(|file| file.is_file())
}
