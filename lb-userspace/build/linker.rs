//! Finds `bpf-linker`, and the LLVM library it has to open.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// `bpf-linker` and its LLVM.
#[derive(Debug)]
pub(crate) struct Linker {
    pub(crate) path: PathBuf,
    /// The compiler's own LLVM. A `bpf-linker` installed by cargo opens the first `libLLVM*` of its library path, which has to be
    /// of the major version that made the bitcode; one that was linked to an LLVM needs none.
    pub(crate) llvm: Option<PathBuf>,
}

/// The linker for a compiler with this sysroot and LLVM.
pub(crate) fn find(sysroot: &Path, llvm_major: u32) -> Result<Linker, String> {
    let path = candidates().into_iter().find(|p| p.is_file()).ok_or_else(|| {
        "bpf-linker is neither on PATH nor in cargo's bin directory: cargo install bpf-linker --version 0.10.3 --locked, \
         or set LB_BPF_LINKER"
            .to_owned()
    })?;
    Ok(Linker { path, llvm: llvm(sysroot, llvm_major) })
}

fn candidates() -> Vec<PathBuf> {
    if let Some(given) = env::var_os("LB_BPF_LINKER").filter(|v| !v.is_empty()) {
        return vec![given.into()];
    }
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .map(|dir| dir.join("bpf-linker"))
        .chain(cargo_home.map(|home| home.join("bin/bpf-linker")))
        .collect()
}

/// The compiler's LLVM: in its sysroot (rustup), or where Debian puts the package's.
fn llvm(sysroot: &Path, major: u32) -> Option<PathBuf> {
    let mut dirs = vec![sysroot.join("lib"), format!("/usr/lib/llvm-{major}/lib").into()];
    let multiarch = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|d| d.path());
    dirs.extend(multiarch.filter(|d| d.to_string_lossy().ends_with("-linux-gnu")));
    dirs.iter().find_map(|dir| {
        let mut libraries: Vec<PathBuf> = fs::read_dir(dir)
            .ok()?
            .flatten()
            .map(|file| file.path())
            .filter(|path| path.file_name().is_some_and(|name| is_llvm(&name.to_string_lossy(), major)))
            // rustup ships a linker script of 42 bytes under the library's other name.
            .filter(|path| fs::metadata(path).is_ok_and(|m| m.len() > 1 << 20))
            .collect();
        libraries.sort();
        libraries.into_iter().next()
    })
}

fn is_llvm(name: &str, major: u32) -> bool {
    // libLLVM.so.22.1, libLLVM-22.so, libLLVM.so.22.1-rust-1.95.0-stable; not libLLVM-2.so for 22.
    [format!("libLLVM.so.{major}"), format!("libLLVM-{major}")].iter().any(|stem| {
        name.strip_prefix(stem.as_str()).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
            && name.contains(".so")
    })
}
