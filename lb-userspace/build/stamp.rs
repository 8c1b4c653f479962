//! The commit this is built from, for `--version`.

use std::{env, path::PathBuf, process::Command};

/// `LB_GIT_HASH`, else the checkout's commit, else `unknown`.
pub(crate) fn git_hash() -> String {
    if let Ok(given) = env::var("LB_GIT_HASH")
        && !given.is_empty()
    {
        return given;
    }
    // A commit moves HEAD, or the branch HEAD names, or both names move into packed-refs.
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "packed-refs"].into_iter().chain(branch.as_deref()) {
        if let Some(file) = git(&["rev-parse", "--git-path", name]).map(PathBuf::from).filter(|f| f.exists())
        {
            println!("cargo::rerun-if-changed={}", file.display());
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned())
}

fn git(arguments: &[&str]) -> Option<String> {
    // A checkout made by another user, as in a container, is still the one being built.
    let output = Command::new("git").args(["-c", "safe.directory=*"]).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
