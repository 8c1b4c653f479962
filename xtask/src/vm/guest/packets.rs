//! The packet suite on this kernel's verifier and compiler.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use super::BIN;

/// Frames of the tests with random ones: emulated, a thousand take a second or so.
const RANDOM_FRAMES: &str = "2000";

pub(super) fn tell() -> Result<()> {
    let status = Command::new(Path::new(BIN).join("packets"))
        // One processor; and timing bounds are easier held.
        .arg("--test-threads=1")
        .env("LB_RANDOM_FRAMES", RANDOM_FRAMES)
        .status()
        .context("starting the packet suite")?;
    if !status.success() {
        bail!("the packet suite ended with {status}");
    }
    Ok(())
}
