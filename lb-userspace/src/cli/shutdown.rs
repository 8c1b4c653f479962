//! `lbctl shutdown`.

use super::{Context, exit::Failure, output::plain};
use crate::api::types::{Done, Shutdown};

/// Arguments.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Also take the program off the interfaces: forwarding ends
    #[arg(long)]
    pub detach: bool,
}

/// Runs it.
pub async fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    let request = Shutdown { detach: args.detach };
    let done: Done = context.client.post("/api/v1/shutdown", &request).await?;
    context.show(&done, |done| format!("{}\n", plain(&done.done)))
}
