//! The lab's load: every request is counted, every failure has its reason, every body is compared with what was sent.
//!
//! It runs inside the client's namespace and prints one JSON line for each [`event::Event`]. It ends when its standard input does: no new
//! request begins, running transfers finish.
//!
//! | module | is |
//! |---|---|
//! | [`event`] | what it tells the lab |
//! | [`connection`] | TCP, TLS, HTTP/1.1 and HTTP/2, and bodies with a pace |
//! | [`worker`] | who asks for what, how often |
//! | [`flood`] | first packets of connections that nobody means |

pub(super) mod connection;
pub(super) mod event;
mod flood;
mod worker;

use std::{net::IpAddr, path::PathBuf};

use anyhow::{Result, bail};

/// Options of the hidden chore `lab-client`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Address to send everything to
    target: IpAddr,
    /// File with the certificate to trust
    #[arg(long, required_unless_present_any = ["get", "flood"])]
    certificate: Option<PathBuf>,
    /// Only fetch this path once, from this port without TLS, and print the body
    #[arg(long, num_args = 2, value_names = ["PORT", "PATH"])]
    get: Option<Vec<String>>,
    /// Only send so many SYNs a second to this port, from addresses that are nobody's, for at most so many seconds
    #[arg(long, num_args = 3, value_names = ["PORT", "RATE", "SECONDS"])]
    flood: Option<Vec<u16>>,
}

/// The chore.
pub(crate) fn run(options: &Options) -> Result<()> {
    if let Some([port, rate, seconds]) = options.flood.as_deref() {
        return flood::run(options.target, *port, *rate, *seconds);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match (options.get.as_deref(), &options.certificate) {
            (Some([port, path]), _) => {
                print!("{}", worker::get_once(options.target, port.parse()?, path).await?);
                Ok(())
            }
            (_, Some(certificate)) => worker::run(options.target, connection::tls(certificate)?).await,
            (_, None) => bail!("neither a certificate nor something to get"),
        }
    })
}
