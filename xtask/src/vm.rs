//! Debian's kernels, old and new, each in an emulated machine: does the object load, do the packet cases pass, and what of the
//! network can only be tried where there are modules for it.
//!
//! | module | is |
//! |---|---|
//! | [`apt`] | packages of other releases, without touching this machine's lists |
//! | [`kernel`] | kernels by series |
//! | [`modules`] | their modules, in order |
//! | [`archive`] | the guest's file system |
//! | [`qemu`] | the emulator |
//! | [`artifacts`] | what of this repository goes in |
//! | [`guest`] | what happens inside: the first process and the stories |
//! | [`report`] | the closing table |
//!
//! The guest is emulated, not virtualised: it needs no privilege and no hardware support, and takes many times as long.

mod apt;
mod archive;
mod artifacts;
pub(crate) mod guest;
mod kernel;
mod modules;
mod qemu;
mod report;

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::workspace::Workspace;
use apt::Apt;
use archive::Archive;
use artifacts::Artifacts;
use kernel::Kernel;
use modules::Modules;
use qemu::{Boot, Qemu};
use report::{Report, Row};

/// Options of `vm`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Series of a kernel (`6.1`), or `newest`; may be given several times. Without it: 5.10, 6.1, 6.12, 6.18 and the newest
    #[arg(long, value_name = "SERIES")]
    kernel: Vec<String>,
    /// Only this story; may be given several times
    #[arg(long, value_name = "STORY")]
    only: Vec<Story>,
    /// Look for newer kernels of the series instead of taking those fetched before
    #[arg(long)]
    update: bool,
    /// Guests at once, each with a processor's and 1.5 GiB of memory's worth of work. Without it: as many as there are processors
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    jobs: Option<u8>,
    /// Show what the guests print as it comes
    #[arg(long, short)]
    verbose: bool,
}

/// What a guest does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Story {
    /// The packet suite: each case through the program as this kernel verified and compiled it
    Packets,
    /// lbd on an interface with three VLANs, its backends in two of them
    Vlan,
    /// lbd on bonds of several modes, whose members go down and up
    Bond,
    /// lbd with backends behind tunnels that the kernel's own devices take apart
    Tunnels,
    /// The benchmark under a clock that counts instructions. Only when asked for: it proves nothing
    Instructions,
}

impl Story {
    const ALL: [Self; 4] = [Self::Packets, Self::Vlan, Self::Bond, Self::Tunnels];

    const fn name(self) -> &'static str {
        match self {
            Self::Packets => "packets",
            Self::Vlan => "vlan",
            Self::Bond => "bond",
            Self::Tunnels => "tunnels",
            Self::Instructions => "instructions",
        }
    }

    /// Modules it needs.
    const fn modules(self) -> &'static [&'static str] {
        match self {
            Self::Packets | Self::Instructions => &["veth"],
            Self::Vlan => &["veth", "bridge", "8021q"],
            Self::Bond => &["veth", "bridge", "bonding"],
            Self::Tunnels => {
                &["veth", "bridge", "ipip", "sit", "ip6_tunnel", "fou", "fou6", "sch_ingress", "cls_bpf"]
            }
        }
    }

    /// The integration test of `lb-userspace` that it runs.
    const fn test(self) -> Option<&'static str> {
        match self {
            Self::Packets => Some("packets"),
            Self::Tunnels => Some("decap"),
            Self::Vlan | Self::Bond | Self::Instructions => None,
        }
    }

    /// Longer than this is a hang.
    const fn bound(self) -> Duration {
        match self {
            Self::Packets => Duration::from_mins(40),
            Self::Instructions => Duration::from_mins(20),
            Self::Tunnels => Duration::from_mins(30),
            Self::Vlan | Self::Bond => Duration::from_mins(15),
        }
    }
}

/// Instructions per packet, of the benchmark's rows that mean something then.
pub(crate) fn instructions(workspace: &Workspace) -> Result<()> {
    let (kernel, only) = (vec![COUNTED_ON.to_owned()], vec![Story::Instructions]);
    run(workspace, &Options { kernel, only, update: false, jobs: Some(1), verbose: true })
}

/// The kernel whose instructions are counted: how the compiler in it turns the program into machine code differs from series to series.
const COUNTED_ON: &str = "6.18";

/// The chore.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if env::consts::ARCH != "x86_64" {
        bail!("guests run this machine's programs, and the kernels fetched are those for x86-64");
    }
    let cache = cache(workspace);
    fs::create_dir_all(&cache).with_context(|| cache.display().to_string())?;
    let stories = if options.only.is_empty() { &Story::ALL[..] } else { &options.only[..] };
    let artifacts = Artifacts::build(workspace, stories)?;
    let apt = Apt::new(&cache)?;
    let qemu = Qemu::get(&cache, &apt)?;
    let series: Vec<&str> = match &options.kernel[..] {
        [] => kernel::DEFAULT.to_vec(),
        some => some.iter().map(String::as_str).collect(),
    };
    let kernels: Vec<Kernel> = series
        .iter()
        .map(|series| Kernel::get(series, &cache, &apt, options.update))
        .collect::<Result<_>>()?;
    let work = Guests { qemu, artifacts, cache, verbose: options.verbose };
    let jobs =
        options.jobs.map_or_else(|| thread::available_parallelism().map_or(1, usize::from), usize::from);
    let all: Vec<(&Kernel, Story)> =
        kernels.iter().flat_map(|kernel| stories.iter().map(move |story| (kernel, *story))).collect();
    work.tell_all(&all, jobs).close()
}

/// Kernels and the emulator stay from run to run.
fn cache(workspace: &Workspace) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.root.join("target"), PathBuf::from).join("vm")
}

struct Guests {
    qemu: Qemu,
    artifacts: Artifacts,
    cache: PathBuf,
    verbose: bool,
}

impl Guests {
    /// Guests that have nothing to do with each other, so many at once.
    fn tell_all(&self, all: &[(&Kernel, Story)], jobs: usize) -> Report {
        let next = AtomicUsize::new(0);
        let report = Mutex::new(Report::default());
        thread::scope(|scope| {
            for _ in 0..jobs.min(all.len()) {
                scope.spawn(|| {
                    loop {
                        let place = next.fetch_add(1, Ordering::Relaxed);
                        let Some((kernel, story)) = all.get(place).copied() else { break };
                        println!("vm: {} {}", kernel.release, story.name());
                        let row = self.tell(kernel, story);
                        let row = row.unwrap_or_else(|error| Row::broken(kernel, story, &error));
                        println!("{row}");
                        report.lock().unwrap_or_else(PoisonError::into_inner).add(place, row);
                    }
                });
            }
        });
        report.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, kernel: &Kernel, story: Story) -> Result<Row> {
        let modules = Modules::of(&kernel.modules)?;
        let mut archive = Archive::new();
        for (number, (name, content)) in modules.with_dependencies(story.modules())?.into_iter().enumerate() {
            archive.file(&format!("{}/{number:03}-{name}.ko", guest::MODULES), 0o644, &content);
        }
        self.artifacts.put(&mut archive)?;
        let files = tempfile::NamedTempFile::new_in(&self.cache)?;
        fs::write(files.path(), archive.finish()).context("the guest's files")?;
        let logs = self.cache.join("log");
        fs::create_dir_all(&logs).with_context(|| logs.display().to_string())?;
        let log = logs.join(format!("{}-{}.log", kernel.series, story.name()));
        let ended = self.qemu.boot(&Boot {
            kernel,
            files: files.path(),
            arguments: &["vm-guest", "story", story.name()],
            bound: story.bound(),
            counted: story == Story::Instructions,
            log: &log,
            aloud: self.verbose.then(|| format!("{} {}", kernel.series, story.name())),
        })?;
        Ok(Row::new(kernel, story, &ended, Path::new(&log)))
    }
}
