//! Runs the inner cargo that compiles lb-ebpf.

use std::{
    env, fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use crate::toolchain::{Core, Tools};

/// Little-endian BPF: the hosts this runs on are little-endian.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// The decapsulator's object, beside the balancer's.
pub(crate) const DECAP: &str = "lb-decap";
/// The benchmark's kernel half, likewise.
pub(crate) const HARNESS: &str = "lb-harness";

/// Builds lb-ebpf.
pub(crate) struct Builder {
    /// Its folder.
    source: PathBuf,
    /// Scratch space.
    out_dir: PathBuf,
    /// One target directory for every profile and feature set of the outer build: each would compile the same object again.
    target_dir: PathBuf,
}

impl Builder {
    pub(crate) fn new(source: &Path, out_dir: &Path) -> Self {
        // OUT_DIR is <target>/[<triple>/]<profile>/build/<package>-<hash>/out.
        let target_dir = out_dir
            .ancestors()
            .find(|dir| dir.file_name().is_some_and(|name| name == "build"))
            .and_then(|build| build.parent()?.parent())
            .map_or_else(|| out_dir.join("ebpf"), |target| target.join("ebpf"));
        let builder = Self { source: source.to_owned(), out_dir: out_dir.to_owned(), target_dir };
        watch(source);
        builder
    }

    /// Compiles, and copies the object to `destination` and the others beside it; the answer names the compiler.
    pub(crate) fn build(&self, tools: &Tools, destination: &Path) -> Result<String, String> {
        let libraries = self.llvm_dir(tools).map_err(|e| format!("{}: {e}", self.out_dir.display()))?;
        let mut command = Command::new(&tools.cargo);
        forget_outer_build(&mut command);
        command
            .current_dir(&self.source)
            .args(["build", "--release", "--locked", "--bins", "--target", TARGET, "--target-dir"])
            .arg(&self.target_dir)
            .env("RUSTC", &tools.compiler.rustc)
            .env("CARGO_ENCODED_RUSTFLAGS", rustflags().join("\x1f"))
            .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &tools.linker.path)
            .env("LD_LIBRARY_PATH", &libraries)
            .env("CARGO_TERM_COLOR", "never");
        if tools.core == Core::FromSource {
            command.args(["-Z", "build-std=core"]);
        }
        // A stable compiler told to accept what only nightly accepts: in `core` itself, or in the one crate that needs it
        // (asm_experimental_arch).
        match (tools.core, tools.compiler.nightly) {
            (_, true) => {}
            (Core::FromSource, false) => _ = command.env("RUSTC_BOOTSTRAP", "1"),
            (Core::Prebuilt, false) => _ = command.env("RUSTC_BOOTSTRAP", "aya_ebpf,lb_ebpf"),
        }
        let how = format!(
            "{}, core {}",
            tools.compiler.version,
            match tools.core {
                Core::Prebuilt => "prebuilt",
                Core::FromSource => "from rust-src",
            }
        );
        let output = command.output().map_err(|e| format!("{}: {e}", tools.cargo.display()))?;
        if !output.status.success() {
            return Err(format!(
                "the eBPF object does not build ({how}; {}; LLVM {}):\n{}",
                tools.linker.path.display(),
                tools.linker.llvm.as_ref().map_or("linked into it".into(), |l| l.to_string_lossy()),
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        let built = self.target_dir.join(TARGET).join("release");
        for program in ["lb-ebpf", DECAP, HARNESS] {
            let from = built.join(program);
            copy_if_changed(&from, &destination.with_file_name(program))
                .map_err(|e| format!("{}: {e}", from.display()))?;
        }
        Ok(how)
    }

    /// A directory with exactly one LLVM in it: `bpf-linker` opens the first it meets.
    fn llvm_dir(&self, tools: &Tools) -> io::Result<PathBuf> {
        let dir = self.out_dir.join("llvm");
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        if let Some(library) = &tools.linker.llvm
            && let Some(name) = library.file_name()
        {
            symlink(library, dir.join(name))?;
        }
        Ok(dir)
    }
}

fn rustflags() -> [String; 5] {
    // The host's architecture: register names of probes differ, and aya-ebpf insists on knowing.
    let host = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_else(|_| "x86_64".to_owned());
    [
        format!("--cfg=bpf_target_arch=\"{host}\""),
        "-Cdebuginfo=2".to_owned(), // BTF is made of it
        "-Clink-arg=--btf".to_owned(),
        "-Ctarget-cpu=v3".to_owned(), // 32-bit arithmetic and jumps: every kernel since 5.1
        // Packet headers have no alignment: without this each load of a word becomes four of a byte. LLVM 22; others ignore it.
        "-Ctarget-feature=+allows-misaligned-mem-access".to_owned(),
    ]
}

/// The outer cargo and rustup describe their own build in the environment; the inner one must not read it. What says where crates
/// come from stays.
fn forget_outer_build(command: &mut Command) {
    const STAYS: [&str; 5] =
        ["CARGO_HOME", "CARGO_MAKEFLAGS", "CARGO_NET_OFFLINE", "CARGO_HTTP_CAINFO", "RUSTUP_HOME"];
    const STAYS_WITH_PREFIX: [&str; 3] = ["CARGO_REGISTRIES_", "CARGO_SOURCE_", "CARGO_HTTP_"];
    const GOES: [&str; 6] = ["TARGET", "HOST", "OUT_DIR", "LD_LIBRARY_PATH", "PROFILE", "OPT_LEVEL"];
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let stays = STAYS.contains(&text.as_ref()) || STAYS_WITH_PREFIX.iter().any(|p| text.starts_with(p));
        if GOES.contains(&text.as_ref()) || (text.starts_with("CARGO") || text.starts_with("RUST")) && !stays
        {
            command.env_remove(&name);
        }
    }
}

/// Has cargo look at a crate's sources. Only files that exist: one that does not would rebuild every time.
pub(crate) fn watch(folder: &Path) {
    for part in ["src", "Cargo.toml", "Cargo.lock"].map(|part| folder.join(part)) {
        if part.exists() {
            println!("cargo::rerun-if-changed={}", part.display());
        }
    }
}

/// An object that did not change keeps its time, so that nothing above it is compiled again.
fn copy_if_changed(from: &Path, to: &Path) -> io::Result<()> {
    let new = fs::read(from)?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    fs::write(to, new)
}
