//! `lbctl doctor`: everything that commonly goes wrong around lbd, looked at once, each with what to type.
//!
//! The facts come from the daemon's API and from `/proc` and `/sys` of this host ([`host`]); what they mean is decided by pure functions.

pub mod finding;
pub mod host;
pub mod interface;
pub mod site;

use std::path::PathBuf;

use self::{
    finding::{Finding, Level, render},
    host::Host,
};
use super::{Context, exit::Failure};
use crate::{
    api::types::{Drops, Kernel, List, Status},
    config,
};

/// Arguments.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Exit code 1 if something is bad; what is only unwise does not count. Run it as root on the balancer itself: \
                        files and devices of this host are looked at, too."
)]
pub struct Args {
    /// Also what is well
    #[arg(long, short)]
    pub all: bool,
    /// Configuration file of lbd
    #[arg(long, value_name = "FILE", default_value = "/etc/lbd/lbd.toml")]
    pub config: PathBuf,
}

/// Runs it.
pub async fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    let host = Host::here();
    let mut findings = host.kernel();
    findings.extend(of_config(&args.config));
    match context.client.get::<Status>("/api/v1/status").await {
        Err(error) => {
            let failure = Failure::from(error);
            findings.push(match failure {
                Failure::Unreachable { error, help } => Finding::bad("lbd", error, help),
                other => Finding::bad("lbd", format!("{other:?}"), "journalctl -u lbd"),
            });
        }
        Ok(status) => {
            let kernel: Kernel = context.client.get("/api/v1/kernel").await?;
            let list: List = context.client.get("/api/v1/list").await?;
            let drops: Drops = context.client.get("/api/v1/drops").await?;
            findings.extend(site::kernel(&kernel));
            findings.extend(site::daemon(&status));
            for attachment in &status.datapath.attachments {
                findings.extend(interface::look(attachment, &host.interface(&attachment.interface)));
            }
            findings.extend(site::backends(&list, &host));
            findings.extend(site::vips(&list, &host.addresses()));
            findings.extend(site::drops(&drops));
        }
    }
    context.show(&findings, |findings| render(findings, args.all))?;
    let bad = findings.iter().filter(|finding| finding.level == Level::Bad).count();
    if bad == 0 {
        return Ok(());
    }
    Err(Failure::refused(format!("{bad} thing(s) are bad"), "each line above says what to type"))
}

/// The configuration file and its secret.
fn of_config(path: &std::path::Path) -> Vec<Finding> {
    let about = "configuration";
    if let Err(error) = std::fs::metadata(path) {
        return vec![Finding::warn(
            about,
            format!("{}: {error}", path.display()),
            "run this on the balancer itself, as root, or name the file with --config",
        )];
    }
    match config::load(path) {
        Err(problems) => {
            vec![Finding::bad(
                about,
                format!(
                    "{} would be refused: {}",
                    path.display(),
                    problems.to_string().lines().next().unwrap_or("")
                ),
                "lbctl config test",
            )]
        }
        Ok(loaded) => {
            let mut findings: Vec<_> = loaded
                .warnings
                .iter()
                .map(|warning| Finding::warn(about, warning.message().to_owned(), "lbctl config test"))
                .collect();
            if findings.is_empty() {
                findings.push(Finding::ok(about, format!("{} is good", path.display())));
            }
            let global = &loaded.config.global;
            let secret = global.secret_file.clone().unwrap_or_else(|| global.state_dir.join("secret"));
            findings.extend(host::secret(&secret));
            findings
        }
    }
}
