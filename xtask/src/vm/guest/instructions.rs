//! The benchmark where a nanosecond is an instruction: what it measures as time is what the processor was asked to do, without a cache's or a
//! neighbour's part in it, and the same on every machine.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use super::BIN;

pub(super) fn tell() -> Result<()> {
    let status = Command::new(Path::new(BIN).join("packet"))
        // Every window is like the other.
        .args(["--unit", "instructions", "--rounds", "1", "--windows", "2"])
        .status()
        .context("starting the benchmark")?;
    if !status.success() {
        bail!("the benchmark ended with {status}");
    }
    Ok(())
}
