//! Where the object comes from, by the environment.

use std::{env, path::PathBuf};

/// Where the object comes from.
pub(crate) enum Source {
    /// Built elsewhere.
    Ready(PathBuf),
    /// Nowhere: lints and documentation do not need it.
    Skip,
    /// Compiled here.
    Build,
}

impl Source {
    /// Reads the variables, and has cargo watch all that matter to a build.
    pub(crate) fn from_env() -> Self {
        for variable in
            ["LB_EBPF_OBJECT", "LB_EBPF_SKIP", "LB_EBPF_RUSTC", "LB_BPF_LINKER", "LB_GIT_HASH", "PATH"]
        {
            println!("cargo::rerun-if-env-changed={variable}");
        }
        if let Some(file) = env::var_os("LB_EBPF_OBJECT").filter(|f| !f.is_empty()) {
            return Self::Ready(file.into());
        }
        if env::var_os("LB_EBPF_SKIP").is_some_and(|v| !v.is_empty() && v != "0") {
            return Self::Skip;
        }
        Self::Build
    }
}
