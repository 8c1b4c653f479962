//! Builds the eBPF object that `lbd` carries, and tells the crate where it came from.
//!
//! | variable | is |
//! |---|---|
//! | `LB_EBPF_OBJECT=FILE` | a ready object, built elsewhere (`bpfel-unknown-none`, release); `lb-decap` beside it is taken, too |
//! | `LB_EBPF_SKIP=1` | no object at all, for linting and documentation; `lbd` refuses to start |
//! | `LB_EBPF_RUSTC=FILE` | the only compiler to consider; its cargo is looked for beside it |
//! | `LB_BPF_LINKER=FILE` | the only `bpf-linker` to consider |
//! | `LB_GIT_HASH=TEXT` | for `--version`, where there is no git checkout |
//!
//! For the crate: `OUT_DIR/lb-ebpf` (the object, empty when skipped), likewise `OUT_DIR/lb-decap` (the decapsulator of receiving hosts) and
//! `OUT_DIR/lb-harness` (the benchmark's kernel half), `LB_EBPF_BUILT_BY`, `LB_GIT_HASH`. The objects also stay at
//! `<target>/ebpf/bpfel-unknown-none/release/`.
//!
//! A machine without a BPF toolchain can check and lint everything, and cannot link `lbd`: docs/decisions/0001.

mod linker;
mod object;
mod source;
mod stamp;
mod toolchain;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use object::Builder;
use source::Source;

/// Linked into `lbd` and `lbdecap` when there is no object. It does not exist, so that the linker's complaint names the cause.
const LINK_STOPPER: &str = "lbd-was-built-without-its-eBPF-object--the-warnings-above-say-what-to-install";

fn main() {
    match run() {
        Ok(built_by) => println!("cargo::rustc-env=LB_EBPF_BUILT_BY={built_by}"),
        Err(message) => say("error", &message),
    }
    println!("cargo::rustc-env=LB_GIT_HASH={}", stamp::git_hash());
}

/// Puts the object into place; the answer says how, for `--version`.
fn run() -> Result<String, String> {
    let out_dir = path_of("OUT_DIR")?;
    let object = out_dir.join("lb-ebpf");
    match Source::from_env() {
        Source::Ready(file) => {
            println!("cargo::rerun-if-changed={}", file.display());
            fs::copy(&file, &object).map_err(|e| format!("LB_EBPF_OBJECT={}: {e}", file.display()))?;
            let decap = file.with_file_name(object::DECAP);
            if decap.exists() {
                println!("cargo::rerun-if-changed={}", decap.display());
                fs::copy(&decap, object.with_file_name(object::DECAP))
                    .map_err(|e| format!("{}: {e}", decap.display()))?;
            } else {
                without(object::DECAP, &object)?;
            }
            // Only there when the object was built here.
            without(object::HARNESS, &object)?;
            Ok(format!("ready object {}", file.display()))
        }
        Source::Skip => {
            empty(&object)?;
            Ok("skipped (LB_EBPF_SKIP)".to_owned())
        }
        Source::Build => {
            let builder = Builder::new(&path_of("CARGO_MANIFEST_DIR")?.join("../lb-ebpf"), &out_dir);
            object::watch(&path_of("CARGO_MANIFEST_DIR")?.join("../lb-common"));
            match toolchain::find(object::TARGET) {
                Ok(tools) => builder.build(&tools, &object),
                Err(missing) => {
                    empty(&object)?;
                    say("warning", &missing);
                    println!("cargo::rustc-link-arg-bin=lbd={LINK_STOPPER}");
                    println!("cargo::rustc-link-arg-bin=lbdecap={LINK_STOPPER}");
                    // A file that never exists: the next build looks for a toolchain again.
                    println!("cargo::rerun-if-changed={}", out_dir.join("no-toolchain-yet").display());
                    Ok("nothing (no BPF toolchain)".to_owned())
                }
            }
        }
    }
}

fn empty(object: &Path) -> Result<(), String> {
    fs::write(object, []).map_err(|e| format!("{}: {e}", object.display()))?;
    without(object::DECAP, object)?;
    without(object::HARNESS, object)
}

/// An empty file says that a part is not there.
fn without(part: &str, object: &Path) -> Result<(), String> {
    let part = object.with_file_name(part);
    fs::write(&part, []).map_err(|e| format!("{}: {e}", part.display()))
}

/// A text of several lines as so many cargo messages.
fn say(kind: &str, text: &str) {
    for line in text.lines() {
        println!("cargo::{kind}={line}");
    }
}

fn path_of(variable: &str) -> Result<PathBuf, String> {
    env::var_os(variable)
        .map(PathBuf::from)
        .ok_or_else(|| format!("{variable} is not set: this is a build script, run by cargo"))
}
