//! The lab.
pub(crate) mod client;
use crate::workspace::Workspace;
use anyhow::Result;
#[derive(Debug, clap::Args)]
pub(crate) struct Options {}
pub(crate) fn run(_: &Workspace, _: &Options) -> Result<()> {
    anyhow::bail!("x")
}
