//! Inside the guest: the first process, and the stories it can be told to play.

mod bond;
mod daemon;
mod http;
mod instructions;
mod net;
mod qinq;
mod tunnels;
mod vlan;

use std::{
    env, fs,
    fs::File,
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    kmod::{ModuleInitFlags, finit_module},
    mount::MsFlags,
    sys::reboot::{RebootMode, reboot},
    unistd::getpid,
};

use super::Story;

/// The line a guest ends with, followed by its status.
pub(super) const EXIT: &str = "VM-EXIT ";
/// What begins a line for the closing table.
pub(super) const NOTE: &str = "== ";
/// Status of a guest whose kernel was refused by name.
pub(super) const REFUSED: i32 = 3;

/// Where the archive has the modules, in the order of loading.
pub(super) const MODULES: &str = "/modules";
/// Where it has what the repository builds.
pub(super) const BIN: &str = "/lbd";

/// For tests with random frames: how many, as each takes ten times as long as on a real machine.
const RANDOM_FRAMES: &str = "2000";

/// The second serial line.
const TERMINAL: &str = "/dev/ttyS1";

/// Options of `vm-guest`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, clap::Subcommand)]
enum Role {
    /// Tell a story; as the first process, set up the machine before and switch it off afterwards
    Story { story: Story },
    /// Answer HTTP with this name
    Serve { name: String },
    /// Send so many requests to each VIP
    Ask { number: u32 },
}

/// The chore.
pub(crate) fn run(options: &Options) -> ExitCode {
    match &options.role {
        Role::Story { story } if getpid().as_raw() == 1 => first_process(*story),
        Role::Story { story } => tell(*story),
        Role::Serve { name } => ended(http::serve(name)),
        Role::Ask { number } => ended(http::ask_here(*number)),
    }
}

/// What the parent reads is standard output.
fn ended(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn tell(story: Story) -> ExitCode {
    match told(story) {
        Ok(Told::Well) => ExitCode::SUCCESS,
        Ok(Told::Refused(why)) => {
            println!("{NOTE}refused: {why}");
            ExitCode::from(REFUSED as u8)
        }
        Err(error) => {
            println!("{}", daemon::last_words());
            println!("{NOTE}{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn told(story: Story) -> Result<Told> {
    let result = match story {
        Story::Packets => match refused_object()? {
            Some(why) => return Ok(Told::Refused(why)),
            None => run_test("packets"),
        },
        Story::Vlan => vlan::tell(),
        Story::Bond => bond::tell(),
        Story::Tunnels => tunnels::tell(),
        Story::Instructions => instructions::tell(),
    };
    match (result, daemon::refusal()) {
        (Err(_), Some(why)) => Ok(Told::Refused(why)),
        (result, _) => result.map(|()| Told::Well),
    }
}

/// How a story ended that did not fail.
#[derive(Debug)]
enum Told {
    Well,
    /// The kernel cannot run the product, which said so plainly.
    Refused(String),
}

/// Sets the system up, runs the story as a process of its own, says how it ended, and switches the machine off.
fn first_process(story: Story) -> ExitCode {
    let status = match set_up().and_then(|()| play(story)) {
        Ok(status) => status,
        Err(error) => {
            say(&format!("{NOTE}setting up the guest: {error:#}"));
            1
        }
    };
    say(&format!("{EXIT}{status}"));
    // The line is out when the terminal is closed again; what follows ends the emulator.
    _ = reboot(RebootMode::RB_POWER_OFF);
    ExitCode::FAILURE
}

fn say(line: &str) {
    // Before `/dev` is there nobody can hear it but the kernel's log.
    if fs::write(TERMINAL, format!("{line}\n")).is_err() {
        eprintln!("{line}");
    }
}

fn set_up() -> Result<()> {
    let none: Option<&str> = None;
    for (kind, at) in [
        ("devtmpfs", "/dev"),
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("bpf", "/sys/fs/bpf"),
        ("tmpfs", "/tmp"),
        ("tmpfs", "/run"),
    ] {
        nix::mount::mount(Some(kind), at, Some(kind), MsFlags::empty(), none)
            .with_context(|| format!("mounting {kind} on {at}"))?;
    }
    let mut modules: Vec<_> =
        fs::read_dir(MODULES).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    modules.sort();
    for module in modules {
        let file = File::open(&module).with_context(|| module.display().to_string())?;
        finit_module(&file, c"", ModuleInitFlags::empty())
            .with_context(|| format!("loading {}", module.display()))?;
    }
    Ok(())
}

fn play(story: Story) -> Result<i32> {
    let terminal = File::options().write(true).open(TERMINAL).context(TERMINAL)?;
    let status = Command::new(env::current_exe()?)
        .args(["vm-guest", "story", story.name()])
        .env_clear()
        .env("PATH", format!("{BIN}:/usr/sbin:/usr/bin:/sbin:/bin"))
        .env("HOME", "/")
        .env("RUST_BACKTRACE", "1")
        .stdin(Stdio::null())
        .stdout(terminal.try_clone()?)
        .stderr(terminal)
        .status()
        .context("starting the story")?;
    status.code().with_context(|| format!("the story ended by {status}"))
}

/// Runs an integration test to its end.
fn run_test(name: &str) -> Result<()> {
    let status = Command::new(Path::new(BIN).join(name))
        // There is one processor, and so bounds on time are easier held.
        .arg("--test-threads=1")
        .env("LB_FUZZ_FRAMES", RANDOM_FRAMES)
        .status()
        .with_context(|| format!("starting the test {name}"))?;
    if !status.success() {
        bail!("the test {name} ended with {status}");
    }
    Ok(())
}

/// Loads the object; the answer is a sentence if this kernel cannot run it.
fn refused_object() -> Result<Option<String>> {
    let output = Command::new(Path::new(BIN).join("kernel"))
        .args(["--nocapture", "--test-threads=1"])
        .stdin(Stdio::null())
        .output()
        .context("asking whether this kernel can run lbd")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let of = |prefix: &str| text.lines().find_map(|line| line.strip_prefix(prefix)).map(str::to_owned);
    print!("{text}");
    if !output.status.success() {
        bail!("the kernel's test failed: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    for line in text.lines().filter(|line| line.starts_with("program lb_xdp")) {
        println!("{NOTE}{line}");
    }
    Ok(of("refused: "))
}
