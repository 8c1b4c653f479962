//! A small edge site out of network namespaces, with the real `lbd`, real servers and real traffic.
//!
//! | module | is |
//! |---|---|
//! | [`site`] | the site on paper |
//! | [`cleanup`] | one lab at a time, nothing left of it |
//! | [`topology`] | namespaces, links, addresses, routes |
//! | [`pass`] | the program the switch's port needs |
//! | [`backend`] | a cache host's servers |
//! | [`balancer`] | `lbd` and `lbctl` |
//! | [`client`] | the load's process |
//! | [`load`] | the load as the lab sees it |
//! | [`story`] | what `--once` does |
//! | [`report`] | what it saw |
//! | [`live`] | the view without `--once` |

mod backend;
mod balancer;
mod cleanup;
pub(crate) mod client;
mod live;
mod load;
pub(crate) mod pass;
mod report;
mod site;
mod story;
mod topology;

use std::{
    env, fs,
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::unistd::geteuid;
use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
    time::timeout,
};

use crate::{
    build,
    setup::{self, For},
    workspace::Workspace,
};
use backend::Backend;
use balancer::Balancer;
use cleanup::Ground;
use report::Report;
use site::{Family, HOSTS, SERVER_NAME};
use story::Site;

/// `--once` ends within this, after the build.
const BOUND: Duration = Duration::from_mins(5);

/// Options of `lab`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Tell the story once, print what was seen, and fail if any request failed that should not
    #[arg(long)]
    once: bool,
    /// Optimised binaries
    #[arg(long)]
    release: bool,
}

/// The chore.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if !geteuid().is_root() {
        bail!("network namespaces need root. Type: sudo -E env \"PATH=$PATH\" cargo xtask lab");
    }
    setup::ensure(workspace, For::Lab)?;
    let built = build::build(workspace, options.release)?;
    println!("eBPF object: {}", built.object_by);
    let ground = Ground::take()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // The site's processes end when `work` is dropped, then the ground is swept: also after a signal or a panic.
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let work = async {
            let begin = Instant::now();
            let mut site = Box::pin(set_up(built, &ground)).await?;
            println!("the site is up after {:.1} s", begin.elapsed().as_secs_f64());
            if options.once {
                let left = BOUND.saturating_sub(begin.elapsed());
                return timeout(left, once(&mut site))
                    .await
                    .unwrap_or_else(|_| bail!("the story took longer than {} s", BOUND.as_secs()));
            }
            live::view(&site).await
        };
        tokio::select! {
            result = work => result,
            _ = tokio::signal::ctrl_c() => ended(options.once),
            _ = terminate.recv() => ended(options.once),
        }
    })
}

/// Without `--once` a signal is the way to end the lab.
fn ended(once: bool) -> Result<()> {
    println!("\nremoving the lab");
    if once { Err(anyhow::anyhow!("ended by a signal before the story did")) } else { Ok(()) }
}

/// Namespaces, servers, daemon: until every host answers and serves.
async fn set_up(built: build::Built, ground: &Ground) -> Result<Site> {
    topology::make(ground.dir()).context("making the network")?;
    backend::write_objects(ground.dir())?;
    let certificates = make_certificate(ground.dir())?;
    let backends = HOSTS
        .iter()
        .map(|host| Backend::start(*host, ground.dir(), &certificates.with_key))
        .collect::<Result<Vec<_>>>()?;
    for backend in backends.iter().filter(|backend| backend.host.far) {
        backend.unwrap_tunnel(&built.lbdecap, &ground.bpf().join("decap"))?;
    }
    story::until_hosts_answer(&backends).await?;
    let mut balancer = Balancer::new(built, ground)?;
    balancer.start().await?;
    Ok(Site { backends, balancer, certificate: certificates.alone })
}

async fn once(site: &mut Site) -> Result<()> {
    let mut report = Report::default();
    for family in Family::BOTH {
        println!("\n{} to {}", family.name(), family.vip());
        story::tell(site, family, &mut report).await?;
    }
    story::show(site).await?;
    println!("\n{}", report.render());
    if !report.problems().is_empty() {
        bail!("this should not have been:\n  {}", report.problems().join("\n  "));
    }
    println!("no request failed that should not");
    Ok(())
}

struct Certificates {
    /// For the client to trust.
    alone: PathBuf,
    /// For HAProxy.
    with_key: PathBuf,
}

fn make_certificate(dir: &Path) -> Result<Certificates> {
    let made = rcgen::generate_simple_self_signed([SERVER_NAME.to_owned()])?;
    let files =
        Certificates { alone: dir.join("certificate.pem"), with_key: dir.join("certificate-and-key.pem") };
    fs::write(&files.alone, made.cert.pem())?;
    fs::write(&files.with_key, made.cert.pem() + &made.signing_key.serialize_pem())?;
    Ok(files)
}

/// Fetches a text from inside a namespace.
async fn get(namespace: &str, address: IpAddr, port: u16, path: &str) -> Result<String> {
    let output = Command::new("ip")
        .args(["netns", "exec", namespace])
        .arg(env::current_exe()?)
        .args(["lab-client", &address.to_string(), "--get", &port.to_string(), path])
        .kill_on_drop(true)
        .output()
        .await?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
